//! Two-dimensional convolution, with a matrix product where the kernel is 1×1.

use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, module::conv2d, s};
use rand::Rng;

use crate::WeightInit;

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

/// A convolution with PyTorch's parameter layout.
///
/// A 1×1 kernel is a matrix product of the weight and `[N, C, H·W]`: burn-flex runs the gradients
/// of a 1×1 convolution as general convolutions (`burn-notes.md`). Forward and backward on flex,
/// ms of CPU: 32→64 at 16² px, batch 32: 9.2 as convolution, 1.7 as product; 256→64 at 28², batch
/// 8: 25.8, 15.7; 512→2048 at 4², batch 8: 21.0, 9.6.
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
        let [_, input, kernel, _] = self.weight.dims();
        assert_eq!(
            x.dims()[1],
            input,
            "convolution: input {:?}, weight {:?}",
            x.dims(),
            self.weight.dims()
        );
        if kernel == 1 && self.padding == 0 {
            return self.forward_pointwise(x);
        }
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [self.dilation; 2], 1);
        conv2d(
            x,
            self.weight.val(),
            self.bias.as_ref().map(Param::val),
            options,
        )
    }

    fn forward_pointwise(&self, x: Tensor<4>) -> Tensor<4> {
        let [output, input, ..] = self.weight.dims();
        let x = if self.stride > 1 {
            subsample(x, self.stride)
        } else {
            x
        };
        let [n, _, h, w] = x.dims();
        let weight = self.weight.val();
        // One product per image makes a weight gradient per image to be summed; one product for
        // all moves the channels to the front and back. Whichever touches less memory.
        let y = if output * input < (output + input) * h * w {
            weight
                .reshape([1, output, input])
                .matmul(x.reshape([n, input, h * w]))
        } else {
            let x = x
                .reshape([n, input, h * w])
                .swap_dims(0, 1)
                .reshape([input, n * h * w]);
            let y = weight.reshape([output, input]).matmul(x);
            y.reshape([output, n, h * w]).swap_dims(0, 1)
        };
        let y = match &self.bias {
            Some(bias) => y + bias.val().reshape([1, output, 1]),
            None => y,
        };
        y.reshape([n, output, h, w])
    }
}

/// Every `stride`-th row and column from the first: what a 1×1 convolution of that stride reads.
fn subsample(x: Tensor<4>, stride: usize) -> Tensor<4> {
    x.slice(s![.., .., ..;stride as isize, ..;stride as isize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

    /// Values and gradients of the matrix product against the convolution, on both sides of the
    /// choice of product, with and without stride and bias.
    #[test]
    fn pointwise_is_the_convolution() {
        let device = Device::flex().autodiff();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        for (input, output, side, stride) in
            [(3, 4, 7, 1), (3, 4, 7, 2), (24, 16, 2, 1), (24, 16, 5, 2)]
        {
            let config = Conv2dConfig {
                stride,
                ..Conv2dConfig::new(input, output, 1)
            };
            let conv = config.init(WeightInit::TorchDefault, &mut rng, &device);
            let x: Tensor<4> = crate::normal(1.0, [2, input, side, side], &mut rng, &device);
            let x = x.require_grad();
            let (weight, bias) = (conv.weight.val(), conv.bias.as_ref().unwrap().val());
            let options = ConvOptions::new([stride; 2], [0; 2], [1; 2], 1);
            let expected = conv2d(x.clone(), weight.clone(), Some(bias.clone()), options);
            let got = conv.forward(x.clone());
            assert_eq!(got.dims(), expected.dims());
            let factor = crate::normal(1.0, got.dims(), &mut rng, &device);
            let all = |y: Tensor<4>| {
                let gradients = (y.clone() * factor.clone()).sum().backward();
                let read = |t: Tensor<1>| t.into_data().try_to_vec::<f32>().unwrap();
                [
                    read(y.inner().reshape([-1])),
                    read(x.grad(&gradients).unwrap().reshape([-1])),
                    read(weight.grad(&gradients).unwrap().reshape([-1])),
                    read(bias.grad(&gradients).unwrap()),
                ]
                .concat()
            };
            for (got, expected) in all(got).into_iter().zip(all(expected)) {
                assert!((got - expected).abs() < 1e-4, "{got} against {expected}");
            }
        }
    }
}
