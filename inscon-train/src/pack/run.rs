//! From a folder to shards.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use inscon_aug::{Permutation, stream};
use serde::{Deserialize, Serialize};

use super::names::MemberNames;
use super::writer::ShardWriter;
use super::{PackArgs, PackError, ShardSize};
use crate::data::{
    INDEX_FORMAT, INDEX_VERSION, ImageFolder, IndexHeader, SHUFFLE, ShardIndex, index_name,
};
use crate::fnv::{Hash, fnv1a};
use crate::{Interrupt, Progress, say};

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Shards that are whole, those of earlier calls included.
    pub shards: usize,
    /// Images in them.
    pub images: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether all images are packed; not after an interrupt.
    pub is_complete: bool,
}

/// Packs a folder. Goes on after the last whole shard where an earlier call with the same arguments
/// was interrupted; does nothing where it was not.
///
/// # Errors
/// [`PackError`].
///
/// # Example
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (photos, shards) = (dir.path().join("photos"), dir.path().join("shards"));
/// # std::fs::create_dir(&photos)?;
/// # for name in ["a.jpg", "b.jpg", "c.jpg"] {
/// #     std::fs::write(photos.join(name), name)?;
/// # }
/// use inscon_train::Interrupt;
/// use inscon_train::data::{SampleSource, ShardOptions, ShardSource};
/// use inscon_train::pack::{PackArgs, ShardSize, pack};
///
/// let args = PackArgs {
///     images: photos,
///     out: shards.clone(),
///     name: "train".into(),
///     shard_size: ShardSize::Images(2),
///     shuffle: None,
/// };
/// let packed = pack(&args, &Interrupt::default())?;
/// assert_eq!((packed.shards, packed.images), (2, 3));
///
/// let source = ShardSource::open(&shards.display().to_string(), &ShardOptions::default())?;
/// let mut bytes = Vec::new();
/// source.read(2, &mut bytes)?;
/// assert_eq!((source.name(2).as_str(), &bytes[..]), ("train-000001.tar/c.jpg", &b"c.jpg"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pack(args: &PackArgs, interrupt: &Interrupt) -> Result<Packed, PackError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if args.name.is_empty() || !args.name.chars().all(is_plain) {
        return Err(PackError::Name {
            name: args.name.clone(),
        });
    }
    let folder = ImageFolder::open(&args.images, 0)?;
    if let Some(first) = folder.unreadable().first() {
        say(&format!(
            "warning: {} images are left out, since their names are not UTF-8 (the first: {first}); \
             rename them",
            folder.unreadable().len()
        ));
    }
    let order = match args.shuffle {
        None => Permutation::identity(folder.len()),
        Some(seed) => Permutation::random(folder.len(), &mut stream(seed, &[SHUFFLE])),
    };
    match Out::open(args, &folder, order.images())? {
        Out::Complete(shards) => Ok(packed(&shards, true)),
        Out::Part(shards, log) => {
            write_shards(args, &folder, order.images(), shards, log, interrupt)
        }
    }
}

fn packed(shards: &[ShardIndex], is_complete: bool) -> Packed {
    Packed {
        shards: shards.len(),
        images: shards.iter().map(|shard| shard.samples.len()).sum(),
        bytes: shards.iter().map(|shard| shard.bytes).sum(),
        is_complete,
    }
}

fn shard_path(args: &PackArgs, number: usize) -> PathBuf {
    args.out.join(format!("{}-{number:06}.tar", args.name))
}

fn write_shards(
    args: &PackArgs,
    folder: &ImageFolder,
    order: &[usize],
    mut shards: Vec<ShardIndex>,
    mut log: Log,
    interrupt: &Interrupt,
) -> Result<Packed, PackError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| PackError::Write { path, source }
    };
    let done = packed(&shards, false).images;
    let mut progress = Progress::new("pack", "images", done as u64, order.len() as u64);
    let mut names = MemberNames::default();
    let mut open: Option<ShardWriter> = None;
    let mut sources = Hash::new();
    let mut finish = |shard: ShardWriter, sources: &mut Hash, shards: &mut Vec<ShardIndex>| {
        let path = shard.path().to_owned();
        let whole = shard.finish().map_err(write(&path))?;
        // Listed before it has its name: a shard that is not listed is somebody else's.
        log.line(&Line {
            index: whole.index.clone(),
            sources: Some(std::mem::take(sources).to_string()),
        })?;
        shards.push(whole.publish().map_err(write(&path))?);
        Ok::<(), PackError>(())
    };
    for (at, &image) in order.iter().enumerate() {
        let name = names.next(folder.name(image));
        if at < done {
            continue;
        }
        if interrupt.is_raised() {
            if let Some(shard) = open {
                shard.abandon();
            }
            progress.finish();
            return Ok(packed(&shards, false));
        }
        let path = folder.path(image);
        let (bytes, state) = match read(&path) {
            Ok(read) => read,
            Err(source) => {
                if let Some(shard) = open {
                    shard.abandon();
                }
                return Err(PackError::Image { path, source });
            }
        };
        let is_full = |shard: &ShardWriter| match args.shard_size {
            ShardSize::Images(most) => shard.images() >= most,
            ShardSize::Bytes(most) => shard.bytes_with(&name, bytes.len() as u64) > most,
        };
        if let Some(full) = open.take_if(|shard| is_full(shard)) {
            finish(full, &mut sources, &mut shards)?;
        }
        let mut shard = match open.take() {
            Some(shard) => shard,
            None => {
                let path = shard_path(args, shards.len());
                ShardWriter::create(path.clone()).map_err(write(&path))?
            }
        };
        if let Err(source) = shard.append(name, &bytes) {
            let path = shard.path().to_owned();
            shard.abandon();
            return Err(PackError::Write { path, source });
        }
        sources.add(&state);
        open = Some(shard);
        progress.update(at as u64 + 1, "");
    }
    if let Some(last) = open {
        finish(last, &mut sources, &mut shards)?;
    }
    progress.finish();
    log.finish()?;
    Ok(packed(&shards, true))
}

/// The bytes of a file, and its state when they were read.
fn read(path: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = File::open(path)?;
    let state = state(&file.metadata()?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, state))
}

/// What tells a file from what it was before: its length and the time of its last change.
fn state(meta: &Metadata) -> Vec<u8> {
    let changed = meta.modified().ok();
    let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = since.map_or(0, |since| since.as_nanos());
    [&meta.len().to_le_bytes()[..], &nanoseconds.to_le_bytes()].concat()
}

/// A shard's line of the index.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    index: ShardIndex,
    /// Hash of the states of the files that it was packed from.
    #[serde(default)]
    sources: Option<String>,
}

/// What lies in the folder of shards.
enum Out {
    Complete(Vec<ShardIndex>),
    Part(Vec<ShardIndex>, Log),
}

/// The index while it is written: a line for each whole shard, under a temporary name.
struct Log {
    file: File,
    part: PathBuf,
    index: PathBuf,
}

impl Log {
    fn line(&mut self, value: &impl serde::Serialize) -> Result<(), PackError> {
        let mut line = serde_json::to_vec(value).map_err(|e| self.failed(e.into()))?;
        line.push(b'\n');
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        written.map_err(|e| self.failed(e))
    }

    fn finish(self) -> Result<(), PackError> {
        fs::rename(&self.part, &self.index).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> PackError {
        PackError::Write {
            path: self.part.clone(),
            source,
        }
    }
}

impl Out {
    /// Looks for what an earlier call left, which packed the images in the order of `order`.
    fn open(args: &PackArgs, folder: &ImageFolder, order: &[usize]) -> Result<Self, PackError> {
        let header = IndexHeader {
            format: INDEX_FORMAT.to_owned(),
            version: INDEX_VERSION,
            packed: Some(fingerprint(args, folder)),
        };
        let first = shard_path(args, 0);
        let name = first.file_name().unwrap_or_default().to_string_lossy();
        let index = args.out.join(index_name(&name).unwrap_or_default());
        let part = index.with_extension("jsonl.part");
        let exists = |path: &Path, what: &str| PackError::Exists {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let write = |source| PackError::Write {
            path: args.out.clone(),
            source,
        };
        let listed = |path: &Path, mut lines: Vec<Line>| {
            // The last may have been listed and not have got its name.
            let unnamed = |last: &Line| !args.out.join(&last.index.shard).exists();
            if path == part && lines.last().is_some_and(unnamed) {
                lines.pop();
            }
            check_shards(args, &lines).map_err(|what| exists(path, &what))?;
            check_sources(folder, order, &lines).map_err(|what| exists(path, &what))?;
            Ok::<_, PackError>(lines)
        };
        let shards =
            |lines: Vec<Line>| -> Vec<_> { lines.into_iter().map(|line| line.index).collect() };
        if index.exists() {
            let lines = read_log(&index, &header).map_err(|what| exists(&index, &what))?;
            return Ok(Self::Complete(shards(listed(&index, lines)?)));
        }
        fs::create_dir_all(&args.out).map_err(write)?;
        let lines = match part.exists() {
            true => read_log(&part, &header).map_err(|what| exists(&part, &what))?,
            false => Vec::new(),
        };
        let lines = listed(&part, lines)?;
        if let Some(path) = foreign(args, lines.len()).map_err(write)? {
            let what = match part.exists() {
                true => " and is not in the index of the packing that would go on",
                false => " without its index",
            };
            return Err(exists(&path, what));
        }
        // Written anew: the last line may be half there.
        let mut log = Log::create(part, index)?;
        log.line(&header)?;
        for line in &lines {
            log.line(line)?;
        }
        Ok(Self::Part(shards(lines), log))
    }
}

/// A shard in the folder that would be in the way of those after the first `ours`.
fn foreign(args: &PackArgs, ours: usize) -> io::Result<Option<PathBuf>> {
    let ours: HashSet<PathBuf> = (0..ours).map(|number| shard_path(args, number)).collect();
    let prefix = format!("{}-", args.name);
    let mut found = Vec::new();
    for entry in fs::read_dir(&args.out)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_prefix(&prefix);
        let number = number.and_then(|rest| rest.strip_suffix(".tar"));
        // Others belong to sets of other names: `train-val-000000.tar`.
        let is_shard = number.is_some_and(|n| n.bytes().all(|c| c.is_ascii_digit()));
        if is_shard && !ours.contains(&path) {
            found.push(path);
        }
    }
    Ok(found.into_iter().min())
}

impl Log {
    fn create(part: PathBuf, index: PathBuf) -> Result<Self, PackError> {
        let mut name = part.clone().into_os_string();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary);
        let renamed = opened.and_then(|file| fs::rename(&temporary, &part).map(|()| file));
        match renamed {
            Ok(file) => Ok(Self { file, part, index }),
            Err(source) => Err(PackError::Write { path: part, source }),
        }
    }
}

/// What must be the same for shards to belong together.
fn fingerprint(args: &PackArgs, folder: &ImageFolder) -> String {
    let names = (0..folder.len()).fold(0_u64, |all, image| {
        all.rotate_left(5) ^ fnv1a(folder.name(image).as_bytes())
    });
    let shuffle = args
        .shuffle
        .map_or("none".to_owned(), |seed| seed.to_string());
    format!(
        "{} images {names:016x}, shard size {}, shuffle {shuffle}",
        folder.len(),
        args.shard_size
    )
}

/// The whole lines of an index, if it is of the same images and options.
fn read_log(path: &Path, wanted: &IndexHeader) -> Result<Vec<Line>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!(" and cannot be read ({e})"))?;
    let mut lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let first = lines.next().unwrap_or_default();
    let header: IndexHeader =
        serde_json::from_str(first).map_err(|e| format!(" and is no index ({e})"))?;
    if header != *wanted {
        return Err(format!(
            " for other images or options ({} there, {} now)",
            header.packed.as_deref().unwrap_or("unknown"),
            wanted.packed.as_deref().unwrap_or("unknown")
        ));
    }
    let lines =
        lines.map(|line| serde_json::from_str(line).map_err(|e| format!(" and is broken ({e})")));
    lines.collect()
}

/// Whether the shards are there, each as long as it should be.
fn check_shards(args: &PackArgs, lines: &[Line]) -> Result<(), String> {
    for (number, Line { index: shard, .. }) in lines.iter().enumerate() {
        let path = shard_path(args, number);
        let is_it = path.file_name().is_some_and(|name| *name == *shard.shard);
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        if !is_it || bytes != shard.bytes {
            return Err(format!(
                ", but {} has {bytes} bytes instead of {}",
                shard.shard, shard.bytes
            ));
        }
    }
    Ok(())
}

/// Whether the files that are packed are what they were. Those to come may have changed.
fn check_sources(folder: &ImageFolder, order: &[usize], lines: &[Line]) -> Result<(), String> {
    let mut images = order.iter();
    for line in lines {
        let packed = images.by_ref().take(line.index.samples.len());
        // Of an earlier version.
        let Some(before) = &line.sources else {
            packed.for_each(drop);
            continue;
        };
        let mut now = Hash::new();
        for &image in packed {
            let path = folder.path(image);
            let meta = fs::metadata(&path)
                .map_err(|e| format!(", but {} cannot be read ({e})", path.display()))?;
            now.add(&state(&meta));
        }
        if now.to_string() != *before {
            return Err(format!(
                ", but images in {} have changed since they were packed",
                line.index.shard
            ));
        }
    }
    Ok(())
}
