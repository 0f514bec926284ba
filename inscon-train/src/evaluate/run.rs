//! The evaluation of a fine-tuned detector, and what it leaves in the run folder.

use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use inscon_eval::save_detections;
use serde_json::{Value, json};

use super::{Found, Inference, evaluate};
use crate::config::ExperimentConfig;
use crate::finetune::{BEST, load_detector, open_val};
use crate::pretrain::{CHECKPOINT, DONE};
use crate::{Interrupt, Progress, RunDir, say};

/// Name of the file of scores.
pub const EVAL: &str = "eval.json";

/// Evaluates the checkpoint in `run/finetune` on the validation set: the files of
/// [`write_evaluation`], and `run/evaluate/done.json`. When `run/finetune/eval.json` is of that
/// very checkpoint already, as fine-tuning leaves it, nothing is computed again.
///
/// `config.data` holds the folders to read: see [`resolve_data`](crate::data::resolve_data).
///
/// # Errors
/// No checkpoint, one of another architecture, or data that cannot be used.
pub fn run(
    config: &ExperimentConfig,
    run: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<()> {
    let phase = RunDir::create(run.join("evaluate"))?;
    if phase.file(DONE).exists() {
        say(&format!(
            "the evaluation in {} is done already",
            phase.path().display()
        ));
        return Ok(());
    }
    let dir = RunDir::create(run.join("finetune"))?;
    let checkpoint = dir.file(CHECKPOINT);
    if !checkpoint.exists() {
        bail!(
            "{} does not exist: run `inscon-train finetune` with the same --run first",
            checkpoint.display()
        );
    }
    let val = open_val(config)?;
    let (model, iteration) = load_detector(config, val.class_names(), &checkpoint, device)?;
    let report = match finished(&dir, iteration) {
        Some(report) => report,
        None => {
            let inference = Inference::new(config, val);
            let progress = bar(&inference);
            let Some(found) = evaluate(&model, &inference, device, interrupt, Some(progress))?
            else {
                return Ok(());
            };
            write_evaluation(&dir, &inference, &found, iteration)?;
            say(&format!("{}: {}", dir.path().display(), found.scores));
            report(&found, iteration)
        }
    };
    phase.write_json(DONE, &report)?;
    Ok(())
}

/// Evaluates the best detector of a fine-tuning: the files of [`write_evaluation`] in
/// `run/finetune/best`. Nothing is computed when they are of that very detector already.
///
/// # Errors
/// As [`run`], and when no detector was evaluated yet.
pub fn run_best(
    config: &ExperimentConfig,
    run: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<()> {
    let weights = run.join("finetune").join(BEST);
    if !weights.exists() {
        bail!(
            "{} does not exist: `inscon-train finetune` writes it at each evaluation \
             (finetune.eval_every) and at the end",
            weights.display()
        );
    }
    let dir = RunDir::create(run.join("finetune").join("best"))?;
    let val = open_val(config)?;
    let (model, iteration) = load_detector(config, val.class_names(), &weights, device)?;
    if finished(&dir, iteration).is_some() {
        let at = dir.path().display();
        say(&format!("the evaluation in {at} is done already"));
        return Ok(());
    }
    let inference = Inference::new(config, val);
    let progress = bar(&inference);
    if let Some(found) = evaluate(&model, &inference, device, interrupt, Some(progress))? {
        write_evaluation(&dir, &inference, &found, iteration)?;
        let at = dir.path().display();
        say(&format!("{at}, iteration {iteration}: {}", found.scores));
    }
    Ok(())
}

/// The progress bar of an evaluation.
#[must_use]
pub fn bar(inference: &Inference) -> Progress {
    Progress::new(
        "evaluating",
        "images",
        0,
        inference.data.samples().len() as u64,
    )
}

/// Writes `results.bbox.json`, `results.segm.json` (COCO's results format, pixels of the original
/// images), `detections/` (pictures) and, last, `eval.json` into the folder of a fine-tuning.
///
/// # Errors
/// When the disk refuses them.
pub fn write_evaluation(
    dir: &RunDir,
    inference: &Inference,
    found: &Found,
    iteration: u64,
) -> Result<()> {
    save_detections(dir.file("results.bbox.json"), &found.boxes)?;
    if let Some(masks) = &found.masks {
        save_detections(dir.file("results.segm.json"), masks)?;
    }
    super::draw_detections(dir, inference, found)?;
    let mut report = report(found, iteration);
    if let Some(report) = report.as_object_mut() {
        report.insert("bbox".into(), json!(found.measures.bbox));
        report.insert("segm".into(), json!(found.measures.segm));
        report.insert("voc07".into(), json!(found.measures.voc07));
    }
    dir.write_json(EVAL, &report)?;
    Ok(())
}

fn report(found: &Found, iteration: u64) -> Value {
    json!({
        "iteration": iteration,
        "scores": found.scores,
        "images": found.images,
        "unreadable_images": found.unreadable,
        "detections": found.boxes.len(),
        "seconds": found.seconds,
        "images_per_second": found.images as f64 / found.seconds.max(1e-9),
    })
}

/// The short report of an `eval.json` of this iteration, if there is one.
fn finished(dir: &RunDir, iteration: u64) -> Option<Value> {
    let text = std::fs::read_to_string(dir.file(EVAL)).ok()?;
    let mut report: Value = serde_json::from_str(&text).ok()?;
    (report["iteration"].as_u64() == Some(iteration)).then(|| {
        if let Some(report) = report.as_object_mut() {
            for long in ["bbox", "segm", "voc07"] {
                report.remove(long);
            }
        }
        report
    })
}
