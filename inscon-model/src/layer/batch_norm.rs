//! Batch norm whose mode is an argument, with independent groups.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::RunningStatistic;
use crate::op::{self, Epilogue, SyncGroup};

/// Which statistics normalise, and whether they are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormMode {
    /// Statistics of the batch; running statistics follow them. Whether or not the device tracks
    /// gradients: MoCo's key encoder trains its statistics without gradients.
    Train,
    /// Running statistics; weight and bias still get gradients.
    Eval,
    /// Running statistics; weight and bias are constants (detectron2's `FrozenBN`).
    Frozen,
}

/// Batch normalisation over `[N, H, W]` (Ioffe and Szegedy, arXiv 1502.03167), PyTorch's
/// `BatchNorm2d` in names, epsilon and momentum.
///
/// ```text
/// y = (x − mean) / √(var + ε) · weight + bias,   running ← (1 − m)·running + m·batch
/// ```
/// The variance that normalises is biased, the one that is remembered is unbiased, as PyTorch
/// does. With `groups` > 1 the batch is cut in runs of consecutive samples, each normalised by
/// itself; the running statistics take one step with the average over the groups.
///
/// With [`sync`](BatchNorm2d::sync) the batch is that of all devices (PyTorch's `SyncBatchNorm`).
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// `[C]`.
    pub weight: Param<Tensor<1>>,
    /// `[C]`.
    pub bias: Param<Tensor<1>>,
    /// `[C]`, a buffer.
    pub running_mean: RunningStatistic,
    /// `[C]`, a buffer.
    pub running_var: RunningStatistic,
    /// Share of a new batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
    /// The devices over which [`NormMode::Train`] takes its statistics; `None` is this one.
    #[module(skip)]
    pub sync: Option<SyncGroup>,
}

impl BatchNorm2d {
    /// Weight 1, bias 0, running mean 0, running variance 1; momentum 0.1, epsilon 1e-5.
    #[must_use]
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: RunningStatistic::new(Tensor::zeros([channels], device)),
            running_var: RunningStatistic::new(Tensor::ones([channels], device)),
            momentum: 0.1,
            epsilon: 1e-5,
            sync: None,
        }
    }

    /// # Shapes
    /// - `x`: `[N, C, H, W]`; output the same
    ///
    /// # Panics
    /// If the channels differ, or in [`NormMode::Train`] if `groups` does not divide N or a group
    /// has only one value a channel.
    pub fn forward(&self, x: Tensor<4>, mode: NormMode, groups: usize) -> Tensor<4> {
        self.forward_with(x, Epilogue::default(), mode, groups)
    }

    /// `relu(norm(x))`, or with a residual `relu(norm(x) + residual)`: one pass where the device
    /// has one for it.
    ///
    /// # Shapes
    /// - `x`, `residual`: `[N, C, H, W]`; output the same
    ///
    /// # Panics
    /// As [`BatchNorm2d::forward`], and if the residual's shape is another.
    pub fn forward_relu(
        &self,
        x: Tensor<4>,
        residual: Option<Tensor<4>>,
        mode: NormMode,
        groups: usize,
    ) -> Tensor<4> {
        let epilogue = Epilogue {
            residual,
            relu: true,
        };
        self.forward_with(x, epilogue, mode, groups)
    }

    fn forward_with(
        &self,
        x: Tensor<4>,
        epilogue: Epilogue,
        mode: NormMode,
        groups: usize,
    ) -> Tensor<4> {
        let [channels] = self.weight.dims();
        assert_eq!(
            x.dims()[1],
            channels,
            "batch norm of {channels} channels: {:?}",
            x.dims()
        );
        let (weight, bias) = (self.weight.val(), self.bias.val());
        match mode {
            NormMode::Train => self.forward_train(x, epilogue, groups),
            NormMode::Eval if weight.is_require_grad() || bias.is_require_grad() => {
                let (scale, shift) = self.fixed(weight, bias);
                let per_channel = [1, channels, 1, 1];
                epilogue.apply(x * scale.reshape(per_channel) + shift.reshape(per_channel))
            }
            NormMode::Eval | NormMode::Frozen => {
                let (scale, shift) = self.fixed(weight.detach(), bias.detach());
                op::affine(x, scale, shift, epilogue)
            }
        }
    }

    /// Scale and shift by the running statistics.
    fn fixed(&self, weight: Tensor<1>, bias: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        let scale = weight / (self.running_var.value() + self.epsilon).sqrt();
        let shift = bias - self.running_mean.value() * scale.clone();
        (scale, shift)
    }

    fn forward_train(&self, x: Tensor<4>, epilogue: Epilogue, groups: usize) -> Tensor<4> {
        let shape @ [n, _, h, w] = x.dims();
        assert!(
            groups > 0 && n % groups == 0,
            "{groups} batch-norm groups of {n} samples"
        );
        let count = n / groups * h * w;
        assert!(
            count > 1,
            "batch norm of {shape:?} in {groups} groups: one value a channel"
        );
        if let Some(group) = &self.sync {
            assert_eq!(groups, 1, "batch norm over devices has no groups");
            return self.forward_synchronized(x, epilogue, group);
        }
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let normed = op::batch_norm(x, weight, bias, epilogue, groups, self.epsilon);
        let unbiased = count as f64 / (count - 1) as f64;
        self.follow(&self.running_mean, normed.mean, 1.0);
        self.follow(&self.running_var, normed.variance, unbiased);
        normed.output
    }

    /// Two sums over the devices, of the values and of their squared distances from the mean.
    fn forward_synchronized(
        &self,
        x: Tensor<4>,
        epilogue: Epilogue,
        group: &SyncGroup,
    ) -> Tensor<4> {
        let [n, channels, h, w] = x.dims();
        let per_channel = [1, channels, 1, 1];
        let sum = |x: Tensor<4>| {
            let local = x.sum_dims(&[0, 2, 3]).reshape([channels]);
            group.sum(local)
        };
        let here = Tensor::<1>::from_floats([(n * h * w) as f32], &x.device().inner());
        let count = f64::from(group.sum(here).into_scalar::<f32>());
        let mean = sum(x.clone()) / count;
        let centered = x - mean.clone().reshape(per_channel);
        let variance = sum(centered.clone().square()) / count;
        let scale = self.weight.val() / (variance.clone() + self.epsilon).sqrt();
        let y = centered * scale.reshape(per_channel) + self.bias.val().reshape(per_channel);

        let statistic = |value: Tensor<1>| value.inner().reshape([1, channels]);
        self.follow(&self.running_mean, statistic(mean), 1.0);
        let unbiased = count / (count - 1.0);
        self.follow(&self.running_var, statistic(variance), unbiased);
        epilogue.apply(y)
    }

    /// One step of a running statistic towards the average of `batch`, `[groups, C]`.
    fn follow(&self, running: &RunningStatistic, batch: Tensor<2>, factor: f64) {
        let [_, channels] = batch.dims();
        let batch = batch.mean_dim(0).reshape([channels]);
        let held = running.value();
        let autodiff = held.is_autodiff();
        let next = held.inner() * (1.0 - self.momentum) + batch * (self.momentum * factor);
        running.set(if autodiff { next.autodiff() } else { next });
    }
}
