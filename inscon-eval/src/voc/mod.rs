//! PASCAL VOC: average precision at one IoU threshold, `difficult` objects left out; VOC's files.

mod average_precision;
mod corners;
mod detection_files;
mod evaluate;
#[cfg(feature = "voc-xml")]
mod folder;
mod names;
mod rounding;
mod summary;
#[cfg(feature = "voc-xml")]
mod xml;

pub use average_precision::*;
pub use detection_files::*;
pub use evaluate::*;
#[cfg(feature = "voc-xml")]
pub use folder::*;
pub use summary::*;
