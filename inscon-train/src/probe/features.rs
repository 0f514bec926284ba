//! Features and labels of the two probes, from one pass over the images.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use inscon_aug::{chance, stream};
use inscon_model::detection::{BitMask, Roi, RoiAlign};
use inscon_model::{NormMode, ResNet};
use ndarray::{Array2, ArrayView4};

use super::{Paint, cell_grid, cell_labels};
use crate::detection_data::{DetectionBatch, DetectionDataset, Sample};
use crate::evaluate::Inference;
use crate::{Interrupt, Progress};

/// Samples of one probe.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Channels of the feature.
    pub columns: usize,
    /// `rows · columns` values, row-major.
    values: Vec<f32>,
    /// A class a row.
    pub labels: Vec<usize>,
}

impl Samples {
    /// The features `[rows, columns]`.
    #[must_use]
    pub fn features(&self) -> Array2<f32> {
        let shape = (self.labels.len(), self.columns);
        Array2::from_shape_vec(shape, self.values.clone()).expect("a row of features a label")
    }

    fn push(&mut self, feature: impl IntoIterator<Item = f32>, label: usize) {
        self.values.extend(feature);
        self.labels.push(label);
        self.columns = self.values.len() / self.labels.len();
    }
}

/// How features are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extraction {
    /// Seed of the choice of samples.
    pub seed: u64,
    /// Cells along a side of a RoIAligned box.
    pub roi_size: usize,
    /// Stride of C5.
    pub stride: usize,
    /// Whether cells are sampled as well; needs masks.
    pub cells: bool,
    /// Most boxes, and most cells; beyond it they are drawn evenly from the whole set.
    pub max_samples: usize,
}

/// First number of the stream path of the choice of samples.
const SAMPLES: u64 = 7;

/// Runs the frozen backbone over the data set: box samples, and cell samples if they are asked for.
/// `None` when `interrupt` was raised.
///
/// # Errors
/// Too many unreadable images, masks that cannot be drawn.
pub fn extract(
    resnet: &ResNet,
    inference: &Inference,
    extraction: &Extraction,
    device: &Device,
    interrupt: &Interrupt,
    mut progress: Progress,
) -> Result<Option<(Samples, Samples)>> {
    let device = device.clone().inner();
    let data = &inference.data;
    let [box_share, cell_share] = shares(inference, extraction);
    let (mut boxes, mut cells) = (Vec::new(), Vec::new());
    let mut seen = 0;
    for batch in inference.load() {
        if interrupt.is_raised() {
            return Ok(None);
        }
        let Some(batch) = batch else { continue };
        let [.., c5] = resnet.forward(batch.tensor(&device), NormMode::Eval, 1);
        let (rois, labels) = rois_of(inference, extraction, &batch, box_share);
        if !rois.is_empty() {
            let align = RoiAlign {
                output: extraction.roi_size,
                spatial_scale: 1.0 / extraction.stride as f32,
                sampling_ratio: 0,
                aligned: true,
            };
            let pooled: Tensor<4> = align.forward(c5.clone(), &rois).mean_dim(3).mean_dim(2);
            let [_, channels, ..] = pooled.dims();
            let values: Vec<f32> = pooled.into_data().iter::<f32>().collect();
            let rows = values.chunks_exact(channels).map(<[f32]>::to_vec);
            let of_batch: Vec<_> = rois.iter().map(|roi| batch.images[roi.image]).collect();
            let rows = of_batch.into_iter().zip(rows).zip(labels);
            boxes.extend(rows.map(|((image, row), label)| (image, row, label)));
        }
        if extraction.cells {
            let shape = c5.dims();
            let values: Vec<f32> = c5.into_data().iter::<f32>().collect();
            let map = ArrayView4::from_shape(shape, &values)?;
            for slot in 0..batch.images.len() {
                cells_of(data, extraction, &batch, slot, &map, cell_share, &mut cells)?;
            }
        }
        seen += batch.images.len();
        progress.update(seen as u64, "");
    }
    data.check_bad(inference.max_bad_share)?;
    progress.finish();
    Ok(Some((gather(boxes, extraction), gather(cells, extraction))))
}

/// A sample with the image it is of.
type Row = (usize, Vec<f32>, usize);

/// Samples in the order of the images, whatever order the batches came in.
fn gather(mut rows: Vec<Row>, extraction: &Extraction) -> Samples {
    rows.sort_by_key(|(image, ..)| *image);
    rows.truncate(extraction.max_samples);
    let mut samples = Samples::default();
    for (_, feature, label) in rows {
        samples.push(feature, label);
    }
    samples
}

/// Share of the boxes and of the cells to keep, from the sizes in the JSON alone.
fn shares(inference: &Inference, extraction: &Extraction) -> [f64; 2] {
    let samples = inference.data.samples();
    let boxes: usize = samples
        .iter()
        .map(|s| s.objects.iter().filter(|o| o.trainable).count())
        .sum();
    let cells = |sample: &Sample| {
        let (width, height) = inference.resize.output_size(sample.width, sample.height);
        cell_grid([height as usize, width as usize], extraction.stride)
            .iter()
            .product::<usize>()
    };
    let cells: usize = samples.iter().map(cells).sum();
    [boxes, cells].map(|count| extraction.max_samples as f64 / count.max(1) as f64)
}

fn rois_of(
    inference: &Inference,
    extraction: &Extraction,
    batch: &DetectionBatch,
    share: f64,
) -> (Vec<Roi>, Vec<usize>) {
    let mut rois = Vec::new();
    let mut labels = Vec::new();
    for (slot, &image) in batch.images.iter().enumerate() {
        let sample = &inference.data.samples()[image];
        let view = inference
            .resize
            .transform(sample.width, sample.height, false);
        let mut rng = stream(extraction.seed, &[SAMPLES, 0, sample.id]);
        for object in sample.objects.iter().filter(|object| object.trainable) {
            if chance(&mut rng, share) {
                rois.push(Roi {
                    image: slot,
                    bbox: view.apply_box(&object.bbox).to_array(),
                });
                labels.push(object.label);
            }
        }
    }
    (rois, labels)
}

fn cells_of(
    data: &DetectionDataset,
    extraction: &Extraction,
    batch: &DetectionBatch,
    slot: usize,
    map: &ArrayView4<f32>,
    share: f64,
    out: &mut Vec<Row>,
) -> Result<()> {
    let (image, size) = (batch.images[slot], batch.sizes[slot]);
    let sample = &data.samples()[image];
    let [height, width] = size.map(|side| side as u32);
    let whole = inscon_aug::BBox::of_size(sample.width, sample.height);
    let view = inscon_aug::ViewTransform {
        crop: whole,
        flip: false,
        width,
        height,
    };
    let view = inscon_aug::DetectionTransform { view };
    let mut objects = Vec::new();
    for object in &sample.objects {
        let paint = if object.trainable {
            Paint::Class(object.label)
        } else {
            Paint::Void
        };
        if !object.trainable && !data.has_mask(object) {
            continue;
        }
        let mask = data.mask(image, object)?;
        let pixels = view.apply_mask(&mask.data, mask.width as u32, mask.height as u32);
        objects.push((
            paint,
            BitMask {
                height: size[0],
                width: size[1],
                data: pixels,
            },
        ));
    }
    let labels = cell_labels(&objects, size, extraction.stride, data.class_names().len());
    let [rows, columns] = cell_grid(size, extraction.stride);
    let mut rng = stream(extraction.seed, &[SAMPLES, 1, sample.id]);
    for v in 0..rows {
        for u in 0..columns {
            let kept = chance(&mut rng, share);
            if let (true, Some(label)) = (kept, labels[v * columns + u]) {
                let feature = (0..map.dim().1).map(|c| map[[slot, c, v, u]]).collect();
                out.push((image, feature, label));
            }
        }
    }
    Ok(())
}
