//! The images under a folder, or of a list, in an order that every machine agrees on.

use std::fs;
use std::path::{Path, PathBuf};

use super::DataError;
use super::listing::{self, Listing};

/// File extensions taken for images, in any case.
pub const IMAGE_EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"];

/// From so many images on, [`ImageFolder::open_cached`] keeps what it listed.
pub const CACHED_FROM: usize = 10_000;

/// Image files below a folder, by name. A million of them take some 30 MB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    root: PathBuf,
    names: Names,
    unreadable: Vec<String>,
}

impl ImageFolder {
    /// Lists the images under `root`, recursively, sorted by path; at most the first `limit` of
    /// them, all if it is 0. Links to folders are followed, but not into a folder that they lie
    /// in; hidden files are not images. Names that are not UTF-8 are left out and kept in
    /// [`unreadable`](Self::unreadable).
    ///
    /// # Errors
    /// [`DataError::NoFolder`] for an empty path, [`DataError::Folder`], and [`DataError::Empty`].
    pub fn open(root: &Path, limit: usize) -> Result<Self, DataError> {
        Self::open_cached(root, limit, None)
    }

    /// The same, where a listing of [`CACHED_FROM`] images and more is kept in a file of `cache`
    /// and taken from there the next time, if none of its folders was changed since.
    ///
    /// # Errors
    /// As [`open`](Self::open). A cache that cannot be read or written is done without.
    pub fn open_cached(root: &Path, limit: usize, cache: Option<&Path>) -> Result<Self, DataError> {
        if root.as_os_str().is_empty() {
            return Err(DataError::NoFolder);
        }
        let kept = cache.and_then(|cache| listing::load(cache, root));
        let listing = match kept {
            Some(listing) => listing,
            None => {
                let listing = Listing::of(root)?;
                if let Some(cache) = cache
                    && listing.names.len() >= CACHED_FROM
                {
                    listing::store(cache, root, &listing);
                }
                listing
            }
        };
        Self::of_names(root, listing.names.iter(), limit).map(|folder| Self {
            unreadable: listing.unreadable,
            ..folder
        })
    }

    /// Files of a list: paths relative to `root`, or absolute ones, in the list's order.
    ///
    /// # Errors
    /// [`DataError::Empty`].
    pub fn of_names<N: AsRef<str>>(
        root: &Path,
        names: impl IntoIterator<Item = N>,
        limit: usize,
    ) -> Result<Self, DataError> {
        let most = if limit == 0 { usize::MAX } else { limit };
        let mut list = Names::default();
        for name in names.into_iter().take(most) {
            list.push(name.as_ref());
        }
        if list.len() == 0 {
            return Err(DataError::Empty {
                path: root.to_owned(),
                extensions: IMAGE_EXTENSIONS.join(", "),
            });
        }
        Ok(Self {
            root: root.to_owned(),
            names: list,
            unreadable: Vec::new(),
        })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The number of images; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The file of an image.
    ///
    /// # Panics
    /// When there is no such image.
    #[must_use]
    pub fn path(&self, index: usize) -> PathBuf {
        self.root.join(self.names.get(index))
    }

    /// All files, in order.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.len()).map(|index| self.path(index))
    }

    /// The path below the folder, with `/` on every system.
    ///
    /// # Panics
    /// When there is no such image.
    #[must_use]
    pub fn name(&self, index: usize) -> &str {
        self.names.get(index)
    }

    /// Files that were left out because their names are not UTF-8, as well as they can be written.
    #[must_use]
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}

/// Whether a file name has an image's extension.
#[must_use]
pub(super) fn is_image(name: &Path) -> bool {
    name.extension().is_some_and(|extension| {
        let extension = extension.to_string_lossy();
        IMAGE_EXTENSIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&extension))
    })
}

/// Strings one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// The images of a COCO JSON, by id: `file_name`s relative to `images`.
///
/// # Errors
/// [`DataError::List`] for a file that is not one, [`DataError::Empty`].
pub fn coco_images(json: &Path, images: &Path, limit: usize) -> Result<ImageFolder, DataError> {
    #[derive(serde::Deserialize)]
    struct File {
        images: Vec<Image>,
    }
    #[derive(serde::Deserialize)]
    struct Image {
        id: u64,
        file_name: String,
    }
    let failed = |message: String| DataError::List {
        path: json.to_owned(),
        message,
    };
    let file = fs::File::open(json).map_err(|e| failed(e.to_string()))?;
    let mut list: File = serde_json::from_reader(std::io::BufReader::new(file))
        .map_err(|e| failed(format!("not a COCO file: {e}")))?;
    list.images.sort_by_key(|image| image.id);
    let names = list.images.iter().map(|image| image.file_name.as_str());
    ImageFolder::of_names(images, names, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &ImageFolder) -> Vec<&str> {
        (0..folder.len()).map(|i| folder.name(i)).collect()
    }

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
        assert_eq!(names(&folder), ["a.png", "b/c/a.webp", "b/x.tif", "z.JPG"]);
        assert_eq!(folder.path(1), dir.path().join("b/c/a.webp"));
        assert_eq!(ImageFolder::open(dir.path(), 2).unwrap().len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("far.png"), b"").unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/near.png"), b"").unwrap();
        symlink(other.path(), dir.path().join("b")).unwrap();
        symlink(dir.path(), dir.path().join("a/up")).unwrap();
        symlink(dir.path().join("gone.png"), dir.path().join("broken.png")).unwrap();
        let folder = ImageFolder::open(dir.path(), 0).unwrap();
        assert_eq!(names(&folder), ["a/near.png", "b/far.png", "broken.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_are_named() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"\xff.png");
        fs::write(dir.path().join(odd), b"").unwrap();
        fs::write(dir.path().join("a.png"), b"").unwrap();
        let folder = ImageFolder::open(dir.path(), 0).unwrap();
        assert_eq!(names(&folder), ["a.png"]);
        assert_eq!(folder.unreadable(), ["\u{fffd}.png"]);
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

    #[test]
    fn a_coco_file_lists_by_id() {
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("list.json");
        let text = r#"{"images": [{"id": 9, "file_name": "b.jpg"}, {"id": 2, "file_name": "x/c.jpg"}],
                       "annotations": []}"#;
        fs::write(&json, text).unwrap();
        let folder = coco_images(&json, Path::new("/d"), 0).unwrap();
        assert_eq!(names(&folder), ["x/c.jpg", "b.jpg"]);
        assert_eq!(folder.path(0), Path::new("/d/x/c.jpg"));
        fs::write(&json, "{\"images\": 3}").unwrap();
        let error = coco_images(&json, Path::new("/d"), 0).unwrap_err();
        assert!(error.to_string().contains("list.json"), "{error}");
    }
}
