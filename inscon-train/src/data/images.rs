//! Decoded images by index, with unreadable ones replaced.

use std::sync::{Arc, OnceLock};

use image::RgbImage;
use inscon_aug::decode_rgb;
use serde::{Deserialize, Serialize};

use super::ImageFolder;

/// An image that could not be read: a line of `bad_images.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadImage {
    /// Its path below the image folder.
    pub file: String,
    /// What was wrong with it.
    pub error: String,
    /// The image that took its place, if there is a readable one.
    pub replaced_by: Option<String>,
}

/// The images of a folder, decoded on demand.
#[derive(Debug)]
pub struct Images {
    folder: ImageFolder,
    /// One cell an image when decoded images are kept.
    kept: Option<Vec<OnceLock<Decoded>>>,
}

type Decoded = Result<Arc<RgbImage>, String>;

impl Images {
    /// The images of `folder`; `cache` keeps what was decoded in memory.
    #[must_use]
    pub fn new(folder: ImageFolder, cache: bool) -> Self {
        let kept = cache.then(|| folder.files().iter().map(|_| OnceLock::new()).collect());
        Self { folder, kept }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &ImageFolder {
        &self.folder
    }

    /// Image `index`, or the next readable one by path (from the last to the first), with its own
    /// index, and the unreadable ones that were stepped over. `None` when no image is readable.
    ///
    /// # Panics
    /// When `index` is not the index of a file.
    #[must_use]
    pub fn readable(&self, index: usize) -> (Option<(usize, Arc<RgbImage>)>, Vec<BadImage>) {
        let files = self.folder.files().len();
        assert!(index < files, "image {index} of {files}");
        let mut bad = Vec::new();
        for at in (index..files).chain(0..index) {
            match self.decode(at) {
                Ok(image) => {
                    let name = self.folder.name(at);
                    bad.iter_mut()
                        .for_each(|b: &mut BadImage| b.replaced_by = Some(name.clone()));
                    return (Some((at, image)), bad);
                }
                Err(error) => {
                    bad.push(BadImage {
                        file: self.folder.name(at),
                        error,
                        replaced_by: None,
                    });
                }
            }
        }
        (None, bad)
    }

    fn decode(&self, index: usize) -> Decoded {
        match &self.kept {
            Some(kept) => kept[index].get_or_init(|| self.read(index)).clone(),
            None => self.read(index),
        }
    }

    fn read(&self, index: usize) -> Decoded {
        let bytes = std::fs::read(&self.folder.files()[index]).map_err(|e| e.to_string())?;
        decode_rgb(&bytes).map(Arc::new).map_err(|e| e.to_string())
    }
}
