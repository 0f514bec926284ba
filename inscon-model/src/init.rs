//! Random initialisation of weights from the caller's generator.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};

/// Distribution of a layer's initial weights. Shapes are PyTorch's: `[out, in, ..kernel]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightInit {
    /// `N(0, 2 / fan_out)`: torchvision's ResNet convolutions (`kaiming_normal_`, `fan_out`,
    /// ReLU), detectron2's `c2_msra_fill`.
    KaimingNormalFanOut,
    /// `U(±1 / √fan_in)`: the default of PyTorch's `Linear` and `Conv2d`, weight and bias alike.
    TorchDefault,
    /// `U(±√(3 / fan_in))`: detectron2's `c2_xavier_fill` (`kaiming_uniform_` with a = 1).
    XavierCaffe2,
    /// `N(0, std²)`.
    Normal(f64),
    /// All zero.
    Zeros,
}

impl WeightInit {
    /// Draws a weight of shape `[out, in, ..kernel]`.
    ///
    /// # Panics
    /// If `D` < 2, or `Normal` got a negative or non-finite deviation.
    pub fn sample<const D: usize>(
        self,
        shape: [usize; D],
        rng: &mut impl Rng,
        device: &Device,
    ) -> Tensor<D> {
        let kernel: usize = shape[2..].iter().product();
        let (fan_in, fan_out) = ((shape[1] * kernel) as f64, (shape[0] * kernel) as f64);
        match self {
            Self::KaimingNormalFanOut => normal((2.0 / fan_out).sqrt(), shape, rng, device),
            Self::TorchDefault => uniform(fan_in.sqrt().recip(), shape, rng, device),
            Self::XavierCaffe2 => uniform((3.0 / fan_in).sqrt(), shape, rng, device),
            Self::Normal(std) => normal(std, shape, rng, device),
            Self::Zeros => Tensor::zeros(shape, device),
        }
    }

    /// Draws the bias that goes with a weight of `fan_in` inputs: `[out]`; zero except for
    /// [`WeightInit::TorchDefault`].
    pub fn sample_bias(
        self,
        out: usize,
        fan_in: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Tensor<1> {
        match self {
            Self::TorchDefault => uniform((fan_in as f64).sqrt().recip(), [out], rng, device),
            _ => Tensor::zeros([out], device),
        }
    }
}

/// Independent draws of `N(0, std²)`, in row-major order.
///
/// # Panics
/// If `std` is negative or not finite.
pub fn normal<const D: usize>(
    std: f64,
    shape: [usize; D],
    rng: &mut impl Rng,
    device: &Device,
) -> Tensor<D> {
    let normal = Normal::new(0.0, std).unwrap_or_else(|e| panic!("deviation {std}: {e}"));
    let len = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|_| normal.sample(rng) as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Independent draws of `U(−bound, bound)`, in row-major order.
pub fn uniform<const D: usize>(
    bound: f64,
    shape: [usize; D],
    rng: &mut impl Rng,
    device: &Device,
) -> Tensor<D> {
    let len = shape.iter().product();
    let values: Vec<f32> = (0..len)
        .map(|_| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

    fn spread(init: WeightInit) -> (f32, f32) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let values = init
            .sample([64, 32, 3, 3], &mut rng, &Device::flex())
            .into_data();
        let values = values.try_to_vec::<f32>().unwrap();
        let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
        let square = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / values.len() as f64;
        (square.sqrt() as f32, largest)
    }

    /// Standard deviations and bounds of PyTorch's initialisers for a 64×32×3×3 weight.
    #[test]
    fn spreads_are_those_of_pytorch() {
        let (std, _) = spread(WeightInit::KaimingNormalFanOut);
        assert!((std - (2.0f32 / 576.0).sqrt()).abs() < 0.02 * std, "{std}");
        let (_, bound) = spread(WeightInit::TorchDefault);
        let expected = 1.0 / 288f32.sqrt();
        assert!(bound <= expected && bound > 0.999 * expected, "{bound}");
        let (_, bound) = spread(WeightInit::XavierCaffe2);
        let expected = (3.0f32 / 288.0).sqrt();
        assert!(bound <= expected && bound > 0.999 * expected, "{bound}");
        assert_eq!(spread(WeightInit::Zeros), (0.0, 0.0));
    }
}
