//! What reading has cost.

use serde::{Deserialize, Serialize};

/// What reading has cost since a source was opened; [`since`](Self::since) tells of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SampleStatistics {
    /// Samples handed out.
    pub samples: u64,
    /// Of these, those that were asked for before they had arrived, or were not planned.
    pub waits: u64,
    /// Seconds that callers of [`read`](super::SampleSource::read) waited, added over threads.
    pub waited: f64,
    /// Bytes that arrived, those between samples included.
    pub bytes: u64,
    /// Requests made of the store, those that failed included.
    pub requests: u64,
    /// Requests made again after a failure.
    pub retries: u64,
    /// Samples dropped unread for want of memory; each is read again when it is asked for.
    pub dropped: u64,
    /// The most bytes ever held ahead.
    pub peak_held: u64,
}

impl SampleStatistics {
    /// What was added since `earlier`; the peak is the whole time's.
    ///
    /// ```
    /// use inscon_train::data::SampleStatistics;
    /// let earlier = SampleStatistics { samples: 10, retries: 1, ..Default::default() };
    /// let now = SampleStatistics { samples: 25, retries: 1, ..Default::default() };
    /// let between = now.since(&earlier);
    /// assert_eq!((between.samples, between.retries), (15, 0));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            samples: self.samples - earlier.samples,
            waits: self.waits - earlier.waits,
            waited: self.waited - earlier.waited,
            bytes: self.bytes - earlier.bytes,
            requests: self.requests - earlier.requests,
            retries: self.retries - earlier.retries,
            dropped: self.dropped - earlier.dropped,
            peak_held: self.peak_held,
        }
    }

    /// Both together: sums, and the higher peak.
    ///
    /// ```
    /// use inscon_train::data::SampleStatistics;
    /// let first = SampleStatistics { samples: 10, peak_held: 7, ..Default::default() };
    /// let second = SampleStatistics { samples: 5, peak_held: 3, ..Default::default() };
    /// let both = first.plus(&second);
    /// assert_eq!((both.samples, both.peak_held), (15, 7));
    /// ```
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            waits: self.waits + other.waits,
            waited: self.waited + other.waited,
            bytes: self.bytes + other.bytes,
            requests: self.requests + other.requests,
            retries: self.retries + other.retries,
            dropped: self.dropped + other.dropped,
            peak_held: self.peak_held.max(other.peak_held),
        }
    }
}
