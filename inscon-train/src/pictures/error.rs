//! Why pictures were not written.

use std::path::{Path, PathBuf};

use image::RgbImage;
use thiserror::Error;

use crate::RunDirError;

/// Why pictures were not written.
#[derive(Debug, Error)]
pub enum PicturesError {
    /// A picture could not be written.
    #[error("could not write the picture {}: {source}; make room on that disk, or choose another folder", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the encoder or the system said.
        source: image::ImageError,
    },
    /// The folder or the JSON could not be written.
    #[error(transparent)]
    Write(#[from] RunDirError),
}

/// Writes a PNG.
pub(crate) fn save_png(picture: &RgbImage, path: &Path) -> Result<(), PicturesError> {
    picture
        .save_with_format(path, image::ImageFormat::Png)
        .map_err(|source| PicturesError::Picture {
            path: path.to_owned(),
            source,
        })
}
