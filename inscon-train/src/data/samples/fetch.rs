//! Bytes of a shard, tried again until they are there.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore};

use super::ShardError;
use super::counters::Counters;
use super::location::{At, Location};
use crate::say;

/// How often a failed request is made again.
///
/// After the first failure it is made again after `first_pause`, after each further one without
/// progress after twice the pause before, at most `longest_pause`. It goes on at the byte that was
/// reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Pause after the first failure.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// A request that brings nothing for so long has failed.
    pub stall: Duration,
    /// Time without progress after which reading gives up.
    pub give_up: Duration,
    /// The same while shards are looked up and indexed: a wrong name should not take so long.
    pub give_up_opening: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            give_up: Duration::from_secs(300),
            give_up_opening: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The pause before try `tries + 1`.
    fn pause(&self, tries: u32) -> Duration {
        let factor = 2_u32.saturating_pow(tries.saturating_sub(1).min(20));
        self.first_pause
            .saturating_mul(factor)
            .min(self.longest_pause)
    }
}

/// So many bytes are progress, after which pauses begin anew.
const PROGRESS: u64 = 64 << 10;

/// Silence after which the person at the terminal is told.
const OUTAGE: Duration = Duration::from_secs(10);

/// Makes requests, counts them, and makes them again.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    pub(super) policy: RetryPolicy,
    pub(super) counters: Arc<Counters>,
}

/// Failures since the last progress.
struct Failures<'a> {
    policy: RetryPolicy,
    give_up: Duration,
    counters: &'a Counters,
    url: &'a str,
    tries: u32,
    since: Instant,
}

impl<'a> Failures<'a> {
    fn new(fetcher: &'a Fetcher, give_up: Duration, url: &'a str) -> Self {
        Self {
            policy: fetcher.policy,
            give_up,
            counters: &fetcher.counters,
            url,
            tries: 0,
            since: Instant::now(),
        }
    }

    fn progress(&mut self) {
        self.tries = 0;
        self.since = Instant::now();
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// When there is none.
    async fn next(&mut self, failure: Failure) -> Result<(), ShardError> {
        let said = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Again(said) => said,
        };
        self.tries += 1;
        let pause = self.policy.pause(self.tries);
        let waited = self.since.elapsed();
        if waited + pause > self.give_up {
            return Err(ShardError::Unreachable {
                url: self.url.to_owned(),
                tries: self.tries,
                waited,
                said,
            });
        }
        self.counters.retries.fetch_add(1, Relaxed);
        if waited > OUTAGE && self.counters.may_tell() {
            say(&format!(
                "{}: {said}; trying for {} s more",
                self.url,
                self.give_up.saturating_sub(waited).as_secs()
            ));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// What a try met.
enum Failure {
    Again(String),
    Final(ShardError),
}

impl Fetcher {
    /// Hands the bytes `range` of an object to `sink`, in order and each once, in pieces as they
    /// come. `size` is the object's, if it is known.
    pub(super) async fn range(
        &self,
        location: &Location,
        range: Range<u64>,
        size: Option<u64>,
        mut sink: impl FnMut(&[u8]) -> Result<(), ShardError>,
    ) -> Result<(), ShardError> {
        let (store, key) = match &location.at {
            At::File(path) => return read_file(path, range, size, &self.counters, sink).await,
            At::Object(store, key) => (store, key),
        };
        let mut failures = Failures::new(self, self.policy.give_up, &location.url);
        let (mut at, mut progress) = (range.start, range.start);
        while at < range.end {
            let tried = self
                .attempt(
                    location,
                    store,
                    key,
                    at..range.end,
                    size,
                    &mut at,
                    &mut sink,
                )
                .await;
            if at >= progress + PROGRESS {
                progress = at;
                failures.progress();
            }
            if let Err(failure) = tried {
                failures.next(failure).await?;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one loop")]
    async fn attempt(
        &self,
        location: &Location,
        store: &Arc<dyn ObjectStore>,
        key: &Key,
        range: Range<u64>,
        size: Option<u64>,
        at: &mut u64,
        sink: &mut impl FnMut(&[u8]) -> Result<(), ShardError>,
    ) -> Result<(), Failure> {
        let url = &location.url;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        self.counters.requests.fetch_add(1, Relaxed);
        let result = self.in_time(store.get_opts(key, options)).await?;
        let result = result.map_err(|e| judge(url, &e))?;
        if let Some(size) = size
            && result.meta.size != size
        {
            return Err(Failure::Final(resized(url, result.meta.size, size)));
        }
        let mut stream = result.into_stream();
        while let Some(bytes) = self.in_time(stream.next()).await? {
            let bytes = bytes.map_err(|e| judge(url, &e))?;
            self.counters.bytes.fetch_add(bytes.len() as u64, Relaxed);
            // No server should send more than was asked for.
            let most = usize::try_from(range.end - *at).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(most)];
            *at += bytes.len() as u64;
            sink(bytes).map_err(Failure::Final)?;
            if *at == range.end {
                return Ok(());
            }
        }
        let missing = range.end - *at;
        Err(Failure::Again(format!(
            "the answer ended {missing} bytes early"
        )))
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let stall = self.policy.stall;
        tokio::time::timeout(stall, work)
            .await
            .map_err(|_| Failure::Again(format!("nothing came for {:.1} s", stall.as_secs_f64())))
    }

    /// A whole object; `None` when there is none, which S3 calls forbidden to those who may
    /// not list the bucket.
    pub(super) async fn whole(&self, location: &Location) -> Result<Option<Vec<u8>>, ShardError> {
        if let At::File(path) = &location.at {
            return match std::fs::read(path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(file_error(path, &e)),
            };
        }
        let size = match self.head(location).await {
            Ok(meta) => meta.size,
            Err(ShardError::Missing { .. } | ShardError::Denied { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        let sink = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            Ok(())
        };
        self.range(location, 0..size, Some(size), sink).await?;
        Ok(Some(all))
    }

    /// Length and ETag or time of an object.
    pub(super) async fn head(&self, location: &Location) -> Result<ObjectMeta, ShardError> {
        let At::Object(store, key) = &location.at else {
            unreachable!("files are looked at without a store")
        };
        let url = &location.url;
        let mut failures = Failures::new(self, self.policy.give_up_opening, url);
        loop {
            self.counters.requests.fetch_add(1, Relaxed);
            let options = GetOptions {
                head: true,
                ..GetOptions::default()
            };
            let tried = match self.in_time(store.get_opts(key, options)).await {
                Ok(result) => result.map_err(|e| judge(url, &e)),
                Err(failure) => Err(failure),
            };
            match tried {
                Ok(result) => return Ok(result.meta),
                Err(failure) => failures.next(failure).await?,
            }
        }
    }

    /// The objects whose keys begin with the folder `prefix`, by the parts of their keys.
    pub(super) async fn list(
        &self,
        url: &str,
        store: &Arc<dyn ObjectStore>,
        prefix: &Key,
    ) -> Result<Vec<ObjectMeta>, ShardError> {
        let mut failures = Failures::new(self, self.policy.give_up_opening, url);
        loop {
            self.counters.requests.fetch_add(1, Relaxed);
            let tried = async {
                let mut found = Vec::new();
                let mut stream = store.list(Some(prefix));
                while let Some(meta) = self.in_time(stream.next()).await? {
                    found.push(meta.map_err(|e| judge(url, &e))?);
                }
                Ok(found)
            };
            match tried.await {
                Ok(mut found) => {
                    // As paths compare: a folder and its shards give the same order from anywhere.
                    found.sort_by(|a, b| a.location.parts().cmp(b.location.parts()));
                    return Ok(found);
                }
                Err(failure) => failures.next(failure).await?,
            }
        }
    }
}

pub(super) fn changed(url: &str, what: String) -> ShardError {
    ShardError::Changed {
        url: url.to_owned(),
        what,
        index: "beside the shards, or in data.cache_dir".to_owned(),
    }
}

fn resized(url: &str, is: u64, was: u64) -> ShardError {
    changed(url, format!("{is} bytes instead of {was}"))
}

/// Opens a shard that should have `size` bytes, if that is known.
pub(super) fn open_file(
    path: &std::path::Path,
    size: Option<u64>,
) -> Result<std::fs::File, ShardError> {
    let failed = |e: std::io::Error| file_error(path, &e);
    let file = std::fs::File::open(path).map_err(failed)?;
    if let Some(size) = size {
        let is = file.metadata().map_err(failed)?.len();
        if is != size {
            return Err(resized(&path.display().to_string(), is, size));
        }
    }
    Ok(file)
}

pub(super) fn file_error(path: &std::path::Path, error: &std::io::Error) -> ShardError {
    ShardError::File {
        path: path.display().to_string(),
        said: format!(
            "{error}; restore it and let it be read, or name others in data.pretrain_shards"
        ),
    }
}

/// Bytes of a file, in pieces.
async fn read_file(
    path: &std::path::Path,
    range: Range<u64>,
    size: Option<u64>,
    counters: &Counters,
    mut sink: impl FnMut(&[u8]) -> Result<(), ShardError>,
) -> Result<(), ShardError> {
    const PIECE: u64 = 1 << 20;
    let mut at = range.start;
    let mut file = None;
    while at < range.end {
        let length = PIECE.min(range.end - at);
        let path = path.to_owned();
        let kept = file.take();
        counters.requests.fetch_add(1, Relaxed);
        let read = tokio::task::spawn_blocking(move || {
            let mut file = match kept {
                Some(file) => file,
                None => open_file(&path, size)?,
            };
            let mut bytes = vec![0; length as usize];
            read_exact_at(&mut file, &path, at, &mut bytes)?;
            Ok((file, bytes))
        });
        let (reopened, bytes) = match read.await {
            Ok(read) => read?,
            Err(error) => {
                return Err(ShardError::File {
                    path: "a shard".to_owned(),
                    said: error.to_string(),
                });
            }
        };
        counters.bytes.fetch_add(length, Relaxed);
        at += length;
        file = Some(reopened);
        sink(&bytes)?;
    }
    Ok(())
}

/// Fills `bytes` from `offset` on.
pub(super) fn read_exact_at(
    file: &mut std::fs::File,
    path: &std::path::Path,
    offset: u64,
    bytes: &mut [u8],
) -> Result<(), ShardError> {
    use std::io::{ErrorKind, Read, Seek, SeekFrom};
    let read = file
        .seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(bytes));
    read.map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => changed(
            &path.display().to_string(),
            format!("it ends before byte {}", offset + bytes.len() as u64),
        ),
        _ => file_error(path, &e),
    })
}

/// Whether an error is worth another try.
fn judge(url: &str, error: &Error) -> Failure {
    let said = chain(error);
    let url = url.to_owned();
    let names = |what: &[&str]| what.iter().any(|what| said.contains(what));
    match error {
        Error::NotFound { .. } => Failure::Final(ShardError::Missing { url, said }),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Failure::Final(ShardError::Denied { url, said })
        }
        // Without credentials the clients ask the metadata server of a cloud machine for some.
        _ if names(&[
            "169.254.169.254",
            "169.254.170.2",
            "metadata.google.internal",
        ]) =>
        {
            Failure::Final(ShardError::Denied { url, said })
        }
        _ if names(&[
            "Range request not supported",
            "Received non-partial response",
        ]) =>
        {
            let said = "the server does not send parts of a file (no HTTP ranges), which reading \
                        shards needs; serve it with another one"
                .to_owned();
            Failure::Final(ShardError::Refused { url, said })
        }
        Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. }
        | Error::UnknownConfigurationKey { .. }
        | Error::Precondition { .. } => Failure::Final(ShardError::Refused { url, said }),
        _ => match status(&said) {
            Some(404) => Failure::Final(ShardError::Missing { url, said }),
            // 408 and 429 pass.
            Some(s) if (400..500).contains(&s) && s != 408 && s != 429 => {
                Failure::Final(ShardError::Refused { url, said })
            }
            _ => Failure::Again(said),
        },
    }
}

/// The status that an error names; its type is not public.
fn status(said: &str) -> Option<u16> {
    said.split("status code: ").nth(1)?.get(..3)?.parse().ok()
}

/// An error with its reasons, each once, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        next = error.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(400) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (1..11)
            .map(|tries| policy.pause(tries).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(policy.pause(u32::MAX).as_millis(), 10_000);
    }

    #[test]
    fn objects_are_in_the_order_of_files() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let fetcher = Fetcher {
            policy: RetryPolicy::default(),
            counters: Arc::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let listed = runtime.block_on(async {
            for key in ["d/a-b/x.tar", "d/b.tar", "d/a/x.tar", "e/a.tar"] {
                store
                    .put_opts(&key.into(), "".into(), Default::default())
                    .await
                    .unwrap();
            }
            fetcher.list("memory", &store, &"d".into()).await.unwrap()
        });
        let keys: Vec<_> = listed.iter().map(|meta| meta.location.as_ref()).collect();
        assert_eq!(keys, ["d/a/x.tar", "d/a-b/x.tar", "d/b.tar"]);
        let mut files: Vec<_> = keys.iter().map(std::path::PathBuf::from).collect();
        files.sort();
        assert!(
            files
                .iter()
                .zip(&keys)
                .all(|(file, key)| file.to_str() == Some(key))
        );
    }

    #[test]
    fn a_status_is_found() {
        let said = "Server returned non-2xx status code: 503 Service Unavailable: body";
        assert_eq!(status(said), Some(503));
        assert_eq!(status("connection refused"), None);
        assert_eq!(status("status code: 4"), None);
    }
}
