//! What can be wrong with labelled images.

use std::path::PathBuf;

use thiserror::Error;

/// Why a detection data set could not be opened or used.
#[derive(Debug, Error)]
pub enum DetectionDataError {
    /// No file was given.
    #[error("{key} is not set: give a COCO instances JSON with --set {key}=FILE")]
    NotSet {
        /// Path of the key in the recipe.
        key: &'static str,
    },
    /// The JSON is unreadable, malformed, or names an id that does not exist.
    #[error(transparent)]
    Json(#[from] inscon_eval::EvalError),
    /// The JSON names an image that is not there.
    #[error(
        "{}: image {id} is `{file_name}`, but {} does not exist ({missing} of {images} images are \
         missing); correct the folder of images, or take the image out of the JSON",
        json.display(), path.display()
    )]
    MissingImage {
        /// The JSON.
        json: PathBuf,
        /// Id of the first missing image.
        id: u64,
        /// Its name in the JSON.
        file_name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// How many are missing.
        missing: usize,
        /// How many there are.
        images: usize,
    },
    /// The JSON does not say how large an image is.
    #[error("{}: image {id} has no `width` and `height`; add them", json.display())]
    NoSize {
        /// The JSON.
        json: PathBuf,
        /// Id of the image.
        id: u64,
    },
    /// Nothing to train or evaluate on.
    #[error("{} has {what}", json.display())]
    Empty {
        /// The JSON.
        json: PathBuf,
        /// What it has none of, and the mend.
        what: &'static str,
    },
    /// An object has no mask, or one that cannot be drawn.
    #[error(
        "{}: annotation {annotation} has {what}; set finetune.detector.mask = false to train on \
         boxes alone, or repair it",
        json.display()
    )]
    Mask {
        /// The JSON.
        json: PathBuf,
        /// Id of the annotation.
        annotation: u64,
        /// What is wrong with its mask.
        what: String,
    },
    /// Training and validation do not have the same classes.
    #[error(
        "{} and {} do not have the same categories ({what}); use two splits of one data set",
        train.display(), val.display()
    )]
    Categories {
        /// The JSON of the training set.
        train: PathBuf,
        /// The JSON of the validation set.
        val: PathBuf,
        /// The first difference.
        what: String,
    },
    /// Too many images turned out unreadable.
    #[error(
        "{}: {bad} of {images} images are unreadable, more than data.max_bad_share = {share}; the \
         first is {first}; repair or remove them, or raise data.max_bad_share",
        json.display()
    )]
    TooManyBad {
        /// The JSON.
        json: PathBuf,
        /// Unreadable images met so far.
        bad: usize,
        /// Images in the set.
        images: usize,
        /// The bound.
        share: f64,
        /// The first one and what is wrong with it.
        first: String,
    },
}
