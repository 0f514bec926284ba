//! Two-dimensional convolution as a layer.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::WeightInit;
use crate::op::conv2d;

/// Geometry of a [`Conv2d`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride; 1 by default.
    pub stride: usize,
    /// Zero padding on every side; 0 by default.
    pub padding: usize,
    /// Spacing of the kernel's taps; 1 by default.
    pub dilation: usize,
    /// Whether there is a bias; true by default.
    pub bias: bool,
}

impl Conv2dConfig {
    /// Stride 1, no padding, no dilation, with bias.
    #[must_use]
    pub fn new(input: usize, output: usize, kernel: usize) -> Self {
        Self {
            input,
            output,
            kernel,
            stride: 1,
            padding: 0,
            dilation: 1,
            bias: true,
        }
    }

    /// The layer, its weight drawn from `init`.
    pub fn init(&self, init: WeightInit, rng: &mut impl Rng, device: &Device) -> Conv2d {
        let &Self {
            input,
            output,
            kernel,
            ..
        } = self;
        let weight = init.sample([output, input, kernel, kernel], rng, device);
        let fan_in = input * kernel * kernel;
        Conv2d {
            weight: Param::from_tensor(weight),
            bias: self
                .bias
                .then(|| Param::from_tensor(init.sample_bias(output, fan_in, rng, device))),
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
        }
    }
}

/// A convolution with PyTorch's parameter layout, run by [`op::conv2d`](crate::op::conv2d).
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Conv2d {
    /// # Shapes
    /// - `x`: `[N, in, H, W]`
    /// - output: `[N, out, H', W']`, H' = ⌊(H + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1
    ///
    /// # Panics
    /// If the channels differ.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, input, ..] = self.weight.dims();
        assert_eq!(
            x.dims()[1],
            input,
            "convolution: input {:?}, weight {:?}",
            x.dims(),
            self.weight.dims()
        );
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [self.dilation; 2], 1);
        let bias = self.bias.as_ref().map(Param::val);
        conv2d(x, self.weight.val(), bias, options)
    }
}
