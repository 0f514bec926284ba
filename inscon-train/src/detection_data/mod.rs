//! Labelled images from the disk to the detector's batches.
//!
//! [`DetectionDataset`] reads a COCO instances JSON or VOC's XML files, checks them against the disk
//! and [reports](DataReport) what it leaves out, [`BatchPlan`] says which images make up which batch, [`TrainBatches`] makes any batch of a run from
//! `(seed, iteration)` alone, and [`Ahead`] makes them ahead of time on several threads. Nothing
//! depends on the number of threads.

mod batch;
mod dataset;
mod error;
mod loader;
mod masks;
mod object;
mod plan;
mod report;
mod voc;

pub use batch::*;
pub use dataset::*;
pub use error::*;
pub use loader::*;
pub use object::*;
pub use plan::*;
pub use report::*;
pub use voc::voc_classes;
