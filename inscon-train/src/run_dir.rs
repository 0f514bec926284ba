//! The folder of a run: created, checked and written so that nothing is ever half there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

/// Why a run folder could not be used or written.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// The folder cannot be created or written to.
    #[error(
        "cannot write to the run folder {}: {source}; give another one with --run, or its permissions",
        path.display()
    )]
    Unwritable {
        /// The run folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the run could not be written; the file that was there before is intact.
    #[error(
        "could not write {}: {source}; {kept}; make room on that disk (or choose another --run) and call the same command again",
        path.display()
    )]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What is left of the former state.
        kept: &'static str,
    },
    /// Another recipe was run in this folder.
    #[error(
        "{} holds a run of another recipe ({what}); choose another --run, or delete that folder to start over",
        path.display()
    )]
    OtherRecipe {
        /// The run folder.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
}

/// A writable run folder.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Creates the folder if need be and proves that it can be written to.
    ///
    /// # Errors
    /// [`RunDirError::Unwritable`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, RunDirError> {
        let path = path.into();
        let probe = path.join(".writable.tmp");
        let written = fs::create_dir_all(&path).and_then(|()| {
            fs::write(&probe, b"1")?;
            fs::remove_file(&probe)
        });
        match written {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(RunDirError::Unwritable { path, source }),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the run.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `value` as pretty JSON, whole or not at all.
    ///
    /// # Errors
    /// [`RunDirError::Write`].
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunDirError> {
        write_whole(&self.file(name), |file| {
            serde_json::to_writer_pretty(&mut *file, value)?;
            file.write_all(b"\n")
        })
    }

    /// Keeps the recipe in `recipe.toml`, or compares it with the one kept there.
    ///
    /// # Errors
    /// [`RunDirError::OtherRecipe`] when the folder belongs to another recipe.
    pub fn claim(&self, recipe: &str) -> Result<(), RunDirError> {
        let path = self.file("recipe.toml");
        match fs::read_to_string(&path) {
            Ok(kept) if kept == recipe => Ok(()),
            Ok(kept) => {
                let what = kept
                    .lines()
                    .zip(recipe.lines())
                    .find(|(a, b)| a != b)
                    .map_or("one is longer".to_owned(), |(a, b)| {
                        format!("`{a}` there, `{b}` now")
                    });
                Err(RunDirError::OtherRecipe {
                    path: self.path.clone(),
                    what,
                })
            }
            Err(_) => write_whole(&path, |file| file.write_all(recipe.as_bytes())),
        }
    }
}

/// Writes a file under a temporary name, flushes it to the disk and renames it: a reader, a crash
/// or a full disk never meets half a file.
///
/// # Errors
/// [`RunDirError::Write`]; the temporary file is removed and the former file left as it was.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunDirError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let result = File::create(&temporary).and_then(|file| {
        let mut writer = io::BufWriter::new(file);
        write(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        fs::rename(&temporary, path)
    });
    result.map_err(|source| {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        let kept = if path.exists() {
            "the file written before it is intact"
        } else {
            "nothing of it is left behind"
        };
        RunDirError::Write {
            path: path.to_owned(),
            source,
            kept,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_the_former_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        write_whole(&path, |f| f.write_all(b"old")).unwrap();
        let error = write_whole(&path, |f| {
            f.write_all(b"half of the n")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("checkpoint.safetensors"), "{error}");
        assert!(error.contains("before it is intact"), "{error}");
        assert!(error.contains("make room"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "the temporary file is gone"
        );
    }

    /// `/dev/full` refuses every byte the way a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_systems_own_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.json");
        std::os::unix::fs::symlink("/dev/full", dir.path().join("metrics.json.tmp")).unwrap();
        let error = write_whole(&path, |f| f.write_all(b"x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("No space left on device"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn an_unwritable_folder_names_itself_and_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("occupied");
        fs::write(&file, b"").unwrap();
        let error = RunDir::create(file.join("run")).unwrap_err().to_string();
        assert!(error.contains("occupied"), "{error}");
        assert!(error.contains("--run"), "{error}");
    }

    #[test]
    fn another_recipe_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        run.claim("seed = 1\nlr = 2\n").unwrap();
        run.claim("seed = 1\nlr = 2\n").unwrap();
        let error = run.claim("seed = 1\nlr = 3\n").unwrap_err().to_string();
        assert!(error.contains("`lr = 2` there, `lr = 3` now"), "{error}");
    }
}
