//! Each convolution of a network by itself: forward, and the two halves of backward.

use std::time::{Duration, Instant};

use anyhow::bail;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use inscon_aug::stream;
use inscon_model::{Conv2dConfig, WeightInit};
use rand::Rng;
use serde::Serialize;

use super::{Convolution, Workload, convolutions, median, noise_tensor};
use crate::Interrupt;

/// What a convolution takes; medians.
#[derive(Debug, Clone, Serialize)]
pub struct ConvTimes {
    /// The convolution.
    #[serde(flatten)]
    pub convolution: Convolution,
    /// Without gradients.
    pub forward_ms: f64,
    /// Backward with only the input tracked.
    pub input_gradient_ms: f64,
    /// Backward with only the weight tracked.
    pub weight_gradient_ms: f64,
}

/// Side of the matrices whose product is the device's peak.
const PEAK_SIDE: usize = 1536;

/// Measures every distinct convolution of the network, handing each to `found` as it is done.
///
/// # Errors
/// What `found` says, what the device says, and an interruption.
pub fn convs(
    workload: &Workload,
    repeat: usize,
    device: &Device,
    interrupt: &Interrupt,
    mut found: impl FnMut(&ConvTimes) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut rng = stream(0, &[]);
    for convolution in convolutions(workload) {
        found(&measure(convolution, repeat, device, &mut rng)?)?;
        if interrupt.is_raised() {
            bail!("interrupted");
        }
    }
    Ok(())
}

fn measure(
    convolution: Convolution,
    repeat: usize,
    device: &Device,
    rng: &mut impl Rng,
) -> anyhow::Result<ConvTimes> {
    let Convolution {
        kernel,
        stride,
        padding,
        input,
        output,
        side,
        batch,
        ..
    } = convolution;
    let config = Conv2dConfig {
        stride,
        padding,
        bias: false,
        ..Conv2dConfig::new(input, output, kernel)
    };
    let init = WeightInit::KaimingNormalFanOut;
    let x = noise_tensor([batch, input, side, side], rng, device);

    let layer = &config.init(init, rng, device);
    let forward = times(repeat, device, || {
        let x = x.clone();
        move || layer.forward(x)
    })?;

    let tracked = device.clone().autodiff();
    let layer = config.init(init, rng, &tracked);
    let weight_gradient = times(repeat, device, || {
        let y = layer.forward(Tensor::from_inner(x.clone()));
        move || y.backward()
    })?;

    let layer = layer.no_grad();
    let input_gradient = times(repeat, device, || {
        let y = layer.forward(Tensor::from_inner(x.clone()).require_grad());
        move || y.backward()
    })?;
    let ms = |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1e3));
    Ok(ConvTimes {
        convolution,
        forward_ms: ms(forward),
        input_gradient_ms: ms(input_gradient),
        weight_gradient_ms: ms(weight_gradient),
    })
}

/// The device's rate at a large square product of matrices, the best of `repeat`, in GFLOP/s.
///
/// # Errors
/// What the device says.
pub fn peak_gflops(repeat: usize, device: &Device) -> anyhow::Result<f64> {
    let mut rng = stream(1, &[]);
    let [a, b] = [(); 2].map(|()| noise_tensor([PEAK_SIDE; 2], &mut rng, device));
    let times = times(repeat, device, || {
        let (a, b) = (a.clone(), b.clone());
        move || a.matmul(b)
    })?;
    let best = times.into_iter().min().unwrap_or_default();
    Ok(2e-9 * (PEAK_SIDE as f64).powi(3) / best.as_secs_f64())
}

/// Times what `prepare` returns, `repeat` times after one for warmth. Neither the preparation nor
/// the release of the result counts.
pub(super) fn times<W: FnOnce() -> T, T>(
    repeat: usize,
    device: &Device,
    mut prepare: impl FnMut() -> W,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(repeat);
    for round in 0..=repeat {
        let work = prepare();
        device.sync()?;
        let started = Instant::now();
        let result = work();
        device.sync()?;
        if round > 0 {
            times.push(started.elapsed());
        }
        drop(result);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::super::Arch;
    use super::*;

    #[test]
    fn all_are_measured() {
        let workload = Workload {
            arch: Arch::Resnet18,
            size: 32,
            batch: 1,
        };
        let (device, mut lines) = (Device::flex(), Vec::new());
        convs(&workload, 1, &device, &Interrupt::manual(), |times| {
            lines.push(serde_json::to_value(times)?);
            Ok(())
        })
        .unwrap();
        assert_eq!(lines.len(), convolutions(&workload).len());
        for line in lines {
            assert!(line["gflop"].as_f64().unwrap() > 0.0, "{line}");
            for way in ["forward_ms", "input_gradient_ms", "weight_gradient_ms"] {
                assert!(line[way].as_f64().unwrap() > 0.0, "{line}");
            }
        }
    }
}
