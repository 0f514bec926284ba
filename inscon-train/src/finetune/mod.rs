//! Fine-tuning of a detector on labelled images.
//!
//! One iteration, as detectron2's `SimpleTrainer`: a batch ([`detection_data`](crate::detection_data)),
//! the losses of Mask R-CNN, backward, SGD with warm-up and steps. All arms of a seed see the same
//! batches, the same sampled anchors and proposals' random numbers, and start from the same heads;
//! they differ in the backbone's first weights alone.

mod clock;
mod run;
mod state;

pub use clock::*;
pub use run::*;
pub use state::*;
