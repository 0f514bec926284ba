//! From a folder to shards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use inscon_aug::{Permutation, stream};

use super::names::{MemberNames, hash};
use super::writer::ShardWriter;
use super::{PackArgs, PackError, ShardSize};
use crate::data::{
    INDEX_FORMAT, INDEX_VERSION, ImageFolder, IndexHeader, SHUFFLE, ShardIndex, index_name,
};
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
    let out = Out::open(args, &folder)?;
    let order = match args.shuffle {
        None => Permutation::identity(folder.len()),
        Some(seed) => Permutation::random(folder.len(), &mut stream(seed, &[SHUFFLE])),
    };
    match out {
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
    let mut finish = |shard: ShardWriter, shards: &mut Vec<ShardIndex>| {
        let path = shard.path().to_owned();
        let index = shard.finish().map_err(write(&path))?;
        log.line(&index)?;
        shards.push(index);
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
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => {
                if let Some(shard) = open {
                    shard.abandon();
                }
                return Err(PackError::Image { path, source });
            }
        };
        let is_full = |shard: &ShardWriter| match args.shard_size {
            ShardSize::Images(most) => shard.images() >= most,
            ShardSize::Bytes(most) => shard.bytes_with(bytes.len() as u64) > most,
        };
        if let Some(full) = open.take_if(|shard| is_full(shard)) {
            finish(full, &mut shards)?;
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
        open = Some(shard);
        progress.update(at as u64 + 1, "");
    }
    if let Some(last) = open {
        finish(last, &mut shards)?;
    }
    progress.finish();
    log.finish()?;
    Ok(packed(&shards, true))
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
    /// Looks for what an earlier call left.
    fn open(args: &PackArgs, folder: &ImageFolder) -> Result<Self, PackError> {
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
        if index.exists() {
            let shards = read_log(&index, &header).map_err(|what| exists(&index, &what))?;
            return match check_shards(args, &shards) {
                Ok(()) => Ok(Self::Complete(shards)),
                Err(what) => Err(exists(&index, &what)),
            };
        }
        fs::create_dir_all(&args.out).map_err(write)?;
        if part.exists() {
            let shards = read_log(&part, &header).map_err(|what| exists(&part, &what))?;
            check_shards(args, &shards).map_err(|what| exists(&part, &what))?;
            // Written anew: the last line may be half there.
            let mut log = Log::create(part, index)?;
            log.line(&header)?;
            for shard in &shards {
                log.line(shard)?;
            }
            return Ok(Self::Part(shards, log));
        }
        if first.exists() {
            return Err(exists(&first, " without its index"));
        }
        let mut log = Log::create(part, index)?;
        log.line(&header)?;
        Ok(Self::Part(Vec::new(), log))
    }
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
        all.rotate_left(5) ^ hash(folder.name(image))
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
fn read_log(path: &Path, wanted: &IndexHeader) -> Result<Vec<ShardIndex>, String> {
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
    let shards =
        lines.map(|line| serde_json::from_str(line).map_err(|e| format!(" and is broken ({e})")));
    shards.collect()
}

/// Whether the shards are there, each as long as it should be.
fn check_shards(args: &PackArgs, shards: &[ShardIndex]) -> Result<(), String> {
    for (number, shard) in shards.iter().enumerate() {
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
