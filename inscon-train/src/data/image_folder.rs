//! The images under a folder, in an order that every machine agrees on.

use std::fs;
use std::path::{Path, PathBuf};

use super::DataError;

/// File extensions taken for images, in any case.
pub const IMAGE_EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"];

/// Paths of images under a folder, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    root: PathBuf,
    files: Vec<PathBuf>,
}

impl ImageFolder {
    /// Lists the images under `root`, recursively, sorted by path; at most the first `limit` of
    /// them, all if it is 0. Links to folders are followed; hidden files are not images.
    ///
    /// # Errors
    /// [`DataError::NoFolder`] for an empty path, [`DataError::Folder`], and [`DataError::Empty`].
    pub fn open(root: &Path, limit: usize) -> Result<Self, DataError> {
        if root.as_os_str().is_empty() {
            return Err(DataError::NoFolder);
        }
        let mut files = Vec::new();
        collect(root, 0, &mut files)?;
        files.sort();
        if limit > 0 {
            files.truncate(limit);
        }
        if files.is_empty() {
            let extensions = IMAGE_EXTENSIONS.join(", ");
            return Err(DataError::Empty {
                path: root.to_owned(),
                extensions,
            });
        }
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The images, sorted by path; never empty.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The path below the folder, for messages.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        let file = &self.files[index];
        file.strip_prefix(&self.root)
            .unwrap_or(file)
            .display()
            .to_string()
    }
}

/// Deeper than any collection, shallower than a cycle of links.
const MAX_DEPTH: usize = 32;

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |source| DataError::Folder {
        path: folder.to_owned(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth + 1, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|e| is_image(&e.to_string_lossy()))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn is_image(extension: &str) -> bool {
    IMAGE_EXTENSIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_recursively_sorted_and_limited() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        for name in [
            "z.JPG",
            "b/c/a.webp",
            "b/notes.txt",
            "a.png",
            ".hidden.png",
            "b/x.tif",
        ] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let folder = ImageFolder::open(dir.path(), 0).unwrap();
        let names: Vec<_> = (0..folder.files().len()).map(|i| folder.name(i)).collect();
        assert_eq!(names, ["a.png", "b/c/a.webp", "b/x.tif", "z.JPG"]);
        assert_eq!(ImageFolder::open(dir.path(), 2).unwrap().files().len(), 2);
    }

    #[test]
    fn an_empty_folder_names_itself_and_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let error = ImageFolder::open(dir.path(), 0).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        assert!(error.contains("data.pretrain_images"), "{error}");
        let error = ImageFolder::open(&dir.path().join("no"), 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot read the image folder"), "{error}");
        assert!(
            ImageFolder::open(Path::new(""), 0)
                .unwrap_err()
                .to_string()
                .contains("not set")
        );
    }
}
