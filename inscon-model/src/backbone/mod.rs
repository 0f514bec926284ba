//! Backbones.

mod block;
mod resnet;

pub use block::*;
pub use resnet::*;
