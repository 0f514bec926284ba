//! Slim detectors against torchvision's, part by part and whole (`fixtures/torchvision_detectors.py`,
//! which compares ResNet-50 at full width as well).
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)] // helpers of tests

mod common;
#[path = "common/dump.rs"]
mod dump;

use burn::tensor::{Device, TensorData};
use common::{noise, rng};
use dump::{Case, Inputs, Outputs};
use inscon_model::detection::{BitMask, Roi, Target};
use inscon_model::{StateDict, state_dict};
use serde_json::Value;

/// The formula of the script.
fn formula(name: &str, shape: &[usize]) -> TensorData {
    let seed = name
        .bytes()
        .fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let mut scale = 1.0;
    for (suffix, factor) in [
        ("bn3.weight", 0.2),
        ("bn2.weight", 0.5),
        ("objectness_logits.weight", 0.1),
        ("anchor_deltas.weight", 0.02),
        ("cls_score.weight", 0.3),
        ("bbox_pred.weight", 0.2),
    ] {
        if name.ends_with(suffix) {
            scale *= factor;
        }
    }
    let fan_in: usize = shape[1..].iter().product();
    let value = |v: f64| {
        let v = if shape.len() > 1 {
            v * (6.0 / fan_in as f64).sqrt()
        } else if name.ends_with("weight") {
            1.0 + 0.2 * v
        } else if name.ends_with("running_var") {
            1.0 + 0.3 * v
        } else {
            0.1 * v
        };
        v as f32 * scale as f32
    };
    let values: Vec<f32> = noise(shape.iter().product(), seed)
        .into_iter()
        .map(value)
        .collect();
    TensorData::new(values, shape.to_vec())
}

/// The script's `inputs`.
fn inputs(case: &Case) -> Inputs {
    let side = |axis: usize| {
        let longest = case.sizes.iter().map(|size| size[axis]).max().unwrap();
        longest.next_multiple_of(64)
    };
    let (height, width) = (side(0), side(1));
    let n = case.sizes.len();
    let mut images = vec![0.0f32; n * 3 * height * width];
    let (mut targets, mut rois) = (Vec::new(), Vec::new());
    for (i, &[h, w]) in case.sizes.iter().enumerate() {
        let pixels = noise(3 * h * w, 7 + i as u32);
        for (at, value) in pixels.into_iter().enumerate() {
            let (c, y, x) = (at / (h * w), at / w % h, at % w);
            images[((i * 3 + c) * height + y) * width + x] = value as f32 * 1.7;
        }
        let scaled = |[x0, y0, x1, y1]: [f64; 4]| {
            let (h, w) = (h as f64, w as f64);
            [x0 * w, y0 * h, x1 * w, y1 * h].map(|x| x as f32)
        };
        let boxes = [
            [0.1, 0.2, 0.6, 0.75],
            [0.5, 0.4, 0.9, 0.95],
            [0.3, 0.05, 0.45, 0.2],
        ];
        let boxes: Vec<[f32; 4]> = boxes[..3 - i]
            .iter()
            .map(|&bbox| scaled(bbox).map(f32::round_ties_even))
            .collect();
        let mask = |[x0, y0, x1, y1]: [f32; 4]| {
            let (rx, ry) = ((x1 - x0) / 2.0, (y1 - y0) / 2.0);
            let inside = |at: usize| {
                let (x, y) = ((at % w) as f32 + 0.5, (at / w) as f32 + 0.5);
                let distance = ((x - x0 - rx) / rx).powi(2) + ((y - y0 - ry) / ry).powi(2);
                u8::from(distance <= 1.0)
            };
            BitMask {
                height: h,
                width: w,
                data: (0..h * w).map(inside).collect(),
            }
        };
        targets.push(Target {
            masks: Some(boxes.iter().map(|&bbox| mask(bbox)).collect()),
            labels: (0..boxes.len()).map(|k| k % 2 + i % 2).collect(),
            boxes,
        });
        let given = [
            [0.05, 0.1, 0.5, 0.6],
            [0.3, 0.3, 0.95, 0.9],
            [0.4, 0.5, 0.47, 0.58],
            [0.0, 0.0, 1.0, 1.0],
        ];
        rois.extend(given.map(|bbox| Roi {
            image: i,
            bbox: scaled(bbox),
        }));
    }
    Inputs {
        images: TensorData::new(images, [n, 3, height, width]),
        targets,
        rois,
    }
}

fn case(name: &str) -> (Case, Value) {
    let text = include_str!("fixtures/torchvision_detectors.json");
    let mut all: Value = serde_json::from_str(text).unwrap();
    let mut golden = all["cases"][name].take();
    let outputs = golden["outputs"].take();
    golden.as_object_mut().unwrap().remove("outputs");
    (serde_json::from_value(golden).unwrap(), outputs)
}

/// Largest difference over the root mean square of the tensor (boxes: pixels).
fn difference(name: &str, got: &TensorData, golden: &Value) -> f64 {
    let shape: Vec<usize> = serde_json::from_value(golden["shape"].clone()).unwrap();
    assert_eq!(got.shape().to_vec(), shape, "shape of {name}");
    let values: Vec<f64> = got.iter::<f64>().collect();
    let picks = golden["picks"].as_array().unwrap();
    let whole = picks.len() == values.len();
    let pixels = name.contains("boxes") || name.contains("proposals");
    let rms = golden["rms"].as_f64().unwrap();
    let scale = if pixels { 1.0 } else { rms.max(1e-12) };
    let of_picks = picks.iter().enumerate().map(|(i, pick)| {
        let at = if whole {
            i
        } else {
            (i * 104_729 + 11) % values.len()
        };
        (values[at] - pick.as_f64().unwrap()).abs() / scale
    });
    let square = values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64;
    let of_rms = (square.sqrt() - rms).abs() / scale;
    of_picks.fold(of_rms, f64::max)
}

/// `tolerance` for what inference and the losses give, ten times that for gradients.
fn check(name: &str, tolerance: f64) {
    let (case, golden) = case(name);
    let golden = golden.as_object().unwrap();
    let names = state_dict(&dump_model(&case));
    let weights: StateDict = names
        .into_iter()
        .map(|(name, data)| (name.clone(), formula(&name, &data.shape().to_vec())))
        .collect();
    let outputs: Outputs = dump::run(&case, &weights, &inputs(&case));
    let (ours, theirs) = (outputs.keys(), golden.keys());
    assert!(
        ours.eq(theirs),
        "{:?} against {:?}",
        outputs.keys(),
        golden.keys()
    );
    let mut off = Vec::new();
    for (key, got) in &outputs {
        let pixels = key.contains("boxes") || key.contains("proposals");
        let allowed = match () {
            () if pixels => 100.0 * tolerance,
            () if key.starts_with("gradient") => 10.0 * tolerance,
            () => tolerance,
        };
        let found = difference(key, got, &golden[key]);
        if found.is_nan() || found > allowed {
            off.push(format!("{key}: {found:.2e}, allowed {allowed:.0e}"));
        }
    }
    assert!(off.is_empty(), "{name}:\n{}", off.join("\n"));
    let found = outputs["detections.0.scores"].shape().num_elements();
    assert!(found > 3, "{found} detections say little");
}

fn dump_model(case: &Case) -> inscon_model::detection::GeneralizedRcnn {
    let model = case
        .detector
        .init(&case.resnet, &mut rng(0), &Device::flex());
    model.unwrap()
}

#[test]
fn mask_rcnn_on_a_pyramid() {
    check("mask-rcnn-fpn-18", 1e-4);
}

/// Batch statistics in backbone, pyramid and heads, convolutions in the box head.
#[test]
fn norms_everywhere() {
    check("mask-rcnn-fpn-50-norms", 1e-4);
}

#[test]
fn faster_rcnn_on_c4() {
    check("faster-rcnn-c4", 1e-4);
}
