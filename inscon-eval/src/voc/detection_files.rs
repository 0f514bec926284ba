//! Detections as text files, one a class, as the VOC devkit and detectron2 write them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::corners::coco_box;
use super::names::Names;
use crate::{CocoDataset, Detection, EvalError};

/// What a folder of detection files holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VocDetections {
    /// File by file in the order of their names, and in the order of the lines.
    pub detections: Vec<Detection>,
    /// Files whose name names no class of the ground truth; they were not read.
    pub unknown_files: Vec<PathBuf>,
}

/// Reads a folder of `comp4_det_test_<class>.txt` or `<class>.txt`, whose lines are
/// `image score xmin ymin xmax ymax` (1-based pixels, both ends included).
///
/// An image is named by its file name without folder and extension, or by its id. The boxes are
/// COCO's; [`evaluate_voc`](super::evaluate_voc) maps them back to the corners of the file: whole
/// numbers exactly, others to within the last bit (exactly, with one decimal, if
/// [`round`](super::VocParams::round)ed). Equal scores rank in the order of lines.
///
/// # Errors
/// When the folder has no such file, or a file cannot be read; when a line is of another shape or
/// names an image that the truth does not list (the message has file, line and field).
pub fn load_voc_detections(
    folder: impl AsRef<Path>,
    truth: &CocoDataset,
) -> Result<VocDetections, EvalError> {
    let folder = folder.as_ref();
    let names = Names::of(truth);
    let mut read = VocDetections::default();
    let mut seen: HashMap<u64, PathBuf> = HashMap::new();
    for path in files(folder, "txt")? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let Some(class) = names.class_of_file(&stem) else {
            read.unknown_files.push(path);
            continue;
        };
        if let Some(other) = seen.get(&class) {
            return Err(EvalError::Folder {
                problem: format!(
                    "is of the same class as {}; keep one of the two",
                    other.display()
                ),
                path,
            });
        }
        let text = text_of(&path)?;
        for (at, line) in text.lines().enumerate() {
            if !line.trim().is_empty() {
                read.detections.push(detection(line, class, &names).map_err(
                    |(field, problem)| EvalError::Line {
                        path: path.clone(),
                        line: at + 1,
                        field,
                        problem,
                    },
                )?);
            }
        }
        seen.insert(class, path);
    }
    if seen.is_empty() {
        return Err(EvalError::Folder {
            path: folder.into(),
            problem: "has no file `<class>.txt` or `comp4_det_test_<class>.txt` of a class of the \
                      ground truth"
                .into(),
        });
    }
    Ok(read)
}

type Problem = (Option<&'static str>, String);

fn detection(line: &str, class: u64, names: &Names<'_>) -> Result<Detection, Problem> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let Ok([image, numbers @ ..]) = <[&str; 6]>::try_from(fields.as_slice()) else {
        let problem = format!(
            "expected `image score xmin ymin xmax ymax`, found {} fields",
            fields.len()
        );
        return Err((None, problem));
    };
    let image_id = names
        .image(image)
        .map_err(|problem| (Some("image"), format!("`{image}` {problem}")))?;
    let mut values = [0.0; 5];
    for ((value, text), field) in values
        .iter_mut()
        .zip(numbers)
        .zip(["score", "xmin", "ymin", "xmax", "ymax"])
    {
        *value = text
            .parse()
            .map_err(|_| (Some(field), format!("`{text}` is not a number")))?;
    }
    let [score, corners @ ..] = values;
    Ok(Detection::of_box(image_id, class, score, coco_box(corners)))
}

/// The folder's files with this extension, by name.
pub(super) fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, EvalError> {
    let cannot = |source| EvalError::Read {
        path: folder.into(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let matches = |found: &std::ffi::OsStr| found.eq_ignore_ascii_case(extension);
        if path.extension().is_some_and(matches) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

pub(super) fn text_of(path: &Path) -> Result<String, EvalError> {
    fs::read_to_string(path).map_err(|source| EvalError::Read {
        path: path.into(),
        source,
    })
}
