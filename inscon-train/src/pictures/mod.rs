//! Pictures for the report: the views that pretraining sees, and detections on images.
//!
//! Each function that writes does so without any text, and one JSON with what there is to say about
//! the files in their pixels, so that the report can lay sharp labels and lines over them.
//! [`draw_labelled`] makes a picture that is looked at by itself, with its labels.

mod cell_match;
mod detections;
mod error;
mod labels;
mod views;

pub use cell_match::*;
pub use detections::*;
pub use error::*;
pub use labels::*;
pub use views::*;
