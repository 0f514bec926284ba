//! ResNet against torchvision (`fixtures/resnet.py`), and its gradients.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use common::{noise, rng, values};
use inscon_model::{
    NormMode, ResNet, ResNetConfig, StateDict, Strictness, load_state_dict, state_dict,
};
use serde_json::Value;

/// Relative to the stage's root mean square, against torchvision in f64: running statistics.
const EVAL_TOL: [f64; 4] = [1e-5; 4];
/// Likewise with batch statistics, which amplify rounding from layer to layer: in ResNet-50
/// PyTorch's own f32 is 1.9e-5 from its f64 at C4 and 2.7e-4 at C5.
const TRAIN_TOL: [f64; 4] = [1e-4, 1e-4, 1e-4, 1e-3];

/// The formula of `fixtures/resnet.py`.
fn formula(name: &str, shape: &[usize]) -> TensorData {
    let seed = name
        .bytes()
        .fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let fan_in: usize = shape[1..].iter().product();
    let values: Vec<f32> = noise(shape.iter().product(), seed)
        .into_iter()
        .map(|v| {
            let v = if shape.len() == 4 {
                v * (6.0 / fan_in as f64).sqrt()
            } else if name.ends_with("weight") {
                1.0 + 0.2 * v
            } else if name.ends_with("running_var") {
                1.0 + 0.3 * v
            } else {
                0.1 * v
            };
            v as f32
        })
        .collect();
    TensorData::new(values, shape.to_vec())
}

fn golden_resnet(run: &Value, device: &Device) -> ResNet {
    let config = ResNetConfig {
        depth: run["depth"].as_u64().unwrap() as u32,
        width: 1.0,
        output_stride: run["output_stride"].as_u64().unwrap() as usize,
    };
    let resnet = config.init(&mut rng(0), device).unwrap();
    let dict: StateDict = state_dict(&resnet)
        .into_iter()
        .map(|(name, data)| {
            let data = formula(&name, &data.shape().to_vec());
            (name, data)
        })
        .collect();
    load_state_dict(resnet, &dict, "", Strictness::Exact)
        .unwrap()
        .0
}

fn check_stages(expected: &Value, stages: [Tensor<4>; 4], tolerance: [f64; 4], label: &str) {
    for (stage, (expected, tensor)) in expected.as_array().unwrap().iter().zip(stages).enumerate() {
        let shape: Vec<u64> = tensor.dims().iter().map(|&d| d as u64).collect();
        assert_eq!(
            serde_json::json!(shape),
            expected["shape"],
            "{label} C{}",
            stage + 2
        );
        let got = values(tensor);
        let rms = expected["rms"].as_f64().unwrap();
        let check = |what: &str, got: f64, expected: f64| {
            assert!(
                (got - expected).abs() < tolerance[stage] * rms,
                "{label} C{} {what}: {got} against {expected}, rms {rms}",
                stage + 2
            );
        };
        let n = got.len() as f64;
        let mean = got.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let square = got.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        check("mean", mean, expected["mean"].as_f64().unwrap());
        check("rms", square.sqrt(), rms);
        for (i, pick) in expected["picks"].as_array().unwrap().iter().enumerate() {
            let at = (i * 104_729 + 11) % got.len();
            check("value", f64::from(got[at]), pick.as_f64().unwrap());
        }
    }
}

fn check_run(index: usize) {
    let golden: Value = serde_json::from_str(include_str!("fixtures/resnet.json")).unwrap();
    let run = &golden["runs"][index];
    let device = Device::flex();
    let resnet = golden_resnet(run, &device);
    let x = noise(2 * 3 * 96 * 96, 7)
        .into_iter()
        .map(|v| v as f32)
        .collect();
    let x = Tensor::<4>::from_data(TensorData::new(x, [2, 3, 96, 96]), &device);
    let label = format!("ResNet-{} /{}", run["depth"], run["output_stride"]);

    check_stages(
        &run["eval"],
        resnet.forward(x.clone(), NormMode::Eval, 1),
        EVAL_TOL,
        &label,
    );
    check_stages(
        &run["train"],
        resnet.forward(x, NormMode::Train, 1),
        TRAIN_TOL,
        &label,
    );

    let dict = state_dict(&resnet);
    let last = dict
        .keys()
        .filter(|name| name.starts_with("layer4."))
        .max()
        .unwrap();
    let block = last.split('.').take(2).collect::<Vec<_>>().join(".");
    for name in ["running_mean", "running_var"] {
        let got = dict[&format!("{block}.bn2.{name}")]
            .try_to_vec::<f32>()
            .unwrap();
        for (got, expected) in got.iter().zip(run[name].as_array().unwrap()) {
            let expected = expected.as_f64().unwrap();
            let error = (f64::from(*got) - expected).abs();
            assert!(error < 1e-5, "{label} {name}: {got} against {expected}");
        }
    }
}

#[test]
fn resnet18_is_torchvisions() {
    check_run(0);
}

#[test]
fn resnet50_is_torchvisions() {
    check_run(1);
}

#[test]
fn resnet50_dilated_is_torchvisions() {
    check_run(2);
}

/// Frozen batch norms get no gradient, trained and evaluated ones do; statistics never.
#[test]
fn modes_and_gradients() {
    let device = Device::flex().autodiff();
    let config = ResNetConfig {
        depth: 18,
        width: 0.125,
        output_stride: 32,
    };
    let resnet = config.init(&mut rng(0), &device).unwrap();
    for (mode, trained) in [
        (NormMode::Train, true),
        (NormMode::Eval, true),
        (NormMode::Frozen, false),
    ] {
        let before = values(resnet.bn1.running_mean.value());
        let x = Tensor::<4>::ones([2, 3, 32, 32], &device);
        let [.., c5] = resnet.forward(x, mode, 1);
        let gradients = c5.sum().backward();
        assert!(resnet.conv1.weight.val().grad(&gradients).is_some());
        assert_eq!(
            resnet.bn1.weight.val().grad(&gradients).is_some(),
            trained,
            "{mode:?}"
        );
        assert!(resnet.bn1.running_mean.value().grad(&gradients).is_none());
        let moved = values(resnet.bn1.running_mean.value()) != before;
        assert_eq!(moved, mode == NormMode::Train, "{mode:?}");
    }
}

/// torchvision's parameter counts less the classifier (`fc`: 512·1000 + 1000, 2048·1000 + 1000).
#[test]
fn parameter_counts() {
    struct Count(usize);
    let count = |depth| {
        let config = ResNetConfig {
            depth,
            width: 1.0,
            output_stride: 32,
        };
        let resnet = config.init(&mut rng(0), &Device::flex()).unwrap();
        let buffers: usize = state_dict(&resnet)
            .iter()
            .filter(|(name, _)| inscon_model::is_buffer(name))
            .map(|(_, data)| data.num_elements())
            .sum();
        Count(resnet.num_params() - buffers)
    };
    assert_eq!(count(18).0, 11_689_512 - 513_000);
    assert_eq!(count(34).0, 21_797_672 - 513_000);
    assert_eq!(count(50).0, 25_557_032 - 2_049_000);
    assert_eq!(count(101).0, 44_549_160 - 2_049_000);
}
