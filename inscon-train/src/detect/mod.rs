//! A trained detector on images: as a library call and as `inscon-train detect`.
//!
//! [`Detector`] loads a file of weights that says what it is ([`DetectorDescription`]) and takes
//! images of any size; [`run`] finds images by name, folder or pattern and writes COCO results and
//! pictures.

mod args;
mod description;
mod detector;
mod error;
mod inputs;
mod run;

pub use args::*;
pub use description::*;
pub use detector::{Detector, weights_of_run};
pub use error::*;
pub use inputs::*;
pub use run::*;
