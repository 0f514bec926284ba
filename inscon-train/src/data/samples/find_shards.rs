//! From a pattern to shards.

use std::collections::HashSet;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, Pattern};
use object_store::ObjectMeta;
use object_store::path::Path as Key;

use super::fetch::Fetcher;
use super::io_thread::IoThread;
use super::location::{At, Location, Stores, scheme};
use super::{ShardError, expand_braces};

/// A shard, and what listing its store said about it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) location: Location,
    /// Length and stamp.
    pub(super) known: Option<(u64, String)>,
}

/// `*` stays within a folder, as in a shell.
const AS_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// All shards of a pattern, each once, in order.
pub(super) fn find_shards(
    pattern: &str,
    stores: &mut Stores,
    fetcher: &Fetcher,
    io: &mut impl FnMut() -> Result<Arc<IoThread>, ShardError>,
) -> Result<Vec<Found>, ShardError> {
    let wrong = |what: String| ShardError::Pattern {
        pattern: pattern.to_owned(),
        what,
    };
    let mut all: Vec<Found> = Vec::new();
    for part in expand_braces(pattern)? {
        let before = all.len();
        match scheme(&part) {
            None => find_files(&part, &mut all).map_err(wrong)?,
            Some("file") => {
                let location = stores.locate(&part)?;
                find_files(&location.url, &mut all).map_err(wrong)?;
            }
            Some(_) if part.contains(['*', '?', '[']) || part.ends_with('/') => {
                let io = io()?;
                find_objects(&part, stores, fetcher, &io, &mut all)?;
            }
            Some(_) => all.push(Found {
                location: stores.locate(&part)?,
                known: None,
            }),
        }
        if all.len() == before {
            return Err(wrong(format!(
                "no file with the ending .tar is found for `{part}`"
            )));
        }
    }
    if all.is_empty() {
        return Err(wrong(
            "it is empty; give shards such as train-{000000..000146}.tar".into(),
        ));
    }
    let mut seen = HashSet::new();
    let mut new = |found: &&Found| seen.insert(identity(&found.location));
    if let Some(twice) = all.iter().find(|found| !new(found)) {
        return Err(wrong(format!("{} is in it twice", twice.location.url)));
    }
    Ok(all)
}

/// What two names of one shard have in common: the real path of a file; the store and key of an
/// object.
fn identity(location: &Location) -> (usize, PathBuf) {
    match &location.at {
        // One that is not there is told when it is looked at.
        At::File(path) => (0, path.canonicalize().unwrap_or_else(|_| path.clone())),
        At::Object(store, key) => {
            let store = Arc::as_ptr(store).cast::<()>() as usize;
            (store, key.as_ref().into())
        }
    }
}

fn is_shard(name: &str) -> bool {
    let name = name.rsplit(['/', MAIN_SEPARATOR]).next().unwrap_or(name);
    name.ends_with(".tar") && !name.starts_with('.')
}

/// A file, the shards of a folder, or the files of a glob pattern.
fn find_files(part: &str, all: &mut Vec<Found>) -> Result<(), String> {
    let path = Path::new(part);
    let mut files = Vec::new();
    if path.is_dir() {
        let entries = path
            .read_dir()
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| format!("cannot read the folder {part}: {e}"))?;
        let paths = entries.into_iter().map(|entry| entry.path());
        files.extend(paths.filter(|path| is_shard(&path.to_string_lossy())));
    } else if part.contains(['*', '?', '[']) && !path.exists() {
        let paths = glob::glob_with(part, AS_A_SHELL).map_err(|e| format!("`{part}`: {e}"))?;
        for path in paths {
            let path = path.map_err(|e| e.to_string())?;
            if is_shard(&path.to_string_lossy()) {
                files.push(path);
            }
        }
    } else {
        files.push(path.to_owned());
    }
    // By the parts of the paths, as in a store: `a/x.tar` stands before `a-b/x.tar`.
    files.sort();
    all.extend(files.iter().map(|path| Found {
        location: Location::file(path),
        known: None,
    }));
    Ok(())
}

/// The objects of a folder or a glob pattern.
fn find_objects(
    part: &str,
    stores: &mut Stores,
    fetcher: &Fetcher,
    io: &IoThread,
    all: &mut Vec<Found>,
) -> Result<(), ShardError> {
    let wrong = |what: String| ShardError::Pattern {
        pattern: part.to_owned(),
        what,
    };
    if stores.is_http(part) {
        let what = "web servers do not list their files; name them with braces, as in \
                    train-{000000..000146}.tar";
        return Err(wrong(what.to_owned()));
    }
    // The folder before the first wildcard.
    let literal = part.find(['*', '?', '[']).unwrap_or(part.len());
    let folder = &part[..part[..literal].rfind('/').map_or(0, |slash| slash + 1)];
    let location = stores.locate(folder)?;
    let At::Object(store, prefix) = location.at else {
        return Err(wrong("it is no place in a store".to_owned()));
    };
    let rest = &part[folder.len()..];
    let pattern = Pattern::new(if rest.is_empty() { "*.tar" } else { rest });
    let pattern = pattern.map_err(|e| wrong(e.to_string()))?;
    let (fetcher, url, at, key) = (
        fetcher.clone(),
        part.to_owned(),
        store.clone(),
        prefix.clone(),
    );
    let listed = io.wait(async move { fetcher.list(&url, &at, &key).await });
    let listed = listed.ok_or_else(|| wrong("listing it panicked".to_owned()))??;
    for meta in listed {
        let below: Option<Key> = meta.location.prefix_match(&prefix).map(Iterator::collect);
        let Some(below) = below.map(|key| key.to_string()) else {
            continue;
        };
        if is_shard(&below) && pattern.matches_with(&below, AS_A_SHELL) {
            let known = Some((meta.size, stamp(&meta)));
            let url = format!("{folder}{below}");
            let at = At::Object(store.clone(), meta.location);
            all.push(Found {
                location: Location { url, at },
                known,
            });
        }
    }
    Ok(())
}

/// What tells an object from another under its name.
pub(super) fn stamp(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) => tag.clone(),
        None => meta.last_modified.timestamp_millis().to_string(),
    }
}
