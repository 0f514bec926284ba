//! Instance head: one vector a tile.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::l2_normalize;
use crate::{Linear, WeightInit};

/// MoCo v2's projection (arXiv 2003.04297; `method.md`, Heads):
///
/// ```text
/// q = normalize(W₂·relu(W₁·mean(C5) + b₁) + b₂)
/// ```
/// Initialised as PyTorch's `Linear`, like MoCo's.
#[derive(Module, Debug)]
pub struct InstanceHead {
    /// C → hidden.
    pub linear1: Linear,
    /// hidden → dim.
    pub linear2: Linear,
}

impl InstanceHead {
    /// A head from `channels` through `hidden` to `dim` features.
    pub fn new(
        channels: usize,
        hidden: usize,
        dim: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        Self {
            linear1: Linear::new(channels, hidden, WeightInit::TorchDefault, rng, device),
            linear2: Linear::new(hidden, dim, WeightInit::TorchDefault, rng, device),
        }
    }

    /// # Shapes
    /// - `map`: `[T, C, S, S]`, a tile's cells
    /// - output: `[T, dim]`, each row of length 1
    ///
    /// # Panics
    /// If the channels differ.
    pub fn forward(&self, map: Tensor<4>) -> Tensor<2> {
        let [tiles, channels, h, w] = map.dims();
        let pooled: Tensor<3> = map.reshape([tiles, channels, h * w]).mean_dim(2);
        let hidden = relu(self.linear1.forward(pooled.reshape([tiles, channels])));
        l2_normalize(self.linear2.forward(hidden), 1)
    }
}
