//! Fine-tuning of a detector on labelled images.
//!
//! One iteration, as detectron2's `SimpleTrainer`: a batch ([`detection_data`](crate::detection_data)),
//! the losses of Mask R-CNN, backward, SGD with warm-up and steps. Before each evaluation the norms'
//! statistics may be taken anew ([`precise_bn`]); the best detector is kept ([`Best`]). All arms of a seed see the same
//! batches, the same sampled anchors and proposals' random numbers, and start from the same heads;
//! they differ in the backbone's first weights alone.

mod best;
mod clock;
mod data;
mod judge;
mod precise_bn;
mod run;
mod state;

pub use best::*;
pub use clock::*;
pub use data::*;
pub use judge::*;
pub use precise_bn::*;
pub use run::*;
pub use state::*;
