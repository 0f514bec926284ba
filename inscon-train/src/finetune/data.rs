//! The labelled sets of a fine-tuning, and the detector's input.

use std::sync::Arc;

use anyhow::Result;
use inscon_aug::DetectionAugmentation;

use crate::config::ExperimentConfig;
use crate::detection_data::{DetectionDataset, Part, PixelFormat, Subset, TrainBatches};

/// Opens the training and the validation set of a recipe and checks them against each other and
/// against the detector. Objects that a detector of masks cannot train on are left out of training.
///
/// # Errors
/// [`DetectionDataError`](crate::detection_data::DetectionDataError).
pub fn open_data(
    config: &ExperimentConfig,
) -> Result<(Arc<DetectionDataset>, Arc<DetectionDataset>)> {
    let (data, f) = (&config.data, &config.finetune);
    let drawn = Subset::Drawn(f.max_train_images, config.seed);
    let mut train = DetectionDataset::of_part(data, Part::Train, drawn, data.cache)?;
    let val = open_val(config)?;
    train.same_classes(&val)?;
    if f.detector.mask {
        train.require_masks()?;
        train.leave_out_bad_masks();
    }
    Ok((Arc::new(train), val))
}

/// Opens the validation set of a recipe.
///
/// # Errors
/// [`DetectionDataError`](crate::detection_data::DetectionDataError).
pub fn open_val(config: &ExperimentConfig) -> Result<Arc<DetectionDataset>> {
    let data = &config.data;
    let first = Subset::First(config.finetune.max_val_images);
    let val = DetectionDataset::of_part(data, Part::Val, first, data.cache)?;
    if config.finetune.detector.mask {
        val.require_drawable_masks()?;
    }
    Ok(Arc::new(val))
}

/// The detector's input: normalised as the views of pretraining, padded to whole cells of C5.
#[must_use]
pub fn pixel_format(config: &ExperimentConfig) -> PixelFormat {
    let views = config.pretrain.views();
    PixelFormat {
        mean: views.mean,
        std: views.std,
        multiple: config.model.strides()[3],
    }
}

/// The training batches of a recipe.
#[must_use]
pub fn train_batches(config: &ExperimentConfig, data: Arc<DetectionDataset>) -> TrainBatches {
    let f = &config.finetune;
    TrainBatches {
        data,
        seed: config.seed,
        batch: f.batch,
        augmentation: DetectionAugmentation {
            short_edge_length: f.min_sizes.clone(),
            max_size: f.max_size,
            sample_style: f.min_size_sampling,
            flip_p: 0.5,
        },
        format: pixel_format(config),
        masks: f.detector.mask,
    }
}
