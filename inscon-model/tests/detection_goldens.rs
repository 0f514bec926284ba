//! Detection parts against torchvision 0.29 and detectron2's formulas (`fixtures/detection.py`).

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::{rng, values};
use inscon_model::detection::{
    BitMask, ConvNorm, Fpn, batched_nms, crop_and_resize, nms, paste_mask, roi_align,
};
use inscon_model::{NormMode, StateDict, Strictness, load_state_dict};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn golden<T: DeserializeOwned>(part: &str) -> T {
    let text = include_str!("fixtures/detection.json");
    let mut all: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(all[part].take()).unwrap()
}

fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() < tolerance,
            "{what}, value {i}: {got} against {want}"
        );
    }
}

#[derive(Deserialize)]
struct RoiAlignGolden {
    shape: [usize; 4],
    features: Vec<f32>,
    rois: Vec<[f32; 5]>,
    cases: Vec<RoiAlignCase>,
}

#[derive(Deserialize)]
struct RoiAlignCase {
    output: usize,
    sampling_ratio: usize,
    aligned: bool,
    y: Vec<f32>,
    gradient: Vec<f32>,
}

#[test]
fn roi_align_and_its_gradient() {
    let golden: RoiAlignGolden = golden("roi_align");
    let device = Device::flex().autodiff();
    for case in golden.cases {
        let x = TensorData::new(golden.features.clone(), golden.shape);
        let x = Tensor::<4>::from_data(x, &device).require_grad();
        let rois = TensorData::new(golden.rois.concat(), [golden.rois.len(), 5]);
        let rois = Tensor::from_data(rois, &device);
        let RoiAlignCase {
            output,
            sampling_ratio,
            aligned,
            ..
        } = case;
        let what = format!("output {output}, sampling {sampling_ratio}, aligned {aligned}");
        let y = roi_align(x.clone(), rois, output, 0.25, sampling_ratio, aligned);
        assert_close(&values(y.clone().inner()), &case.y, 1e-5, &what);
        let upstream = (0..case.y.len()).map(|i| (i as f32).sin()).collect();
        let upstream = Tensor::from_data(TensorData::new(upstream, y.dims()), &device);
        let gradients = (y * upstream).sum().backward();
        // Sums of up to 500 terms.
        let gradient = values(x.grad(&gradients).unwrap());
        assert_close(
            &gradient,
            &case.gradient,
            1e-4,
            &format!("gradient of {what}"),
        );
    }
}

#[derive(Deserialize)]
struct NmsGolden {
    boxes: Vec<[f32; 4]>,
    scores: Vec<f32>,
    groups: Vec<usize>,
    nms: std::collections::BTreeMap<String, Vec<usize>>,
    batched: std::collections::BTreeMap<String, Vec<usize>>,
}

#[test]
fn non_maximum_suppression() {
    let golden: NmsGolden = golden("nms");
    for (threshold, kept) in golden.nms {
        let t: f32 = threshold.parse().unwrap();
        assert_eq!(
            nms(&golden.boxes, &golden.scores, t, usize::MAX),
            kept,
            "{threshold}"
        );
    }
    for (threshold, kept) in golden.batched {
        let t: f32 = threshold.parse().unwrap();
        let got = batched_nms(&golden.boxes, &golden.scores, &golden.groups, t, usize::MAX);
        assert_eq!(got, kept, "{threshold}");
    }
}

#[derive(Deserialize)]
struct TensorGolden {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Deserialize)]
struct FpnGolden {
    weights: std::collections::BTreeMap<String, TensorGolden>,
    inputs: Vec<TensorGolden>,
    outputs: Vec<TensorGolden>,
}

/// Levels of odd, even and equal sizes.
#[test]
fn feature_pyramid() {
    let golden: FpnGolden = golden("fpn");
    let device = Device::flex();
    let fpn = Fpn::new([2, 3, 4, 5], 3, ConvNorm::None, &mut rng(0), &device);
    let weights: StateDict = golden
        .weights
        .into_iter()
        .map(|(k, t)| (k, TensorData::new(t.data, t.shape)))
        .collect();
    let (fpn, _) = load_state_dict(fpn, &weights, "", Strictness::Exact).unwrap();
    let input = |i: usize| {
        let t = &golden.inputs[i];
        Tensor::from_data(TensorData::new(t.data.clone(), t.shape.clone()), &device)
    };
    let outputs = fpn.forward([input(0), input(1), input(2), input(3)], NormMode::Eval);
    for (level, (y, golden)) in outputs.into_iter().zip(golden.outputs).enumerate() {
        assert_eq!(y.dims().to_vec(), golden.shape);
        assert_close(&values(y), &golden.data, 1e-4, &format!("P{}", level + 2));
    }
}

#[derive(Deserialize)]
struct PasteGolden {
    height: usize,
    width: usize,
    side: usize,
    probs: Vec<Vec<f32>>,
    boxes: Vec<[f32; 4]>,
    values: Vec<Vec<f32>>,
}

#[test]
fn pasted_masks() {
    let golden: PasteGolden = golden("paste");
    for i in 0..golden.boxes.len() {
        let bbox = golden.boxes[i];
        let mask = paste_mask(
            &golden.probs[i],
            golden.side,
            bbox,
            golden.height,
            golden.width,
        );
        let mut set = 0;
        for (pixel, (&got, &value)) in mask.data.iter().zip(&golden.values[i]).enumerate() {
            if (value - 0.5).abs() > 1e-4 {
                assert_eq!(
                    got,
                    u8::from(value >= 0.5),
                    "mask {i}, pixel {pixel}: {value}"
                );
            }
            set += usize::from(got);
        }
        assert!(set > 0, "mask {i} is empty");
    }
}

#[derive(Deserialize)]
struct CropGolden {
    height: usize,
    width: usize,
    mask: Vec<u8>,
    boxes: Vec<[f32; 4]>,
    values: Vec<Vec<f32>>,
}

#[test]
fn mask_targets() {
    let CropGolden {
        height,
        width,
        mask,
        boxes,
        values,
    } = golden("crop");
    let mask = BitMask {
        height,
        width,
        data: mask,
    };
    for (bbox, values) in boxes.into_iter().zip(values) {
        let cells = crop_and_resize(&mask, bbox, 28);
        for (cell, (got, value)) in cells.into_iter().zip(values).enumerate() {
            if (value - 0.5).abs() > 1e-5 {
                assert_eq!(got, value >= 0.5, "{bbox:?}, cell {cell}: {value}");
            }
        }
    }
}
