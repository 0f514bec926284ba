//! A trained detector as a library call.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use inscon_aug::stream;
use inscon_model::detection::{BitMask, Detections, GeneralizedRcnn, paste_mask};
use inscon_model::{
    ImportOptions, ImportReport, Metadata, StateDict, Strictness, import_state_dict,
    load_state_dict, read_safetensors, strip_prefix,
};

use super::{DetectError, DetectorDescription};
use crate::finetune::BEST;
use crate::pretrain::CHECKPOINT;

/// A detector with its weights, ready for images of any size.
///
/// # Example
/// ```
/// use burn::tensor::Device;
/// use image::RgbImage;
/// use inscon_model::{ResNetConfig, state_dict};
/// use inscon_model::detection::RcnnConfig;
/// use inscon_train::detect::{Detector, DetectorDescription, write_detector};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let weights = folder.path().join("detector.safetensors");
/// # let description = DetectorDescription {
/// #     backbone: ResNetConfig { depth: 18, width: 0.125, output_stride: 32 },
/// #     detector: RcnnConfig {
/// #         num_classes: 2, fpn_channels: 8, fc_dim: 8, mask_convs: 1, mask_channels: 8,
/// #         rpn_pre_nms_test: 50, rpn_post_nms_test: 20, ..Default::default()
/// #     },
/// #     classes: vec!["door".into(), "window".into()],
/// #     category_ids: vec![1, 2],
/// #     mean: [0.5; 3], std: [0.25; 3], min_size: 64, max_size: 96,
/// # };
/// # let mut rng = inscon_aug::stream(0, &[]);
/// # let model = description.detector.init(&description.backbone, &mut rng, &Device::flex())?;
/// # write_detector(&weights, &state_dict(&model), &description)?;
/// // `weights` is RUN/finetune/best.safetensors, or what `inscon-train export` wrote.
/// let detector = Detector::load(&weights, &Device::flex())?.with_score_threshold(0.5);
/// let image = RgbImage::new(120, 90);
/// let found = &detector.detect(&[image])[0];
/// for (i, [x0, y0, x1, y1]) in found.boxes.iter().enumerate() {
///     let class = &detector.description().classes[found.labels[i]];
///     println!("{class} {:.2}: {x0}, {y0} to {x1}, {y1}", found.scores[i]);
/// }
/// let masks = detector.masks(found, [90, 120]);
/// assert_eq!(masks.len(), found.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Detector {
    model: GeneralizedRcnn,
    description: DetectorDescription,
    device: Device,
    batch: usize,
    imported: Option<ImportReport>,
}

impl Detector {
    /// Loads a file that says what detector it holds: a checkpoint of a fine-tuning or an exported
    /// `detector.safetensors`.
    ///
    /// # Errors
    /// [`DetectError`]: a file that cannot be read, says nothing of its detector, or whose tensors
    /// do not fit what it says.
    pub fn load(weights: &Path, device: &Device) -> Result<Self, DetectError> {
        let (tensors, metadata) = read_weights(weights)?;
        let description = DetectorDescription::of_metadata(weights, &metadata)?;
        match is_ours(&tensors) {
            true => Self::of_tensors(weights, &tensors, description, device),
            false => Self::load_as(weights, description, device),
        }
    }

    /// Loads a file as the detector that is described, whatever the file says of itself: a
    /// checkpoint of this project, or weights in any layout that
    /// [`import_state_dict`] knows (torchvision's `maskrcnn_resnet50_fpn`, detectron2's; safetensors
    /// or PyTorch), of which [`imported`](Self::imported) then tells.
    ///
    /// # Errors
    /// [`DetectError`]: a file that cannot be read, or whose tensors do not fit the description.
    pub fn load_as(
        weights: &Path,
        description: DetectorDescription,
        device: &Device,
    ) -> Result<Self, DetectError> {
        if let Ok((tensors, _)) = read_weights(weights)
            && is_ours(&tensors)
        {
            return Self::of_tensors(weights, &tensors, description, device);
        }
        let imported = import_state_dict(weights, &ImportOptions::default());
        let (tensors, report) = imported.map_err(DetectError::File)?;
        let detector = Self::of_tensors(weights, &tensors, description, device)?;
        Ok(Self {
            imported: Some(report),
            ..detector
        })
    }

    /// What was taken from a file in another layout than this project's.
    #[must_use]
    pub fn imported(&self) -> Option<&ImportReport> {
        self.imported.as_ref()
    }

    fn of_tensors(
        path: &Path,
        tensors: &StateDict,
        description: DetectorDescription,
        device: &Device,
    ) -> Result<Self, DetectError> {
        let wrong = |cause| DetectError::Weights {
            path: path.to_owned(),
            cause,
        };
        // A checkpoint has the optimizer's state beside the model.
        let model = strip_prefix(tensors, "model.");
        let model = if model.is_empty() { tensors } else { &model };
        let finite = |data: &TensorData| {
            !data.dtype().is_float() || data.iter::<f32>().all(|v: f32| v.is_finite())
        };
        if let Some((name, _)) = model.iter().find(|(_, data)| !finite(data)) {
            return Err(DetectError::NotFinite {
                path: path.to_owned(),
                name: name.clone(),
            });
        }
        let plain = device.clone().inner();
        // The weights are replaced, so that the seed does not matter.
        let rng = &mut stream(0, &[]);
        let empty = description
            .detector
            .init(&description.backbone, rng, &plain);
        let loaded = load_state_dict(empty.map_err(wrong)?, model, "", Strictness::Exact);
        Ok(Self {
            model: loaded.map_err(wrong)?.0,
            description,
            device: plain,
            batch: 1,
            imported: None,
        })
    }

    /// Detections are kept from this score on; at first it is the recipe's
    /// `finetune.detector.score_threshold`.
    #[must_use]
    pub fn with_score_threshold(mut self, score: f32) -> Self {
        self.model.config.score_threshold = score;
        self
    }

    /// Images that go through the network together; 1 at first. More are faster on a GPU; the
    /// padding around smaller images of a batch changes detections at the rounding level of
    /// convolutions near the border.
    #[must_use]
    pub fn with_batch(self, batch: usize) -> Self {
        Self {
            batch: batch.max(1),
            ..self
        }
    }

    /// Images that go through the network together.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// What it was loaded as.
    #[must_use]
    pub fn description(&self) -> &DetectorDescription {
        &self.description
    }

    /// Detections on each image, best first, in pixels of the image as given. Masks are
    /// probabilities within each box; [`masks`](Self::masks) draws them.
    #[must_use]
    pub fn detect(&self, images: &[RgbImage]) -> Vec<Detections> {
        let chunks = images.chunks(self.batch);
        chunks
            .flat_map(|chunk| self.detect_together(chunk))
            .collect()
    }

    fn detect_together(&self, images: &[RgbImage]) -> Vec<Detections> {
        let resize = self.description.resize();
        let resized: Vec<RgbImage> = images
            .iter()
            .map(|image| {
                let view = resize.transform(image.width(), image.height(), false);
                view.apply_rgb(image)
            })
            .collect();
        let (pixels, sizes) = self.description.format().stack(&resized);
        let shape: [usize; 4] = pixels.dim().into();
        let data = TensorData::new(pixels.into_raw_vec_and_offset().0, shape);
        let found = self
            .model
            .infer(Tensor::from_data(data, &self.device), &sizes);
        let of_image = |((found, size), image): ((Detections, [usize; 2]), &RgbImage)| {
            found.rescale(size, [image.height() as usize, image.width() as usize])
        };
        found
            .into_iter()
            .zip(sizes)
            .zip(images)
            .map(of_image)
            .collect()
    }

    /// The masks of detections on an image of `[height, width]` pixels, in their order; empty for a
    /// detector without masks.
    #[must_use]
    pub fn masks(&self, found: &Detections, [height, width]: [usize; 2]) -> Vec<BitMask> {
        let probabilities = found.masks.iter().flatten();
        probabilities
            .zip(&found.boxes)
            .map(|(mask, bbox)| paste_mask(mask, found.mask_side, *bbox, height, width))
            .collect()
    }
}

/// The weights of a run's detector: the best of its evaluations, or, with `last` and where none was
/// evaluated yet, the last checkpoint.
///
/// # Errors
/// [`DetectError::NoDetector`].
pub fn weights_of_run(run: &Path, last: bool) -> Result<PathBuf, DetectError> {
    let folder = run.join("finetune");
    let (best, checkpoint) = (folder.join(BEST), folder.join(CHECKPOINT));
    let candidates = if last {
        vec![checkpoint]
    } else {
        vec![best, checkpoint]
    };
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| DetectError::NoDetector {
        run: run.to_owned(),
    })
}

/// Whether tensors have this project's names, in a checkpoint or by themselves.
fn is_ours(tensors: &StateDict) -> bool {
    ["model.rpn.anchor_deltas.weight", "rpn.anchor_deltas.weight"]
        .iter()
        .any(|name| tensors.contains_key(*name))
}

/// Reads a safetensors file.
pub(super) fn read_weights(path: &Path) -> Result<(StateDict, Metadata), DetectError> {
    read_safetensors(path).map_err(DetectError::File)
}
