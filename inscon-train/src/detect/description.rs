//! What a file of weights says of the detector in it.

use std::path::Path;

use inscon_aug::ResizeShortestEdge;
use inscon_model::detection::RcnnConfig;
use inscon_model::{Metadata, ResNetConfig, StateDict};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{DetectError, detector::read_weights};
use crate::config::ExperimentConfig;
use crate::detection_data::{DetectionDataset, PixelFormat};
use crate::finetune::{detector_config, pixel_format};
use crate::{METADATA_KEY, RunDirError, write_weights};

/// Everything but the weights that detecting takes: the network, the classes, and how an image
/// becomes its input.
///
/// It is JSON under the key `detector` of the metadata of a checkpoint and of an exported
/// `detector.safetensors`, so that such a file can be used alone: [`Self::read`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorDescription {
    /// The backbone.
    pub backbone: ResNetConfig,
    /// The detector; its `num_classes` is the number of `classes`.
    pub detector: RcnnConfig,
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// COCO's category ids of the classes.
    pub category_ids: Vec<u64>,
    /// Mean of each channel, red, green, blue, of values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Length of the image's shorter side, in pixels.
    pub min_size: u32,
    /// Bound of the longer side.
    pub max_size: u32,
}

impl DetectorDescription {
    /// The detector of a recipe for these classes, at the size at which the recipe evaluates.
    #[must_use]
    pub fn of(config: &ExperimentConfig, classes: &[String], category_ids: &[u64]) -> Self {
        let format = pixel_format(config);
        Self {
            backbone: config.model,
            detector: detector_config(config, classes.len()),
            classes: classes.to_vec(),
            category_ids: category_ids.to_vec(),
            mean: format.mean,
            std: format.std,
            min_size: config.finetune.test_min_size,
            max_size: config.finetune.max_size,
        }
    }

    /// The same for the classes of a set.
    #[must_use]
    pub fn of_data(config: &ExperimentConfig, data: &DetectionDataset) -> Self {
        Self::of(config, data.class_names(), data.category_ids())
    }

    /// The description in the metadata of a safetensors file.
    ///
    /// # Errors
    /// [`DetectError::NoDescription`] for a file without one, [`DetectError::Description`] for one
    /// of another shape, and a file that cannot be read.
    pub fn read(path: &Path) -> Result<Self, DetectError> {
        let (_, metadata) = read_weights(path)?;
        Self::of_metadata(path, &metadata)
    }

    pub(super) fn of_metadata(path: &Path, metadata: &Metadata) -> Result<Self, DetectError> {
        let none = || DetectError::NoDescription {
            path: path.to_owned(),
        };
        let text = metadata.get(METADATA_KEY).ok_or_else(none)?;
        let mut about: Value = serde_json::from_str(text).map_err(|_| none())?;
        let value = about.get_mut("detector").map(Value::take);
        let value = value.filter(|value| !value.is_null()).ok_or_else(none)?;
        let wrong = |what: String| DetectError::Description {
            path: path.to_owned(),
            what,
        };
        let found: Self = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        found.check().map_err(wrong)?;
        Ok(found)
    }

    /// As JSON, for the key `detector` of a file's metadata.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a description is serializable")
    }

    /// The resize before the detector.
    #[must_use]
    pub fn resize(&self) -> ResizeShortestEdge {
        ResizeShortestEdge {
            min_size: self.min_size,
            max_size: self.max_size,
        }
    }

    /// The detector's input.
    #[must_use]
    pub fn format(&self) -> PixelFormat {
        PixelFormat {
            mean: self.mean,
            std: self.std,
            multiple: self.backbone.strides()[3],
        }
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let classes = self.classes.len();
        if classes != self.detector.num_classes || classes != self.category_ids.len() {
            return Err(format!(
                "{classes} classes, {} category ids, num_classes = {}",
                self.category_ids.len(),
                self.detector.num_classes
            ));
        }
        if !self.std.iter().all(|v| *v > 0.0) || !self.mean.iter().all(|v| v.is_finite()) {
            return Err(format!("mean {:?}, std {:?}", self.mean, self.std));
        }
        self.resize().validate().map_err(|e| e.to_string())
    }
}

/// Writes a detector's tensors with its description, whole or not at all: a file for
/// [`Detector::load`](super::Detector::load).
///
/// # Errors
/// [`RunDirError::Write`](crate::RunDirError::Write).
pub fn write_detector(
    path: &Path,
    tensors: &StateDict,
    description: &DetectorDescription,
) -> Result<(), RunDirError> {
    let about = json!({ "detector": description.to_json() });
    write_weights(path, tensors, &about.to_string())
}
