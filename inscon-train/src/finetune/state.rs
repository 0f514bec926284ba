//! Everything that changes while a detector trains, and its checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use inscon_aug::stream;
use inscon_model::detection::{GeneralizedRcnn, RcnnConfig};
use inscon_model::{Strictness, load_state_dict, state_dict};
use serde_json::{Value, json};

use crate::config::ExperimentConfig;
use crate::detect::DetectorDescription;
use crate::{Checkpoint, CheckpointError, CheckpointHeader, Sgd, load_backbone, prefixed};

/// The state of a fine-tuning between two iterations.
#[derive(Debug)]
pub struct FinetuneState {
    /// The detector, on the device with autodiff.
    pub model: GeneralizedRcnn,
    /// Momentum buffers.
    pub sgd: Sgd,
    /// Iterations done.
    pub iteration: u64,
}

/// The detector of a recipe for data with `classes` categories: `finetune.detector` with
/// `num_classes` from the data.
#[must_use]
pub fn detector_config(config: &ExperimentConfig, classes: usize) -> RcnnConfig {
    RcnnConfig {
        num_classes: classes,
        ..config.finetune.detector.clone()
    }
}

/// What decides the shapes and the meaning of the tensors in a fine-tuning checkpoint.
#[must_use]
pub fn finetune_architecture(config: &ExperimentConfig, classes: &[String]) -> Value {
    let d = &config.finetune.detector;
    json!({
        "model": config.model,
        "classes": classes,
        "architecture": d.architecture,
        "mask": d.mask,
        "res5_norm": d.res5_norm,
        "fpn_channels": d.fpn_channels,
        "fpn_norm": d.fpn_norm,
        "anchor_levels": d.anchor_sizes.len(),
        "anchors_per_location": d.anchors_per_location(),
        "box_pooler_size": d.box_pooler_size,
        "box_convs": d.box_convs,
        "box_conv_channels": d.box_conv_channels,
        "box_norm": d.box_norm,
        "fc_number": d.fc_number,
        "fc_dim": d.fc_dim,
        "mask_convs": d.mask_convs,
        "mask_channels": d.mask_channels,
        "mask_norm": d.mask_norm,
    })
}

/// The stream of a detector's initial heads: the same for all arms of a seed.
const DETECTOR: u64 = 5;

impl FinetuneState {
    /// The state before the first iteration: heads from the seed alone, the backbone from the arm
    /// ([`load_backbone`]).
    ///
    /// # Errors
    /// A detector that cannot be built, a backbone that is missing or of another architecture.
    pub fn new(
        config: &ExperimentConfig,
        run: &Path,
        classes: usize,
        device: &Device,
    ) -> Result<Self> {
        let plain = device.clone().inner();
        let mut rng = stream(config.seed, &[DETECTOR]);
        let detector = detector_config(config, classes);
        let mut model = detector.init(&config.model, &mut rng, &plain.clone().autodiff())?;
        let backbone = state_dict(&load_backbone(config, run, &plain)?);
        model.backbone = load_state_dict(model.backbone, &backbone, "", Strictness::Exact)?.0;
        let f = &config.finetune;
        let sgd =
            Sgd::new(f.momentum, f.weight_decay, f.weight_decay_norm).with_clip(f.clip_gradients);
        Ok(Self {
            model,
            sgd,
            iteration: 0,
        })
    }

    /// The whole state, with what is needed to use the detector alone.
    #[must_use]
    pub fn checkpoint(
        &self,
        config: &ExperimentConfig,
        description: &DetectorDescription,
    ) -> Checkpoint {
        let mut tensors = prefixed("model.", state_dict(&self.model));
        tensors.extend(prefixed("sgd.", self.sgd.state()));
        let header = CheckpointHeader {
            phase: "finetune".to_owned(),
            architecture: finetune_architecture(config, &description.classes),
            step: self.iteration,
            epoch: 0,
            counters: BTreeMap::new(),
            detector: description.to_json(),
        };
        Checkpoint { header, tensors }
    }

    /// Puts a checkpoint of the same recipe into this state.
    ///
    /// # Errors
    /// Another architecture, other classes, or a file that is not a whole checkpoint.
    pub fn restore(
        mut self,
        config: &ExperimentConfig,
        classes: &[String],
        path: &Path,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let saved = Checkpoint::read(path, "finetune", &finetune_architecture(config, classes))?;
        self.model = load_model(self.model, &saved, path)?;
        self.sgd
            .load_state(saved.part("sgd."), &device.clone().inner());
        Ok(Self {
            iteration: saved.header.step,
            ..self
        })
    }
}

/// The detector of a finished or interrupted fine-tuning on `device`, and the iterations it has
/// been trained for.
///
/// # Errors
/// As [`FinetuneState::restore`].
pub fn load_detector(
    config: &ExperimentConfig,
    classes: &[String],
    path: &Path,
    device: &Device,
) -> Result<(GeneralizedRcnn, u64)> {
    let saved = Checkpoint::read(path, "finetune", &finetune_architecture(config, classes))?;
    let detector = detector_config(config, classes.len());
    let model = detector.init(&config.model, &mut stream(config.seed, &[DETECTOR]), device)?;
    Ok((load_model(model, &saved, path)?, saved.header.step))
}

fn load_model(
    model: GeneralizedRcnn,
    saved: &Checkpoint,
    path: &Path,
) -> Result<GeneralizedRcnn, CheckpointError> {
    let loaded = load_state_dict(model, &saved.part("model."), "", Strictness::Exact);
    let (model, _) = loaded.map_err(|source| CheckpointError::Weights {
        path: path.to_owned(),
        source,
    })?;
    Ok(model)
}
