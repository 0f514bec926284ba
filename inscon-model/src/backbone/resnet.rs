//! ResNet-18, 34, 50, 101 with torchvision's layout and names.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Block, block::BlockConfig};
use crate::op::max_pool2d;
use crate::{BatchNorm2d, Conv2d, Conv2dConfig, ModelError, NormMode, WeightInit};

/// Architecture of a [`ResNet`].
///
/// # Example
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::{NormMode, ResNetConfig};
/// use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
///
/// let config = ResNetConfig { depth: 50, width: 0.125, output_stride: 16 };
/// assert_eq!(config.channels(), [32, 64, 128, 256]);
/// assert_eq!(config.strides(), [4, 8, 16, 16]);
/// let device = Device::flex();
/// let resnet = config.init(&mut Xoshiro256PlusPlus::seed_from_u64(0), &device)?;
/// let [c2, .., c5] = resnet.forward(Tensor::ones([1, 3, 64, 64], &device), NormMode::Eval, 1);
/// assert_eq!((c2.dims(), c5.dims()), ([1, 32, 16, 16], [1, 256, 4, 4]));
/// # Ok::<(), inscon_model::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResNetConfig {
    /// 18, 34, 50 or 101 layers.
    pub depth: u32,
    /// Multiplier of every channel count, rounded to the nearest multiple of 8 that is not 0.
    pub width: f64,
    /// Stride of C5: 32, or 16. With 16 layer4 does not stride; a Bottleneck's 3×3 then dilates as
    /// torchvision's `replace_stride_with_dilation` does, a BasicBlock (for which torchvision has
    /// no dilation) only loses its stride.
    pub output_stride: usize,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self {
            depth: 50,
            width: 1.0,
            output_stride: 32,
        }
    }
}

impl ResNetConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ModelError::Config`] for another depth or output stride, or a width that is not a
    /// positive number.
    pub fn validate(&self) -> Result<(), ModelError> {
        let error = |field, value: String, mend: &str| {
            Err(ModelError::Config {
                field,
                value,
                mend: mend.to_owned(),
            })
        };
        if !matches!(self.depth, 18 | 34 | 50 | 101) {
            return error("depth", self.depth.to_string(), "write 18, 34, 50 or 101");
        }
        if !(self.width.is_finite() && self.width > 0.0) {
            return error(
                "width",
                self.width.to_string(),
                "write a positive number, 1 is whole",
            );
        }
        if !matches!(self.output_stride, 16 | 32) {
            return error(
                "output_stride",
                self.output_stride.to_string(),
                "write 16 or 32",
            );
        }
        Ok(())
    }

    /// Random weights: convolutions `N(0, 2 / fan_out)`, batch norms weight 1, bias 0 (the last of
    /// a block too).
    ///
    /// # Errors
    /// As [`ResNetConfig::validate`].
    pub fn init(&self, rng: &mut impl Rng, device: &Device) -> Result<ResNet, ModelError> {
        self.validate()?;
        let stem = self.scale(64);
        let conv1 = Conv2dConfig {
            stride: 2,
            padding: 3,
            bias: false,
            ..Conv2dConfig::new(3, stem, 7)
        }
        .init(WeightInit::KaimingNormalFanOut, rng, device);
        let mut input = stem;
        let mut layer = |stage| self.layer(stage, &mut input, rng, device);
        let (layer1, layer2, layer3, layer4) = (layer(0), layer(1), layer(2), layer(3));
        let bn1 = BatchNorm2d::new(stem, device);
        let output_stride = self.output_stride;
        Ok(ResNet {
            conv1,
            bn1,
            layer1,
            layer2,
            layer3,
            layer4,
            output_stride,
        })
    }

    /// Channels of C2, C3, C4, C5.
    #[must_use]
    pub fn channels(&self) -> [usize; 4] {
        [64, 128, 256, 512].map(|width| self.scale(width) * self.expansion())
    }

    /// Strides of C2, C3, C4, C5 in input pixels.
    #[must_use]
    pub fn strides(&self) -> [usize; 4] {
        [4, 8, 16, self.output_stride]
    }

    fn expansion(&self) -> usize {
        if self.depth >= 50 { 4 } else { 1 }
    }

    fn scale(&self, channels: usize) -> usize {
        let eighths = (channels as f64 * self.width / 8.0).round();
        8 * (eighths as usize).max(1)
    }

    fn layer(
        &self,
        stage: usize,
        input: &mut usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Vec<Block> {
        let blocks = match self.depth {
            18 => [2, 2, 2, 2],
            101 => [3, 4, 23, 3],
            _ => [3, 4, 6, 3],
        }[stage];
        let undilated = !(stage == 3 && self.output_stride == 16);
        let first = BlockConfig {
            input: *input,
            middle: self.scale(64 << stage),
            output: self.channels()[stage],
            stride: if stage > 0 && undilated { 2 } else { 1 },
            // torchvision's first block of a dilated layer keeps the previous dilation, 1.
            dilation: 1,
            bottleneck: self.depth >= 50,
        };
        *input = first.output;
        let rest = BlockConfig {
            input: first.output,
            stride: 1,
            dilation: if undilated { 1 } else { 2 },
            ..first
        };
        let mut layer = vec![first.init(rng, device)];
        layer.extend((1..blocks).map(|_| rest.init(rng, device)));
        layer
    }
}

/// A residual network without its classifier: torchvision's `resnet18` … `resnet101`, layout V1.5
/// (the stride of a Bottleneck is on the 3×3).
#[derive(Module, Debug)]
pub struct ResNet {
    /// 7×7, stride 2, padding 3.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm2d,
    /// C2, stride 4.
    pub layer1: Vec<Block>,
    /// C3, stride 8.
    pub layer2: Vec<Block>,
    /// C4, stride 16.
    pub layer3: Vec<Block>,
    /// C5, stride 32 or 16.
    pub layer4: Vec<Block>,
    /// Stride of C5 in input pixels.
    pub output_stride: usize,
}

impl ResNet {
    /// # Shapes
    /// - `x`: `[N, 3, H, W]`, normalised pixels
    /// - output C2 … C5: `[N, channels[i], ⌈H / strides[i]⌉, ⌈W / strides[i]⌉]`
    ///
    /// # Panics
    /// If `x` does not have 3 channels, or as [`BatchNorm2d::forward`].
    pub fn forward(&self, x: Tensor<4>, mode: NormMode, groups: usize) -> [Tensor<4>; 4] {
        let c2 = self.forward_layer(0, self.forward_stem(x, mode, groups), mode, groups);
        let c3 = self.forward_layer(1, c2.clone(), mode, groups);
        let c4 = self.forward_layer(2, c3.clone(), mode, groups);
        let c5 = self.forward_layer(3, c4.clone(), mode, groups);
        [c2, c3, c4, c5]
    }

    /// Convolution, batch norm, ReLU, max pooling 3×3 stride 2: `[N, 3, H, W]` →
    /// `[N, C, ⌈H / 4⌉, ⌈W / 4⌉]`.
    ///
    /// # Panics
    /// As [`ResNet::forward`].
    pub fn forward_stem(&self, x: Tensor<4>, mode: NormMode, groups: usize) -> Tensor<4> {
        let x = self.conv1.forward(x);
        let x = self.bn1.forward_relu(x, None, mode, groups);
        max_pool2d(x, [3, 3], [2, 2], [1, 1])
    }

    /// One of the four layers (`stage` 0 is `layer1`) on the output of the one before: what a
    /// detector with its own mode per stage, or a C4 head, calls.
    ///
    /// # Panics
    /// If `stage` > 3, or as [`ResNet::forward`].
    pub fn forward_layer(
        &self,
        stage: usize,
        x: Tensor<4>,
        mode: NormMode,
        groups: usize,
    ) -> Tensor<4> {
        let layer = [&self.layer1, &self.layer2, &self.layer3, &self.layer4][stage];
        layer
            .iter()
            .fold(x, |x, block| block.forward(x, mode, groups))
    }

    /// Every batch norm, from the stem on.
    pub fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        let layers = [
            &mut self.layer1,
            &mut self.layer2,
            &mut self.layer3,
            &mut self.layer4,
        ];
        let blocks = layers.into_iter().flatten();
        std::iter::once(&mut self.bn1).chain(blocks.flat_map(Block::norms_mut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_named() {
        let check = |config: ResNetConfig, field: &str| {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        };
        let good = ResNetConfig::default();
        check(ResNetConfig { depth: 20, ..good }, "depth = 20");
        check(ResNetConfig { width: 0.0, ..good }, "width = 0");
        check(
            ResNetConfig {
                width: f64::NAN,
                ..good
            },
            "width = NaN",
        );
        check(
            ResNetConfig {
                output_stride: 8,
                ..good
            },
            "output_stride = 8",
        );
    }

    #[test]
    fn widths_are_multiples_of_eight() {
        let width = |width| {
            ResNetConfig {
                depth: 18,
                width,
                output_stride: 32,
            }
            .channels()
        };
        assert_eq!(width(1.0), [64, 128, 256, 512]);
        assert_eq!(width(0.5), [32, 64, 128, 256]);
        assert_eq!(width(0.3), [16, 40, 80, 152]);
        assert_eq!(width(0.01), [8, 8, 8, 8]);
        assert_eq!(ResNetConfig::default().channels(), [256, 512, 1024, 2048]);
    }
}
