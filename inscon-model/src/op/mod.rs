//! Convolution, batch norm, max pooling and RoIAlign, each an operation with a hand-written
//! backward; the optimizer's and the momentum encoder's updates.
//!
//! On burn-flex they run the kernels of [`kernel`]; on every other backend they are burn's own
//! operations, but for RoIAlign, which has a CubeCL kernel too (feature `cube`). None knows of the networks here: each could be offered to burn-flex as it is.
//!
//! | operation | forward on flex | backward |
//! |---|---|---|
//! | [`conv2d`] | columns packed in cache-sized panels, times the weight, in register tiles; 3×3 of stride 1 by Winograd's F(4×4, 3×3) where tiles and channels are many | the input's gradient is a forward per phase of the stride; the weight's is a product of gradients and columns, by tiles again from 64 channels |
//! | [`batch_norm`] | statistics, then scale, shift, residual and ReLU in one pass | two sums, then one pass in place |
//! | [`affine`] | the same with constants (frozen batch norm) | one pass in place |
//! | [`max_pool2d`] | remembers sources | scatters |
//! | [`roi_align`] | weights once for all channels; cells to lines of bins, lines to bins, 32 channels at a time | the same way back |
//! | [`sgd`], [`ema`] | one pass in place | |
//! | [`SyncGroup::sum`] | sums short vectors over devices ([`AllReduce`]) | the same sum |
//!
//! The kernels take AVX-512, AVX2, NEON or plain code by what the processor has at run time, and
//! their results do not depend on the number of threads.

mod all_reduce;
#[cfg(feature = "flex")]
mod buffers;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
pub mod kernel;
mod roi;

use burn::tensor::activation::relu;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};

pub use all_reduce::{AllReduce, SyncGroup};
pub use roi::{Roi, RoiAlign, roi_align, roi_align_pyramid};
#[cfg(any(feature = "flex", feature = "cube"))]
pub use roi::{RoiMap, RoiPlan};

/// Two-dimensional convolution (cross-correlation, as PyTorch's `conv2d`).
///
/// On flex a sum of n products is within `(4 + √n)·ε·Σ|a·b|` of the exact one; by Winograd's tiles
/// (3×3, stride 1, at least 16 channels and 32 tiles: `kernel::ConvShape::by_tiles`) within 16
/// times that of the largest sum, and a NaN or ∞ spreads over its tile of 4×4.
///
/// # Shapes
/// - `x`: `[N, C, H, W]`; `weight`: `[M, C / groups, KH, KW]`; `bias`: `[M]`
/// - output: `[N, M, H', W']`, H' = ⌊(H + 2·padding − dilation·(KH − 1) − 1) / stride⌋ + 1
///
/// # Panics
/// If the shapes do not fit, or the kernel is larger than the padded input.
///
/// ```
/// use burn::tensor::{Device, Tensor, ops::ConvOptions};
/// use inscon_model::op::conv2d;
///
/// let device = Device::flex();
/// let (x, weight) = (Tensor::<4>::ones([2, 3, 8, 8], &device), Tensor::ones([4, 3, 3, 3], &device));
/// let y = conv2d(x, weight, None, ConvOptions::new([2, 2], [1, 1], [1, 1], 1));
/// assert_eq!(y.dims(), [2, 4, 4, 4]);
/// assert_eq!(y.slice([0..1, 0..1, 1..2, 1..2]).into_scalar::<f32>(), 27.0);
/// ```
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let ([_, channels, height, width], [_, per_group, rows, columns]) = (x.dims(), weight.dims());
    assert_eq!(
        channels,
        per_group * options.groups,
        "conv2d: input {:?}, weight {:?}, {} groups",
        x.dims(),
        weight.dims(),
        options.groups
    );
    for (axis, (size, kernel)) in [(height, rows), (width, columns)].into_iter().enumerate() {
        let span = options.dilation[axis] * (kernel - 1) + 1;
        let (before, after) = options.padding[axis];
        assert!(
            size + before + after >= span,
            "conv2d: a kernel of {span} px on {size} px padded by {before} and {after}"
        );
    }
    #[cfg(feature = "flex")]
    if flex::runs(&x) && flex::symmetric(&options) {
        return flex::conv2d(x, weight, bias, options);
    }
    module::conv2d(x, weight, bias, options)
}

/// What [`batch_norm`] returns.
#[derive(Debug, Clone)]
pub struct BatchNormed {
    /// `[N, C, H, W]`.
    pub output: Tensor<4>,
    /// Mean of the batch, `[groups, C]`, without gradient.
    pub mean: Tensor<2>,
    /// Biased variance of the batch, `[groups, C]`, without gradient.
    pub variance: Tensor<2>,
}

/// What follows the normalisation in the same pass.
#[derive(Debug, Clone, Default)]
pub struct Epilogue {
    /// Added to the normalised value, `[N, C, H, W]`.
    pub residual: Option<Tensor<4>>,
    /// Whether negative values become zero at the end.
    pub relu: bool,
}

/// Batch norm with the statistics of the batch: `(x − mean) / √(variance + ε) · weight + bias`,
/// plus the residual, through the ReLU.
///
/// Runs of N / `groups` consecutive images are normalised each by itself.
///
/// # Shapes
/// - `x`: `[N, C, H, W]`; `weight`, `bias`: `[C]`
///
/// # Panics
/// If the shapes do not fit or `groups` does not divide N.
pub fn batch_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epilogue: Epilogue,
    groups: usize,
    epsilon: f64,
) -> BatchNormed {
    let shape @ [n, channels, ..] = x.dims();
    assert!(
        groups > 0 && n % groups == 0,
        "{groups} batch-norm groups of {n} samples"
    );
    check_channels(&x, &[&weight, &bias], &epilogue);
    #[cfg(feature = "flex")]
    if flex::runs(&x) {
        return flex::batch_norm(x, weight, bias, epilogue, groups, epsilon);
    }
    let [.., height, width] = shape;
    // Few passes over the activations, forward and backward: batch norm is bound by memory. The
    // mean is subtracted as a constant (one tracked tensor); `drift` is 0 and carries the mean's
    // gradient. Likewise `square` has the square's value and, through one factor, its whole
    // gradient. Together the gradient is exact, since Σ centred = 0.
    let x = x.reshape([groups, n / groups, channels, height * width]);
    let mean = x.clone().mean_dim(3).mean_dim(1);
    let constant = mean.clone().detach();
    let drift = mean - constant.clone();
    let centred = x - constant.clone();
    let half = (centred.clone() * centred.clone().detach())
        .mean_dim(3)
        .mean_dim(1);
    let square = half.clone().detach();
    let var = half * 2.0 - square.clone();

    let per_channel = [1, 1, channels, 1];
    let scale = (var + epsilon).sqrt().recip() * weight.reshape(per_channel);
    let shift = bias.reshape(per_channel) - drift * scale.clone().detach();
    let y = (centred * scale + shift).reshape(shape);
    BatchNormed {
        output: epilogue.apply(y),
        mean: constant.inner().reshape([groups, channels]),
        variance: square.inner().reshape([groups, channels]),
    }
}

/// `x·scale + shift` by channel, plus the residual, through the ReLU: batch norm with fixed
/// statistics. `scale` and `shift` are constants: they get no gradients.
///
/// # Shapes
/// - `x`: `[N, C, H, W]`; `scale`, `shift`: `[C]`, without gradient
///
/// # Panics
/// If the shapes do not fit.
pub fn affine(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, epilogue: Epilogue) -> Tensor<4> {
    check_channels(&x, &[&scale, &shift], &epilogue);
    let (scale, shift) = (scale.detach(), shift.detach());
    #[cfg(feature = "flex")]
    if flex::runs(&x) {
        return flex::affine(x, scale, shift, epilogue);
    }
    let [channels] = scale.dims();
    let per_channel = [1, channels, 1, 1];
    epilogue.apply(x * scale.reshape(per_channel) + shift.reshape(per_channel))
}

impl Epilogue {
    /// Residual and ReLU as operations of their own.
    pub(crate) fn apply(self, x: Tensor<4>) -> Tensor<4> {
        let x = match self.residual {
            Some(residual) => x + residual,
            None => x,
        };
        if self.relu { relu(x) } else { x }
    }
}

fn check_channels(x: &Tensor<4>, vectors: &[&Tensor<1>], epilogue: &Epilogue) {
    let shape @ [_, channels, ..] = x.dims();
    for vector in vectors {
        assert_eq!(
            vector.dims(),
            [channels],
            "batch norm of {} channels: {shape:?}",
            vector.dims()[0]
        );
    }
    if let Some(residual) = &epilogue.residual {
        assert_eq!(residual.dims(), shape, "batch norm: residual");
    }
}

/// Max pooling (PyTorch's `max_pool2d` with dilation 1 and `ceil_mode=False`).
///
/// # Shapes
/// - `x`: `[N, C, H, W]`
/// - output: `[N, C, H', W']`, H' = ⌊(H + 2·padding − kernel) / stride⌋ + 1
///
/// # Panics
/// If the padding is more than half the kernel.
pub fn max_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if flex::runs(&x) {
        return flex::max_pool2d(x, kernel, stride, padding);
    }
    let options = MaxPoolOptions::new(kernel)
        .with_stride(stride)
        .with_padding(padding);
    module::max_pool2d(x, options)
}

/// One step of stochastic gradient descent with momentum ([`SgdStep`]): returns the new value and
/// velocity. Without a velocity it starts as the gradient, as in PyTorch. On flex the step is one
/// pass, in place where nothing else holds the tensors.
///
/// # Shapes
/// - all the same; none on an autodiff device
///
/// # Panics
/// If the shapes differ.
pub fn sgd<const D: usize>(
    step: SgdStep,
    value: Tensor<D>,
    velocity: Option<Tensor<D>>,
    gradient: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    #[cfg(feature = "flex")]
    if flex::runs(&value) {
        return flex::sgd(step, value, velocity, gradient);
    }
    let gradient = if step.weight_decay == 0.0 {
        gradient
    } else {
        gradient + value.clone() * step.weight_decay
    };
    let velocity = match velocity {
        Some(velocity) => velocity * step.momentum + gradient,
        None => gradient,
    };
    (value - velocity.clone() * step.lr, velocity)
}

/// `value ← momentum·value + (1 − momentum)·other`. On flex in one pass, in place where nothing
/// else holds `value`.
///
/// # Shapes
/// - both the same; none on an autodiff device
///
/// # Panics
/// If the shapes differ.
pub fn ema<const D: usize>(momentum: f64, value: Tensor<D>, other: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if flex::runs(&value) {
        return flex::ema(momentum, value, other);
    }
    value * momentum + other * (1.0 - momentum)
}

/// One step of stochastic gradient descent with momentum: `g ← g + weight_decay·p`,
/// `v ← momentum·v + g`, `p ← p − lr·v`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f64,
    /// Momentum factor.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
}
