//! Feature pyramid network.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::module::{interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::ConvNorm;
use crate::{BatchNorm2d, Conv2d, Conv2dConfig, NormMode, WeightInit};

/// A convolution with the norm after it, of the pyramid or of a head.
#[derive(Module, Debug)]
pub struct NormedConv {
    /// The convolution; with a bias only where there is no norm.
    pub conv: Conv2d,
    /// The norm after it.
    pub norm: Option<BatchNorm2d>,
}

impl NormedConv {
    /// `[input, output, kernel]`, padded to keep the size.
    pub(super) fn new(
        [input, output, kernel]: [usize; 3],
        norm: ConvNorm,
        init: WeightInit,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let conv = Conv2dConfig {
            padding: kernel / 2,
            bias: norm == ConvNorm::None,
            ..Conv2dConfig::new(input, output, kernel)
        };
        Self {
            conv: conv.init(init, rng, device),
            norm: (norm == ConvNorm::Batch).then(|| BatchNorm2d::new(output, device)),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: NormMode) -> Tensor<4> {
        let x = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(x, mode, 1),
            None => x,
        }
    }

    pub(super) fn forward_relu(&self, x: Tensor<4>, mode: NormMode) -> Tensor<4> {
        let x = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward_relu(x, None, mode, 1),
            None => relu(x),
        }
    }

    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        self.norm.iter_mut()
    }
}

/// FPN (Lin et al., arXiv 1612.03144) as detectron2's: 1×1 laterals, nearest top-down addition, 3×3
/// outputs.
#[derive(Module, Debug)]
pub struct Fpn {
    /// 1×1 convolutions of C2, C3, C4, C5.
    pub lateral: Vec<NormedConv>,
    /// 3×3 convolutions that give P2, P3, P4, P5.
    pub output: Vec<NormedConv>,
}

impl Fpn {
    /// A pyramid of `channels` over maps of `inputs` channels, finest first.
    pub fn new(
        inputs: [usize; 4],
        channels: usize,
        norm: ConvNorm,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let init = WeightInit::XavierCaffe2;
        let mut layer =
            |input, kernel| NormedConv::new([input, channels, kernel], norm, init, rng, device);
        let lateral = inputs.map(|input| layer(input, 1)).into();
        let output = inputs.map(|_| layer(channels, 3)).into();
        Self { lateral, output }
    }

    /// # Shapes
    /// - `features`: C2 to C5, `[N, Cᵢ, Hᵢ, Wᵢ]`; neighbours may have equal sizes (a backbone of
    ///   output stride 16)
    /// - output: P2 to P5, `[N, channels, Hᵢ, Wᵢ]`
    #[must_use]
    pub fn forward(&self, features: [Tensor<4>; 4], mode: NormMode) -> [Tensor<4>; 4] {
        let mut above: Option<Tensor<4>> = None;
        let mut outputs = Vec::with_capacity(4);
        for (level, x) in features.into_iter().enumerate().rev() {
            let lateral = self.lateral[level].forward(x, mode);
            let merged = match above {
                Some(above) => {
                    let [_, _, height, width] = lateral.dims();
                    lateral + resize_nearest(above, [height, width])
                }
                None => lateral,
            };
            outputs.push(self.output[level].forward(merged.clone(), mode));
            above = Some(merged);
        }
        outputs.reverse();
        outputs
            .try_into()
            .unwrap_or_else(|_| unreachable!("four levels"))
    }
}

impl Fpn {
    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        let convs = self.lateral.iter_mut().chain(&mut self.output);
        convs.flat_map(NormedConv::norms_mut)
    }
}

fn resize_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == size {
        return x;
    }
    interpolate(
        x,
        InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size),
    )
}

/// P6: every second cell of P5 (detectron2's `LastLevelMaxPool`).
pub(super) fn last_level(p5: Tensor<4>) -> Tensor<4> {
    max_pool2d(p5, MaxPoolOptions::new([1, 1]).with_stride([2, 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_doubles_and_keeps() {
        let x = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &Device::flex());
        let doubled = resize_nearest(x.clone(), [4, 4])
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let row = |a: f32, b: f32| [a, a, b, b];
        assert_eq!(
            doubled,
            [row(1., 2.), row(1., 2.), row(3., 4.), row(3., 4.)].concat()
        );
        let odd = resize_nearest(x.clone(), [3, 3])
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(odd, [1., 1., 2., 1., 1., 2., 3., 3., 4.]);
        assert_eq!(
            last_level(x).into_data().try_to_vec::<f32>().unwrap(),
            [1.0]
        );
    }
}
