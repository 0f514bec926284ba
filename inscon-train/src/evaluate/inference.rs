//! The detector over a data set: detections in pixels of the original images.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use image::RgbImage;
use inscon_aug::ResizeShortestEdge;
use inscon_eval::{Detection, Rle, Segmentation};
use inscon_model::detection::{Detections, GeneralizedRcnn, paste_mask};
use rayon::prelude::*;

use super::{Measures, Scores};
use crate::config::ExperimentConfig;
use crate::detection_data::{Ahead, DetectionBatch, DetectionDataset, PixelFormat};
use crate::finetune::pixel_format;
use crate::{Interrupt, Progress};

/// How a data set is run through a detector.
#[derive(Debug, Clone)]
pub struct Inference {
    /// The images.
    pub data: Arc<DetectionDataset>,
    /// Their size.
    pub resize: ResizeShortestEdge,
    /// The detector's input.
    pub format: PixelFormat,
    /// Images at once.
    pub batch: usize,
    /// Threads that decode.
    pub workers: usize,
    /// Batches prepared ahead.
    pub prefetch: usize,
    /// Stop when more than this share of the images is unreadable.
    pub max_bad_share: f64,
}

/// What a detector found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Boxes: COCO's `results.bbox.json`, by image, best first.
    pub boxes: Vec<Detection>,
    /// Masks: COCO's `results.segm.json`; `None` without a mask branch.
    pub masks: Option<Vec<Detection>>,
    /// What it is worth.
    pub measures: Measures,
    /// The short form.
    pub scores: Scores,
    /// Images the detector has seen.
    pub images: usize,
    /// Images that could not be read; nothing is found on them.
    pub unreadable: usize,
    /// Time spent.
    pub seconds: f64,
}

/// Detections on one image, in its own pixels.
struct OnImage {
    index: usize,
    boxes: Vec<Detection>,
    masks: Option<Vec<Detection>>,
}

impl Inference {
    /// The validation of a recipe: shortest side `finetune.test_min_size`, no flip.
    #[must_use]
    pub fn new(config: &ExperimentConfig, data: Arc<DetectionDataset>) -> Self {
        let f = &config.finetune;
        Self {
            data,
            resize: ResizeShortestEdge {
                min_size: f.test_min_size,
                max_size: f.max_size,
            },
            format: pixel_format(config),
            batch: f.batch,
            workers: config.data.workers,
            prefetch: config.data.prefetch,
            max_bad_share: config.data.max_bad_share,
        }
    }

    /// Indices of the images in batches of similar shape, so that there is little padding. They
    /// depend on the sizes in the JSON alone.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<usize>> {
        let size = |&i: &usize| {
            let sample = &self.data.samples()[i];
            let (width, height) = self.resize.output_size(sample.width, sample.height);
            (height, width, i)
        };
        let mut order: Vec<usize> = (0..self.data.samples().len()).collect();
        order.sort_by_key(size);
        order
            .chunks(self.batch.max(1))
            .map(<[usize]>::to_vec)
            .collect()
    }

    /// The batches, made ahead of time on worker threads. `None` stands for a batch of which no
    /// image can be read.
    #[must_use]
    pub fn load(&self) -> Ahead<Option<DetectionBatch>> {
        let (this, batches) = (self.clone(), self.batches());
        let range = 0..batches.len() as u64;
        Ahead::new(range, self.workers, self.prefetch, move |i| {
            this.make(&batches[i as usize])
        })
    }

    fn make(&self, images: &[usize]) -> Option<DetectionBatch> {
        let read = |&index: &usize| match self.data.decode(index) {
            Ok(image) => {
                let view = self.resize.transform(image.width(), image.height(), false);
                Some((index, view.apply_rgb(&image)))
            }
            Err(error) => {
                self.data.note_bad(index, &error);
                None
            }
        };
        let (images, pictures): (Vec<usize>, Vec<RgbImage>) =
            images.iter().filter_map(read).unzip();
        if images.is_empty() {
            return None;
        }
        let (pixels, sizes) = self.format.stack(&pictures);
        Some(DetectionBatch {
            pixels,
            sizes,
            targets: Vec::new(),
            images,
        })
    }
}

/// Runs the detector (on the plain device) over the data set and scores what it finds. `None` when
/// `interrupt` was raised before the end.
///
/// # Errors
/// More unreadable images than allowed; truth that cannot be evaluated.
pub fn evaluate(
    model: &GeneralizedRcnn,
    inference: &Inference,
    device: &Device,
    interrupt: &Interrupt,
    mut progress: Option<Progress>,
) -> Result<Option<Found>> {
    let started = Instant::now();
    let device = device.clone().inner();
    let mut all: Vec<OnImage> = Vec::new();
    for batch in inference.load() {
        if interrupt.is_raised() {
            return Ok(None);
        }
        let Some(batch) = batch else { continue };
        let found = model.infer(batch.tensor(&device), &batch.sizes);
        let of_batch: Vec<OnImage> = (0..batch.images.len())
            .into_par_iter()
            .map(|i| on_image(&inference.data, batch.images[i], batch.sizes[i], &found[i]))
            .collect();
        all.extend(of_batch);
        if let Some(progress) = &mut progress {
            progress.update(all.len() as u64, "");
        }
    }
    inference.data.check_bad(inference.max_bad_share)?;
    if let Some(progress) = progress {
        progress.finish();
    }

    all.sort_by_key(|image| image.index);
    let images = all.len();
    let mut boxes = Vec::new();
    let mut masks = model.config.mask.then(Vec::new);
    for image in all {
        boxes.extend(image.boxes);
        if let (Some(masks), Some(found)) = (&mut masks, image.masks) {
            masks.extend(found);
        }
    }
    let measures = Measures::of(inference.data.ground_truth(), &boxes, masks.as_deref())?;
    Ok(Some(Found {
        scores: measures.scores(),
        boxes,
        masks,
        measures,
        images,
        unreadable: inference.data.samples().len() - images,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// Detections of the detector's input `[height, width]` as results on the image itself.
fn on_image(
    data: &DetectionDataset,
    index: usize,
    size: [usize; 2],
    found: &Detections,
) -> OnImage {
    let sample = &data.samples()[index];
    let (height, width) = (sample.height as usize, sample.width as usize);
    let found = found.rescale(size, [height, width]);
    let result = |i: usize| Detection {
        image_id: sample.id,
        category_id: data.category_id(found.labels[i]),
        score: f64::from(found.scores[i]),
        ..Detection::default()
    };
    let boxes = (0..found.len()).map(|i| {
        let [x0, y0, x1, y1] = found.boxes[i].map(f64::from);
        Detection {
            bbox: Some([x0, y0, x1 - x0, y1 - y0]),
            ..result(i)
        }
    });
    // A mask result carries no box: with one, COCO's area ranges would go by the box's area.
    let masks = found.masks.as_ref().map(|probs| {
        let mask = |i: usize| {
            let mask = paste_mask(&probs[i], found.mask_side, found.boxes[i], height, width);
            let rle = Rle::encode(&mask.data, sample.height, sample.width);
            Detection {
                segmentation: Some(Segmentation::from(&rle)),
                ..result(i)
            }
        };
        (0..found.len()).map(mask).collect()
    });
    OnImage {
        index,
        boxes: boxes.collect(),
        masks,
    }
}
