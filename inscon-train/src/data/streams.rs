//! The random streams of a run: first number of the path given to [`inscon_aug::stream`].
//!
//! Every draw of a run comes from the seed and one of these, so that a resumed run, another number
//! of threads or another arm sees the same numbers.

/// Initial weights of the backbone: the same for every arm of a seed.
pub const BACKBONE: u64 = 1;
/// Initial weights of the heads.
pub const HEADS: u64 = 2;
/// Initial rows of the queues.
pub const QUEUES: u64 = 3;
/// `[SHUFFLE, epoch]`: the order of the images.
pub const SHUFFLE: u64 = 4;
/// `[STITCH, epoch, batch]`: which canvas and slot each view goes to.
pub const STITCH: u64 = 5;
/// `[VIEW, epoch, image, view]`: the augmentation of one view; `view` is 0 for the query and 1 for
/// the key.
pub const VIEW: u64 = 6;
