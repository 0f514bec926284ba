//! Counts of what reading costs, shared by threads.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::SampleStatistics;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) samples: AtomicU64,
    pub(super) waits: AtomicU64,
    pub(super) waited_nanoseconds: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) peak_held: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> SampleStatistics {
        SampleStatistics {
            samples: self.samples.load(Relaxed),
            waits: self.waits.load(Relaxed),
            waited: self.waited_nanoseconds.load(Relaxed) as f64 / 1e9,
            bytes: self.bytes.load(Relaxed),
            requests: self.requests.load(Relaxed),
            retries: self.retries.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            peak_held: self.peak_held.load(Relaxed),
        }
    }
}
