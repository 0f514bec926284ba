//! What can be wrong with a JPEG file.

use thiserror::Error;

/// What is [`JpegError::Unsupported`] of a JPEG that the `image` crate's decoder can read.
pub(crate) const COMPONENTS: &str = "a JPEG of other than 1 or 3 components";

/// An error of [`JpegDecoder`](super::JpegDecoder).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JpegError {
    /// The bytes end before an end-of-image marker.
    #[error("the data end before the end-of-image marker")]
    Truncated,
    /// A valid JPEG of a kind that this decoder leaves to others.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A marker segment that contradicts itself or the standard.
    #[error("marker FF{marker:02X} at byte {position}: {what}")]
    Segment {
        /// The marker's second byte.
        marker: u8,
        /// Where the marker's two bytes are in the file.
        position: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A scan names a table that no marker segment has defined.
    #[error("a scan needs {kind} table {index}, which is not defined before it")]
    MissingTable {
        /// Which kind of table.
        kind: &'static str,
        /// Its number.
        index: u8,
    },
    /// A scan names a table that it cannot be read by.
    #[error("{kind} table {index} {what}")]
    Table {
        /// Which kind of table.
        kind: &'static str,
        /// Its number.
        index: u8,
        /// What is wrong.
        what: &'static str,
    },
    /// Entropy-coded data that no encoder writes.
    #[error("broken entropy-coded data in MCU {mcu}: {what}")]
    Entropy {
        /// The minimum coded unit (MCU) of the scan, counted in reading order.
        mcu: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The image needs more memory than allowed.
    #[error("{width} x {height} px need {needed} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Width of the image in pixels.
        width: u32,
        /// Height of the image in pixels.
        height: u32,
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}
