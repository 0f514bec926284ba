//! Files that PyTorch wrote (`fixtures/weights.py`), into our modules.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;
#[path = "common/weights.rs"]
mod files;

use std::path::PathBuf;

use burn::tensor::{Device, TensorData};
use common::rng;
use files::{
    assert_formula, assert_holds, brain, exact, fixture, formula, half, import, refused, resnet,
    tiny,
};
use inscon_model::{
    Container, ImportOptions, ImportReport, Layout, Metadata, ModelError, ResNetConfig, StateDict,
    WeightFile, import_backbone, inspect_weights, state_dict, write_safetensors_file,
};

#[test]
fn backbones_of_every_kind() {
    use Container::{PytorchLegacy, PytorchZip, Safetensors};
    let torchvision = "torchvision (or timm) ResNet";
    let detectron2 = "detectron2 ResNet";
    type Case = (
        &'static str,
        u32,
        fn(f32) -> f32,
        Container,
        &'static str,
        &'static str,
    );
    let cases: [Case; 6] = [
        ("resnet18.pth", 18, exact, PytorchZip, torchvision, ""),
        ("legacy.pth", 18, exact, PytorchLegacy, torchvision, ""),
        ("half.safetensors", 18, half, Safetensors, torchvision, ""),
        (
            "densecl50.pth",
            50,
            brain,
            PytorchZip,
            torchvision,
            "state_dict.",
        ),
        ("detectron2.pth", 18, half, PytorchZip, detectron2, "model."),
        (
            "moco.pth",
            18,
            exact,
            PytorchZip,
            torchvision,
            "state_dict.module.encoder_q.",
        ),
    ];
    for (file, depth, rounded, container, title, prefix) in cases {
        let (dict, report) = import(file, depth, &ImportOptions::default());
        assert_formula(&dict, "", rounded);
        assert_eq!(
            (report.container, report.title, report.prefix.as_str()),
            (container, title, prefix),
            "{file}"
        );
        assert_eq!(report.loaded.len(), dict.len(), "{file}");
        assert!(report.is_clean(), "{file}: {report}");
        assert!(report.to_string().lines().count() <= 15, "{report}");
    }
}

#[test]
fn mocos_report_names_what_is_no_loss() {
    let (_, report) = import("moco.pth", 18, &ImportOptions::default());
    let counts: Vec<(&str, usize)> = report
        .left_out
        .iter()
        .map(|(what, names)| (*what, names.len()))
        .collect();
    assert_eq!(
        counts,
        [
            ("a classifier or projection head", 4),
            // 100 tensors, their 20 counters and the head of the key encoder; one buffer of SGD.
            ("a momentum copy or an optimizer's state", 105),
            ("a queue of keys", 2),
            ("batch counters of norms", 40),
        ]
    );
    assert_eq!(report.other_prefixes, ["state_dict.module.encoder_k."]);
    assert_holds(
        &report.to_string(),
        &[
            "moco.pth (PyTorch, zip)",
            "under `state_dict.module.encoder_q.` (the query encoder of MoCo)",
            "loaded 100 tensors of a ResNet-18 of width 0.125 (100 F32)",
            "not needed: a queue of keys (2 tensors)",
        ],
    );
}

#[test]
fn a_prefix_by_hand() {
    for prefix in [
        "state_dict.module.encoder_k",
        "state_dict.module.encoder_k.",
    ] {
        let options = ImportOptions {
            prefix: Some(prefix.to_owned()),
            ..ImportOptions::default()
        };
        let (dict, report) = import("moco.pth", 18, &options);
        assert_formula(&dict, "k.", half);
        assert_eq!(report.prefix, "state_dict.module.encoder_k.");
    }
    let options = ImportOptions {
        prefix: Some("module.".to_owned()),
        ..ImportOptions::default()
    };
    let error = import_backbone(resnet(18), &fixture("moco.pth"), &options).unwrap_err();
    assert_holds(
        &error.to_string(),
        &[
            "moco.pth",
            "none of its",
            "`state_dict.module.encoder_q.`",
            "give that prefix",
        ],
    );
    let options = ImportOptions {
        layout: Some(Layout::Detectron2),
        ..ImportOptions::default()
    };
    let error = import_backbone(resnet(18), &fixture("resnet18.pth"), &options).unwrap_err();
    assert_holds(&error.to_string(), &["resnet18.pth", "none of its"]);
}

#[test]
fn views_strides_and_types() {
    let file = WeightFile::open(&fixture("odd.pth")).unwrap();
    let read = |name: &str| {
        file.read(name)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let base = formula("base", &[6, 8]);
    let at = |row: usize, column: usize| base[row * 8 + column];
    let data = |values: Vec<f32>, shape: &[usize]| TensorData::new(values, shape.to_vec());
    let grid = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        let of_row = |row| columns.clone().map(move |column| (row, column));
        rows.flat_map(of_row).collect::<Vec<_>>()
    };
    let transposed = grid(0..8, 0..6)
        .into_iter()
        .map(|(r, c)| at(c, r))
        .collect();
    assert_eq!(read("transposed"), data(transposed, &[8, 6]));
    let slice = grid(2..4, 3..7)
        .into_iter()
        .map(|(r, c)| at(r, c))
        .collect();
    assert_eq!(read("slice"), data(slice, &[2, 4]));
    assert_eq!(
        read("expanded"),
        data([at(0, 0), at(0, 1)].repeat(3), &[3, 2])
    );
    for (name, rounded) in [
        ("parameter", exact as fn(f32) -> f32),
        ("f64", exact),
        ("f16", half),
        ("bf16", brain),
    ] {
        let values = base.iter().map(|v| rounded(*v)).collect();
        assert_eq!(read(name), data(values, &[6, 8]), "{name}");
    }
    let shape = [2, 3, 4, 5];
    let contiguous = data(formula("channels_last", &shape), &shape);
    assert_eq!(read("channels_last"), contiguous);
    assert_eq!(read("count").iter::<i64>().collect::<Vec<_>>(), [7]);
    assert_eq!(read("empty").shape().to_vec(), [0, 3]);
    assert_eq!(read("scalar").iter::<f32>().collect::<Vec<_>>(), [0.5]);
    let error = file.read("mask").unwrap_err().to_string();
    assert_holds(&error, &["`mask`", "BOOL"]);
    let error = file.read("nothing").unwrap_err();
    assert!(matches!(error, ModelError::Missing { .. }), "{error}");
}

#[test]
fn what_cannot_be_read_safely_says_how_to_convert() {
    let error = refused("detectron2.pkl", 18);
    assert_holds(
        &error,
        &["detectron2.pkl", "numpy", "python -c", "IN.pkl OUT.pth"],
    );
    let error = refused("sparse.pth", 18);
    assert_holds(
        &error,
        &["sparse.pth", "_rebuild_sparse_tensor", "weights_only=False"],
    );
    let error = refused("bomb.pth", 18);
    assert_holds(&error, &["bomb.pth", "8589934592 bytes"]);
    let error = refused("versions.json", 18);
    assert_holds(
        &error,
        &["versions.json", "not a whole safetensors or PyTorch file"],
    );
    let error = refused("no-such-file.pth", 18);
    assert_holds(&error, &["cannot read", "no-such-file.pth"]);
}

#[test]
fn another_depth_or_width_is_named() {
    let error = refused("moco.pth", 50);
    assert_holds(
        &error,
        &[
            "moco.pth",
            "a ResNet-18 of width 0.125",
            "the model is a ResNet-50",
        ],
    );
    let wide = ResNetConfig {
        width: 0.25,
        ..tiny(18)
    };
    let wide = wide.init(&mut rng(1), &Device::flex()).unwrap();
    let file = fixture("resnet18.pth");
    let error = import_backbone(wide, &file, &ImportOptions::default()).unwrap_err();
    assert_holds(
        &error.to_string(),
        &["resnet18.pth", "of width 0.125", "of width 0.25"],
    );
}

/// The formula's backbone, edited, in a file.
fn edited(edit: impl FnOnce(&mut StateDict)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edited.safetensors");
    let (mut dict, _) = import("resnet18.pth", 18, &ImportOptions::default());
    edit(&mut dict);
    write_safetensors_file(&path, &dict, &Metadata::new()).unwrap();
    (folder, path)
}

fn load_edited(
    options: &ImportOptions,
    edit: impl FnOnce(&mut StateDict),
) -> Result<ImportReport, String> {
    let (_folder, path) = edited(edit);
    let imported = import_backbone(resnet(18), &path, options);
    imported
        .map(|(_, report)| report)
        .map_err(|error| error.to_string())
}

fn poke(dict: &mut StateDict, name: &str, value: f32) {
    let data = dict.get_mut(name).unwrap();
    let mut values: Vec<f32> = data.iter::<f32>().collect();
    values[3] = value;
    *data = TensorData::new(values, data.shape().to_vec());
}

fn fill(dict: &mut StateDict, name: &str, value: f32) {
    let shape = dict[name].shape().to_vec();
    let values = vec![value; shape.iter().product()];
    dict.insert(name.to_owned(), TensorData::new(values, shape));
}

#[test]
fn bad_values_types_and_names() {
    let whole = ImportOptions::default();
    for (value, name) in [
        (f32::NAN, "layer3.0.conv2.weight"),
        (f32::NEG_INFINITY, "bn1.running_mean"),
    ] {
        let error = load_edited(&whole, |d| poke(d, name, value)).unwrap_err();
        assert_holds(
            &error,
            &["edited.safetensors", name, "NaN or infinity in 1 of"],
        );
    }
    let error = load_edited(&whole, |d| poke(d, "bn1.running_var", -0.5)).unwrap_err();
    assert_holds(&error, &["`bn1.running_var`", "variance", "-0.5"]);

    let integers = |dict: &mut StateDict| {
        let data = TensorData::new(vec![1i64; 8], [8]);
        dict.insert("layer1.0.bn2.bias".to_owned(), data);
    };
    let error = load_edited(&whole, integers).unwrap_err();
    assert_holds(
        &error,
        &["edited.safetensors", "`layer1.0.bn2.bias`", "I64"],
    );

    let shape = |dict: &mut StateDict| {
        let data = TensorData::new(vec![1f32; 9], [9]);
        dict.insert("layer1.0.bn2.bias".to_owned(), data);
    };
    let error = load_edited(&whole, shape).unwrap_err();
    assert_holds(
        &error,
        &["edited.safetensors", "`layer1.0.bn2.bias`", "[9]", "[8]"],
    );

    let missing = |dict: &mut StateDict| {
        dict.remove("layer2.1.conv1.weight").unwrap();
    };
    let error = load_edited(&whole, missing).unwrap_err();
    assert_holds(
        &error,
        &["edited.safetensors", "lack 1", "`layer2.1.conv1.weight`"],
    );
    let partial = ImportOptions {
        partial: true,
        ..ImportOptions::default()
    };
    let report = load_edited(&partial, missing).unwrap();
    assert_eq!(report.missing, ["layer2.1.conv1.weight"]);
    assert_holds(&report.to_string(), &["MISSING", "`layer2.1.conv1.weight`"]);

    let more = |dict: &mut StateDict| {
        let data = TensorData::new(vec![1f32; 8], [8]);
        dict.insert("layer1.0.se.weight".to_owned(), data);
    };
    let report = load_edited(&whole, more).unwrap();
    assert_eq!(report.unexpected, ["layer1.0.se.weight"]);
    assert_holds(&report.to_string(), &["UNEXPECTED", "`layer1.0.se.weight`"]);

    let rename = |dict: &mut StateDict| {
        *dict = dict
            .iter()
            .map(|(k, v)| (format!("x{k}"), v.clone()))
            .collect();
    };
    let error = load_edited(&whole, rename).unwrap_err();
    assert_holds(
        &error,
        &["none of its 100 tensors", "`xbn1.bias`", "`bn1.bias`"],
    );
}

#[test]
fn weights_that_were_never_trained_are_suspicious() {
    let whole = ImportOptions::default();
    let report = load_edited(&whole, |d| fill(d, "layer2.0.conv1.weight", 0.0)).unwrap();
    assert_holds(
        &report.to_string(),
        &["WARNING", "zeros", "`layer2.0.conv1.weight`"],
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.safetensors");
    write_safetensors_file(&path, &state_dict(&resnet(18)), &Metadata::new()).unwrap();
    let (_, report) = import_backbone(resnet(18), &path, &whole).unwrap();
    assert_holds(&report.to_string(), &["WARNING", "random weights"]);

    let folded = |dict: &mut StateDict| {
        let names: Vec<String> = dict.keys().cloned().collect();
        for name in names {
            match name.rsplit('.').next() {
                Some("running_mean") => fill(dict, &name, 0.0),
                Some("running_var") => fill(dict, &name, 1.0 - 1e-5),
                _ => {}
            }
        }
    };
    let report = load_edited(&whole, folded).unwrap();
    assert_holds(&report.to_string(), &["WARNING", "BGR"]);
}

#[test]
fn an_inspection_reads_everything() {
    let found = inspect_weights(&fixture("moco.pth")).unwrap();
    assert_eq!(
        found.layout.as_ref().unwrap().1,
        "state_dict.module.encoder_q."
    );
    assert!(found.bad.is_empty() && found.zeros.is_empty(), "{found}");
    let text = found.to_string();
    assert_holds(
        &text,
        &[
            "PyTorch, zip",
            "a ResNet-18 of width 0.125",
            "encoder_k",
            "F16",
            "all finite",
        ],
    );
    let (_folder, path) = edited(|dict| poke(dict, "layer1.0.conv2.weight", f32::NAN));
    let text = inspect_weights(&path).unwrap().to_string();
    assert_holds(&text, &["BAD", "`layer1.0.conv2.weight`", "NaN"]);
    let text = inspect_weights(&fixture("odd.pth")).unwrap().to_string();
    assert_holds(&text, &["unknown", "BOOL"]);
}
