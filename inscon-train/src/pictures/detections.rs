//! Objects, found or true, drawn on their images.

use std::path::Path;

use image::RgbImage;
use inscon_aug::{BBox, draw};
use serde::{Deserialize, Serialize};

use super::PicturesError;
use super::error::save_png;
use crate::RunDir;

/// An object to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnObject {
    /// Its box, in pixels of the image.
    pub bbox: BBox,
    /// Its mask over the whole image, row by row, 0 where it is not; `None` draws the box alone.
    pub mask: Option<Vec<u8>>,
    /// Its class, from 0; chooses the colour.
    pub label: usize,
    /// Confidence; `None` for the truth.
    pub score: Option<f32>,
}

/// An image with what was found on it and what is there.
#[derive(Debug, Clone)]
pub struct DetectionsPicture<'a> {
    /// The image's id.
    pub image_id: u64,
    /// Its pixels.
    pub image: &'a RgbImage,
    /// What was found.
    pub found: Vec<DrawnObject>,
    /// What is there; may be empty.
    pub truth: Vec<DrawnObject>,
}

/// What `detections.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectionsRecord {
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    /// Colours of the classes, `#rrggbb`, by label.
    pub colours: Vec<String>,
    /// The pictures.
    pub pictures: Vec<PictureRecord>,
}

/// One image's two pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureRecord {
    /// The image's id.
    pub image_id: u64,
    /// Width and height of both PNGs.
    pub size: [u32; 2],
    /// The PNG with what was found.
    pub found_file: String,
    /// Labels for it, best first.
    pub found: Vec<LabelRecord>,
    /// The PNG with what is there, if that is known.
    pub truth_file: Option<String>,
    /// Labels for it.
    pub truth: Vec<LabelRecord>,
}

/// A label to put on a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// The class, from 0.
    pub label: usize,
    /// Its name.
    pub name: String,
    /// Confidence; `None` for the truth.
    pub score: Option<f32>,
    /// The box, xyxy in pixels of the PNG.
    pub bbox: [f32; 4],
}

/// Draws objects on an image: masks blended over it, boxes outlined, the best on top, one colour a
/// class.
///
/// # Panics
/// When a mask is not of the image's size.
#[must_use]
pub fn draw_objects(image: &RgbImage, objects: &[DrawnObject]) -> RgbImage {
    draw_outlined(image, objects, 1.0)
}

/// The same with outlines of another thickness, in pixels.
pub(super) fn draw_outlined(image: &RgbImage, objects: &[DrawnObject], thickness: f32) -> RgbImage {
    const OPACITY: f32 = 0.45;
    let mut picture = image.clone();
    let order = best_first(objects);
    for object in order.iter().rev() {
        if let Some(mask) = &object.mask {
            draw::mask(&mut picture, mask, draw::palette(object.label), OPACITY);
        }
    }
    for object in order.iter().rev() {
        let color = draw::palette(object.label);
        draw::rectangle(&mut picture, &object.bbox, color, thickness);
    }
    picture
}

/// Writes `found_ID.png`, `truth_ID.png` and `detections.json` into `out`.
///
/// # Errors
/// When the disk refuses a file.
///
/// # Panics
/// When a mask is not of its image's size.
pub fn write_detections(
    pictures: &[DetectionsPicture<'_>],
    classes: &[String],
    out: &Path,
) -> Result<DetectionsRecord, PicturesError> {
    let run = RunDir::create(out)?;
    let labels = |objects: &[DrawnObject]| {
        let label = |object: &&DrawnObject| LabelRecord {
            label: object.label,
            name: classes.get(object.label).cloned().unwrap_or_default(),
            score: object.score,
            bbox: object.bbox.to_array(),
        };
        best_first(objects).iter().map(label).collect::<Vec<_>>()
    };
    let mut records = Vec::new();
    for picture in pictures {
        let found_file = format!("found_{}.png", picture.image_id);
        save_png(
            &draw_objects(picture.image, &picture.found),
            &run.file(&found_file),
        )?;
        let truth_file =
            (!picture.truth.is_empty()).then(|| format!("truth_{}.png", picture.image_id));
        if let Some(file) = &truth_file {
            save_png(
                &draw_objects(picture.image, &picture.truth),
                &run.file(file),
            )?;
        }
        records.push(PictureRecord {
            image_id: picture.image_id,
            size: picture.image.dimensions().into(),
            found_file,
            found: labels(&picture.found),
            truth_file,
            truth: labels(&picture.truth),
        });
    }
    let colour = |label: usize| {
        let [r, g, b] = draw::palette(label);
        format!("#{r:02x}{g:02x}{b:02x}")
    };
    let record = DetectionsRecord {
        classes: classes.to_vec(),
        colours: (0..classes.len()).map(colour).collect(),
        pictures: records,
    };
    run.write_json("detections.json", &record)?;
    Ok(record)
}

/// By falling score; the truth keeps its order.
pub(super) fn best_first(objects: &[DrawnObject]) -> Vec<&DrawnObject> {
    let mut order: Vec<&DrawnObject> = objects.iter().collect();
    let score = |object: &DrawnObject| object.score.unwrap_or(1.0);
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    order
}
