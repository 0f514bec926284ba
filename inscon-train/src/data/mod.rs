//! Images from the disk to batches of canvases.
//!
//! A [`SampleSource`] hands out files by index, from an [`ImageFolder`] or from tar shards;
//! [`Images`] decodes what two views of an image need and steps over unreadable ones;
//! [`PretrainBatches`] makes any batch of a run from `(seed, step)` alone, and [`PretrainLoader`]
//! makes them ahead of time on several threads. Nothing depends on the number of threads.

mod batches;
mod error;
mod folder_source;
mod image_folder;
mod images;
mod listing;
mod loader;
mod samples;
mod source;
mod stats;
mod streams;

pub use batches::*;
pub use error::*;
pub use folder_source::*;
pub use image_folder::*;
pub use images::*;
pub use loader::*;
pub use samples::*;
pub use source::*;
pub use stats::*;
pub use streams::*;
