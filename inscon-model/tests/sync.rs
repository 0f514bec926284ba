//! Batch norm over several devices, here threads, against one device with the whole batch.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::thread;

use burn::tensor::{Device, Tensor};
use common::{noise_tensor, values};
use inscon_model::{BatchNorm2d, NormMode, SyncGroup};

const CHANNELS: usize = 5;

fn layer(device: &Device) -> BatchNorm2d {
    let mut norm = BatchNorm2d::new(CHANNELS, device);
    norm.weight = norm.weight.map(|w| {
        let noise: Tensor<1> = noise_tensor([CHANNELS], 5, &w.device());
        (noise + 1.5).detach().require_grad()
    });
    norm
}

struct Step {
    y: Vec<f32>,
    dx: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    running: [Vec<f32>; 2],
}

/// `Σ y · upstream`, with a residual and ReLU.
fn step(norm: &BatchNorm2d, x: Tensor<4>, upstream: Tensor<4>) -> Step {
    let x = x.autodiff().require_grad();
    let residual = upstream.clone().autodiff() * 0.5;
    let y = norm.forward_relu(x.clone(), Some(residual), NormMode::Train, 1);
    let gradients = (y.clone() * upstream.autodiff()).sum().backward();
    let of = |param: &burn::module::Param<Tensor<1>>| values(param.val().grad(&gradients).unwrap());
    Step {
        y: values(y.inner()),
        dx: values(x.grad(&gradients).unwrap()),
        weight: of(&norm.weight),
        bias: of(&norm.bias),
        running: [&norm.running_mean, &norm.running_var].map(|r| values(r.value().inner())),
    }
}

/// The batch of each device, of unequal sizes.
fn shards(all: &Tensor<4>, sizes: &[usize]) -> Vec<Tensor<4>> {
    let mut first = 0;
    let cut = |&size: &usize| {
        first += size;
        all.clone().narrow(0, first - size, size)
    };
    sizes.iter().map(cut).collect()
}

fn over_devices(sizes: &[usize], x: &Tensor<4>, upstream: &Tensor<4>) -> Vec<Step> {
    let inputs = shards(x, sizes).into_iter().zip(shards(upstream, sizes));
    let groups = SyncGroup::of_threads(sizes.len());
    thread::scope(|scope| {
        let threads: Vec<_> = inputs
            .zip(groups)
            .map(|((x, upstream), group)| {
                scope.spawn(move || {
                    assert_eq!(group.devices(), sizes.len());
                    let mut norm = layer(&Device::flex().autodiff());
                    norm.sync = Some(group);
                    step(&norm, x, upstream)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got - want).abs();
        assert!(
            error <= tolerance * want.abs().max(1.0),
            "{what}[{i}]: {got} against {want}"
        );
    }
}

#[test]
fn devices_are_one_batch() {
    let device = Device::flex();
    // A mean far from 0: the variance must not be a difference of large numbers.
    let x = noise_tensor::<4>([7, CHANNELS, 3, 4], 1, &device) + 30.0;
    let upstream = noise_tensor([7, CHANNELS, 3, 4], 2, &device);
    let whole = step(
        &layer(&device.clone().autodiff()),
        x.clone(),
        upstream.clone(),
    );
    for sizes in [vec![7], vec![3, 4], vec![2, 1, 4]] {
        let steps = over_devices(&sizes, &x, &upstream);
        let what = |name: &str| format!("{name} of {sizes:?}");
        let joined =
            |of: fn(&Step) -> &Vec<f32>| steps.iter().flat_map(of).copied().collect::<Vec<f32>>();
        assert_close(&joined(|s| &s.y), &whole.y, 3e-4, &what("output"));
        assert_close(&joined(|s| &s.dx), &whole.dx, 3e-4, &what("gradient"));
        // The parameters' gradients stay local, as PyTorch's do: the optimizer's all-reduce adds them.
        let added = |of: fn(&Step) -> &Vec<f32>| {
            let sum = |c: usize| steps.iter().map(|s| of(s)[c]).sum();
            (0..CHANNELS).map(sum).collect::<Vec<f32>>()
        };
        assert_close(&added(|s| &s.weight), &whole.weight, 3e-4, &what("weight"));
        assert_close(&added(|s| &s.bias), &whole.bias, 3e-4, &what("bias"));
        for step in &steps {
            assert_eq!(step.running, steps[0].running, "devices agree bit for bit");
            for (got, want) in step.running.iter().zip(&whole.running) {
                assert_close(got, want, 1e-5, &what("running statistic"));
            }
        }
    }
}

#[test]
fn a_sum_and_its_gradient() {
    let sums = thread::scope(|scope| {
        let threads: Vec<_> = SyncGroup::of_threads(3)
            .into_iter()
            .zip([1.0f32, 2.0, 3.0])
            .map(|(group, scale)| {
                scope.spawn(move || {
                    let device = Device::flex().autodiff();
                    let x = Tensor::<1>::from_floats([scale, 10.0 * scale], &device).require_grad();
                    let y = group.sum(x.clone());
                    let found = values(y.clone().inner());
                    let gradients = (y * scale).sum().backward();
                    (found, values(x.grad(&gradients).unwrap()))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(sums, vec![(vec![6.0, 60.0], vec![6.0, 6.0]); 3]);
}
