//! RoIAlign against loops in f64 written from its definition, and its gradient against finite
//! differences.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;
#[path = "common/roi.rs"]
mod naive;

use burn::tensor::{Device, Tensor, TensorData};
use common::{noise_tensor, rng, values};
use inscon_model::detection::{Roi, RoiAlign, RoiPooler, roi_align};
use naive::{on_the_edge, random_rois};

#[test]
fn equals_the_definition_on_random_boxes() {
    let shape = [3, 4, 10, 13];
    let x = noise_tensor(shape, 1, &Device::flex());
    let flat = values(x.clone());
    let mut rng = rng(2);
    let mut worst = 0.0f64;
    for output in [1, 2, 3, 7] {
        for sampling_ratio in [0, 1, 2, 4] {
            for aligned in [true, false] {
                let align = RoiAlign {
                    output,
                    spatial_scale: 0.25,
                    sampling_ratio,
                    aligned,
                };
                let mut rois = random_rois(60, 3, [40.0, 52.0], &mut rng);
                rois.retain(|roi| !on_the_edge(roi, [10, 13], align));
                let got = values(align.forward(x.clone(), &rois));
                let expected = naive::forward(&flat, shape, &rois, align);
                assert_eq!(got.len(), expected.len());
                for (index, (got, want)) in got.iter().zip(&expected).enumerate() {
                    let roi = rois[index / (4 * output * output)];
                    let difference = (f64::from(*got) - want).abs();
                    assert!(difference < 2e-4, "{align:?} {roi:?}: {got} against {want}");
                    worst = worst.max(difference);
                }
            }
        }
    }
    println!("largest difference {worst:.1e}");
}

#[test]
fn gradient_is_the_finite_difference() {
    let shape = [2, 2, 5, 6];
    let device = Device::flex();
    let x = noise_tensor(shape, 3, &device);
    for (sampling_ratio, aligned) in [(0, true), (2, true), (0, false)] {
        let align = RoiAlign {
            output: 3,
            spatial_scale: 0.5,
            sampling_ratio,
            aligned,
        };
        let rois = random_rois(12, 2, [10.0, 12.0], &mut rng(4));
        let upstream = noise_tensor([12, 2, 3, 3], 5, &device);
        let leaf = x.clone().autodiff().require_grad();
        let loss = (align.forward(leaf.clone(), &rois) * upstream.clone().autodiff()).sum();
        let gradient = values(leaf.grad(&loss.backward()).unwrap());

        // RoIAlign is linear in the features, so a difference of any size is exact but for
        // rounding, here of the f64 definition.
        let upstream = values(upstream);
        let flat = values(x.clone());
        let objective = |flat: &[f32]| -> f64 {
            let y = naive::forward(flat, shape, &rois, align);
            y.iter()
                .zip(&upstream)
                .map(|(y, w)| y * f64::from(*w))
                .sum()
        };
        for i in 0..flat.len() {
            let mut up = flat.clone();
            up[i] += 1.0;
            let step = f64::from(up[i]) - f64::from(flat[i]);
            let want = (objective(&up) - objective(&flat)) / step;
            let got = f64::from(gradient[i]);
            assert!(
                (got - want).abs() < 1e-4,
                "{align:?} cell {i}: {got} against {want}"
            );
        }
    }
}

#[test]
fn the_tensor_form_is_the_same() {
    let device = Device::flex();
    let x = noise_tensor([2, 3, 8, 8], 6, &device);
    let rois = random_rois(9, 2, [32.0, 32.0], &mut rng(7));
    let rows = rois
        .iter()
        .flat_map(|roi| [&[roi.image as f32], &roi.bbox[..]].concat())
        .collect();
    let rows = Tensor::from_data(TensorData::new(rows, [9, 5]), &device);
    let align = RoiAlign {
        output: 4,
        spatial_scale: 0.25,
        sampling_ratio: 0,
        aligned: true,
    };
    let expected = values(align.forward(x.clone(), &rois));
    assert_eq!(values(roi_align(x, rows, 4, 0.25, 0, true)), expected);
}

/// Lists of unequal length.
#[test]
fn a_roi_is_pooled_as_if_alone() {
    let shape = [2, 64, 96, 96];
    let x = noise_tensor(shape, 8, &Device::flex());
    let align = RoiAlign {
        output: 14,
        spatial_scale: 0.5,
        sampling_ratio: 0,
        aligned: true,
    };
    let mut rois = random_rois(210, 1, [192.0, 192.0], &mut rng(9));
    rois.extend(
        random_rois(15, 1, [192.0, 192.0], &mut rng(10))
            .into_iter()
            .map(|r| Roi { image: 1, ..r }),
    );
    let whole = align.forward(x.clone(), &rois);
    let picked = [0usize, 100, 194, 195, 209, 210, 224];
    for index in picked {
        let alone = values(align.forward(x.clone(), &rois[index..index + 1]));
        let together = values(whole.clone().narrow(0, index, 1));
        let difference = alone
            .iter()
            .zip(&together)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(difference < 1e-6, "RoI {index}: {difference}");
    }
}

#[test]
fn pooling_over_levels_is_roi_align_on_each() {
    let device = Device::flex();
    let features: Vec<Tensor<4>> = (0..4)
        .map(|l| noise_tensor([2, 3, 32 >> l, 32 >> l], 20 + l as u32, &device))
        .collect();
    let pooler = RoiPooler {
        output: 3,
        strides: [4, 8, 16, 32],
        sampling_ratio: 0,
        aligned: true,
        canonical_size: 56.0,
        canonical_level: 4,
    };
    let rois = random_rois(40, 2, [128.0, 128.0], &mut rng(11));
    let pooled = pooler.forward(&features, &rois);
    for (index, roi) in rois.iter().enumerate() {
        let level = pooler.level(roi.bbox);
        let spatial_scale = 1.0 / pooler.strides[level] as f32;
        let align = RoiAlign {
            output: 3,
            spatial_scale,
            sampling_ratio: 0,
            aligned: true,
        };
        let alone = values(align.forward(features[level].clone(), &[*roi]));
        let row = values(pooled.clone().narrow(0, index, 1));
        assert!(
            alone.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-5),
            "RoI {index}"
        );
    }
}
