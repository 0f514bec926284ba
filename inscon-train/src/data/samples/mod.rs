//! Encoded images by index, wherever they lie, and the order in which epochs read them.
//!
//! A [`SampleSource`] hands out the bytes of image files by index: of a folder, or of tar shards on
//! this machine or in an object store. [`epoch_order`] says in which order an epoch reads them,
//! from the seed, the epoch and the sizes of the shards alone, so that a folder and the shards
//! packed from it give the same batches.

mod assembly;
mod counters;
mod error;
mod fetch;
mod find_shards;
mod index_shards;
mod io_thread;
mod location;
mod order;
mod pattern;
mod ranks;
mod read_ahead;
mod read_plan;
mod shard_error;
mod shard_index;
mod shard_options;
mod shard_source;
mod statistics;
mod tar_scan;

use std::fmt::Debug;
use std::sync::Arc;

pub use error::*;
pub use fetch::RetryPolicy;
pub use order::*;
pub use pattern::*;
pub use ranks::*;
pub use shard_error::*;
pub use shard_index::*;
pub use shard_options::*;
pub use shard_source::*;
pub use statistics::*;
pub use tar_scan::tar_key;

/// Encoded images by index.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use inscon_train::data::{SampleError, SampleSource, Shuffle, epoch_order};
///
/// /// Two shards of made-up bytes.
/// #[derive(Debug)]
/// struct Made;
///
/// impl SampleSource for Made {
///     fn place(&self) -> String {
///         "memory".into()
///     }
///     fn groups(&self) -> &[usize] {
///         &[3, 2]
///     }
///     fn name(&self, index: usize) -> String {
///         format!("{index}.jpg")
///     }
///     fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), SampleError> {
///         bytes.clear();
///         bytes.push(index as u8);
///         Ok(())
///     }
/// }
///
/// let source: Arc<dyn SampleSource> = Arc::new(Made);
/// assert_eq!(source.len(), 5);
/// let order: Arc<[u32]> = epoch_order(0, 0, source.groups(), Shuffle::Full).into();
/// source.plan(order.clone());
/// let mut bytes = Vec::new();
/// for &index in order.iter() {
///     source.read(index as usize, &mut bytes)?;
///     assert_eq!(bytes, [index as u8]);
/// }
/// # Ok::<(), SampleError>(())
/// ```
pub trait SampleSource: Send + Sync + Debug {
    /// Where the samples are, as the user named it: the folder, or the pattern of shards. For
    /// messages.
    fn place(&self) -> String;

    /// Number of samples of each shard, in the order of their indices: the first shard holds
    /// `0..groups[0]`. A folder has one group, or those of [`groups_of`] for the order of its
    /// shards.
    fn groups(&self) -> &[usize];

    /// What a sample is called in messages and in `bad_images.jsonl`: `a/b.jpg`,
    /// `train-000003.tar/a/b.jpg`.
    ///
    /// # Panics
    /// When there is no such sample.
    fn name(&self, index: usize) -> String;

    /// Reads the encoded bytes of a sample into `bytes`, replacing what is there. Blocks until they
    /// are there. Any thread may ask for any sample at any time; `bytes` may be exchanged for
    /// another allocation.
    ///
    /// # Errors
    /// [`SampleError::Unreadable`] for this sample, [`SampleError::Source`] for all of them.
    ///
    /// # Panics
    /// When there is no such sample.
    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), SampleError>;

    /// Says which samples will be read next, in about this order, after those of earlier plans, so
    /// that a source with latency can read ahead. Each is then to be read once; other samples may
    /// be read besides. A source without latency ignores it.
    ///
    /// The plan of an epoch ends at its last whole batch and, after a resume, begins where the run
    /// stopped: `order[step * batch..steps * batch]`. A rank of several plans its own share of it
    /// ([`Ranks::order`]). To read ahead across the end of an epoch, plan the next one when an
    /// epoch begins.
    fn plan(&self, order: Arc<[u32]>) {
        let _ = order;
    }

    /// What reading has cost since the source was opened.
    fn statistics(&self) -> SampleStatistics {
        SampleStatistics::default()
    }

    /// Number of samples.
    fn len(&self) -> usize {
        self.groups().iter().sum()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
