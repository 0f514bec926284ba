//! Images and targets of one iteration.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use inscon_aug::{DetectionAugmentation, DetectionTransform, normalize_into, stream};
use inscon_model::detection::{BitMask, Target};
use ndarray::{Array4, Axis, Slice};

use super::{BatchPlan, DetectionDataError, DetectionDataset};

/// Images, normalised, each in the upper left of a canvas of a common size; the rest is 0, the mean
/// colour (detectron2's `ImageList`).
#[derive(Debug, Clone)]
pub struct DetectionBatch {
    /// `[N, 3, H, W]`.
    pub pixels: Array4<f32>,
    /// `[height, width]` of each image without the padding.
    pub sizes: Vec<[usize; 2]>,
    /// What to learn of each image; empty in batches for inference.
    pub targets: Vec<Target>,
    /// Index of each image in the data set.
    pub images: Vec<usize>,
}

impl DetectionBatch {
    /// The pixels on `device`.
    #[must_use]
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let pixels = self
            .pixels
            .as_standard_layout()
            .iter()
            .copied()
            .collect::<Vec<f32>>();
        let shape: [usize; 4] = self.pixels.dim().into();
        Tensor::from_data(TensorData::new(pixels, shape), device)
    }
}

/// How pixels become the detector's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelFormat {
    /// Mean of each channel, of values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Heights and widths are padded to a multiple of this.
    pub multiple: usize,
}

impl PixelFormat {
    /// Puts images onto a common canvas.
    ///
    /// # Panics
    /// When there is no image.
    #[must_use]
    pub fn stack(&self, pictures: &[RgbImage]) -> (Array4<f32>, Vec<[usize; 2]>) {
        assert!(!pictures.is_empty(), "a batch without images");
        let sizes: Vec<[usize; 2]> = pictures
            .iter()
            .map(|p| [p.height() as usize, p.width() as usize])
            .collect();
        let [height, width] = [0, 1].map(|axis| {
            let longest = sizes.iter().map(|size| size[axis]).max().unwrap_or(1);
            longest.next_multiple_of(self.multiple.max(1))
        });
        let mut pixels = Array4::zeros((pictures.len(), 3, height, width));
        for (i, (picture, [h, w])) in pictures.iter().zip(&sizes).enumerate() {
            let mut place = pixels.index_axis_mut(Axis(0), i);
            place.slice_axis_inplace(Axis(1), Slice::from(..*h));
            place.slice_axis_inplace(Axis(2), Slice::from(..*w));
            normalize_into(picture, self.mean, self.std, place);
        }
        (pixels, sizes)
    }
}

/// The training batches of a run: any of them from `(seed, iteration)` alone.
#[derive(Debug, Clone)]
pub struct TrainBatches {
    /// The labelled images.
    pub data: Arc<DetectionDataset>,
    /// Seed of the run.
    pub seed: u64,
    /// Images in a batch.
    pub batch: usize,
    /// How sizes and flips are drawn.
    pub augmentation: DetectionAugmentation,
    /// The detector's input.
    pub format: PixelFormat,
    /// Whether targets carry masks.
    pub masks: bool,
}

impl TrainBatches {
    /// The images of iterations `0..iterations`, as indices into the data set.
    ///
    /// # Errors
    /// [`DetectionDataError::Empty`] when no image has anything to train on.
    pub fn plan(&self, iterations: u64) -> Result<Vec<Vec<usize>>, DetectionDataError> {
        let usable = self.data.trainable();
        if usable.is_empty() {
            return Err(DetectionDataError::Empty {
                origin: self.data.origin().to_owned(),
                what: "no object to train on: every one is a crowd, difficult or without area",
            });
        }
        let size = |&i: &usize| [self.data.samples()[i].width, self.data.samples()[i].height];
        let sizes: Vec<[u32; 2]> = usable.iter().map(size).collect();
        let plan = BatchPlan::new(self.seed, self.batch, &sizes).take(iterations as usize);
        Ok(plan
            .map(|batch| batch.into_iter().map(|i| usable[i]).collect())
            .collect())
    }

    /// The batch of an iteration whose images are `images`. An unreadable image is noted and
    /// replaced by the next one of the data set with something to train on.
    ///
    /// # Errors
    /// [`DetectionDataError::Mask`], and [`DetectionDataError::TooManyBad`] when no image can be
    /// read.
    pub fn make(
        &self,
        iteration: u64,
        images: &[usize],
    ) -> Result<DetectionBatch, DetectionDataError> {
        let mut pictures = Vec::with_capacity(images.len());
        let mut targets = Vec::with_capacity(images.len());
        let mut used = Vec::with_capacity(images.len());
        for (slot, &image) in images.iter().enumerate() {
            let (image, picture) = self.readable(image)?;
            let rng = &mut stream(self.seed, &[4, iteration, slot as u64]);
            let (width, height) = picture.dimensions();
            let view = self.augmentation.sample(rng, width, height);
            targets.push(self.target(image, &view)?);
            pictures.push(view.apply_rgb(&picture));
            used.push(image);
        }
        let (pixels, sizes) = self.format.stack(&pictures);
        Ok(DetectionBatch {
            pixels,
            sizes,
            targets,
            images: used,
        })
    }

    fn readable(&self, image: usize) -> Result<(usize, Arc<RgbImage>), DetectionDataError> {
        let samples = self.data.samples();
        for index in (image..samples.len()).chain(0..image) {
            if !samples[index].objects.iter().any(|object| object.trainable) {
                continue;
            }
            match self.data.decode(index) {
                Ok(picture) => return Ok((index, picture)),
                Err(error) => self.data.note_bad(index, &error),
            }
        }
        self.data.check_bad(0.0)?;
        unreachable!("an image was planned, and every image that could be is unreadable")
    }

    fn target(
        &self,
        image: usize,
        view: &DetectionTransform,
    ) -> Result<Target, DetectionDataError> {
        let mut target = Target {
            masks: self.masks.then(Vec::new),
            ..Target::default()
        };
        for object in self.data.samples()[image]
            .objects
            .iter()
            .filter(|o| o.trainable)
        {
            target.boxes.push(view.apply_box(&object.bbox).to_array());
            target.labels.push(object.label);
            if let Some(masks) = &mut target.masks {
                let mask = self.data.mask(image, object)?;
                let data = view.apply_mask(&mask.data, mask.width as u32, mask.height as u32);
                let (width, height) = view.output_size();
                masks.push(BitMask {
                    height: height as usize,
                    width: width as usize,
                    data,
                });
            }
        }
        Ok(target)
    }
}
