//! Detections drawn on some images of the set.

use std::sync::Arc;

use anyhow::Result;
use image::RgbImage;
use inscon_aug::BBox;
use inscon_eval::Segmentation;

use super::{Found, Inference};
use crate::RunDir;
use crate::detection_data::DetectionDataset;
use crate::pictures::{DetectionsPicture, DrawnObject, write_detections};

/// Pictures of an evaluation, at most.
pub const PICTURES: usize = 12;
/// Detections from this score on are drawn.
pub const SHOWN_FROM: f64 = 0.5;

/// Writes `detections/` into the folder of a fine-tuning: for some images, evenly spread over the
/// set, the truth and what was found with a score of at least [`SHOWN_FROM`].
///
/// # Errors
/// When the disk refuses a file.
pub fn draw_detections(dir: &RunDir, inference: &Inference, found: &Found) -> Result<()> {
    let data = &inference.data;
    let count = data.samples().len();
    let step = count.div_ceil(PICTURES).max(1);
    let images: Vec<(usize, Arc<RgbImage>)> = (0..count)
        .step_by(step)
        .filter_map(|i| Some((i, data.decode(i).ok()?)))
        .collect();
    let pictures: Vec<DetectionsPicture> = images
        .iter()
        .map(|(index, image)| DetectionsPicture {
            image_id: data.samples()[*index].id,
            image,
            found: found_on(data, *index, found),
            truth: truth_on(data, *index),
        })
        .collect();
    write_detections(&pictures, data.class_names(), &dir.file("detections"))?;
    Ok(())
}

fn found_on(data: &DetectionDataset, index: usize, found: &Found) -> Vec<DrawnObject> {
    let id = data.samples()[index].id;
    // Boxes and masks are in the same order.
    let masks = found.masks.as_ref();
    let mut objects = Vec::new();
    for (i, detection) in found
        .boxes
        .iter()
        .enumerate()
        .filter(|(_, d)| d.image_id == id)
    {
        let (Some(bbox), Some(label)) = (detection.bbox, data.label_of(detection.category_id))
        else {
            continue;
        };
        if detection.score >= SHOWN_FROM {
            let mask = masks.and_then(|masks| masks[i].segmentation.as_ref());
            objects.push(DrawnObject {
                bbox: xyxy(bbox),
                mask: mask.and_then(|mask| pixels(data, index, mask)),
                label,
                score: Some(detection.score as f32),
            });
        }
    }
    objects
}

fn truth_on(data: &DetectionDataset, index: usize) -> Vec<DrawnObject> {
    let drawn = |object: &crate::detection_data::Object| {
        let annotation = &data.ground_truth().annotations[object.annotation];
        let mask = annotation.segmentation.as_ref();
        DrawnObject {
            bbox: object.bbox,
            mask: mask.and_then(|mask| pixels(data, index, mask)),
            label: object.label,
            score: None,
        }
    };
    data.samples()[index].objects.iter().map(drawn).collect()
}

/// A mask over the whole image; `None` for one of another size, which cannot be laid over it.
fn pixels(data: &DetectionDataset, index: usize, mask: &Segmentation) -> Option<Vec<u8>> {
    let sample = &data.samples()[index];
    let rle = mask.to_rle(sample.height, sample.width).ok()?;
    ((rle.width(), rle.height()) == (sample.width, sample.height)).then(|| rle.decode())
}

fn xyxy([x, y, width, height]: [f64; 4]) -> BBox {
    BBox::new(x as f32, y as f32, (x + width) as f32, (y + height) as f32)
}
