//! The files of `fixtures/weights.py` and the formula behind them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file takes a part

use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use half::{bf16, f16};
use inscon_model::{
    ImportOptions, ImportReport, ResNet, ResNetConfig, StateDict, import_backbone, state_dict,
};

use crate::common::{noise, rng};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/weights")
        .join(name)
}

/// `formula` of `fixtures/weights.py`.
pub fn formula(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let variance = name.ends_with("running_var");
    noise(shape.iter().product(), seed)
        .into_iter()
        .map(|v| (if variance { 1.0 + v / 2.0 } else { v }) as f32)
        .collect()
}

pub fn tiny(depth: u32) -> ResNetConfig {
    ResNetConfig {
        depth,
        width: 0.01, // 8 channels everywhere
        output_stride: 32,
    }
}

pub fn resnet(depth: u32) -> ResNet {
    tiny(depth).init(&mut rng(1), &Device::flex()).unwrap()
}

pub fn exact(v: f32) -> f32 {
    v
}

pub fn half(v: f32) -> f32 {
    f16::from_f32(v).to_f32()
}

pub fn brain(v: f32) -> f32 {
    bf16::from_f32(v).to_f32()
}

/// Every tensor has the formula's values of its own (our) name.
pub fn assert_formula(dict: &StateDict, salt: &str, rounded: fn(f32) -> f32) {
    assert!(dict.len() > 90, "{}", dict.len());
    for (name, data) in dict {
        let shape = data.shape().to_vec();
        let values = formula(&format!("{salt}{name}"), &shape);
        let values: Vec<f32> = values.into_iter().map(rounded).collect();
        assert_eq!(*data, TensorData::new(values, shape), "{name}");
    }
}

pub fn import(file: &str, depth: u32, options: &ImportOptions) -> (StateDict, ImportReport) {
    let imported = import_backbone(resnet(depth), &fixture(file), options);
    let (resnet, report) = imported.unwrap_or_else(|error| panic!("{error}"));
    (state_dict(&resnet), report)
}

pub fn refused(file: &str, depth: u32) -> String {
    let imported = import_backbone(resnet(depth), &fixture(file), &ImportOptions::default());
    imported.unwrap_err().to_string()
}

pub fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}
