//! Weights for other tools.

use std::path::Path;

use anyhow::{Context, Result, bail};
use inscon_model::{Naming, StateDict, read_safetensors, rename, strip_prefix};
use serde_json::json;

use crate::config::ExperimentConfig;
use crate::detect::{DetectError, DetectorDescription};
use crate::pretrain::CHECKPOINT;
use crate::{RunDir, backbone_path, say, write_weights};

/// Writes what the run has into `run/export`, as safetensors without optimizer state:
///
/// - `backbone.safetensors`: torchvision's names (`conv1.weight`, `layer1.0.conv1.weight`, …), from
///   the finished pretraining or, while it is under way, from its last checkpoint;
/// - `detector.safetensors`: the detector, its backbone under `backbone.`, from the last checkpoint
///   of the fine-tuning; it says what detector it is, so that [`Detector::load`] takes it.
///
/// [`Detector::load`]: crate::detect::Detector::load
///
/// With a `naming` both have that project's names ([`rename`]): torchvision's detectors count
/// background first, timm has no detectors, so that only the backbone is written.
///
/// ```python
/// import safetensors.torch, torchvision
/// weights = safetensors.torch.load_file("RUN/export/backbone.safetensors")
/// torchvision.models.resnet50().load_state_dict(weights, strict=False)  # fc.* alone is missing
/// ```
///
/// # Errors
/// A run without weights, files that cannot be read or written, a detector that the naming has no
/// words for (the backbone is written before).
pub fn run(config: &ExperimentConfig, run: &Path, naming: Option<Naming>) -> Result<()> {
    let pretraining = run.join("pretrain").join(CHECKPOINT);
    let finished = backbone_path(run);
    let backbone = match (finished.exists(), pretraining.exists()) {
        (true, _) => Some(read_safetensors(&finished)?.0),
        (false, true) => Some(strip_prefix(
            &read_safetensors(&pretraining)?.0,
            "query.backbone.",
        )),
        (false, false) => None,
    };
    let tuned = run.join("finetune").join(CHECKPOINT);
    let mut detector = match tuned.exists() {
        true => Some(strip_prefix(&read_safetensors(&tuned)?.0, "model.")),
        false => None,
    };
    if backbone.is_none() && detector.is_none() {
        bail!(
            "{} holds no weights yet: run `inscon-train pretrain` or `finetune` first",
            run.display()
        );
    }
    if naming == Some(Naming::Timm) && detector.take().is_some() {
        if backbone.is_none() {
            bail!(
                "{} holds only a detector, and timm has none: write --naming torchvision or detectron2",
                run.display()
            );
        }
        say("timm has no detectors: only the backbone is written");
    }
    let dir = RunDir::create(run.join("export"))?;
    let mut about = json!({ "model": config.model, "seed": config.seed });
    if let Some(naming) = naming {
        about["naming"] = json!(naming);
    }
    let of_backbone = about.to_string();
    if detector.is_some() {
        match DetectorDescription::read(&tuned) {
            Ok(description) => about["detector"] = description.to_json(),
            Err(DetectError::NoDescription { .. }) => say(&format!(
                "{} is of an older version: detector.safetensors does not say what it is, so that \
                 `detect` needs its --config and --classes",
                tuned.display()
            )),
            Err(error) => return Err(error.into()),
        }
    }
    let write = |name: &str, weights: Option<StateDict>, about: &str| -> Result<()> {
        if let Some(mut weights) = weights {
            if let Some(naming) = naming {
                let renamed = rename(&weights, naming);
                weights = renamed.with_context(|| format!("cannot write {name}"))?;
            }
            write_weights(&dir.file(name), &weights, about)?;
            say(&format!(
                "{} tensors in {}",
                weights.len(),
                dir.file(name).display()
            ));
        }
        Ok(())
    };
    write("backbone.safetensors", backbone, &of_backbone)?;
    write("detector.safetensors", detector, &about.to_string())
}
