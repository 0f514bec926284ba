//! Samples from tar shards.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::assembly::{Assembly, mismatch};
use super::counters::Counters;
use super::fetch::{Fetcher, open_file, read_exact_at};
use super::find_shards::find_shards;
use super::index_shards::index_shards;
use super::io_thread::IoThread;
use super::location::{At, Location, Stores};
use super::read_ahead::{ReadAhead, Taken};
use super::read_plan::{Layout, ReadPlan};
use super::{SampleError, SampleSource, SampleStatistics, ShardError, ShardIndex, ShardOptions};
use crate::data::IMAGE_EXTENSIONS;
use crate::say;

/// The images of WebDataset tar shards, on this machine or in an object store.
///
/// A pattern is a path or a URL with [braces](super::expand_braces) or wildcards, several joined by
/// `::`: `shards/`, `shards/train-*.tar`, `s3://bucket/train-{000000..000146}.tar`. Stores are
/// `s3://`, `gs://`, `az://`, `http://` and `https://`; their settings come from the environment
/// (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`
/// and their like, as in the crate `object_store`).
///
/// A sample is a run of members with the same key: what stands before the first dot of the file
/// name. Its image is the first of `jpg`, `jpeg`, `png`, `webp`, `bmp`, `tif`, `tiff`, in any case,
/// and of longer extensions that end in one of these (`left.jpg`) the first in the shard. Other
/// members are left alone.
///
/// Where images lie says the index that `inscon-train pack` writes beside the shards; without it
/// each shard is read once, and the index kept in the cache. Members' headers and the shards'
/// lengths are compared with it on every read.
///
/// A [plan](SampleSource::plan) that goes through shards from end to end is fetched ahead in ranges
/// of some MB, one that does not sample by sample; both within
/// [`read_ahead`](ShardOptions::read_ahead) bytes, and all of it goes on after failures where it
/// was.
pub struct ShardSource {
    pattern: String,
    groups: Vec<usize>,
    /// File names of the shards.
    shards: Vec<String>,
    /// Names of the images of each shard.
    names: Vec<Names>,
    ahead: Arc<ReadAhead>,
    counters: Arc<Counters>,
    io: OnceLock<Arc<IoThread>>,
    options: ShardOptions,
    /// Whether the person at the terminal was told that samples are read one by one.
    told: OnceLock<()>,
}

/// Names in one piece of memory.
struct Names {
    text: String,
    ends: Vec<u32>,
}

impl fmt::Debug for ShardSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardSource")
            .field("pattern", &self.pattern)
            .field("shards", &self.shards.len())
            .field("samples", &self.ahead.layout.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ShardSource {
    /// Finds and indexes the shards of a pattern.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn open(pattern: &str, options: &ShardOptions) -> Result<Self, ShardError> {
        let counters = Arc::new(Counters::default());
        let fetcher = Fetcher {
            policy: options.retry,
            counters: counters.clone(),
        };
        let io: OnceLock<Arc<IoThread>> = OnceLock::new();
        let mut start = || start(&io);
        let mut stores = Stores::new(options.connect);
        let found = find_shards(pattern, &mut stores, &fetcher, &mut start)?;
        if found.iter().any(|shard| !shard.location.is_local()) {
            start()?;
        }
        // While shards are looked up a wrong name should soon be told.
        let opening = Fetcher {
            policy: super::RetryPolicy {
                give_up: options.retry.give_up_opening,
                ..options.retry
            },
            ..fetcher.clone()
        };
        let indices = index_shards(&found, options.cache.as_deref(), &opening, io.get())?;
        let locations = found.into_iter().map(|found| found.location).collect();
        Self::new(pattern, locations, indices, fetcher, io, options)
    }

    fn new(
        pattern: &str,
        locations: Vec<Location>,
        indices: Vec<ShardIndex>,
        fetcher: Fetcher,
        io: OnceLock<Arc<IoThread>>,
        options: &ShardOptions,
    ) -> Result<Self, ShardError> {
        let samples: usize = indices.iter().map(|index| index.samples.len()).sum();
        if samples == 0 {
            return Err(ShardError::Empty {
                pattern: pattern.to_owned(),
                shards: indices.len(),
                members: indices.iter().map(|index| index.others).sum(),
                extensions: IMAGE_EXTENSIONS.join(", "),
            });
        }
        if u32::try_from(samples).is_err() {
            return Err(ShardError::Pattern {
                pattern: pattern.to_owned(),
                what: format!("they hold {samples} images, more than 2³² - 1; name fewer shards"),
            });
        }
        let mut layout = Layout::default();
        let (mut groups, mut names, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for index in &indices {
            layout.push(index.samples.iter().map(|s| (s.1, s.2)));
            groups.push(index.samples.len());
            sizes.push(index.bytes);
            names.push(Names::new(index.samples.iter().map(|s| s.0.as_str())));
        }
        let shards: Vec<_> = locations.iter().map(|l| l.file_name().to_owned()).collect();
        let counters = fetcher.counters.clone();
        let parallel = [options.ranges.max(1), options.singles.max(1)];
        let ahead = ReadAhead::new(
            layout,
            locations,
            sizes,
            fetcher,
            options.read_ahead,
            parallel,
        );
        Ok(Self {
            pattern: pattern.to_owned(),
            groups,
            shards,
            names,
            ahead: Arc::new(ahead),
            counters,
            io,
            options: options.clone(),
            told: OnceLock::new(),
        })
    }

    fn io(&self) -> Result<&Arc<IoThread>, SampleError> {
        if self.io.get().is_none() {
            start(&self.io).map_err(|e| SampleError::Source(e.to_string()))?;
        }
        self.io
            .get()
            .ok_or_else(|| SampleError::Source("no thread to read with".to_owned()))
    }

    /// Reads one sample for itself.
    fn read_single(&self, sample: u32, bytes: &mut Vec<u8>) -> Result<(), ShardError> {
        let shard = self.ahead.layout.shard(sample);
        let member = self.ahead.layout.member(sample);
        let length = self.ahead.layout.length(sample) as u32;
        let location = &self.ahead.shards[shard];
        bytes.clear();
        if let At::File(path) = &location.at {
            // Opened for each: sets of thousands of shards have more files than may be open.
            let mut file = open_file(path, Some(self.ahead.sizes[shard]))?;
            bytes.resize((member.end - member.start) as usize, 0);
            read_exact_at(&mut file, path, member.start, bytes)?;
            self.counters.requests.fetch_add(1, Relaxed);
            self.counters.bytes.fetch_add(bytes.len() as u64, Relaxed);
            let mut assembly = Assembly::new(member.start, vec![(member.start, length, ())]);
            let header = super::shard_index::BLOCK as usize;
            return assembly
                .feed(&bytes[..header], |_| Vec::new(), |(), _| {})
                .map(|()| drop(bytes.drain(..header)))
                .map_err(|what| mismatch(&location.url, what));
        }
        let Ok(io) = self.io() else {
            return Err(ShardError::Refused {
                url: location.url.clone(),
                said: "no thread to read with".to_owned(),
            });
        };
        let ahead = self.ahead.clone();
        let image = io.wait(async move {
            let location = &ahead.shards[shard];
            let mut assembly = Assembly::new(member.start, vec![(member.start, length, ())]);
            let mut whole = None;
            let sink = |more: &[u8]| {
                assembly
                    .feed(more, Vec::with_capacity, |(), image| whole = Some(image))
                    .map_err(|what| mismatch(&location.url, what))
            };
            let size = Some(ahead.sizes[shard]);
            ahead.fetcher.range(location, member, size, sink).await?;
            Ok(whole.unwrap_or_default())
        });
        *bytes = image.unwrap_or_else(|| {
            Err(ShardError::Refused {
                url: location.url.clone(),
                said: "reading panicked; this is a fault of inscon-train, please report it".into(),
            })
        })?;
        Ok(())
    }

    fn is_too_long(&self, sample: u32) -> bool {
        self.ahead.layout.length(sample) > self.options.max_sample
    }

    /// Says once why samples come one by one.
    fn tell_singles(&self, plan: &ReadPlan) {
        if self.told.set(()).is_err() {
            return;
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let enough = plan.required + plan.required / 3 + (16 << 20);
        say(&format!(
            "note: images of {} are read one by one, since the order of an epoch would have {} MiB \
             of them wait in memory, more than data.read_ahead_mib = {} allows; a smaller \
             data.shuffle buffer, or data.read_ahead_mib = {}, reads shards from end to end",
            self.pattern,
            mib(plan.required),
            mib(self.options.read_ahead),
            mib(enough),
        ));
    }
}

/// Starts the thread unless it runs.
fn start(io: &OnceLock<Arc<IoThread>>) -> Result<Arc<IoThread>, ShardError> {
    if let Some(running) = io.get() {
        return Ok(running.clone());
    }
    let started = IoThread::start().map_err(|e| ShardError::Refused {
        url: "the shards".to_owned(),
        said: format!("the system gives no thread to read with: {e}"),
    })?;
    Ok(io.get_or_init(|| Arc::new(started)).clone())
}

impl Names {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for name in names {
            text.push_str(name);
            ends.push(text.len() as u32);
        }
        Self { text, ends }
    }

    fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }
}

impl SampleSource for ShardSource {
    fn place(&self) -> String {
        self.pattern.clone()
    }

    fn groups(&self) -> &[usize] {
        &self.groups
    }

    fn name(&self, index: usize) -> String {
        let layout = &self.ahead.layout;
        assert!(index < layout.len(), "sample {index} of {}", layout.len());
        let shard = layout.shard(index as u32);
        let at = index - layout.first(shard) as usize;
        format!("{}/{}", self.shards[shard], self.names[shard].get(at))
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), SampleError> {
        let samples = self.ahead.layout.len();
        assert!(index < samples, "sample {index} of {samples}");
        let sample = index as u32;
        if self.is_too_long(sample) {
            return Err(SampleError::Unreadable(format!(
                "{} bytes, above {} (data.max_image_mib)",
                self.ahead.layout.length(sample),
                self.options.max_sample
            )));
        }
        match self.ahead.take(sample, bytes)? {
            Taken::AtOnce => {}
            Taken::Waited => {
                self.counters.waits.fetch_add(1, Relaxed);
            }
            Taken::Unplanned => {
                let started = Instant::now();
                self.read_single(sample, bytes)
                    .map_err(|e| SampleError::Source(e.to_string()))?;
                let waited = started.elapsed().as_nanos() as u64;
                self.counters.waits.fetch_add(1, Relaxed);
                self.counters.waited_nanoseconds.fetch_add(waited, Relaxed);
            }
        }
        self.counters.samples.fetch_add(1, Relaxed);
        Ok(())
    }

    fn plan(&self, order: Arc<[u32]>) {
        if self.options.read_ahead == 0 || order.is_empty() {
            return;
        }
        // They would be asked for and not taken.
        let order: Vec<u32> = order
            .iter()
            .copied()
            .filter(|&s| !self.is_too_long(s))
            .collect();
        let plan = ReadPlan::new(&self.ahead.layout, &order, self.ahead.room());
        let is_local = self.ahead.shards.iter().all(Location::is_local);
        if !plan.is_stream() {
            if is_local {
                // The threads that want them read them as fast.
                return;
            }
            self.tell_singles(&plan);
        }
        // Without the thread every read is a request of its own, which says what is wrong.
        let Ok(io) = self.io() else {
            return;
        };
        self.ahead.push(plan, &order);
        if self.ahead.begin() {
            io.spawn(self.ahead.clone().run());
        }
    }

    fn statistics(&self) -> SampleStatistics {
        self.counters.read()
    }
}

impl Drop for ShardSource {
    fn drop(&mut self) {
        self.ahead.stop();
    }
}
