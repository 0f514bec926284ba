//! What can be wrong with labelled images.

use std::path::PathBuf;

use thiserror::Error;

/// Why a detection data set could not be opened or used.
#[derive(Debug, Error)]
pub enum DetectionDataError {
    /// No file was given.
    #[error(
        "{key} is not set: give a COCO instances JSON with --set {key}=FILE, or image sets in VOC's \
         layout with {}", key.replace("_json", "_voc")
    )]
    NotSet {
        /// Path of the key in the recipe.
        key: &'static str,
    },
    /// The labels are unreadable, malformed, or name an id that does not exist.
    #[error(transparent)]
    Labels(#[from] inscon_eval::EvalError),
    /// An image set of VOC is not there.
    #[error("{} does not exist ({known}); correct `split` or `root`", list.display())]
    VocList {
        /// The list of images.
        list: PathBuf,
        /// The lists there are.
        known: String,
    },
    /// An object of a class that the recipe does not list.
    #[error("{set} has objects of class `{name}`, which data.voc_classes does not list; add it")]
    VocClass {
        /// The image set.
        set: String,
        /// The class.
        name: String,
    },
    /// Two image sets have an image in common.
    #[error("{image} is in {} and in {}; drop it from one of them", sets[0], sets[1])]
    VocTwice {
        /// The image.
        image: String,
        /// The image sets.
        sets: [String; 2],
    },
    /// The labels name an image that is not there.
    #[error(
        "{origin}: image {id} is `{file_name}`, but {} does not exist ({missing} of {images} \
         images are missing); correct the folder of images, or take the image out of the labels",
        path.display()
    )]
    MissingImage {
        /// The file or the folders.
        origin: String,
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
    /// The labels do not say how large an image is.
    #[error("{origin}: image {id} (`{file_name}`) has no `width` and `height`; add them")]
    NoSize {
        /// The file or the folders.
        origin: String,
        /// Id of the image.
        id: u64,
        /// Its name.
        file_name: String,
    },
    /// Nothing to train or evaluate on.
    #[error("{origin} has {what}")]
    Empty {
        /// The file or the folders.
        origin: String,
        /// What it has none of, and the mend.
        what: &'static str,
    },
    /// An object has no mask, or one that cannot be drawn.
    #[error(
        "{origin}: {object} has {what}; set finetune.detector.mask = false to train on boxes alone, \
         or repair it"
    )]
    Mask {
        /// The file or the folders.
        origin: String,
        /// The annotation's id and its image.
        object: String,
        /// What is wrong with its mask.
        what: String,
    },
    /// Training and validation do not have the same classes.
    #[error(
        "{train} and {val} do not have the same categories ({what}); use two splits of one data set"
    )]
    Categories {
        /// File or folders of the training set.
        train: String,
        /// File or folders of the validation set.
        val: String,
        /// The first difference.
        what: String,
    },
    /// Too many images turned out unreadable.
    #[error(
        "{origin}: {bad} of {images} images are unreadable, more than data.max_bad_share = {share}; \
         the first is {first}; repair or remove them, or raise data.max_bad_share"
    )]
    TooManyBad {
        /// The file or the folders.
        origin: String,
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
