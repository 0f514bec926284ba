//! Where the time of loading goes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Time and amounts of loading; times of several threads are added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LoadStats {
    /// Images shown.
    pub images: u64,
    /// Files read: fewer than the images shown where decoded images are kept.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Seconds of reading files, or of waiting for them to arrive.
    pub read: f64,
    /// Seconds of decoding.
    pub decode: f64,
    /// Seconds of cropping, jitter, blur and the rest.
    pub augment: f64,
    /// Images that could not be read, each time they were met.
    pub bad: u64,
}

impl LoadStats {
    /// The difference to an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            images: self.images - earlier.images,
            files: self.files - earlier.files,
            bytes: self.bytes - earlier.bytes,
            read: self.read - earlier.read,
            decode: self.decode - earlier.decode,
            augment: self.augment - earlier.augment,
            bad: self.bad - earlier.bad,
        }
    }

    /// Milliseconds of one thread for an image: read, decode, augment.
    #[must_use]
    pub fn ms_per_image(&self) -> [f64; 3] {
        let images = self.images.max(1) as f64;
        [self.read, self.decode, self.augment].map(|seconds| seconds * 1e3 / images)
    }
}

/// What the loader's threads count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    images: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    bad: AtomicU64,
    /// Nanoseconds of reading, decoding and augmenting.
    nanoseconds: [AtomicU64; 3],
}

/// A part of loading an image.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Read,
    Decode,
    Augment,
}

impl Counters {
    /// Runs `work` and adds its time.
    pub(super) fn time<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let out = work();
        let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds[part as usize].fetch_add(spent, Relaxed);
        out
    }

    /// A file of so many bytes was read.
    pub(super) fn file(&self, bytes: usize) {
        self.files.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn shown(&self) {
        self.images.fetch_add(1, Relaxed);
    }

    pub(super) fn bad(&self) {
        self.bad.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> LoadStats {
        let seconds =
            |part: Part| Duration::from_nanos(self.nanoseconds[part as usize].load(Relaxed));
        LoadStats {
            images: self.images.load(Relaxed),
            files: self.files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            bad: self.bad.load(Relaxed),
            read: seconds(Part::Read).as_secs_f64(),
            decode: seconds(Part::Decode).as_secs_f64(),
            augment: seconds(Part::Augment).as_secs_f64(),
        }
    }
}
