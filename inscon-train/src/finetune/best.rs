//! The best of the detectors that were evaluated.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::evaluate::Scores;
use crate::{Checkpoint, RunDir};

/// The weights of the best detector, in the folder of a fine-tuning. It is a checkpoint without the
/// optimizer's state.
pub const BEST: &str = "best.safetensors";
/// Iteration and score of [`BEST`].
pub const BEST_JSON: &str = "best.json";

/// What `best.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Iterations that the detector has been trained for.
    pub iteration: u64,
    /// Name of the deciding score: `bbox.ap`, or `voc07.ap` where objects are marked `difficult`.
    pub metric: String,
    /// Its value, in 0..1.
    pub score: f64,
    /// All scores.
    pub scores: Scores,
}

impl Best {
    /// What is kept in the folder, if there is anything.
    ///
    /// # Errors
    /// A `best.json` that is not one.
    pub fn read(dir: &RunDir) -> Result<Option<Self>> {
        let path = dir.file(BEST_JSON);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let best = serde_json::from_str(&text);
        best.map(Some).with_context(|| {
            format!(
                "{} is not what fine-tuning writes; delete it",
                path.display()
            )
        })
    }

    /// Keeps `checkpoint` if its scores are better than all before; of equal ones the first stays.
    /// Called again for the same iteration, as after an interruption, it changes nothing.
    ///
    /// # Errors
    /// When the disk refuses the files, and as [`read`](Self::read).
    pub fn offer(dir: &RunDir, scores: &Scores, checkpoint: &Checkpoint) -> Result<Self> {
        let (metric, score) = scores.deciding();
        if let Some(kept) = Self::read(dir)?
            && kept.score >= score
        {
            return Ok(kept);
        }
        let best = Self {
            iteration: checkpoint.header.step,
            metric: metric.to_owned(),
            score,
            scores: *scores,
        };
        let weights = |(name, _): &(&String, _)| name.starts_with("model.");
        let tensors = checkpoint.tensors.iter().filter(weights);
        let lean = Checkpoint {
            header: checkpoint.header.clone(),
            tensors: tensors.map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        // The score comes last: without it the weights are offered again.
        lean.write(&dir.file(BEST))?;
        dir.write_json(BEST_JSON, &best)?;
        Ok(best)
    }
}
