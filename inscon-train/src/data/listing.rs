//! What lies under a folder, kept between runs.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::DataError;
use super::image_folder::{Names, is_image};
use crate::fnv::fnv1a;
use crate::{say, write_whole};

/// The images under a folder and the folders they were found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// Paths below the folder, sorted, with `/` between their parts.
    pub(super) names: Names,
    /// Images whose names are not UTF-8.
    pub(super) unreadable: Vec<String>,
    /// Every folder that was read, the first one as the empty name, and the time of its last change
    /// before that, in nanoseconds since 1970.
    pub(super) folders: Vec<(String, u128)>,
    /// When reading began, likewise.
    pub(super) started: u128,
    /// Folders that were not read, since they lie too deep.
    pub(super) too_deep: Vec<String>,
}

/// Folders within one another; deeper than any collection, and than many systems open.
const MAX_DEPTH: usize = 64;

impl Listing {
    /// Reads the folders.
    ///
    /// # Errors
    /// [`DataError::Folder`].
    pub(super) fn of(root: &Path) -> Result<Self, DataError> {
        let started = nanoseconds(SystemTime::now()).unwrap_or_default();
        let mut walk = Walk::default();
        walk.folder(root, &mut PathBuf::new(), &mut Vec::new())?;
        // By the parts of the path, as `Path` compares: `a/b` stands before `a.b`.
        walk.names.sort_by(|a, b| Path::new(a).cmp(Path::new(b)));
        let mut names = Names::default();
        walk.names.iter().for_each(|name| names.push(name));
        walk.folders.sort();
        walk.unreadable.sort();
        walk.too_deep.sort();
        if let Some(first) = walk.too_deep.first() {
            say(&format!(
                "warning: {} folders are left out, since they lie more than {MAX_DEPTH} folders deep \
                 (the first: {}); move them up",
                walk.too_deep.len(),
                root.join(first).display()
            ));
        }
        Ok(Self {
            names,
            unreadable: walk.unreadable,
            folders: walk.folders,
            started,
            too_deep: walk.too_deep,
        })
    }
}

#[derive(Default)]
struct Walk {
    names: Vec<String>,
    unreadable: Vec<String>,
    folders: Vec<(String, u128)>,
    too_deep: Vec<String>,
}

impl Walk {
    /// `below` is the folder's path below the root, `above` the real paths of the folders it lies
    /// in, where links are met.
    fn folder(
        &mut self,
        root: &Path,
        below: &mut PathBuf,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        let path = root.join(&*below);
        let failed = |source| DataError::Folder {
            path: path.clone(),
            source,
        };
        above.push(path.canonicalize().map_err(failed)?);
        match below.to_str() {
            // A file system that knows no times keeps its listings from being kept.
            Some(name) => self
                .folders
                .push((name.to_owned(), changed(&path).unwrap_or(u128::MAX))),
            None => {
                self.unreadable.push(below.display().to_string());
                above.pop();
                return Ok(());
            }
        }
        let entries = fs::read_dir(&path).map_err(failed)?;
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.as_encoded_bytes().first() == Some(&b'.') {
                continue;
            }
            // The directory says what an entry is; only a link needs a look of its own.
            let kind = entry.file_type().map_err(failed)?;
            let is_link = kind.is_symlink();
            let is_folder = kind.is_dir() || is_link && entry.path().is_dir();
            below.push(&name);
            if is_folder {
                let inside = is_link
                    && entry
                        .path()
                        .canonicalize()
                        .is_ok_and(|p| above.contains(&p));
                if !inside && above.len() < MAX_DEPTH {
                    self.folder(root, below, above)?;
                } else if !inside {
                    self.too_deep.push(below.display().to_string());
                }
            } else if is_image(Path::new(&name)) {
                match below.to_str() {
                    Some(name) => self.names.push(portable(name)),
                    None => self.unreadable.push(below.display().to_string()),
                }
            }
            below.pop();
        }
        above.pop();
        Ok(())
    }
}

fn portable(name: &str) -> String {
    if std::path::MAIN_SEPARATOR == '/' {
        return name.to_owned();
    }
    name.replace(std::path::MAIN_SEPARATOR, "/")
}

/// First line of a kept listing; a name on each further line.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    root: PathBuf,
    /// Nanoseconds since 1970 at which reading began.
    started: u128,
    /// Folders and the times of their last change.
    folders: Vec<(String, u128)>,
    unreadable: Vec<String>,
    images: usize,
}

const VERSION: u32 = 1;

/// A folder changed so shortly before it was listed may have changed again within the same tick of
/// its file system's clock.
const RACY: Duration = Duration::from_secs(2);

/// Where the listing of `root` is kept.
fn place(cache: &Path, root: &Path) -> Option<(PathBuf, PathBuf)> {
    let root = root.canonicalize().ok()?;
    // A name, not a proof; the file holds the path.
    let hash = fnv1a(root.as_os_str().as_encoded_bytes());
    Some((cache.join(format!("listing-{hash:016x}.txt")), root))
}

fn nanoseconds(time: SystemTime) -> Option<u128> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn changed(folder: &Path) -> Option<u128> {
    nanoseconds(fs::metadata(folder).ok()?.modified().ok()?)
}

/// The listing kept for `root`, unless one of its folders was changed since it was made.
pub(super) fn load(cache: &Path, root: &Path) -> Option<Listing> {
    let (file, real) = place(cache, root)?;
    let mut lines = BufReader::new(fs::File::open(file).ok()?).lines();
    let header: Header = serde_json::from_str(&lines.next()?.ok()?).ok()?;
    if header.version != VERSION || header.root != real {
        return None;
    }
    for (folder, before) in &header.folders {
        let now = changed(&root.join(folder))?;
        if now != *before {
            return None;
        }
    }
    let mut names = Names::default();
    for line in lines {
        names.push(&line.ok()?);
    }
    (names.len() == header.images).then_some(Listing {
        names,
        unreadable: header.unreadable,
        folders: header.folders,
        started: header.started,
        too_deep: Vec::new(),
    })
}

/// Keeps a listing. What goes wrong is no reason to stop: the next run lists again.
pub(super) fn store(cache: &Path, root: &Path, listing: &Listing) {
    let Some((file, real)) = place(cache, root) else {
        return;
    };
    let is_old =
        |(_, time): &(String, u128)| time.saturating_add(RACY.as_nanos()) <= listing.started;
    // A listing that leaves folders out is made again, to say so again.
    if !listing.too_deep.is_empty() {
        return;
    }
    // A line is a name.
    if !listing.folders.iter().all(is_old) || listing.names.iter().any(|name| name.contains('\n')) {
        return;
    }
    let header = Header {
        version: VERSION,
        root: real,
        started: listing.started,
        folders: listing.folders.clone(),
        unreadable: listing.unreadable.clone(),
        images: listing.names.len(),
    };
    let written = fs::create_dir_all(cache).and_then(|()| {
        let header = serde_json::to_string(&header).map_err(io::Error::from)?;
        write_whole(&file, |out| {
            writeln!(out, "{header}")?;
            listing
                .names
                .iter()
                .try_for_each(|name| writeln!(out, "{name}"))
        })
        .map_err(|error| io::Error::other(error.to_string()))
    });
    // The folder of caches may be read-only.
    let _ = written;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(folder: &Path) {
        let past = SystemTime::now() - Duration::from_secs(60);
        fs::File::open(folder).unwrap().set_modified(past).unwrap();
    }

    #[test]
    fn a_kept_listing_is_taken_until_a_folder_changes() {
        let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(dir.path().join("b")).unwrap();
        for name in ["a.png", "b/c.jpg"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let listing = Listing::of(dir.path()).unwrap();
        store(cache.path(), dir.path(), &listing);
        assert_eq!(load(cache.path(), dir.path()), None, "just changed");

        age(&dir.path().join("b"));
        age(dir.path());
        let listing = Listing::of(dir.path()).unwrap();
        store(cache.path(), dir.path(), &listing);
        assert_eq!(load(cache.path(), dir.path()), Some(listing.clone()));
        assert_eq!(load(cache.path(), cache.path()), None, "another folder");

        fs::write(dir.path().join("b/d.png"), b"").unwrap();
        assert_eq!(load(cache.path(), dir.path()), None, "a new file");
        age(&dir.path().join("b"));
        assert_eq!(load(cache.path(), dir.path()), None, "another time");
    }

    #[test]
    fn folders_too_deep_are_told_and_looked_for_again() {
        let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deep = |depth: usize| {
            let parts: Vec<String> = (1..=depth).map(|d| format!("d{d}")).collect();
            parts.join("/")
        };
        fs::create_dir_all(dir.path().join(deep(MAX_DEPTH + 1))).unwrap();
        for depth in [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1] {
            fs::write(dir.path().join(deep(depth)).join("a.png"), b"").unwrap();
        }
        for depth in 0..MAX_DEPTH {
            age(&dir.path().join(deep(depth)));
        }
        let listing = Listing::of(dir.path()).unwrap();
        let names: Vec<_> = listing.names.iter().collect();
        assert_eq!(names, [deep(MAX_DEPTH - 1) + "/a.png"]);
        assert_eq!(listing.too_deep, [deep(MAX_DEPTH)]);
        store(cache.path(), dir.path(), &listing);
        assert_eq!(load(cache.path(), dir.path()), None);
    }

    #[test]
    fn a_cut_listing_is_not_taken() {
        let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for i in 0..9 {
            fs::write(dir.path().join(format!("{i}.png")), b"").unwrap();
        }
        age(dir.path());
        store(cache.path(), dir.path(), &Listing::of(dir.path()).unwrap());
        let file = place(cache.path(), dir.path()).unwrap().0;
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.strip_suffix("8.png\n").unwrap()).unwrap();
        assert_eq!(load(cache.path(), dir.path()), None);
    }
}
