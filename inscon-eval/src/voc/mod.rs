//! PASCAL VOC: average precision at one IoU threshold, `difficult` objects left out.

mod average_precision;
mod evaluate;
mod rounding;
mod summary;

pub use average_precision::*;
pub use evaluate::*;
pub use summary::*;
