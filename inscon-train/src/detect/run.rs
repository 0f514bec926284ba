//! Detections on image files, written as COCO results and as pictures.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use image::RgbImage;
use inscon_aug::{BBox, decode_rgb};
use inscon_eval::{Category, CocoDataset, Detection, Image, Rle, Segmentation, save_detections};
use inscon_model::detection::{BitMask, Detections};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{DetectArgs, DetectError, Detector, find_images};
use crate::detection_data::Ahead;
use crate::pictures::{DrawnObject, draw_labelled, save_png};
use crate::{Interrupt, Progress, RunDir, say};

/// What `detect.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectSummary {
    /// Files given.
    pub inputs: usize,
    /// Images that the detector has seen.
    pub images: usize,
    /// Files that could not be read.
    pub unreadable: Vec<UnreadableImage>,
    /// Detections written.
    pub detections: usize,
    /// Time spent, loading of the detector not counted.
    pub seconds: f64,
    /// Images a second.
    pub images_per_second: f64,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableImage {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub error: String,
}

/// `inscon-train detect`: loads the detector, finds the images and goes through them
/// ([`detect_files`]).
///
/// # Errors
/// Arguments, weights or a folder that cannot be used.
pub fn run(args: &DetectArgs, interrupt: &Interrupt) -> Result<()> {
    let files = find_images(&args.images)?;
    let detector = args.detector()?;
    if let Some(report) = detector.imported() {
        say(&report.to_string());
    }
    let out = RunDir::create(&args.out)?;
    let summary = detect_files(&detector, &files, &out, !args.no_pictures, interrupt)?;
    say(&format!(
        "{}: {} detections on {} of {} images, {} unreadable, {:.1} images/s",
        out.path().display(),
        summary.detections,
        summary.images,
        summary.inputs,
        summary.unreadable.len(),
        summary.images_per_second
    ));
    Ok(())
}

/// Detects on image files and writes into `out`:
///
/// - `results.json`: COCO's results format, boxes and, where the detector has them, masks, in pixels
///   of the files; the `image_id` of the n-th file is n, from 1;
/// - `images.json`: the images and classes by id, as a COCO file without annotations;
/// - `detect.json`: a [`DetectSummary`];
/// - `pictures/ID_NAME.png`, with `pictures`: the images with boxes, masks, classes and scores.
///
/// Files that cannot be read are said, counted and left out. When `interrupt` is raised, what was
/// found so far is written.
///
/// # Errors
/// When not one image can be read, and when the disk refuses a file.
pub fn detect_files(
    detector: &Detector,
    files: &[PathBuf],
    out: &RunDir,
    pictures: bool,
    interrupt: &Interrupt,
) -> Result<DetectSummary> {
    let started = Instant::now();
    let folder = match pictures {
        true => Some(RunDir::create(out.file("pictures"))?),
        false => None,
    };
    let chunks: Vec<Vec<(usize, PathBuf)>> = files
        .iter()
        .cloned()
        .enumerate()
        .collect::<Vec<_>>()
        .chunks(detector.batch())
        .map(<[_]>::to_vec)
        .collect();
    let loader = Ahead::new(0..chunks.len() as u64, WORKERS, 2 * WORKERS, move |i| {
        let chunk = &chunks[i as usize];
        chunk
            .iter()
            .map(|(index, path)| (*index, read(path)))
            .collect::<Vec<_>>()
    });
    let mut progress = Progress::new("detecting", "images", 0, files.len() as u64);
    let mut results = Vec::new();
    let mut images = Vec::new();
    let mut unreadable = Vec::new();
    let mut seen = 0;
    for chunk in loader {
        if interrupt.is_raised() {
            break;
        }
        seen += chunk.len();
        let mut readable = Vec::new();
        let mut pixels = Vec::new();
        for (index, image) in chunk {
            match image {
                Ok(image) => {
                    readable.push(index);
                    pixels.push(image);
                }
                Err(error) => {
                    let file = files[index].display().to_string();
                    progress.say(&format!("unreadable image {file}: {error}"));
                    unreadable.push(UnreadableImage { file, error });
                }
            }
        }
        let found = detector.detect(&pixels);
        let written: Vec<Result<Vec<Detection>>> = readable
            .par_iter()
            .zip(&pixels)
            .zip(&found)
            .map(|((index, image), found)| {
                let (height, width) = (image.height() as usize, image.width() as usize);
                let masks = detector.masks(found, [height, width]);
                if let Some(folder) = &folder {
                    let picture = draw(detector, image, found, &masks);
                    save_png(
                        &picture,
                        &folder.file(&picture_name(*index, &files[*index])),
                    )?;
                }
                Ok(as_results(detector, *index, found, &masks))
            })
            .collect();
        for ((index, image), written) in readable.iter().zip(&pixels).zip(written) {
            results.extend(written?);
            images.push(Image {
                id: *index as u64 + 1,
                file_name: files[*index].display().to_string(),
                width: image.width(),
                height: image.height(),
            });
        }
        progress.update(seen as u64, &format!("{} detections", results.len()));
    }
    progress.finish();
    if let (true, Some(first)) = (images.is_empty(), unreadable.first()) {
        let first = format!("{}: {}", first.file, first.error);
        let images = unreadable.len();
        return Err(DetectError::NoneReadable { images, first }.into());
    }
    let seconds = started.elapsed().as_secs_f64();
    let summary = DetectSummary {
        inputs: files.len(),
        images: images.len(),
        detections: results.len(),
        unreadable,
        seconds,
        images_per_second: images.len() as f64 / seconds.max(1e-9),
    };
    save_detections(out.file("results.json"), &results)?;
    index_of(detector, images).save(out.file("images.json"))?;
    out.write_json("detect.json", &summary)?;
    Ok(summary)
}

/// Threads that decode.
const WORKERS: usize = 2;

fn read(path: &Path) -> Result<RgbImage, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    decode_rgb(&bytes).map_err(|error| error.to_string())
}

/// `00007_street.png`: no two files have one name.
fn picture_name(index: usize, path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{:05}_{stem}.png", index + 1)
}

/// Box and mask in one entry, as detectron2 writes `coco_instances_results.json`.
fn as_results(
    detector: &Detector,
    index: usize,
    found: &Detections,
    masks: &[BitMask],
) -> Vec<Detection> {
    let result = |i: usize| {
        let [x0, y0, x1, y1] = found.boxes[i].map(f64::from);
        let segmentation = masks.get(i).map(|mask| {
            let rle = Rle::encode(&mask.data, mask.height as u32, mask.width as u32);
            Segmentation::from(&rle)
        });
        Detection {
            image_id: index as u64 + 1,
            category_id: detector.description().category_ids[found.labels[i]],
            score: f64::from(found.scores[i]),
            bbox: Some([x0, y0, x1 - x0, y1 - y0]),
            segmentation,
            ..Detection::default()
        }
    };
    (0..found.len()).map(result).collect()
}

fn draw(detector: &Detector, image: &RgbImage, found: &Detections, masks: &[BitMask]) -> RgbImage {
    let object = |i: usize| {
        let [x0, y0, x1, y1] = found.boxes[i];
        DrawnObject {
            bbox: BBox::new(x0, y0, x1, y1),
            mask: masks.get(i).map(|mask| mask.data.clone()),
            label: found.labels[i],
            score: Some(found.scores[i]),
        }
    };
    let objects: Vec<DrawnObject> = (0..found.len()).map(object).collect();
    draw_labelled(image, &objects, &detector.description().classes)
}

fn index_of(detector: &Detector, images: Vec<Image>) -> CocoDataset {
    let description = detector.description();
    let categories = description.category_ids.iter().zip(&description.classes);
    CocoDataset {
        images,
        annotations: Vec::new(),
        categories: categories
            .map(|(id, name)| Category {
                id: *id,
                name: name.clone(),
                supercategory: None,
            })
            .collect(),
    }
}
