//! Fully connected layer in PyTorch's layout.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::WeightInit;

/// `y = x·Wᵀ + b` with PyTorch's weight layout `[out, in]` (burn's own layer stores `[in, out]`).
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// A layer from `input` to `output` features.
    pub fn new(
        input: usize,
        output: usize,
        init: WeightInit,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        Self {
            weight: Param::from_tensor(init.sample([output, input], rng, device)),
            bias: Param::from_tensor(init.sample_bias(output, input, rng, device)),
        }
    }

    /// # Shapes
    /// - `x`: `[N, in]`
    /// - output: `[N, out]`
    ///
    /// # Panics
    /// If the widths differ.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [output, input] = self.weight.dims();
        assert_eq!(
            x.dims()[1],
            input,
            "linear: input {:?}, weight [{output}, {input}]",
            x.dims()
        );
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze::<2>()
    }
}
