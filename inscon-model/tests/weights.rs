//! State dicts and their files.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::tensor::{Device, TensorData};
use common::{noise_tensor, rng};
use inscon_model::{
    EncoderConfig, Metadata, ModelError, NormMode, ResNetConfig, Split, StateDict, Strictness,
    load_state_dict, read_safetensors, state_dict, strip_prefix, write_safetensors,
};

const RESNET: ResNetConfig = ResNetConfig {
    depth: 18,
    width: 0.125,
    output_stride: 32,
};

/// A dict with statistics that have moved.
fn trained() -> StateDict {
    let device = Device::flex();
    let config = EncoderConfig {
        resnet: RESNET,
        hidden: 8,
        dim: 4,
        cell_head: true,
    };
    let encoder = config.init(&mut rng(1), &device).unwrap();
    let x = noise_tensor([2, 3, 64, 64], 1, &device);
    encoder.forward(x, 1, Split::Slice, NormMode::Train, 1);
    state_dict(&encoder)
}

fn write(dict: &StateDict, metadata: &Metadata) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut file = std::fs::File::create(&path).unwrap();
    write_safetensors(&mut file, dict, metadata).unwrap();
    (folder, path)
}

/// Through a file and a module of other weights, on both kinds of device, bit for bit.
#[test]
fn round_trip_is_bit_exact() {
    let dict = trained();
    let metadata = Metadata::from([("git".to_owned(), "abc".to_owned())]);
    let (_folder, path) = write(&dict, &metadata);
    let (read, found) = read_safetensors(&path).unwrap();
    assert_eq!((&read, found), (&dict, metadata));

    let config = EncoderConfig {
        resnet: RESNET,
        hidden: 8,
        dim: 4,
        cell_head: true,
    };
    for device in [Device::flex(), Device::flex().autodiff()] {
        let other = config.init(&mut rng(2), &device).unwrap();
        let (loaded, report) = load_state_dict(other, &read, "", Strictness::Exact).unwrap();
        assert_eq!(state_dict(&loaded), dict);
        assert_eq!(report.loaded.len(), dict.len());
        let weight = loaded.backbone.conv1.weight.val();
        assert_eq!(weight.is_require_grad(), device.is_autodiff());
        assert!(!loaded.backbone.bn1.running_mean.value().is_require_grad());
    }
}

#[test]
fn names_are_torchvisions() {
    let backbone = strip_prefix(&trained(), "backbone.");
    for name in [
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer1.1.bn2.bias",
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.running_mean",
        "layer4.1.conv2.weight",
    ] {
        assert!(
            backbone.contains_key(name),
            "{name} of {:?}",
            backbone.keys()
        );
    }
    assert_eq!(backbone.len(), 20 + 20 * 4); // 20 convolutions, 20 batch norms
}

#[test]
fn prefixes_and_strictness() {
    let dict = trained();
    let resnet = || RESNET.init(&mut rng(3), &Device::flex()).unwrap();
    let (loaded, report) =
        load_state_dict(resnet(), &dict, "backbone.", Strictness::Exact).unwrap();
    assert_eq!(state_dict(&loaded), strip_prefix(&dict, "backbone."));
    assert!(report.missing.is_empty() && report.unexpected.is_empty());

    let mut torchvision = strip_prefix(&dict, "backbone.");
    let count = TensorData::new(vec![7i64], [1]);
    torchvision.insert("bn1.num_batches_tracked".to_owned(), count);
    load_state_dict(resnet(), &torchvision, "", Strictness::Exact).unwrap();
    torchvision.insert("fc.bias".to_owned(), TensorData::new(vec![0f32; 10], [10]));
    let error = load_state_dict(resnet(), &torchvision, "", Strictness::Exact).unwrap_err();
    assert!(matches!(&error, ModelError::Unexpected { names } if names == &["fc.bias"]));
    let (_, report) =
        load_state_dict(resnet(), &torchvision, "", Strictness::AllowUnexpected).unwrap();
    assert_eq!(report.unexpected, ["fc.bias"]);

    torchvision.remove("bn1.weight");
    let error = load_state_dict(resnet(), &torchvision, "", Strictness::AllowUnexpected);
    assert!(matches!(error.unwrap_err(), ModelError::Missing { names } if names == ["bn1.weight"]));
    let (_, report) = load_state_dict(resnet(), &torchvision, "", Strictness::Partial).unwrap();
    assert_eq!(report.missing, ["bn1.weight"]);
}

#[test]
fn another_architecture_is_named() {
    let dict = strip_prefix(&trained(), "backbone.");
    let wider = ResNetConfig {
        width: 0.25,
        ..RESNET
    };
    let wider = wider.init(&mut rng(3), &Device::flex()).unwrap();
    let error = load_state_dict(wider, &dict, "", Strictness::Partial)
        .unwrap_err()
        .to_string();
    for part in ["`conv1.weight`", "[8, 3, 7, 7]", "[16, 3, 7, 7]", "width"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn bad_files_are_named() {
    let missing = read_safetensors("no/such/file.safetensors".as_ref()).unwrap_err();
    assert!(
        missing.to_string().contains("no/such/file.safetensors"),
        "{missing}"
    );

    let (_folder, path) = write(&trained(), &Metadata::new());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let cut = read_safetensors(&path).unwrap_err().to_string();
    assert!(cut.contains("weights.safetensors"), "{cut}");
}
