//! Momentum contrast: encoder, its moving average, queues of negatives, tiles of canvases.

mod ema;
mod encoder;
mod queue;
mod split;

pub use ema::*;
pub use encoder::*;
pub use queue::*;
pub use split::*;
