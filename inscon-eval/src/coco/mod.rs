//! COCO: files, masks, the three stages of evaluation.

mod accumulate;
mod annotation;
mod dataset;
mod evaluate;
mod grouping;
mod iou;
mod lenient;
mod mask;
mod matching;
mod params;
mod polygon;
mod rle_text;
mod runs;
mod segmentation;
mod shape;
mod summary;

pub(crate) use accumulate::by_score;
pub use annotation::*;
pub use dataset::*;
pub use evaluate::*;
pub use iou::*;
pub use mask::*;
pub use params::*;
pub use segmentation::*;
pub use summary::*;
