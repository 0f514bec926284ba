//! Labelled images from the disk to the detector's batches.
//!
//! [`DetectionDataset`] reads a COCO instances JSON and checks it against the disk, [`BatchPlan`]
//! says which images make up which batch, [`TrainBatches`] makes any batch of a run from
//! `(seed, iteration)` alone, and [`Ahead`] makes them ahead of time on several threads. Nothing
//! depends on the number of threads.

mod batch;
mod dataset;
mod error;
mod loader;
mod plan;

pub use batch::*;
pub use dataset::*;
pub use error::*;
pub use loader::*;
pub use plan::*;
