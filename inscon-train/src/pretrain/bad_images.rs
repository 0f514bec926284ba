//! `bad_images.jsonl`: unreadable images, each once.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::data::BadImage;
use crate::{RunDir, RunDirError};

/// Name of the list in the run folder.
pub const BAD_IMAGES: &str = "bad_images.jsonl";

/// The images of the list, as an earlier process left it.
#[must_use]
pub fn read_bad_images(run: &RunDir) -> BTreeSet<String> {
    let text = fs::read_to_string(run.file(BAD_IMAGES)).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<BadImage>(line).ok());
    lines.map(|bad| bad.file).collect()
}

/// Adds images to the list.
///
/// # Errors
/// [`RunDirError::Write`].
pub fn append_bad_images(run: &RunDir, bad: &[BadImage]) -> Result<(), RunDirError> {
    let path = run.file(BAD_IMAGES);
    let mut lines = String::new();
    for bad in bad {
        lines += &serde_json::to_string(bad).expect("a bad image is serializable");
        lines.push('\n');
    }
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(lines.as_bytes()))
        .map_err(|source| RunDirError::Write {
            path,
            source,
            kept: "the lines written before are intact",
        })
}
