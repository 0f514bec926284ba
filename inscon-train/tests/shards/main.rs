//! Shards: packing, reading them from this machine and from a server that fails in every way.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod batches;
mod failures;
mod fixture;
mod memory;
mod pack;
mod reading;
mod real_server;
mod server;
