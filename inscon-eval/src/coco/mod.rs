//! COCO: files, masks, the three stages of evaluation.

mod accumulate;
mod annotation;
mod arena;
mod boundary;
mod class;
mod columns;
mod counts;
mod dataset;
mod evaluate;
mod grouping;
mod ids;
mod iou;
mod lenient;
mod mask;
mod oks;
pub(crate) mod outcomes;
mod overlap;
mod params;
mod polygon;
mod rle_text;
mod runs;
pub(crate) mod scenes;
mod segmentation;
mod spans;
mod summary;

pub(crate) use accumulate::{by_score, score_key};
pub use annotation::*;
pub use columns::{GroundTruth, Results};
pub use dataset::*;
pub use evaluate::*;
pub use iou::*;
pub use mask::*;
pub use params::*;
pub use segmentation::*;
pub use summary::*;
