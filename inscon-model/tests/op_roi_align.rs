//! The operation RoIAlign against loops in f64, on every instruction set, and the same bits on any
//! number of threads.

#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;
#[path = "common/roi.rs"]
mod naive;

use burn::tensor::{Device, Tensor};
use common::{noise, noise_tensor, rng, values};
use inscon_model::op::kernel::Cpu;
use inscon_model::op::{Roi, RoiAlign, RoiMap, RoiPlan, roi_align, roi_align_pyramid};
use naive::{on_the_edge, random_rois};
use proptest::prelude::*;
use rand::RngExt;

fn noise32(len: usize, seed: u32) -> Vec<f32> {
    noise(len, seed).into_iter().map(|v| v as f32).collect()
}

fn assert_close(got: &[f32], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(*got) - want).abs();
        assert!(
            difference <= tolerance * (1.0 + want.abs()),
            "{what}, value {index}: {got} against {want}"
        );
    }
}

fn aligns() -> impl Strategy<Value = RoiAlign> {
    (1usize..=8, 0usize..=3, any::<bool>(), 0usize..3).prop_map(
        |(output, sampling_ratio, aligned, scale)| RoiAlign {
            output,
            spatial_scale: [0.25, 0.5, 1.0][scale],
            sampling_ratio,
            aligned,
        },
    )
}

fn shapes() -> impl Strategy<Value = [usize; 4]> {
    let channels = prop_oneof![Just(1), Just(3), Just(32), Just(37), Just(70)];
    (1usize..4, channels, 1usize..14, 1usize..14).prop_map(|(n, c, h, w)| [n, c, h, w])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_definition(shape in shapes(), align in aligns(), seed in 0u32..1000) {
        let [images, channels, height, width] = shape;
        let pixels = [height, width].map(|cells| cells as f32 / align.spatial_scale);
        let mut rois = random_rois(21, images, pixels, &mut rng(seed.into()));
        rois.retain(|roi| !on_the_edge(roi, [height, width], align));
        let x = noise32(shape.iter().product(), seed);
        let dy = noise32(rois.len() * channels * align.output.pow(2), seed + 1);
        let map = RoiMap { images, size: [height, width], align };
        let plan = RoiPlan::new(vec![map], rois.iter().map(|roi| (0, *roi)));
        let want_y = naive::forward(&x, shape, &rois, align);
        let want_dx = naive::gradient(&dy, shape, &rois, align);
        for cpu in Cpu::all() {
            let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
            cpu.roi_align(&plan, channels, &[&x], &mut y);
            cpu.roi_align_gradient(&plan, channels, 0, &dy, &mut dx);
            let what = format!("{cpu} {shape:?} {align:?}");
            assert_close(&y, &want_y, 2e-5, &what);
            // A cell sums up to a few hundred terms.
            assert_close(&dx, &want_dx, 2e-4, &format!("gradient, {what}"));
        }
    }
}

const ALIGN: RoiAlign = RoiAlign {
    output: 7,
    spatial_scale: 0.25,
    sampling_ratio: 0,
    aligned: true,
};

/// Many RoIs on few channels: they are shared out, and rows are cut, by the number of threads.
#[test]
fn the_same_bits_on_any_number_of_threads() {
    let shape = [1, 40, 30, 41];
    let rois = random_rois(500, 1, [120.0, 164.0], &mut rng(1));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let x = noise_tensor(shape, 1, &Device::flex()).autodiff();
            let x = x.require_grad();
            let y = roi_align(x.clone(), &rois, ALIGN);
            let dy = noise_tensor(y.dims(), 2, &Device::flex()).autodiff();
            let gradient = x.grad(&(y.clone() * dy).sum().backward()).unwrap();
            (values(y.inner()), values(gradient))
        })
    };
    let one = run(1);
    assert!(one.1.iter().any(|value| *value != 0.0));
    for threads in [2, 5] {
        let other = run(threads);
        let same = |a: &[f32], b: &[f32]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        };
        assert!(same(&one.0, &other.0), "output, {threads} threads");
        assert!(same(&one.1, &other.1), "gradient, {threads} threads");
    }
}

/// Each level's rows and gradient are those of the level by itself; a level that is not tracked
/// and one without a RoI change nothing.
#[test]
fn a_pyramid_is_its_levels() {
    let device = Device::flex();
    let sizes = [[24, 32], [12, 16], [6, 8], [3, 4]];
    let scales = [0.25, 0.125, 0.0625, 0.03125];
    let maps: Vec<Tensor<4>> = (0..4)
        .map(|i| noise_tensor([2, 5, sizes[i][0], sizes[i][1]], i as u32, &device))
        .collect();
    let mut rng = rng(3);
    let rois = random_rois(60, 2, [96.0, 128.0], &mut rng);
    // None on level 1.
    let levels: Vec<usize> = (0..60).map(|_| [0, 2, 3][rng.random_range(0..3)]).collect();
    let leaves: Vec<Tensor<4>> = maps
        .iter()
        .enumerate()
        .map(|(level, map)| {
            let leaf = map.clone().autodiff();
            if level == 2 {
                leaf
            } else {
                leaf.require_grad()
            }
        })
        .collect();
    let of_maps: [Tensor<4>; 4] = leaves.clone().try_into().unwrap();
    let y = roi_align_pyramid(of_maps, scales, &rois, &levels, ALIGN);
    let dy = noise_tensor(y.dims(), 9, &device);
    let gradients = (y.clone() * dy.clone().autodiff()).sum().backward();
    let (rows, dy) = (values(y.inner()), values(dy));
    let row = 5 * 7 * 7;
    for (level, map) in maps.iter().enumerate() {
        let members: Vec<usize> = (0..60).filter(|&roi| levels[roi] == level).collect();
        let of_level: Vec<Roi> = members.iter().map(|&roi| rois[roi]).collect();
        let gradient = leaves[level].grad(&gradients);
        if level == 2 {
            assert!(gradient.is_none());
        }
        if members.is_empty() {
            assert!(values(gradient.unwrap()).iter().all(|value| *value == 0.0));
            continue;
        }
        let align = RoiAlign {
            spatial_scale: scales[level],
            ..ALIGN
        };
        let of_members = |all: &[f32]| -> Vec<f32> {
            let rows = members.iter().map(|&roi| &all[roi * row..][..row]);
            rows.flatten().copied().collect()
        };
        let leaf = map.clone().autodiff().require_grad();
        let alone = roi_align(leaf.clone(), &of_level, align);
        assert_eq!(values(alone.clone().inner()), of_members(&rows), "{level}");
        if let Some(gradient) = gradient {
            let dy = burn::tensor::TensorData::new(of_members(&dy), alone.dims());
            let dy = Tensor::from_data(dy, &device).autodiff();
            let expected = leaf.grad(&(alone * dy).sum().backward()).unwrap();
            assert_eq!(values(gradient), values(expected), "{level}");
        }
    }
}

/// A view of a larger tensor is not in order.
#[test]
fn a_map_that_is_not_in_order() {
    let x = noise_tensor([8, 2, 9, 6], 4, &Device::flex());
    let view = x.swap_dims(0, 3).narrow(3, 1, 6);
    let rois = random_rois(20, 6, [36.0, 24.0], &mut rng(5));
    let copy = Tensor::from_data(view.clone().into_data(), &Device::flex());
    let (a, b) = (roi_align(view, &rois, ALIGN), roi_align(copy, &rois, ALIGN));
    assert_eq!(values(a), values(b));
}

#[test]
#[should_panic(expected = "RoI 1 of image 2 of 2")]
fn an_image_outside_the_batch() {
    let x = noise_tensor([2, 1, 4, 4], 6, &Device::flex());
    let roi = |image| Roi {
        image,
        bbox: [0.0; 4],
    };
    let _ = roi_align(x, &[roi(1), roi(2)], ALIGN);
}
