//! Images from the disk to batches of canvases.
//!
//! [`ImageFolder`] lists files, [`Images`] decodes them and steps over unreadable ones,
//! [`PretrainBatches`] makes any batch of a run from `(seed, step)` alone, and [`PretrainLoader`]
//! makes them ahead of time on several threads. Nothing depends on the number of threads.

mod batches;
mod error;
mod image_folder;
mod images;
mod loader;
mod samples;
mod source;
mod streams;

pub use batches::*;
pub use error::*;
pub use image_folder::*;
pub use images::*;
pub use loader::*;
pub use samples::*;
pub use source::*;
pub use streams::*;
