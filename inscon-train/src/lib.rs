//! Pretraining, fine-tuning, probing and evaluation.
//!
//! The loops are plain functions over plain state: [`pretrain::run`], [`finetune::run`],
//! [`probe::run`]. Each takes an [`ExperimentConfig`](config::ExperimentConfig) read from one TOML
//! file, a run folder and a device, writes `metrics.jsonl` and a checkpoint there, and picks up
//! where it was when it is called again. The binary `inscon-train` is these functions behind
//! flags.

pub mod bench;
pub mod config;
pub mod data;
pub mod detect;
pub mod detection_data;
pub mod evaluate;
pub mod export;
pub mod finetune;
pub mod import;
pub mod pack;
pub mod pictures;
pub mod pretrain;
pub mod probe;
pub mod scenes;

mod backbone;
mod checkpoint;
mod device;
mod fnv;
mod interrupt;
mod metrics;
mod pixels;
mod progress;
mod run_dir;
mod schedule;
mod sgd;

pub use backbone::*;
pub use checkpoint::*;
pub use device::*;
pub use interrupt::*;
pub use metrics::*;
pub use pixels::*;
pub use progress::*;
pub use run_dir::*;
pub use schedule::*;
pub use sgd::*;
