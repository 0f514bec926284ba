//! LVIS: COCO's measure over many classes, of which each image is checked for a few only.

mod evaluate;
mod grouping;
mod params;
mod summary;
mod truth;

pub use evaluate::*;
pub use params::*;
pub use summary::*;
pub use truth::*;
