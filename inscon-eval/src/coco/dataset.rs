//! Reading and writing the files.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lenient::quote_non_finite;
use super::{CocoDataset, Detection};
use crate::EvalError;

impl CocoDataset {
    /// Reads an `instances_*.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is of another shape, or when an annotation is on an image
    /// or of a category that the file does not list: the message names file, annotation and id.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let data: Self = read(path)?;
        let images: HashSet<u64> = data.images.iter().map(|image| image.id).collect();
        let categories: HashSet<u64> = data.categories.iter().map(|category| category.id).collect();
        for a in &data.annotations {
            let (path, annotation) = (|| path.to_owned(), a.id);
            if !images.contains(&a.image_id) {
                let image = a.image_id;
                return Err(EvalError::UnknownImage {
                    path: path(),
                    annotation,
                    image,
                });
            }
            if !categories.contains(&a.category_id) {
                let category = a.category_id;
                return Err(EvalError::UnknownCategory {
                    path: path(),
                    annotation,
                    category,
                });
            }
        }
        Ok(data)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        write(path.as_ref(), self)
    }
}

/// Reads a results file: a JSON list of [`Detection`]s. Python's bare `NaN` and `Infinity` are
/// understood.
///
/// # Errors
/// When the file cannot be read or is of another shape.
pub fn load_detections(path: impl AsRef<Path>) -> Result<Vec<Detection>, EvalError> {
    read(path.as_ref())
}

/// Writes a results file, whole or not at all. JSON has no NaN: such a score is written as `null`,
/// which no tool reads back.
///
/// # Errors
/// When the disk refuses it.
pub fn save_detections(path: impl AsRef<Path>, detections: &[Detection]) -> Result<(), EvalError> {
    write(path.as_ref(), &detections)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, EvalError> {
    let text = fs::read(path).map_err(|source| EvalError::Read {
        path: path.into(),
        source,
    })?;
    serde_json::from_slice(&text)
        .or_else(|error| match quote_non_finite(&text) {
            std::borrow::Cow::Borrowed(_) => Err(error),
            std::borrow::Cow::Owned(text) => serde_json::from_slice(&text),
        })
        .map_err(|source| EvalError::Parse {
            path: path.into(),
            source,
        })
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), EvalError> {
    let mut temporary: OsString = path.into();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    serde_json::to_vec(value)
        .map_err(std::io::Error::from)
        .and_then(|text| fs::write(&temporary, text))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| EvalError::Write {
            path: path.into(),
            source,
        })
}
