//! What can be wrong with shards.

use std::time::Duration;

use thiserror::Error;

/// Why shards could not be found, indexed or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShardError {
    /// A pattern that names no shards.
    #[error("`{pattern}` names no shards: {what}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong, and the mend.
        what: String,
    },
    /// No such object, folder or bucket.
    #[error("there is no {url}: {said}; check its spelling, the bucket and the endpoint")]
    Missing {
        /// What was asked for.
        url: String,
        /// What the store said.
        said: String,
    },
    /// The store does not let us read.
    #[error(
        "not allowed to read {url}: {said}; give credentials in the environment (AWS_ACCESS_KEY_ID \
         and AWS_SECRET_ACCESS_KEY, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_KEY), or for a \
         public bucket AWS_SKIP_SIGNATURE=true, GOOGLE_SKIP_SIGNATURE=true, AZURE_SKIP_SIGNATURE=true"
    )]
    Denied {
        /// What was asked for.
        url: String,
        /// What the store said.
        said: String,
    },
    /// An answer that another try would not change.
    #[error("cannot read {url}: {said}")]
    Refused {
        /// What was asked for.
        url: String,
        /// What is wrong, and the mend.
        said: String,
    },
    /// Tried again and again, in vain.
    #[error(
        "gave up on {url} after {tries} tries without progress in {} s, the last: {said}; check the \
         network and the server, then call the same command again: it goes on where it was",
        waited.as_secs()
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Requests made since the last progress.
        tries: u32,
        /// Time since the last progress.
        waited: Duration,
        /// What the last of them met.
        said: String,
    },
    /// A shard that is not what its index says.
    #[error(
        "{url} is not the shard of its index: {what}; restore it, or delete the index ({index}) to \
         have it made anew"
    )]
    Changed {
        /// The shard.
        url: String,
        /// The difference.
        what: String,
        /// Where the index lies.
        index: String,
    },
    /// Not a tar archive, or not a whole one.
    #[error(
        "{url} is broken at byte {offset}, after {images} images: {what}; copy it again from where it \
         came from, or leave it out of the pattern"
    )]
    Broken {
        /// The shard.
        url: String,
        /// Where.
        offset: u64,
        /// Images before that.
        images: usize,
        /// What is wrong.
        what: String,
    },
    /// A file of this machine that cannot be read.
    #[error("cannot read {path}: {said}")]
    File {
        /// The file.
        path: String,
        /// What the system said, and the mend.
        said: String,
    },
    /// Not one image in all shards.
    #[error(
        "the {shards} shards of `{pattern}` hold no image ({extensions}) among their {members} \
         members; check that they are WebDataset shards of images"
    )]
    Empty {
        /// The pattern.
        pattern: String,
        /// Shards looked into.
        shards: usize,
        /// Members in them.
        members: u64,
        /// The file extensions looked for.
        extensions: String,
    },
}
