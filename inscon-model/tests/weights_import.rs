//! Files that PyTorch wrote (`fixtures/weights.py`), into our modules.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use common::{noise, rng};
use half::{bf16, f16};
use inscon_model::detection::{GeneralizedRcnn, RcnnConfig};
use inscon_model::{
    Container, ImportOptions, ImportReport, Layout, Metadata, ModelError, ResNet, ResNetConfig,
    StateDict, WeightFile, import_backbone, import_state_dict, import_weights, inspect_weights,
    state_dict, write_safetensors_file,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/weights")
        .join(name)
}

/// `formula` of `fixtures/weights.py`.
fn formula(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let variance = name.ends_with("running_var");
    noise(shape.iter().product(), seed)
        .into_iter()
        .map(|v| (if variance { 1.0 + v / 2.0 } else { v }) as f32)
        .collect()
}

fn tiny(depth: u32) -> ResNetConfig {
    ResNetConfig {
        depth,
        width: 0.01, // 8 channels everywhere
        output_stride: 32,
    }
}

fn resnet(depth: u32) -> ResNet {
    tiny(depth).init(&mut rng(1), &Device::flex()).unwrap()
}

fn exact(v: f32) -> f32 {
    v
}

fn half(v: f32) -> f32 {
    f16::from_f32(v).to_f32()
}

fn brain(v: f32) -> f32 {
    bf16::from_f32(v).to_f32()
}

/// Every tensor has the formula's values of its own (our) name.
fn assert_formula(dict: &StateDict, salt: &str, rounded: fn(f32) -> f32) {
    assert!(dict.len() > 90, "{}", dict.len());
    for (name, data) in dict {
        let shape = data.shape().to_vec();
        let values = formula(&format!("{salt}{name}"), &shape);
        let values: Vec<f32> = values.into_iter().map(rounded).collect();
        assert_eq!(*data, TensorData::new(values, shape), "{name}");
    }
}

fn import(file: &str, depth: u32, options: &ImportOptions) -> (StateDict, ImportReport) {
    let imported = import_backbone(resnet(depth), &fixture(file), options);
    let (resnet, report) = imported.unwrap_or_else(|error| panic!("{error}"));
    (state_dict(&resnet), report)
}

fn refused(file: &str, depth: u32) -> String {
    let imported = import_backbone(resnet(depth), &fixture(file), &ImportOptions::default());
    imported.unwrap_err().to_string()
}

fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

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

/// The shapes of the fixture's detector: torchvision's heads with 2 classes and background.
fn faster_rcnn(classes: usize) -> GeneralizedRcnn {
    let config = RcnnConfig {
        num_classes: classes,
        mask: false,
        fpn_channels: 8,
        fc_dim: 16,
        ..RcnnConfig::default()
    };
    config
        .init(&tiny(18), &mut rng(1), &Device::flex())
        .unwrap()
}

/// Our name, torchvision's, our shape, and rows of background at torchvision's beginning.
const HEADS: [(&str, &str, &[usize], usize); 12] = [
    (
        "fpn.lateral.2.conv.weight",
        "backbone.fpn.inner_blocks.2.0.weight",
        &[8, 8, 1, 1],
        0,
    ),
    (
        "fpn.lateral.0.conv.bias",
        "backbone.fpn.inner_blocks.0.0.bias",
        &[8],
        0,
    ),
    (
        "fpn.output.3.conv.weight",
        "backbone.fpn.layer_blocks.3.0.weight",
        &[8, 8, 3, 3],
        0,
    ),
    (
        "rpn.conv.weight",
        "rpn.head.conv.0.0.weight",
        &[8, 8, 3, 3],
        0,
    ),
    (
        "rpn.objectness_logits.weight",
        "rpn.head.cls_logits.weight",
        &[3, 8, 1, 1],
        0,
    ),
    (
        "rpn.anchor_deltas.bias",
        "rpn.head.bbox_pred.bias",
        &[12],
        0,
    ),
    (
        "roi_heads.box_head.fcs.0.weight",
        "roi_heads.box_head.fc6.weight",
        &[16, 392],
        0,
    ),
    (
        "roi_heads.box_head.fcs.1.bias",
        "roi_heads.box_head.fc7.bias",
        &[16],
        0,
    ),
    (
        "roi_heads.box_head.bbox_pred.weight",
        "roi_heads.box_predictor.bbox_pred.weight",
        &[8, 16],
        4,
    ),
    (
        "roi_heads.mask_head.convs.1.conv.weight",
        "roi_heads.mask_head.1.0.weight",
        &[8, 8, 3, 3],
        0,
    ),
    (
        "roi_heads.mask_head.deconv.weight",
        "roi_heads.mask_predictor.conv5_mask.weight",
        &[8, 8, 2, 2],
        0,
    ),
    (
        "roi_heads.mask_head.predictor.bias",
        "roi_heads.mask_predictor.mask_fcn_logits.bias",
        &[2],
        1,
    ),
];

#[test]
fn torchvisions_detector_by_our_names() {
    let path = fixture("maskrcnn.pth");
    let (dict, report) = import_state_dict(&path, &ImportOptions::default()).unwrap();
    assert_eq!(report.layout, Layout::Torchvision);
    assert!(report.title.contains("Mask R-CNN"), "{report}");
    for (ours, theirs, shape, background) in HEADS {
        let mut their_shape = shape.to_vec();
        their_shape[0] += background;
        let row: usize = shape[1..].iter().product();
        let values = formula(theirs, &their_shape).split_off(background * row);
        assert_eq!(
            dict[ours],
            TensorData::new(values, shape.to_vec()),
            "{ours}"
        );
    }
    let mut scores = formula("roi_heads.box_predictor.cls_score.weight", &[3, 16]);
    scores.rotate_left(16);
    let scores = TensorData::new(scores, [3, 16]);
    assert_eq!(dict["roi_heads.box_head.cls_score.weight"], scores);
    let values = formula("backbone.body.layer4.1.bn2.running_var", &[8]);
    assert_eq!(
        dict["backbone.layer4.1.bn2.running_var"],
        TensorData::new(values, [8])
    );
    // 100 of the backbone, 16 of the FPN, 6 of the RPN, 8 and 8 of the heads.
    assert_eq!(dict.len(), 138);

    let (model, report) = import_weights(faster_rcnn(2), &path, &ImportOptions::default()).unwrap();
    for (name, data) in state_dict(&model) {
        assert_eq!(data, dict[&name], "{name}");
    }
    assert_eq!(report.left_out["mask head"].len(), 8, "{report}");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_detector_of_other_classes() {
    let path = fixture("maskrcnn.pth");
    let error = import_weights(faster_rcnn(5), &path, &ImportOptions::default()).unwrap_err();
    assert_holds(
        &error.to_string(),
        &[
            "maskrcnn.pth",
            "is for 2 classes, the model has 5",
            "other_classes",
        ],
    );
    let options = ImportOptions {
        other_classes: true,
        ..ImportOptions::default()
    };
    let (_, report) = import_weights(faster_rcnn(5), &path, &options).unwrap();
    assert_eq!(
        report.other_classes,
        [
            "roi_heads.box_head.bbox_pred.bias",
            "roi_heads.box_head.bbox_pred.weight",
            "roi_heads.box_head.cls_score.bias",
            "roi_heads.box_head.cls_score.weight",
        ]
    );
    assert!(report.is_clean(), "{report}");
    assert_holds(
        &report.to_string(),
        &["another number of classes, keep their values"],
    );
}

#[test]
fn a_detectors_backbone_and_a_backbones_detector() {
    let (dict, report) = import("maskrcnn.pth", 18, &ImportOptions::default());
    let values = formula("backbone.body.conv1.weight", &[8, 3, 7, 7]);
    assert_eq!(dict["conv1.weight"], TensorData::new(values, [8, 3, 7, 7]));
    let parts: Vec<&str> = report.left_out.keys().copied().collect();
    assert!(
        ["FPN", "RPN", "box head", "mask head"]
            .iter()
            .all(|part| parts.contains(part)),
        "{report}"
    );
    assert!(report.is_clean(), "{report}");

    let before = state_dict(&faster_rcnn(2));
    let path = fixture("moco.pth");
    let (model, report) = import_weights(faster_rcnn(2), &path, &ImportOptions::default()).unwrap();
    let mut trained = StateDict::new();
    for (name, data) in state_dict(&model) {
        match name.strip_prefix("backbone.") {
            Some(inner) => drop(trained.insert(inner.to_owned(), data)),
            None => assert_eq!(data, before[&name], "{name}"),
        }
    }
    assert_formula(&trained, "", exact);
    let kept: Vec<&str> = report.kept.keys().copied().collect();
    assert_eq!(kept, ["FPN", "RPN", "box head"]);
    assert!(report.is_clean(), "{report}");
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
