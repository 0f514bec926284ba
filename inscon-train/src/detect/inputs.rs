//! Images by name, by folder and by pattern.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::DetectError;
use crate::data::ImageFolder;

/// The images that arguments stand for, in the order of the arguments: a file is itself, a folder
/// the images under it (sorted, by [extension](crate::data::IMAGE_EXTENSIONS)), anything else with
/// `*`, `?` or `[` a pattern (`photos/**/*.jpg`) of files and folders, sorted. An image that comes
/// twice is taken once.
///
/// # Errors
/// [`DetectError::Input`] for an argument that stands for nothing.
///
/// ```
/// use inscon_train::detect::find_images;
/// let folder = tempfile::tempdir()?;
/// for name in ["b.png", "a.png", "c.txt"] {
///     std::fs::write(folder.path().join(name), b"")?;
/// }
/// let pattern = format!("{}/?.png", folder.path().display());
/// let found = find_images(&[pattern, folder.path().display().to_string()])?;
/// let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
/// assert_eq!(names, ["a.png", "b.png"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn find_images(arguments: &[String]) -> Result<Vec<PathBuf>, DetectError> {
    let mut images = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        let pattern = argument.contains(['*', '?', '[']);
        if path.exists() {
            add(argument, path.to_owned(), &mut images)?;
        } else if pattern {
            for path in matches(argument)? {
                // A folder that merely matches need not hold images.
                if path.is_file() || holds_images(&path) {
                    add(argument, path, &mut images)?;
                }
            }
        } else {
            return Err(wrong(argument, "there is no such file or folder".into()));
        }
    }
    let mut seen = HashSet::new();
    images.retain(|path| seen.insert(path.clone()));
    if images.is_empty() {
        return Err(wrong(&arguments.join(" "), "no image was given".into()));
    }
    Ok(images)
}

fn add(argument: &str, path: PathBuf, images: &mut Vec<PathBuf>) -> Result<(), DetectError> {
    if path.is_dir() {
        let folder = ImageFolder::open(&path, 0);
        let folder =
            folder.map_err(|error| wrong(argument, format!("no images there: {error}")))?;
        images.extend(folder.paths());
    } else {
        images.push(path);
    }
    Ok(())
}

fn holds_images(folder: &Path) -> bool {
    ImageFolder::open(folder, 1).is_ok()
}

/// What a pattern matches, sorted.
fn matches(pattern: &str) -> Result<Vec<PathBuf>, DetectError> {
    let found = glob::glob(pattern)
        .map_err(|error| wrong(pattern, format!("not a pattern: {error}")))?
        .collect::<Result<Vec<PathBuf>, _>>()
        .map_err(|error| wrong(pattern, error.to_string()))?;
    if found.is_empty() {
        return Err(wrong(pattern, "nothing matches this pattern".into()));
    }
    Ok(found)
}

fn wrong(argument: &str, what: String) -> DetectError {
    DetectError::Input {
        argument: argument.to_owned(),
        what,
    }
}
