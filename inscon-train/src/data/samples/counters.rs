//! Counts of what reading costs, shared by threads.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    told: Mutex<Option<Instant>>,
}

/// Between two messages about the same outage, which all requests meet.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Counters {
    /// Whether the person at the terminal may be told of an outage again.
    pub(super) fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let may = told.is_none_or(|at| at.elapsed() > TELL_EVERY);
        if may {
            *told = Some(Instant::now());
        }
        may
    }

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
