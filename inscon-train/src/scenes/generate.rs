//! A folder of scenes: images, COCO instances JSONs and the record of how they were made.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, RgbImage};
use inscon_eval::{Annotation, CocoDataset, Image, Rle, Segmentation};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Category, PictureFormat, Scene, SceneInstance, ScenesConfig};
use crate::{RunDirError, write_whole};

/// Raised with every change of what a seed draws, so that old folders are not taken for new ones.
const GENERATOR: u32 = 1;

/// The first step of every stream of this module: "scenes" in ASCII.
const STREAM: u64 = 0x7363_656e_6573;

/// The record of a finished folder.
const RECORD: &str = "scenes.json";

/// Says that a folder is being drawn, or that drawing it was interrupted.
const UNFINISHED: &str = "scenes.unfinished";

/// Where the files of a generated folder are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenesPaths {
    /// Folder of images without labels.
    pub unlabelled: PathBuf,
    /// COCO instances of the labelled split.
    pub train_json: PathBuf,
    /// Folder its `file_name`s are relative to.
    pub train_images: PathBuf,
    /// COCO instances of the test split.
    pub test_json: PathBuf,
    /// Folder its `file_name`s are relative to.
    pub test_images: PathBuf,
}

impl ScenesPaths {
    /// The paths in `out`, whether or not they exist.
    #[must_use]
    pub fn new(out: &Path) -> Self {
        Self {
            unlabelled: out.join("unlabelled"),
            train_json: out.join("instances_train.json"),
            train_images: out.join("train"),
            test_json: out.join("instances_test.json"),
            test_images: out.join("test"),
        }
    }
}

/// Why a folder of scenes was not made.
#[derive(Debug, Error)]
pub enum ScenesError {
    /// The settings cannot be drawn.
    #[error("{0}")]
    Config(String),
    /// The folder holds something else: scenes of other settings, or files of another origin.
    #[error(
        "{} does not hold the scenes asked for ({what}); choose another folder, or delete that one",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
}

/// What `scenes.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    generator: u32,
    seed: u64,
    config: ScenesConfig,
}

/// Draws the three splits into `out`: `unlabelled/`, `train/`, `test/`, `instances_train.json`,
/// `instances_test.json` and, last of all, `scenes.json` with the settings and the seed. A folder
/// whose `scenes.json` says the same returns at once.
///
/// Each image has a random stream of its own, by split and index: its bytes depend neither on
/// threads nor on the counts of the splits. (Across kinds of machine the system's `sin` and `exp`
/// may round differently.)
///
/// # Errors
/// [`ScenesError`]: settings out of bounds, a folder of other settings, or a disk that refuses a
/// file.
pub fn generate(config: &ScenesConfig, seed: u64, out: &Path) -> Result<ScenesPaths, ScenesError> {
    config.validate().map_err(ScenesError::Config)?;
    let paths = ScenesPaths::new(out);
    let record = Record {
        generator: GENERATOR,
        seed,
        config: config.clone(),
    };
    let record_path = out.join(RECORD);
    if let Ok(kept) = fs::read_to_string(&record_path) {
        return match difference(&kept, &record) {
            None => Ok(paths),
            Some(what) => Err(ScenesError::Other {
                path: out.to_owned(),
                what,
            }),
        };
    }
    prepare(&paths, out)?;
    let draw = |split: Split, count: usize, folder: &Path| {
        (0..count)
            .into_par_iter()
            .map(|index| draw_one(config, seed, split, index, folder))
            .collect::<Result<Vec<_>, _>>()
    };
    draw(Split::Unlabelled, config.unlabelled, &paths.unlabelled)?;
    let train = draw(Split::Train, config.labelled, &paths.train_images)?;
    write_json(&paths.train_json, &dataset(config, train))?;
    let test = draw(Split::Test, config.test, &paths.test_images)?;
    write_json(&paths.test_json, &dataset(config, test))?;
    write_json(&record_path, &record)?;
    // Left behind, it would do no harm: a finished folder is not looked into.
    let _ = fs::remove_file(out.join(UNFINISHED));
    Ok(paths)
}

/// Empties the folders of what an interrupted call, perhaps of other settings, left behind. Files
/// that are not this module's are not touched.
fn prepare(paths: &ScenesPaths, out: &Path) -> Result<(), ScenesError> {
    let unfinished = out.join(UNFINISHED);
    for folder in [&paths.unlabelled, &paths.train_images, &paths.test_images] {
        if folder.exists() {
            if !unfinished.exists() {
                let what = format!("{} exists, but no {RECORD}", folder.display());
                return Err(ScenesError::Other {
                    path: out.to_owned(),
                    what,
                });
            }
            fs::remove_dir_all(folder).map_err(|e| failed(folder, e))?;
        }
    }
    fs::create_dir_all(out).map_err(|e| failed(out, e))?;
    write_whole(&unfinished, |_| Ok(()))?;
    for folder in [&paths.unlabelled, &paths.train_images, &paths.test_images] {
        fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
    }
    Ok(())
}

/// A split, with the number its streams begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Unlabelled = 0,
    Train = 1,
    Test = 2,
}

/// Draws and writes one image; returns its file name and its objects' masks.
fn draw_one(
    config: &ScenesConfig,
    seed: u64,
    split: Split,
    index: usize,
    folder: &Path,
) -> Result<(String, Vec<SceneInstance>), ScenesError> {
    let mut rng = inscon_aug::stream(seed, &[STREAM, split as u64, index as u64]);
    let picture = Scene::sample(config, &mut rng).render();
    let name = format!("{index:06}.{}", config.format.extension());
    let path = folder.join(&name);
    // A half-written image is no harm: without `scenes.json` the folder is drawn again.
    encode(&picture.image, config)
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(|e| failed(&path, e))?;
    Ok((name, picture.instances))
}

fn encode(image: &RgbImage, config: &ScenesConfig) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = image.dimensions();
    let colour = image::ExtendedColorType::Rgb8;
    match config.format {
        PictureFormat::Jpeg => JpegEncoder::new_with_quality(&mut bytes, config.quality)
            .write_image(image, width, height, colour),
        PictureFormat::Png => image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(image, width, height, colour),
    }
    .map_err(io::Error::other)?;
    Ok(bytes)
}

/// The instances JSON of a split; ids are from 1, in the order of images and from front to back.
fn dataset(config: &ScenesConfig, drawn: Vec<(String, Vec<SceneInstance>)>) -> CocoDataset {
    let categories = Category::ALL.map(|category| inscon_eval::Category {
        id: category.id(),
        name: category.name().to_owned(),
        supercategory: None,
    });
    let mut data = CocoDataset {
        categories: categories.into(),
        ..CocoDataset::default()
    };
    for (image_id, (file_name, instances)) in (1..).zip(drawn) {
        data.images.push(Image {
            id: image_id,
            file_name,
            width: config.size,
            height: config.size,
        });
        for instance in instances {
            let mask = Rle::encode(&instance.mask, config.size, config.size);
            let b = instance.bbox;
            data.annotations.push(Annotation {
                id: data.annotations.len() as u64 + 1,
                image_id,
                category_id: instance.category.id(),
                bbox: [b.x0, b.y0, b.width(), b.height()].map(f64::from),
                area: f64::from(mask.area()),
                segmentation: Some(Segmentation::from(&mask)),
                ..Annotation::default()
            });
        }
    }
    data
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunDirError> {
    write_whole(path, |file| {
        serde_json::to_writer(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

fn failed(path: &Path, source: io::Error) -> RunDirError {
    RunDirError::Write {
        path: path.to_owned(),
        source,
        kept: "the scenes are not complete",
    }
}

/// The first thing that a kept record says otherwise.
fn difference(kept: &str, wanted: &Record) -> Option<String> {
    let Ok(kept) = serde_json::from_str::<Record>(kept) else {
        return Some(format!("its {RECORD} cannot be read"));
    };
    if kept == *wanted {
        return None;
    }
    if kept.generator != wanted.generator {
        return Some(format!(
            "generator {} there, {} now",
            kept.generator, wanted.generator
        ));
    }
    if kept.seed != wanted.seed {
        return Some(format!("seed = {} there, {} now", kept.seed, wanted.seed));
    }
    let fields = |record: &Record| serde_json::to_value(&record.config).unwrap_or_default();
    let (there, now) = (fields(&kept), fields(wanted));
    let differs = now
        .as_object()?
        .iter()
        .find(|(key, value)| there.get(key) != Some(value));
    let (key, value) = differs?;
    let there = there.get(key).unwrap_or(&serde_json::Value::Null);
    Some(format!("{key} = {there} there, {value} now"))
}
