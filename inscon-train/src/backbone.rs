//! The backbone that an arm brings to its detector and to its probes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use inscon_aug::stream;
use inscon_model::{ModelError, ResNet, Strictness, load_state_dict, read_safetensors};

use crate::config::ExperimentConfig;
use crate::data::BACKBONE;
use crate::import::initial_weights;

/// Where pretraining leaves the backbone of a run.
#[must_use]
pub fn backbone_path(run: &Path) -> PathBuf {
    run.join("pretrain").join("backbone.safetensors")
}

/// The backbone that a run begins with: the file of [`ExperimentConfig::weights`], else the seed's
/// own random weights, which are those of every other arm of the seed.
///
/// # Errors
/// A model that cannot be built; a file that does not fit it, names the file.
pub fn initial_backbone(config: &ExperimentConfig, device: &Device) -> Result<ResNet, ModelError> {
    let resnet = config
        .model
        .init(&mut stream(config.seed, &[BACKBONE]), device)?;
    if config.weights.as_os_str().is_empty() {
        return Ok(resnet);
    }
    initial_weights(resnet, &config.weights)
}

/// The run's backbone: `RUN/pretrain/backbone.safetensors` if the run pretrains
/// ([`ExperimentConfig::pretrained`]), else [`initial_backbone`].
///
/// # Errors
/// A model that cannot be built; weights that are missing or of another architecture.
pub fn load_backbone(config: &ExperimentConfig, run: &Path, device: &Device) -> Result<ResNet> {
    if !config.pretrained {
        return Ok(initial_backbone(config, device)?);
    }
    let resnet = config
        .model
        .init(&mut stream(config.seed, &[BACKBONE]), device)?;
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
