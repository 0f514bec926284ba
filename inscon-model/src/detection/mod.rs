//! Faster and Mask R-CNN on a feature pyramid or on C4, as detectron2 builds them, and their parts.
//!
//! Boxes are `[x0, y0, x1, y1]` in image pixels, continuous and half-open. What decides (proposals,
//! matching, sampling, NMS, targets) runs on the host over plain vectors; what is differentiated
//! (features, predictions, losses) stays on the device. The values are in `recipes.md`.

mod anchors;
mod box_coder;
mod box_head;
mod boxes;
mod config;
mod detections;
mod fpn;
mod generalized_rcnn;
mod losses;
mod mask_head;
mod matcher;
mod nms;
mod paste_mask;
mod pooler;
mod postprocess;
mod preset;
mod proposals;
mod roi_align;
mod roi_heads;
mod rpn;
mod sampler;
mod target;

pub use anchors::*;
pub use box_coder::*;
pub use box_head::*;
pub use boxes::*;
pub use config::*;
pub use detections::*;
pub use fpn::*;
pub use generalized_rcnn::*;
pub use losses::*;
pub use mask_head::*;
pub use matcher::*;
pub use nms::*;
pub use paste_mask::*;
pub use pooler::*;
pub use postprocess::*;
pub use preset::*;
pub use proposals::*;
pub use roi_align::*;
pub use roi_heads::*;
pub use rpn::*;
pub use sampler::*;
pub use target::*;
