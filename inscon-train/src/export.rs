//! Weights for other tools.

use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use inscon_model::{StateDict, read_safetensors, strip_prefix};
use serde_json::json;

use crate::config::ExperimentConfig;
use crate::pretrain::CHECKPOINT;
use crate::{Interrupt, RunDir, backbone_path, say, write_weights};

/// Writes what the run has into `run/export`, as safetensors without optimizer state:
///
/// - `backbone.safetensors`: torchvision's names (`conv1.weight`, `layer1.0.conv1.weight`, …), from
///   the finished pretraining or, while it is under way, from its last checkpoint;
/// - `detector.safetensors`: the detector, its backbone under `backbone.`, from the last checkpoint
///   of the fine-tuning.
///
/// ```python
/// import safetensors.torch, torchvision
/// weights = safetensors.torch.load_file("RUN/export/backbone.safetensors")
/// torchvision.models.resnet50().load_state_dict(weights, strict=False)  # fc.* alone is missing
/// ```
///
/// # Errors
/// A run without weights, files that cannot be read or written.
pub fn run(
    config: &ExperimentConfig,
    run: &Path,
    _device: &Device,
    _interrupt: &Interrupt,
) -> Result<()> {
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
    let detector = match tuned.exists() {
        true => Some(strip_prefix(&read_safetensors(&tuned)?.0, "model.")),
        false => None,
    };
    if backbone.is_none() && detector.is_none() {
        bail!(
            "{} holds no weights yet: run `inscon-train pretrain` or `finetune` first",
            run.display()
        );
    }
    let dir = RunDir::create(run.join("export"))?;
    let about = json!({ "model": config.model, "seed": config.seed }).to_string();
    let write = |name: &str, weights: Option<StateDict>| -> Result<()> {
        if let Some(weights) = weights {
            write_weights(&dir.file(name), &weights, &about)?;
            say(&format!(
                "{} tensors in {}",
                weights.len(),
                dir.file(name).display()
            ));
        }
        Ok(())
    };
    write("backbone.safetensors", backbone)?;
    write("detector.safetensors", detector)
}
