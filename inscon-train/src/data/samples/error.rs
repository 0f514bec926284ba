//! Why a sample could not be read.

use thiserror::Error;

/// Why the bytes of a sample are not there.
///
/// The two are apart because the answer differs: an unreadable sample is replaced by another and
/// listed in `bad_images.jsonl`; without its source a run stops, with its state saved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SampleError {
    /// This sample alone cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The place it lies in cannot be read: an unreachable server, a shard that is gone or changed.
    /// Names the place, what was tried and the mend.
    #[error("{0}")]
    Source(String),
}
