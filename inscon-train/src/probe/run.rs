//! Fits both probes and writes what came out.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use inscon_aug::ResizeShortestEdge;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Extraction, LogisticConfig, LogisticRegression, Samples, extract, mean_average_precision, top1,
};
use crate::config::ExperimentConfig;
use crate::detection_data::{DetectionDataset, Part, Subset};
use crate::evaluate::Inference;
use crate::pretrain::DONE;
use crate::{Interrupt, Progress, RunDir, load_backbone, say};

/// Name of the file of figures.
pub const PROBE: &str = "probe.json";

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeScore {
    /// Share of validation samples whose best class is right: top-1.
    pub accuracy: f64,
    /// Mean over the classes of one-versus-rest average precision.
    pub mean_ap: f64,
    /// Share of validation samples of the most frequent training class: what guessing gets.
    pub guess: f64,
    /// Training samples.
    pub train_samples: usize,
    /// Validation samples.
    pub val_samples: usize,
    /// Each class and its average precision; `None` if no validation sample is of it.
    pub per_class: Vec<(String, Option<f64>)>,
}

/// The content of `probe.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The map that is probed.
    pub feature: String,
    /// Boxes → classes.
    pub boxes: Option<ProbeScore>,
    /// Cells → mask classes and background; `None` without masks.
    pub cells: Option<ProbeScore>,
}

/// Fits the linear probes of a recipe on the run's backbone: `run/probe/probe.json`, and `done.json`
/// last. Nothing is done when that is there.
///
/// The backbone is [`load_backbone`]'s, on the data of the fine-tuning: `data.train_json` to fit,
/// `data.val_json` to judge. Crowds and difficult objects are in neither. `config.data` holds the
/// folders to read: see [`resolve_data`](crate::data::resolve_data).
///
/// # Errors
/// Data, run folder or backbone that cannot be used.
pub fn run(
    config: &ExperimentConfig,
    run: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<()> {
    let dir = RunDir::create(run.join("probe"))?;
    if dir.file(DONE).exists() {
        say(&format!(
            "the probes in {} are done already",
            dir.path().display()
        ));
        return Ok(());
    }
    let started = Instant::now();
    let p = &config.probe;
    let [train, val] = open_sets(config)?;
    let resnet = load_backbone(config, run, &device.clone().inner())?;
    let extraction = Extraction {
        seed: config.seed,
        roi_size: p.roi_size.max(1),
        stride: config.model.strides()[3],
        cells: p.cells && train.has_masks() && val.has_masks(),
        max_samples: p.max_samples,
    };
    let images = train.samples().len() + val.samples().len();
    let mut sets = Vec::new();
    for (name, data) in [
        ("probe: training images", &train),
        ("probe: validation images", &val),
    ] {
        let inference = Inference {
            resize: resize(config),
            ..Inference::new(config, data.clone())
        };
        let bar = Progress::new(name, "images", 0, data.samples().len() as u64);
        match extract(&resnet, &inference, &extraction, device, interrupt, bar)? {
            Some(samples) => sets.push(samples),
            None => return Ok(()),
        }
    }
    let extracted = started.elapsed().as_secs_f64();
    let (Some((val_boxes, val_cells)), Some((boxes, cells))) = (sets.pop(), sets.pop()) else {
        bail!("the two sets of a probe were not read");
    };
    let fit = LogisticConfig {
        iterations: p.epochs,
        weight_decay: p.weight_decay,
    };
    let mut classes = train.class_names().to_vec();
    let boxes = fit_probe(&boxes, &val_boxes, &classes, fit);
    classes.push("background".to_owned());
    let cells = fit_probe(&cells, &val_cells, &classes, fit);
    if boxes.is_none() {
        bail!("{}: no object to probe with", train.origin());
    }

    let report = ProbeReport {
        feature: "c5".into(),
        boxes,
        cells,
    };
    dir.write_json(PROBE, &report)?;
    for (name, score) in [("boxes", &report.boxes), ("cells", &report.cells)] {
        if let Some(ProbeScore {
            accuracy,
            mean_ap,
            guess,
            ..
        }) = score
        {
            say(&format!(
                "probe of {name}: accuracy {accuracy:.4} (guessing {guess:.4}), mean AP {mean_ap:.4}"
            ));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = images as f64 / extracted.max(1e-9);
    let done = json!({ "seconds": seconds, "images": images, "images_per_second": rate });
    dir.write_json(DONE, &done)?;
    Ok(())
}

/// Fits the classifier on one set of samples and judges it on another. `None` when either is empty.
#[must_use]
pub fn fit_probe(
    train: &Samples,
    val: &Samples,
    classes: &[String],
    config: LogisticConfig,
) -> Option<ProbeScore> {
    if train.labels.is_empty() || val.labels.is_empty() {
        return None;
    }
    let fit = LogisticRegression::fit(
        train.features().view(),
        &train.labels,
        classes.len(),
        config,
    );
    let scores: Array2<f32> = fit.scores(val.features().view());
    let (mean_ap, per_class) = mean_average_precision(&scores, &val.labels);
    let count = |labels: &[usize], class| labels.iter().filter(|&&l| l == class).count();
    let frequent = (0..classes.len())
        .rev()
        .max_by_key(|&c| count(&train.labels, c))
        .unwrap_or(0);
    Some(ProbeScore {
        accuracy: top1(&scores, &val.labels),
        mean_ap,
        guess: count(&val.labels, frequent) as f64 / val.labels.len() as f64,
        train_samples: train.labels.len(),
        val_samples: val.labels.len(),
        per_class: classes.iter().cloned().zip(per_class).collect(),
    })
}

fn resize(config: &ExperimentConfig) -> ResizeShortestEdge {
    let min_size = match config.probe.min_size {
        0 => config.finetune.test_min_size,
        size => size,
    };
    ResizeShortestEdge {
        min_size,
        max_size: config.finetune.max_size.max(min_size),
    }
}

fn open_sets(config: &ExperimentConfig) -> Result<[Arc<DetectionDataset>; 2]> {
    let (data, images) = (&config.data, config.probe.max_images);
    let drawn = Subset::Drawn(images, config.seed);
    let train = DetectionDataset::of_part(data, Part::Train, drawn, false)?;
    let val = DetectionDataset::of_part(data, Part::Val, Subset::First(images), false)?;
    train.same_classes(&val)?;
    Ok([Arc::new(train), Arc::new(val)])
}
