//! Layers with PyTorch's parameter names and layouts.

mod batch_norm;
mod conv;
mod linear;
mod running_statistic;

pub use batch_norm::*;
pub use conv::*;
pub use linear::*;
pub use running_statistic::*;
