//! COCO: files, masks, the three stages of evaluation.

mod accumulate;
mod annotation;
mod arena;
mod boundary;
mod class;
mod columns;
mod dataset;
mod evaluate;
mod grouping;
mod ids;
mod iou;
mod lenient;
mod mask;
mod oks;
mod overlap;
mod params;
mod polygon;
mod rle_text;
mod runs;
mod segmentation;
mod spans;
mod summary;

pub(crate) use accumulate::{by_score, score_key};
pub use annotation::*;
pub(crate) use class::{Job, Scratch, Table};
pub use columns::{GroundTruth, Results};
pub(crate) use columns::{ImageRow, ResultKind, TruthRows, open, required};
pub use dataset::*;
pub use evaluate::*;
pub(crate) use grouping::{Member, Place, Sorted};
pub(crate) use ids::{Ranks, sorted};
pub use iou::*;
pub use mask::*;
pub use params::*;
pub use segmentation::*;
pub use summary::*;
