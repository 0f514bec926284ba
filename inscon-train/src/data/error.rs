//! What can be wrong with the data.

use std::path::PathBuf;

use thiserror::Error;

/// Why images could not be listed or delivered.
#[derive(Debug, Error)]
pub enum DataError {
    /// No folder was given.
    #[error(
        "data.pretrain_images is not set: give the folder of unlabelled images with \
         --set data.pretrain_images=DIR, or use data.source = \"scenes\""
    )]
    NoFolder,
    /// The folder, or one inside it, cannot be read.
    #[error("cannot read the image folder {}: {source}; check data.pretrain_images", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder holds no image.
    #[error(
        "{} holds no image ({extensions}, searched recursively); point data.pretrain_images at a \
         folder that does",
        path.display()
    )]
    Empty {
        /// The folder.
        path: PathBuf,
        /// The file extensions looked for.
        extensions: String,
    },
    /// Fewer images than one batch.
    #[error(
        "{} holds {images} images, fewer than one batch: use pretrain.batch = {fits} or smaller, or \
         more images",
        path.display()
    )]
    SmallerThanBatch {
        /// The folder.
        path: PathBuf,
        /// Images in it.
        images: usize,
        /// The largest batch that fits.
        fits: usize,
    },
    /// Not one image can be decoded.
    #[error("none of the {images} images under {} can be read; {first}", path.display())]
    NoneReadable {
        /// The folder.
        path: PathBuf,
        /// Images in it.
        images: usize,
        /// The first of them and what is wrong with it.
        first: String,
    },
    /// Too many images turned out unreadable.
    #[error(
        "{bad} of {images} images under {} are unreadable, more than data.max_bad_share = {share}; \
         {listed}; repair or remove them, or raise data.max_bad_share",
        path.display()
    )]
    TooManyBad {
        /// The folder.
        path: PathBuf,
        /// Unreadable images met so far.
        bad: usize,
        /// Images in the folder.
        images: usize,
        /// The bound.
        share: f64,
        /// Where they are listed, or the last one.
        listed: String,
    },
    /// A worker panicked; a fault of this program.
    #[error(
        "making batch {step} panicked: {message}; this is a fault of inscon-train, please report it"
    )]
    Panic {
        /// The step.
        step: u64,
        /// The panic's message.
        message: String,
    },
    /// The generated scenes could not be made.
    #[error(transparent)]
    Scenes(#[from] crate::scenes::ScenesError),
}
