//! Pictures for the report: the views that pretraining sees, and detections on images.
//!
//! Each function writes PNG files without any text, and one JSON with what there is to say about
//! them in pixels of those files, so that the report can lay sharp labels and lines over them.

mod cell_match;
mod detections;
mod error;
mod views;

pub use cell_match::*;
pub use detections::*;
pub use error::*;
pub use views::*;
