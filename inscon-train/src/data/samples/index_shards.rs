//! The indices of shards: beside them, from the cache, or made.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::fetch::{Fetcher, changed, file_error};
use super::find_shards::{Found, stamp};
use super::io_thread::IoThread;
use super::location::{At, Location};
use super::shard_index::parse_index;
use super::tar_scan::{scan_file, scan_stream};
use super::{ShardError, ShardIndex, index_name};
use crate::fnv::fnv1a;
use crate::{Progress, write_whole};

/// Requests at once for indices and for lengths.
const LOOKS: usize = 16;
/// Shards scanned at once.
const SCANS: usize = 4;
/// Bytes of a request while a shard is scanned.
const PIECE: u64 = 4 << 20;

/// The index of every shard, in order.
pub(super) fn index_shards(
    shards: &[Found],
    cache: Option<&Path>,
    fetcher: &Fetcher,
    io: Option<&Arc<IoThread>>,
) -> Result<Vec<ShardIndex>, ShardError> {
    let beside = beside(shards, fetcher, io)?;
    let mut indices: Vec<Option<ShardIndex>> = Vec::with_capacity(shards.len());
    for shard in shards {
        let url = &shard.location.url;
        let index = beside.get(url).cloned();
        if let Some(index) = &index {
            let bytes = match (&shard.location.at, &shard.known) {
                (At::File(path), _) => Some(file_stamp(path)?.0),
                (_, known) => known.as_ref().map(|known| known.0),
            };
            if let Some(bytes) = bytes.filter(|&bytes| bytes != index.bytes) {
                let what = format!("{bytes} bytes instead of {}", index.bytes);
                return Err(changed(url, what));
            }
        }
        indices.push(index);
    }
    let missing: Vec<usize> = (0..shards.len())
        .filter(|&i| indices[i].is_none())
        .collect();
    let stamps = stamps(shards, &missing, fetcher, io)?;
    let mut unknown = Vec::new();
    for (at, (bytes, stamp)) in missing.into_iter().zip(stamps) {
        let url = &shards[at].location.url;
        let kept = cache.and_then(|cache| load(&cache_file(cache, url), url, bytes, &stamp));
        match kept {
            Some(index) => indices[at] = Some(index),
            None => unknown.push((at, bytes, stamp)),
        }
    }
    for (at, index) in scan_all(shards, unknown, cache, fetcher, io)? {
        indices[at] = Some(index);
    }
    Ok(indices.into_iter().flatten().collect())
}

/// The indices beside the shards, by the shards' URLs.
fn beside(
    shards: &[Found],
    fetcher: &Fetcher,
    io: Option<&Arc<IoThread>>,
) -> Result<HashMap<String, ShardIndex>, ShardError> {
    let mut files: HashMap<String, Location> = HashMap::new();
    for Found { location, .. } in shards {
        if let Some(name) = index_name(location.file_name()) {
            let file = location.sibling(&name);
            files.entry(file.url.clone()).or_insert(file);
        }
    }
    let files: Vec<Location> = files.into_values().collect();
    let texts = each(files.clone(), fetcher, io, |fetcher, file| async move {
        fetcher.whole(&file).await
    })?;
    let mut all = HashMap::new();
    for (file, text) in files.iter().zip(texts) {
        for index in text.map_or(Ok(Vec::new()), |text| parse_index(&file.url, &text))? {
            all.insert(file.sibling(&index.shard).url, index);
        }
    }
    Ok(all)
}

/// Length and stamp of some of the shards.
fn stamps(
    shards: &[Found],
    which: &[usize],
    fetcher: &Fetcher,
    io: Option<&Arc<IoThread>>,
) -> Result<Vec<(u64, String)>, ShardError> {
    let which = which.iter().map(|&at| shards[at].clone()).collect();
    each(which, fetcher, io, |fetcher, shard: Found| async move {
        match (shard.known, &shard.location.at) {
            (Some(known), _) => Ok(known),
            (None, At::File(path)) => file_stamp(path),
            (None, At::Object(..)) => {
                let meta = fetcher.head(&shard.location).await?;
                Ok((meta.size, stamp(&meta)))
            }
        }
    })
}

/// Does `look` for each, several at once where there is a thread for it.
fn each<T, U, F>(
    all: Vec<T>,
    fetcher: &Fetcher,
    io: Option<&Arc<IoThread>>,
    look: impl Fn(Fetcher, T) -> F + Send + 'static,
) -> Result<Vec<U>, ShardError>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Future<Output = Result<U, ShardError>> + Send + 'static,
{
    let fetcher = fetcher.clone();
    let looks = all.into_iter().map(move |one| look(fetcher.clone(), one));
    let looks: Vec<F> = looks.collect();
    let work = async move {
        let results: Vec<_> = stream::iter(looks).buffered(LOOKS).collect().await;
        results.into_iter().collect()
    };
    match io {
        Some(io) => io.wait(work).unwrap_or_else(|| Err(panicked())),
        // Files alone: nothing is waited for.
        None => futures_util::FutureExt::now_or_never(work).unwrap_or_else(|| Err(panicked())),
    }
}

fn panicked() -> ShardError {
    ShardError::Refused {
        url: "the shards".to_owned(),
        said: "looking them up panicked; this is a fault of inscon-train, please report it".into(),
    }
}

/// Length of a file and the time of its last change.
fn file_stamp(path: &Path) -> Result<(u64, String), ShardError> {
    let meta = std::fs::metadata(path).map_err(|e| file_error(path, &e))?;
    if meta.is_dir() {
        return Err(file_error(path, &io::Error::other("it is a folder")));
    }
    let changed = meta.modified().ok();
    let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let stamp = since.map_or(String::new(), |since| since.as_nanos().to_string());
    Ok((meta.len(), stamp))
}

/// Scans shards, each by one thread.
fn scan_all(
    shards: &[Found],
    which: Vec<(usize, u64, String)>,
    cache: Option<&Path>,
    fetcher: &Fetcher,
    io: Option<&Arc<IoThread>>,
) -> Result<Vec<(usize, ShardIndex)>, ShardError> {
    if which.is_empty() {
        return Ok(Vec::new());
    }
    let progress = Mutex::new((
        Progress::new("index", "shards", 0, which.len() as u64),
        0_u64,
    ));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || -> Result<(), ShardError> {
        while let Some((at, bytes, stamp)) = which.get(next.fetch_add(1, Relaxed)) {
            let location = &shards[*at].location;
            let scanned = scan(location, *bytes, fetcher, io).inspect_err(|_| {
                next.store(which.len(), Relaxed);
            })?;
            let index = ShardIndex {
                stamp: Some(stamp.clone()),
                ..scanned
            };
            if let Some(cache) = cache {
                store(&cache_file(cache, &location.url), &location.url, &index);
            }
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((*at, index));
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.1 += 1;
            let count = progress.1;
            progress.0.update(count, "");
        }
        Ok(())
    };
    let threads = SCANS.min(which.len());
    let results: Vec<Result<(), ShardError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err(panicked())));
        ended.collect()
    });
    progress
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .0
        .finish();
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn scan(
    location: &Location,
    bytes: u64,
    fetcher: &Fetcher,
    io: Option<&Arc<IoThread>>,
) -> Result<ShardIndex, ShardError> {
    let (url, name) = (&location.url, location.file_name());
    let io = match (&location.at, io) {
        (At::File(path), _) => {
            let file = File::open(path).map_err(|e| file_error(path, &e))?;
            return scan_file(url, name, file, bytes);
        }
        (At::Object(..), Some(io)) => io,
        (At::Object(..), None) => return Err(panicked()),
    };
    let (give, take) = mpsc::channel(2);
    let failed = Arc::new(Mutex::new(None));
    let (fetcher, place, error) = (fetcher.clone(), location.clone(), failed.clone());
    io.spawn(async move {
        for start in (0..bytes).step_by(PIECE as usize) {
            let range = start..bytes.min(start + PIECE);
            let mut piece = Vec::with_capacity((range.end - range.start) as usize);
            let sink = |more: &[u8]| {
                piece.extend_from_slice(more);
                Ok(())
            };
            if let Err(e) = fetcher.range(&place, range, Some(bytes), sink).await {
                *error.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                return;
            }
            // The archive may have ended.
            if give.send(piece).await.is_err() {
                return;
            }
        }
    });
    let stream = Pieces {
        take,
        piece: Vec::new(),
        at: 0,
    };
    let scanned = scan_stream(url, name, stream, bytes);
    // A stream that was cut off looks like a broken archive.
    let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    failed.map_or(scanned, Err)
}

/// Pieces as one stream.
struct Pieces {
    take: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            match self.take.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.piece.len() - self.at);
        out[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// An index in the cache.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    version: u32,
    url: String,
    index: ShardIndex,
}

const VERSION: u32 = 1;

fn cache_file(cache: &Path, url: &str) -> PathBuf {
    // A name, not a proof; the file holds the URL.
    let hash = fnv1a(url.as_bytes());
    cache.join(format!("shard-{hash:016x}.json"))
}

fn load(file: &Path, url: &str, bytes: u64, stamp: &str) -> Option<ShardIndex> {
    let kept: Kept = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let index = kept.index;
    let is_it = kept.version == VERSION && kept.url == url && index.bytes == bytes;
    // Without a stamp nothing tells a changed shard.
    let is_same = index.stamp.as_deref() == Some(stamp) && !stamp.is_empty();
    (is_it && is_same && index.check().is_ok()).then_some(index)
}

/// Keeps an index. What goes wrong is no reason to stop: the next run scans again.
fn store(file: &Path, url: &str, index: &ShardIndex) {
    let kept = Kept {
        version: VERSION,
        url: url.to_owned(),
        index: index.clone(),
    };
    let folder = file.parent().unwrap_or(Path::new("."));
    // The folder of caches may be read-only.
    let _ = std::fs::create_dir_all(folder)
        .map(|()| write_whole(file, |out| Ok(serde_json::to_writer(out, &kept)?)));
}
