//! Reading and writing the files.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lenient::quote_non_finite;
use super::{CocoDataset, Detection, GroundTruth, IouType, Results};
use crate::EvalError;

impl CocoDataset {
    /// Reads an `instances_*.json`.
    ///
    /// # Errors
    /// When the file cannot be read or is of another shape, or when an annotation is on an image
    /// or of a category that the file does not list: the message names file, annotation and id.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        Self::read(open(path)?, path)
    }

    /// Reads from anywhere; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// ```
    /// let text = r#"{"images": [{"id": 7}], "categories": [{"id": 1, "name": "dog"}]}"#;
    /// let data = inscon_eval::CocoDataset::read(text.as_bytes(), "example")?;
    /// assert_eq!(data.images[0].id, 7);
    /// # Ok::<(), inscon_eval::EvalError>(())
    /// ```
    pub fn read(reader: impl Read, name: impl AsRef<Path>) -> Result<Self, EvalError> {
        let data = Self::read_unlinked(reader, name.as_ref())?;
        data.linked(name.as_ref())?;
        Ok(data)
    }

    /// [`read`](Self::read) that lets annotations on images and of categories pass which the file
    /// does not list, for [`check`](crate::check) to name.
    ///
    /// # Errors
    /// When the bytes cannot be read or are of another shape.
    pub fn read_unlinked(reader: impl Read, name: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = name.as_ref();
        read(reader, path, |text| {
            GroundTruth::read(text, path, IouType::Segm).err()
        })
    }

    fn linked(&self, path: &Path) -> Result<(), EvalError> {
        let images: HashSet<u64> = self.images.iter().map(|image| image.id).collect();
        let categories: HashSet<u64> = self.categories.iter().map(|category| category.id).collect();
        for a in &self.annotations {
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
        Ok(())
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
    let path = path.as_ref();
    read_detections(open(path)?, path)
}

/// [`load_detections`] from anywhere; `name` is what messages call it.
///
/// # Errors
/// As [`load_detections`].
///
/// ```
/// let text = r#"[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "score": NaN}]"#;
/// let found = inscon_eval::read_detections(text.as_bytes(), "example")?;
/// assert!(found[0].score.is_nan());
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn read_detections(
    reader: impl Read,
    name: impl AsRef<Path>,
) -> Result<Vec<Detection>, EvalError> {
    let path = name.as_ref();
    read(reader, path, |text| {
        Results::read(text, path, IouType::Segm).err()
    })
}

/// Writes a results file, whole or not at all. JSON has no NaN: such a score is written as `null`,
/// which no tool reads back.
///
/// # Errors
/// When the disk refuses it.
pub fn save_detections(path: impl AsRef<Path>, detections: &[Detection]) -> Result<(), EvalError> {
    write(path.as_ref(), &detections)
}

fn open(path: &Path) -> Result<File, EvalError> {
    File::open(path).map_err(|source| EvalError::Read {
        path: path.into(),
        source,
    })
}

/// `explain` is asked for a message with byte and field when serde, which knows line and column
/// only, refuses the text.
fn read<T: DeserializeOwned>(
    mut reader: impl Read,
    path: &Path,
    explain: impl Fn(&[u8]) -> Option<EvalError>,
) -> Result<T, EvalError> {
    let mut text = Vec::new();
    reader
        .read_to_end(&mut text)
        .map_err(|source| EvalError::Read {
            path: path.into(),
            source,
        })?;
    serde_json::from_slice(&text)
        .or_else(|error| match quote_non_finite(&text) {
            std::borrow::Cow::Borrowed(_) => Err(error),
            std::borrow::Cow::Owned(text) => serde_json::from_slice(&text),
        })
        .map_err(|source| {
            explain(&text).unwrap_or_else(|| EvalError::Parse {
                path: path.into(),
                source,
            })
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
