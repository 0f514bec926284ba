//! Linear probes: what a linear classifier reads off the frozen backbone.
//!
//! | probe | sample | label | figures |
//! |---|---|---|---|
//! | boxes | C5 under a ground-truth box: RoIAlign, mean over its cells | the box's class | top-1, mean AP |
//! | cells | one cell of C5 | the class that covers most of it, or background | accuracy, mean AP |
//!
//! The backbone is in evaluation mode. C5 alone, not C4 beside it: C5 is the map that pretraining
//! shapes and the detector's top-down path starts from. Features are standardised per channel and
//! classified by [`LogisticRegression`]; mean AP is one-versus-rest. Minutes instead of a
//! fine-tuning's hours, and far less noisy: ablations are steered by it, claims are made with
//! detectors.

mod cells;
mod features;
mod logistic;
mod ranking;
mod run;

pub use cells::*;
pub use features::*;
pub use logistic::*;
pub use ranking::*;
pub use run::*;
