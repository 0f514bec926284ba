//! Packing a folder of images into WebDataset tar shards, with the index that reads them.
//!
//! [`pack`] writes the images of a folder, unchanged and in the folder's order, into
//! `NAME-000000.tar` and so on, and where they lie into `NAME.index.jsonl`; `webdataset` and
//! [`ShardSource`](crate::data::ShardSource) read them. The same images and options give the same
//! bytes on every machine.

mod args;
mod error;
mod names;
mod run;
mod writer;

pub use args::*;
pub use error::*;
pub use run::*;
