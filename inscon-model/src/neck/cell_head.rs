//! Cell head: one vector a cell of the map.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::l2_normalize;
use crate::{Conv2d, Conv2dConfig, WeightInit};

/// DenseCL's dense projection (arXiv 2011.09157; `method.md`, Heads): 1×1 convolution, ReLU, 1×1
/// convolution, each cell's vector scaled to length 1. Initialised as PyTorch's `Conv2d`.
#[derive(Module, Debug)]
pub struct CellHead {
    /// 1×1, C → hidden.
    pub conv1: Conv2d,
    /// 1×1, hidden → dim.
    pub conv2: Conv2d,
}

impl CellHead {
    /// A head from `channels` through `hidden` to `dim` features.
    pub fn new(
        channels: usize,
        hidden: usize,
        dim: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let mut conv = |input, output| {
            Conv2dConfig::new(input, output, 1).init(WeightInit::TorchDefault, rng, device)
        };
        Self {
            conv1: conv(channels, hidden),
            conv2: conv(hidden, dim),
        }
    }

    /// # Shapes
    /// - `map`: `[T, C, S, S]`
    /// - output: `[T, S², dim]`, cells row-major (index v·S + u), each of length 1
    ///
    /// # Panics
    /// If the channels differ.
    pub fn forward(&self, map: Tensor<4>) -> Tensor<3> {
        let x = self.conv2.forward(relu(self.conv1.forward(map)));
        let [tiles, dim, h, w] = x.dims();
        let cells = x.reshape([tiles, dim, h * w]).swap_dims(1, 2);
        l2_normalize(cells, 2)
    }
}
