//! What can go wrong in this crate.

use thiserror::Error;

use crate::jpeg::JpegError;

/// An error of decoding, of a configuration value, or of a batch's layout.
///
/// The caller adds the file's name: this crate sees bytes, never paths.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AugError {
    /// The bytes are no image of a known format.
    #[error("not a JPEG, PNG, WebP, BMP or TIFF image ({0} bytes)")]
    UnknownFormat(usize),
    /// The file ends before its image does.
    #[error("truncated JPEG: {0} bytes end before the end-of-image marker")]
    Truncated(usize),
    /// A file of another format ends before its image does.
    #[error("truncated file: the decoder ran out of bytes before the image was whole")]
    Ended,
    /// The JPEG decoder refused the bytes.
    #[error("cannot decode the JPEG: {0}")]
    Jpeg(#[from] JpegError),
    /// The decoder refused the bytes.
    #[error("cannot decode the image: {0}")]
    Decode(#[from] image::ImageError),
    /// A PNG or WebP file whose chunks contradict each other.
    #[error("broken {format} file: {what}, at byte {position}")]
    Container {
        /// Name of the format.
        format: &'static str,
        /// Where the chunk begins in the file.
        position: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// An image of a format other than JPEG, or a JPEG of four components, that needs more memory
    /// than allowed. ([`JpegError::TooLarge`] is that of other JPEGs.)
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
    /// The decoder itself broke on the bytes.
    #[error("the decoder panicked on this file; it is broken beyond what the decoder expects")]
    DecoderPanicked,
    /// An image without pixels.
    #[error("image of {0} x {1} px has no pixels")]
    Empty(u32, u32),
    /// A batch that does not fill its canvases.
    #[error(
        "a batch of {batch} images does not fill canvases of {grid} x {grid} tiles; \
         take {below} or {above}"
    )]
    BatchNotDivisible {
        /// Images in the batch.
        batch: usize,
        /// Tiles along a side.
        grid: usize,
        /// The nearest valid batch below (or the smallest there is).
        below: usize,
        /// The nearest valid batch above.
        above: usize,
    },
    /// A configuration value out of its range.
    #[error("{field} must be {expected}, but is {value}")]
    Config {
        /// The field's name as in the file.
        field: &'static str,
        /// The valid range in words.
        expected: &'static str,
        /// What was given.
        value: String,
    },
    /// An order that is no permutation.
    #[error("{0:?} is not a permutation: each of 0..{1} must stand in it exactly once")]
    NotAPermutation(Vec<usize>, usize),
}
