//! How shards are read.

use std::path::PathBuf;
use std::time::Duration;

use super::RetryPolicy;

/// How shards are found and read.
///
/// # Example
/// ```
/// use inscon_train::data::ShardOptions;
/// let options = ShardOptions { read_ahead: 1 << 30, ..ShardOptions::default() };
/// assert_eq!(options.ranges, 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOptions {
    /// Most bytes held: the shuffle buffer's images and what is read ahead. 0 reads nothing ahead.
    pub read_ahead: u64,
    /// Most bytes of a sample (`data.max_image_mib`): longer ones are
    /// [unreadable](super::SampleError::Unreadable), and are not fetched.
    pub max_sample: u64,
    /// Requests at once while shards are read from end to end.
    pub ranges: usize,
    /// Requests at once while samples are read one by one.
    pub singles: usize,
    /// How failed requests are made again.
    pub retry: RetryPolicy,
    /// Time to set up a connection.
    pub connect: Duration,
    /// Where indices of shards that have none beside them are kept; `None` keeps none.
    pub cache: Option<PathBuf>,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            read_ahead: 256 << 20,
            max_sample: u64::MAX,
            ranges: 4,
            singles: 32,
            retry: RetryPolicy::default(),
            connect: Duration::from_secs(10),
            cache: None,
        }
    }
}
