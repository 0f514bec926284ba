//! The backbone that an arm brings to its detector and to its probes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use inscon_aug::stream;
use inscon_model::{ResNet, Strictness, load_state_dict, read_safetensors};

use crate::config::ExperimentConfig;
use crate::data::BACKBONE;

/// Where pretraining leaves the backbone of a run.
#[must_use]
pub fn backbone_path(run: &Path) -> PathBuf {
    run.join("pretrain").join("backbone.safetensors")
}

/// The run's backbone: `RUN/pretrain/backbone.safetensors` if the run pretrains
/// ([`ExperimentConfig::pretrained`]), else the seed's own initial weights, which are those that
/// the other arms of the seed began to pretrain from.
///
/// # Errors
/// A model that cannot be built; weights that are missing or of another architecture.
pub fn load_backbone(config: &ExperimentConfig, run: &Path, device: &Device) -> Result<ResNet> {
    let resnet = config
        .model
        .init(&mut stream(config.seed, &[BACKBONE]), device)?;
    if !config.pretrained {
        return Ok(resnet);
    }
    let path = backbone_path(run);
    if !path.exists() {
        anyhow::bail!(
            "{} does not exist: run `inscon-train pretrain` with the same --run first, or set the \
             arm's pretrain = false",
            path.display()
        );
    }
    let (weights, _) = read_safetensors(&path)?;
    let loaded = load_state_dict(resnet, &weights, "", Strictness::AllowUnexpected);
    Ok(loaded
        .with_context(|| format!("{} does not fit [model]", path.display()))?
        .0)
}
