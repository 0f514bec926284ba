//! What happens at each evaluation of a training.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use serde_json::{Value, json};

use super::{Best, FinetuneState, precise_bn};
use crate::config::ExperimentConfig;
use crate::detect::DetectorDescription;
use crate::detection_data::{DetectionDataset, TrainBatches};
use crate::evaluate::{Found, Inference, bar, evaluate};
use crate::{Checkpoint, Interrupt, MetricsLog, RunDir, read_metrics};

/// The evaluations of a training: statistics of the norms, scores, a line in the log, the best
/// detector.
#[derive(Debug)]
pub struct Judge<'a> {
    /// What checkpoints say of the detector.
    pub description: DetectorDescription,
    /// How the validation set is run through it.
    pub inference: Inference,
    config: &'a ExperimentConfig,
    dir: &'a RunDir,
    batches: TrainBatches,
    device: &'a Device,
    interrupt: &'a Interrupt,
}

/// What an evaluation leaves.
#[derive(Debug)]
pub struct Judged {
    /// The state, with the norms' statistics of the evaluation.
    pub state: FinetuneState,
    /// What was found; `None` when it was interrupted.
    pub found: Option<Found>,
}

impl<'a> Judge<'a> {
    /// The evaluations of a recipe in the folder of its fine-tuning.
    #[must_use]
    pub fn new(
        config: &'a ExperimentConfig,
        dir: &'a RunDir,
        batches: &TrainBatches,
        val: &Arc<DetectionDataset>,
        device: &'a Device,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self {
            description: DetectorDescription::of_data(config, &batches.data),
            inference: Inference::new(config, val.clone()),
            config,
            dir,
            batches: batches.clone(),
            device,
            interrupt,
        }
    }

    /// Whether a detector is evaluated after so many iterations, the end not counted.
    #[must_use]
    pub fn is_due(&self, iteration: u64) -> bool {
        let f = &self.config.finetune;
        let within = iteration > 0 && iteration < f.iterations;
        within && f.eval_every > 0 && iteration.is_multiple_of(f.eval_every)
    }

    /// The state as a checkpoint.
    #[must_use]
    pub fn checkpoint(&self, state: &FinetuneState) -> Checkpoint {
        state.checkpoint(self.config, &self.description)
    }

    /// Takes the norms' statistics anew where the recipe wants that, evaluates, keeps the detector
    /// if it is the best, and logs the scores. At the end, `last` is where the state is saved in
    /// between, and a progress bar is shown.
    ///
    /// An interruption leaves the state as it was, or with the new statistics; done again, it comes
    /// out the same.
    ///
    /// # Errors
    /// Data that cannot be used, files that cannot be written.
    pub fn state(
        &self,
        mut state: FinetuneState,
        last: Option<&Path>,
        log: &mut MetricsLog,
    ) -> Result<Judged> {
        let iterations = self.config.finetune.precise_bn_iterations;
        if iterations > 0 {
            let (batches, workers) = (&self.batches, self.config.data.workers);
            let (device, interrupt) = (self.device, self.interrupt);
            let precise = precise_bn(
                &state.model,
                batches,
                iterations,
                workers,
                device,
                interrupt,
            )?;
            let Some(model) = precise else {
                return Ok(Judged { state, found: None });
            };
            state.model = model;
            if let Some(path) = last {
                self.checkpoint(&state).write(path)?;
            }
        }
        let shown = last.map(|_| bar(&self.inference));
        let plain = state.model.valid();
        let found = evaluate(&plain, &self.inference, self.device, self.interrupt, shown)?;
        if let Some(found) = &found {
            // The line comes last: while it is missing, all this is done again.
            Best::offer(self.dir, &found.scores, &self.checkpoint(&state))?;
            let step = state.iteration.saturating_sub(1);
            log.write(&json!({
                "step": step, "iteration": state.iteration, "eval": found.scores,
            }))?;
        }
        Ok(Judged { state, found })
    }
}

/// Whether the log of a fine-tuning has the scores after so many iterations.
#[must_use]
pub fn evaluated(dir: &RunDir, iteration: u64) -> bool {
    let of = |line: &Value| line["iteration"] == iteration && !line["eval"].is_null();
    read_metrics(dir).iter().any(of)
}
