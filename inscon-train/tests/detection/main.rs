//! From labelled images to a detector, its evaluation and the probes.

mod data;
mod evaluate;
mod finetune;
mod fixture;
mod probe;
