//! Packing a folder of images into WebDataset tar shards, with the index that reads them.
//!
//! [`pack`] writes the images of a folder, unchanged and in the folder's order, into
//! `NAME-000000.tar` and so on, and where they lie into `NAME.index.jsonl`; `webdataset` and
//! [`ShardSource`](crate::data::ShardSource) read them. The same images and options give the same
//! shards on every machine, byte by byte; the index also says which files they were made of, by
//! their lengths and times, so that a packing does not go on after images that have changed.

mod args;
mod error;
mod names;
mod run;
mod writer;

pub use args::*;
pub use error::*;
pub use run::*;
