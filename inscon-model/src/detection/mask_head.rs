//! The mask head: convolutions, a doubling deconvolution, one mask a class.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;

use super::{NormedConv, RcnnConfig};
use crate::{BatchNorm2d, Conv2d, Conv2dConfig, NormMode, WeightInit};

/// Transposed convolution with kernel 2 and stride 2 in PyTorch's layout; its patches do not
/// overlap, so it is one matrix product and a rearrangement.
#[derive(Module, Debug)]
pub struct Deconv2x2 {
    /// `[in, out, 2, 2]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Deconv2x2 {
    fn new([input, output]: [usize; 2], rng: &mut impl Rng, device: &Device) -> Self {
        let weight = WeightInit::KaimingNormalFanOut.sample([input, output, 2, 2], rng, device);
        Self {
            weight: Param::from_tensor(weight),
            bias: Param::from_tensor(Tensor::zeros([output], device)),
        }
    }

    /// # Shapes
    /// - `x`: `[R, in, H, W]`
    /// - output: `[R, out, 2H, 2W]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, input, height, width] = x.dims();
        let [_, output, ..] = self.weight.dims();
        let weight = self
            .weight
            .val()
            .reshape([1, input, output * 4])
            .swap_dims(1, 2);
        let y = weight.matmul(x.reshape([n, input, height * width]));
        let y = y
            .reshape([n, output, 2, 2, height, width])
            .permute([0, 1, 4, 2, 5, 3]);
        y.reshape([n, output, 2 * height, 2 * width]) + self.bias.val().reshape([1, output, 1, 1])
    }
}

/// detectron2's `MaskRCNNConvUpsampleHead`.
#[derive(Module, Debug)]
pub struct MaskHead {
    /// 3×3, norm and ReLU after each.
    pub convs: Vec<NormedConv>,
    /// Doubles the side; ReLU after it.
    pub deconv: Deconv2x2,
    /// 1×1, one mask a class.
    pub predictor: Conv2d,
}

impl MaskHead {
    /// Kaiming's normal by fan-out, the predictor `N(0, .001²)`.
    /// `input` channels come in.
    pub fn new(config: &RcnnConfig, mut input: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let channels = config.mask_channels;
        let mut convs = Vec::with_capacity(config.mask_convs);
        for _ in 0..config.mask_convs {
            let (norm, init) = (config.mask_norm, WeightInit::KaimingNormalFanOut);
            convs.push(NormedConv::new(
                [input, channels, 3],
                norm,
                init,
                rng,
                device,
            ));
            input = channels;
        }
        Self {
            convs,
            deconv: Deconv2x2::new([input, channels], rng, device),
            predictor: Conv2dConfig::new(channels, config.num_classes, 1).init(
                WeightInit::Normal(0.001),
                rng,
                device,
            ),
        }
    }

    /// The mask logits of one class for each RoI; the other classes' are not computed.
    ///
    /// # Shapes
    /// - `x`: `[R, C, side, side]`; `classes`: R labels
    /// - output: `[R, 2·side, 2·side]`
    ///
    /// # Panics
    /// If there are not R classes.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, classes: &[usize], mode: NormMode) -> Tensor<3> {
        let convs = self.convs.iter();
        let x = convs.fold(x, |x, conv| conv.forward_relu(x, mode));
        let x = relu(self.deconv.forward(x));
        let [n, channels, height, width] = x.dims();
        assert_eq!(n, classes.len(), "mask features and classes");
        let classes: Vec<i64> = classes.iter().map(|&class| class as i64).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [n]), &x.device());
        let [number, ..] = self.predictor.weight.dims();
        let weight = self.predictor.weight.val().reshape([number, channels]);
        let weight = weight.select(0, classes.clone()).reshape([n, 1, channels]);
        let mut y = weight.matmul(x.reshape([n, channels, height * width]));
        if let Some(bias) = &self.predictor.bias {
            y = y + bias.val().select(0, classes).reshape([n, 1, 1]);
        }
        y.reshape([n, height, width])
    }

    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        self.convs.iter_mut().flat_map(NormedConv::norms_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::module::conv_transpose2d;
    use burn::tensor::ops::ConvTransposeOptions;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::SeedableRng;

    fn assert_close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
        assert_eq!(a.dims(), b.dims());
        let difference = (a - b).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn deconvolution_is_burns() {
        let device = Device::flex();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut layer = Deconv2x2::new([3, 3], &mut rng, &device);
        layer.bias = Param::from_tensor(Tensor::from_floats([0.5, -1.0, 2.0], &device));
        let x = crate::normal(
            [2, 3, 4, 5].iter().product::<usize>() as f64 / 120.0,
            [2, 3, 4, 5],
            &mut rng,
            &device,
        );
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        let expected = conv_transpose2d(
            x.clone(),
            layer.weight.val(),
            Some(layer.bias.val()),
            options,
        );
        assert_close(layer.forward(x), expected);
    }

    #[test]
    fn predicts_the_asked_class_only() {
        let device = Device::flex();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
        let config = RcnnConfig {
            num_classes: 4,
            fpn_channels: 3,
            mask_convs: 1,
            mask_channels: 5,
            ..Default::default()
        };
        let mut head = MaskHead::new(&config, 3, &mut rng, &device);
        head.predictor.bias = Some(Param::from_tensor(Tensor::from_floats(
            [1.0, 2.0, 3.0, 4.0],
            &device,
        )));
        let x = crate::normal(1.0, [3, 3, 4, 4], &mut rng, &device);
        let got = head.forward(x.clone(), &[2, 0, 3], NormMode::Eval);
        let hidden = relu(head.deconv.forward(relu(head.convs[0].conv.forward(x))));
        let all = head.predictor.forward(hidden);
        let expected = [2usize, 0, 3]
            .into_iter()
            .enumerate()
            .map(|(r, c)| all.clone().slice([r..r + 1, c..c + 1]).reshape([1, 8, 8]))
            .collect::<Vec<_>>();
        assert_close(got, Tensor::cat(expected, 0));
    }
}
