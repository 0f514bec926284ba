//! The recipe of an experiment: one TOML file.
//!
//! A value is taken from, later ones winning: the defaults, the file, the arm's `method` preset,
//! the arm's own `set`, and `--set key=value`. Unknown keys are refused everywhere, with the
//! nearest valid one.

mod data;
mod experiment;
mod finetune;
mod method;
mod overrides;
mod pretrain;
mod probe;

pub use data::*;
pub use experiment::*;
pub use finetune::*;
pub use method::*;
pub use pretrain::*;
pub use probe::*;
