//! Pretraining as a whole, on a network small enough for a test: resuming, threads, MoCo v2,
//! overfitting, broken images, messages.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod adopt;
mod bad_images;
mod batches;
mod command;
mod corrupt;
#[path = "../../../inscon-aug/tests/corrupt_variants/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    clippy::precedence,
    reason = "inscon-aug's tests use more of it"
)]
mod corrupt_variants;
mod fixture;
mod loader;
mod messages;
mod moco;
mod overfit;
mod resume;
