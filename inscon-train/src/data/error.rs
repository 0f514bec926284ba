//! What can be wrong with the data.

use std::path::PathBuf;

use thiserror::Error;

/// Why images could not be listed or delivered.
#[derive(Debug, Error)]
pub enum DataError {
    /// No folder was given.
    #[error(
        "data.pretrain_images is not set: give the folder of unlabelled images with \
         --set data.pretrain_images=DIR, tar shards with data.pretrain_shards, or use \
         data.source = \"scenes\""
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
    /// A list of images that cannot be read.
    #[error("cannot read the list of images {}: {message}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        message: String,
    },
    /// Fewer images than one batch.
    #[error(
        "{origin} holds {images} images, fewer than one batch{}: use pretrain.batch = {fits} or \
         smaller, or more images",
        if *world > 1 { format!(" on each of {world} devices") } else { String::new() }
    )]
    SmallerThanBatch {
        /// The folder or the shards.
        origin: String,
        /// Images in it.
        images: usize,
        /// Processes that share them.
        world: usize,
        /// The largest batch that fits.
        fits: usize,
    },
    /// Not one image can be decoded, of all or of many in a row.
    #[error(
        "none of {} images in a row of {origin} can be read, the first being {}; check that they are \
         images and complete, or raise data.max_image_mib if they are too large",
        bad.len(),
        bad.first().map_or(String::new(), |bad| format!("{}: {}", bad.file, bad.error))
    )]
    NoneReadable {
        /// The folder or the shards.
        origin: String,
        /// The images and what is wrong with them.
        bad: Vec<super::BadImage>,
    },
    /// Too many images turned out unreadable.
    #[error(
        "{bad} of the {images} images met so far of {origin} are unreadable, more than data.max_bad_share = \
         {share}; {listed}; repair or remove them, or raise data.max_bad_share"
    )]
    TooManyBad {
        /// The folder or the shards.
        origin: String,
        /// Unreadable images met so far.
        bad: usize,
        /// Images met so far, or all of a small set.
        images: usize,
        /// The bound.
        share: f64,
        /// Where they are listed, or the last one.
        listed: String,
    },
    /// The place of the images cannot be read.
    #[error(transparent)]
    Samples(#[from] super::SampleError),
    /// Shards that cannot be found or listed.
    #[error(transparent)]
    Shards(#[from] super::ShardError),
    /// No threads to load with.
    #[error("cannot start the threads that load images: {0}; lower data.workers")]
    Threads(String),
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
