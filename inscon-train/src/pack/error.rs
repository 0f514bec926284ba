//! What can be wrong with packing.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::data::DataError;

/// Why images could not be packed. Shards that are complete stay, and the same command goes on
/// after them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackError {
    /// The images cannot be listed.
    #[error("{0}")]
    Images(#[from] DataError),
    /// A name for shards that cannot be one.
    #[error("--name {name:?} cannot begin a shard's name: give letters, digits, `-` and `_`")]
    Name {
        /// The name.
        name: String,
    },
    /// An image that cannot be read.
    #[error(
        "cannot read {}: {source}; restore it, then call the same command again: it goes on after the \
         last whole shard. Without it, pack into another --out",
        path.display()
    )]
    Image {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A shard or the index cannot be written.
    #[error(
        "cannot write {}: {source}; make room or give another --out, then call the same command \
         again: it goes on after the last whole shard",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Other shards are there.
    #[error(
        "{} is there already{what}; nothing is overwritten: give another --out or --name, or delete \
         it",
        path.display()
    )]
    Exists {
        /// The file in the way.
        path: PathBuf,
        /// How it differs.
        what: String,
    },
}
