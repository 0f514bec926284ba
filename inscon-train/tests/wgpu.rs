//! The pretraining smoke test and RoIAlign on `wgpu`: `cargo xtask ci --gpu-software` runs them on
//! Mesa's software Vulkan.
#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "pretrain/fixture.rs"]
#[expect(dead_code, reason = "shared with the CPU tests")]
mod fixture;

use burn::tensor::{Device, Tensor, TensorData};
use inscon_model::op::{Roi, RoiAlign, roi_align, roi_align_pyramid};
use inscon_train::{Interrupt, RunDir, open_device, pretrain, read_metrics};

/// Six steps on the GPU, and the CPU's first loss within rounding: the same weights and views go
/// in, so that only the arithmetic differs.
#[test]
fn pretrains_as_the_cpu_does() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    fixture::write_images(&images, 16);
    let config = fixture::tiny(&images, &[]);
    let losses = |device: &str| -> Vec<f64> {
        let run = dir.path().join(device);
        let opened = open_device(device).unwrap();
        pretrain::run(&config, &run, &opened, &Interrupt::manual()).unwrap();
        let log = read_metrics(&RunDir::create(run.join("pretrain")).unwrap());
        log.iter()
            .map(|line| line["loss"].as_f64().unwrap())
            .collect()
    };
    let (gpu, cpu) = (losses("wgpu"), losses("cpu"));
    println!("wgpu {gpu:?}\ncpu  {cpu:?}");
    assert_eq!(gpu.len(), 6);
    assert!(gpu.iter().all(|loss| loss.is_finite()));
    // f32 sums in another order, through 20 layers of batch norm over few values.
    assert!(
        (gpu[0] - cpu[0]).abs() < 1e-3 * cpu[0].abs(),
        "{gpu:?} against {cpu:?}"
    );
}

fn noise<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = (0..shape.iter().product()).map(|i: usize| (0.37 * i as f64).sin() as f32);
    Tensor::from_data(TensorData::new(values.collect(), shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Boxes inside and across the border, outside, inverted, tiny.
fn rois(number: usize) -> Vec<Roi> {
    let at = |i: usize, factor: usize| (i * factor % 83) as f32;
    (0..number)
        .map(|i| {
            let (x, y) = (at(i, 31) - 14.0, at(i, 47) - 14.0);
            let (w, h) = (at(i, 17) * 0.8 - 7.0, at(i, 13) * 0.8 - 7.0);
            Roi {
                image: i % 2,
                bbox: [x, y, x + w, y + h],
            }
        })
        .collect()
}

const ALIGN: RoiAlign = RoiAlign {
    output: 7,
    spatial_scale: 0.25,
    sampling_ratio: 0,
    aligned: true,
};

/// Output and gradients of RoIAlign on a map, and on a pyramid of which a level is not tracked.
fn pooled(align: RoiAlign, device: &Device) -> Vec<Vec<f32>> {
    let rois = rois(61);
    let leaf = noise([2, 5, 14, 17], device).autodiff().require_grad();
    // Fusion hands over what came before: a view that is not in order.
    let map = (leaf.clone() * 2.0).swap_dims(2, 3);
    let y = roi_align(map, &rois, align);
    let weights = noise(y.dims(), device).autodiff();
    let gradient = leaf.grad(&(y.clone() * weights).sum().backward());
    let mut all = vec![values(y.inner()), values(gradient.unwrap())];

    let scales = [0.25, 0.125, 0.0625, 0.03125];
    let levels: Vec<usize> = (0..61).map(|i| i * 7 % 4).collect();
    let leaves = [16, 8, 4, 2].map(|side| {
        let map = noise([2, 5, side, side], device).autodiff();
        if side == 4 { map } else { map.require_grad() }
    });
    let y = roi_align_pyramid(leaves.clone(), scales, &rois, &levels, align);
    let weights = noise(y.dims(), device).autodiff();
    let gradients = (y.clone() * weights).sum().backward();
    all.push(values(y.inner()));
    for (level, leaf) in leaves.iter().enumerate() {
        let gradient = leaf.grad(&gradients);
        assert_eq!(gradient.is_none(), level == 2);
        all.extend(gradient.map(values));
    }
    all
}

#[test]
fn roi_align_is_that_of_the_cpu() {
    let [gpu, cpu] = ["wgpu", "cpu"].map(|device| open_device(device).unwrap());
    for (sampling_ratio, aligned) in [(0, true), (2, true), (0, false)] {
        let align = RoiAlign {
            sampling_ratio,
            aligned,
            ..ALIGN
        };
        let (got, expected) = (pooled(align, &gpu), pooled(align, &cpu));
        assert_eq!(got.len(), expected.len());
        for (part, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(got.len(), expected.len());
            assert!(expected.iter().any(|value| value.abs() > 0.1), "{part}");
            for (got, expected) in got.iter().zip(expected) {
                let difference = (got - expected).abs();
                assert!(
                    difference < 2e-5 * (1.0 + expected.abs()),
                    "{align:?}, part {part}: {got} against {expected}"
                );
            }
        }
        // No atomics: the same bits again.
        assert_eq!(pooled(align, &gpu), got);
    }
}
