//! From labelled images to a detector, its evaluation and the probes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod data;
mod detect;
mod evaluate;
mod finetune;
mod fixture;
mod labels;
mod probe;
mod training;
mod voc;
