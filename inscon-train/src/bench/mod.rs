//! What a pretraining step takes, each of its convolutions, and the detector's operations, as lines
//! of JSON.
//!
//! [`step()`] runs the trainer's own step on random pixels; [`convs()`] runs every convolution of
//! the network by itself. `cargo xtask bench step` sets both beside PyTorch. [`ops()`] runs
//! RoIAlign and NMS on given boxes; `cargo xtask bench ops` sets them beside torchvision.

mod convs;
mod geometry;
mod ops;
mod step;

pub use convs::*;
pub use geometry::*;
pub use ops::*;
pub use step::*;

use burn::tensor::{Device, Tensor, TensorData};
use clap::ValueEnum;
use rand::{Rng, RngExt};
use serde::Serialize;

/// A network whose step is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// Two 3×3 convolutions a block.
    Resnet18,
    /// Bottlenecks.
    Resnet50,
}

impl Arch {
    /// Layers.
    #[must_use]
    pub fn depth(self) -> u32 {
        match self {
            Self::Resnet18 => 18,
            Self::Resnet50 => 50,
        }
    }
}

/// A network, the size of its images and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// The network.
    pub arch: Arch,
    /// Side of an image in pixels.
    pub size: usize,
    /// Images in a step; each is one query view and one key view.
    pub batch: usize,
}

/// The middle one, or the mean of the two in the middle; not a number if there is none.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Uniform values with mean 0 and variance 1, like normalised pixels.
fn noise(count: usize, rng: &mut impl Rng) -> Vec<f32> {
    let bound = 3f32.sqrt();
    let value = |_| (rng.random::<f32>() * 2.0 - 1.0) * bound;
    (0..count).map(value).collect()
}

fn noise_tensor<const D: usize>(
    shape: [usize; D],
    rng: &mut impl Rng,
    device: &Device,
) -> Tensor<D> {
    let values = noise(shape.iter().product(), rng);
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([3.0, 1.0]), 2.0);
        assert!(median([]).is_nan());
    }
}
