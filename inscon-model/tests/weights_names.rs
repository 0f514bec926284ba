//! Names of other projects: literal tables, and round trips through files.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::tensor::{Device, TensorData};
use common::{noise, rng};
use inscon_model::detection::RcnnConfig;
use inscon_model::{
    ImportOptions, Layout, Metadata, ModelError, Naming, ResNetConfig, StateDict, export_backbone,
    export_detector, import_state_dict, import_weights, load_state_dict, rename, state_dict,
    write_safetensors_file,
};

const NAMINGS: [Naming; 3] = [Naming::Torchvision, Naming::Detectron2, Naming::Timm];

fn tiny(depth: u32) -> ResNetConfig {
    ResNetConfig {
        depth,
        width: 0.01,
        output_stride: 32,
    }
}

fn backbone(depth: u32) -> StateDict {
    state_dict(&tiny(depth).init(&mut rng(2), &Device::flex()).unwrap())
}

/// Tensors of noise, each its own.
fn noisy(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> StateDict {
    let noisy = |(seed, (name, shape)): (usize, (String, Vec<usize>))| {
        let values = noise(shape.iter().product(), 17 * seed as u32 + 1);
        let variance = name.ends_with("running_var");
        let values = values
            .into_iter()
            .map(|v| if variance { v.abs() } else { v } as f32);
        (name, TensorData::new(values.collect(), shape))
    };
    shapes.into_iter().enumerate().map(noisy).collect()
}

fn conv(name: &str, shape: [usize; 4], norm: Option<&str>) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![(format!("{name}.weight"), shape.to_vec())];
    match norm {
        None => tensors.push((format!("{name}.bias"), vec![shape[0]])),
        Some(norm) => {
            for leaf in ["weight", "bias", "running_mean", "running_var"] {
                tensors.push((format!("{norm}.{leaf}"), vec![shape[0]]));
            }
        }
    }
    tensors
}

fn linear(name: &str, shape: [usize; 2]) -> Vec<(String, Vec<usize>)> {
    vec![
        (format!("{name}.weight"), shape.to_vec()),
        (format!("{name}.bias"), vec![shape[0]]),
    ]
}

/// What a detector may be made of.
#[derive(Debug, Clone, Copy)]
struct Kind {
    fpn: bool,
    /// Norms in FPN, box and mask head.
    norms: bool,
    box_convs: usize,
    fcs: usize,
}

/// The state dict of a detector of 2 classes with a mask head, by our names.
fn detector(kind: Kind) -> StateDict {
    let with_norm = |name: &str, shape| {
        let norm = format!("{name}.norm");
        conv(&format!("{name}.conv"), shape, kind.norms.then_some(&norm))
    };
    let mut shapes: Vec<(String, Vec<usize>)> = backbone(18)
        .into_iter()
        .map(|(name, data)| (format!("backbone.{name}"), data.shape().to_vec()))
        .collect();
    if kind.fpn {
        for i in 0..4 {
            shapes.extend(with_norm(&format!("fpn.lateral.{i}"), [8, 8, 1, 1]));
            shapes.extend(with_norm(&format!("fpn.output.{i}"), [8, 8, 3, 3]));
        }
    } else {
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("roi_heads.res5_norm.{leaf}"), vec![8]));
        }
    }
    shapes.extend(conv("rpn.conv", [8, 8, 3, 3], None));
    shapes.extend(conv("rpn.objectness_logits", [3, 8, 1, 1], None));
    shapes.extend(conv("rpn.anchor_deltas", [12, 8, 1, 1], None));
    for i in 0..kind.box_convs {
        shapes.extend(with_norm(
            &format!("roi_heads.box_head.convs.{i}"),
            [8, 8, 3, 3],
        ));
    }
    for i in 0..kind.fcs {
        shapes.extend(linear(&format!("roi_heads.box_head.fcs.{i}"), [8, 8]));
    }
    shapes.extend(linear("roi_heads.box_head.cls_score", [3, 8]));
    shapes.extend(linear("roi_heads.box_head.bbox_pred", [8, 8]));
    if kind.fpn {
        for i in 0..2 {
            shapes.extend(with_norm(
                &format!("roi_heads.mask_head.convs.{i}"),
                [8, 8, 3, 3],
            ));
        }
    }
    shapes.extend(conv("roi_heads.mask_head.deconv", [8, 8, 2, 2], None));
    shapes.extend(conv("roi_heads.mask_head.predictor", [2, 8, 1, 1], None));
    noisy(shapes)
}

const FPN: Kind = Kind {
    fpn: true,
    norms: false,
    box_convs: 0,
    fcs: 2,
};
const FPN_P: Kind = Kind {
    fpn: true,
    norms: true,
    box_convs: 4,
    fcs: 1,
};
const C4: Kind = Kind {
    fpn: false,
    norms: false,
    box_convs: 0,
    fcs: 0,
};

fn through_file(dict: &StateDict) -> (StateDict, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_safetensors_file(&path, dict, &Metadata::new()).unwrap();
    let (dict, report) = import_state_dict(&path, &ImportOptions::default()).unwrap();
    assert_eq!(report.unexpected, Vec::<String>::new(), "{report}");
    (dict, report.layout)
}

#[test]
fn backbones_come_back_from_every_naming() {
    for depth in [18, 50, 101] {
        let dict = backbone(depth);
        for naming in NAMINGS {
            let renamed = rename(&dict, naming).unwrap();
            assert_eq!(renamed.len(), dict.len(), "{naming}: two names became one");
            let (back, layout) = through_file(&renamed);
            assert_eq!(back, dict, "ResNet-{depth}, {naming}");
            assert_eq!(layout == Layout::Detectron2, naming == Naming::Detectron2);
            assert_eq!(renamed == dict, naming != Naming::Detectron2);
        }
    }
}

#[test]
fn detectors_come_back_from_every_naming() {
    for (kind, naming, layout) in [
        (FPN, Naming::Torchvision, Layout::Torchvision),
        (FPN, Naming::Detectron2, Layout::Detectron2),
        (FPN_P, Naming::Torchvision, Layout::Torchvision),
        (FPN_P, Naming::Detectron2, Layout::Detectron2),
        (C4, Naming::Detectron2, Layout::Detectron2),
    ] {
        let dict = detector(kind);
        let renamed = rename(&dict, naming).unwrap();
        assert_eq!(renamed.len(), dict.len(), "{naming}: two names became one");
        assert_eq!(through_file(&renamed), (dict, layout), "{kind:?}, {naming}");
    }
    for kind in [FPN, FPN_P, C4] {
        let dict = detector(kind);
        assert_eq!(through_file(&dict), (dict, Layout::InsCon), "{kind:?}");
    }
}

fn assert_names(kind: Kind, naming: Naming, pairs: &[(&str, &str)]) {
    let dict = detector(kind);
    let renamed = rename(&dict, naming).unwrap();
    for (ours, theirs) in pairs {
        let found = renamed
            .get(*theirs)
            .unwrap_or_else(|| panic!("no {theirs}"));
        assert_eq!(found, &dict[*ours], "{theirs}");
    }
}

#[test]
fn names_of_detectron2() {
    assert_names(
        FPN_P,
        Naming::Detectron2,
        &[
            (
                "backbone.conv1.weight",
                "backbone.bottom_up.stem.conv1.weight",
            ),
            (
                "backbone.bn1.running_var",
                "backbone.bottom_up.stem.conv1.norm.running_var",
            ),
            (
                "backbone.layer4.1.bn2.bias",
                "backbone.bottom_up.res5.1.conv2.norm.bias",
            ),
            (
                "backbone.layer2.0.downsample.0.weight",
                "backbone.bottom_up.res3.0.shortcut.weight",
            ),
            (
                "backbone.layer2.0.downsample.1.running_mean",
                "backbone.bottom_up.res3.0.shortcut.norm.running_mean",
            ),
            ("fpn.lateral.0.conv.weight", "backbone.fpn_lateral2.weight"),
            (
                "fpn.output.3.norm.running_mean",
                "backbone.fpn_output5.norm.running_mean",
            ),
            ("rpn.conv.bias", "proposal_generator.rpn_head.conv.bias"),
            (
                "rpn.anchor_deltas.bias",
                "proposal_generator.rpn_head.anchor_deltas.bias",
            ),
            (
                "roi_heads.box_head.convs.0.conv.weight",
                "roi_heads.box_head.conv1.weight",
            ),
            (
                "roi_heads.box_head.convs.3.norm.bias",
                "roi_heads.box_head.conv4.norm.bias",
            ),
            (
                "roi_heads.box_head.fcs.0.weight",
                "roi_heads.box_head.fc1.weight",
            ),
            (
                "roi_heads.box_head.cls_score.bias",
                "roi_heads.box_predictor.cls_score.bias",
            ),
            (
                "roi_heads.mask_head.convs.1.conv.weight",
                "roi_heads.mask_head.mask_fcn2.weight",
            ),
            (
                "roi_heads.mask_head.convs.1.norm.bias",
                "roi_heads.mask_head.mask_fcn2.norm.bias",
            ),
            (
                "roi_heads.mask_head.predictor.bias",
                "roi_heads.mask_head.predictor.bias",
            ),
        ],
    );
    assert_names(
        C4,
        Naming::Detectron2,
        &[
            ("backbone.conv1.weight", "backbone.stem.conv1.weight"),
            (
                "backbone.layer3.0.conv1.weight",
                "backbone.res4.0.conv1.weight",
            ),
            (
                "backbone.layer4.0.conv1.weight",
                "roi_heads.res5.0.conv1.weight",
            ),
            (
                "backbone.layer4.0.downsample.1.running_var",
                "roi_heads.res5.0.shortcut.norm.running_var",
            ),
            (
                "roi_heads.res5_norm.running_mean",
                "roi_heads.res5.norm.running_mean",
            ),
        ],
    );
}

#[test]
fn names_and_rows_of_torchvision() {
    assert_names(
        FPN_P,
        Naming::Torchvision,
        &[
            ("backbone.bn1.bias", "backbone.body.bn1.bias"),
            (
                "fpn.lateral.1.norm.weight",
                "backbone.fpn.inner_blocks.1.1.weight",
            ),
            (
                "roi_heads.box_head.convs.2.conv.weight",
                "roi_heads.box_head.2.0.weight",
            ),
            (
                "roi_heads.box_head.convs.2.norm.bias",
                "roi_heads.box_head.2.1.bias",
            ),
            (
                "roi_heads.box_head.fcs.0.weight",
                "roi_heads.box_head.5.weight",
            ),
            (
                "roi_heads.mask_head.convs.1.norm.bias",
                "roi_heads.mask_head.1.1.bias",
            ),
        ],
    );
    let renamed = rename(&detector(FPN), Naming::Torchvision).unwrap();
    let values = |name: &str| renamed[name].iter::<f32>().collect::<Vec<_>>();
    let ours = detector(FPN);
    let own = |name: &str| ours[name].iter::<f32>().collect::<Vec<_>>();
    let [a, b, background] = own("roi_heads.box_head.cls_score.bias")[..] else {
        panic!("three scores");
    };
    assert_eq!(
        values("roi_heads.box_predictor.cls_score.bias"),
        [background, a, b]
    );
    let boxes = own("roi_heads.box_head.bbox_pred.bias");
    let expected = [vec![0.0; 4], boxes].concat();
    assert_eq!(values("roi_heads.box_predictor.bbox_pred.bias"), expected);
    let masks = own("roi_heads.mask_head.predictor.weight");
    let expected = [vec![0.0; 8], masks].concat();
    assert_eq!(
        values("roi_heads.mask_predictor.mask_fcn_logits.weight"),
        expected
    );
    let shape = &renamed["roi_heads.mask_predictor.mask_fcn_logits.weight"];
    assert_eq!(shape.shape().to_vec(), [3, 8, 1, 1]);
}

/// Releases of torchvision before 0.13.
#[test]
fn older_names_of_torchvision() {
    let dict = detector(FPN);
    let renamed = rename(&dict, Naming::Torchvision).unwrap();
    let older = |name: &String| {
        let mut name = name
            .replace("rpn.head.conv.0.0.", "rpn.head.conv.")
            .replace("mask_head.0.0.", "mask_head.mask_fcn1.")
            .replace("mask_head.1.0.", "mask_head.mask_fcn2.");
        for i in 0..4 {
            for blocks in ["inner_blocks", "layer_blocks"] {
                name = name.replace(&format!("{blocks}.{i}.0."), &format!("{blocks}.{i}."));
            }
        }
        name
    };
    let old: StateDict = renamed.iter().map(|(k, v)| (older(k), v.clone())).collect();
    assert_ne!(old, renamed);
    assert_eq!(through_file(&old), (dict, Layout::Torchvision));
}

/// Checkpoints of ours from before the mask head's convolutions had norms.
#[test]
fn former_names_of_ours() {
    let dict = detector(FPN);
    let former = |name: &String| match name.contains("mask_head.convs.") {
        true => name.replace(".conv.", "."),
        false => name.clone(),
    };
    let old: StateDict = dict.iter().map(|(k, v)| (former(k), v.clone())).collect();
    assert_ne!(old, dict);
    for naming in [Naming::Torchvision, Naming::Detectron2] {
        assert_eq!(
            rename(&old, naming).unwrap(),
            rename(&dict, naming).unwrap()
        );
    }
    assert_eq!(through_file(&old), (dict, Layout::InsCon));
}

#[test]
fn what_a_project_lacks_is_an_error() {
    let error = |kind, naming| rename(&detector(kind), naming).unwrap_err().to_string();
    assert!(error(C4, Naming::Torchvision).contains("no such detector"));
    assert!(error(FPN, Naming::Timm).contains("export the backbone alone"));
    let three = Kind {
        box_convs: 3,
        ..FPN_P
    };
    let text = error(three, Naming::Torchvision);
    assert!(text.contains("`roi_heads.box_head.fcs.0.bias`"), "{text}");

    let mut dict = backbone(18);
    let data = dict["bn1.bias"].clone();
    dict.insert("query.bn1.bias".to_owned(), data);
    let text = rename(&dict, Naming::Detectron2).unwrap_err().to_string();
    assert!(
        text.contains("`query.bn1.bias`") && text.contains("prefix"),
        "{text}"
    );

    let error = "caffe".parse::<Naming>().unwrap_err();
    assert!(matches!(error, ModelError::UnknownNaming(_)), "{error}");
    for naming in NAMINGS {
        assert_eq!(naming.to_string().parse::<Naming>().unwrap(), naming);
    }
}

/// Modules through files: the same network computes the same.
#[test]
fn modules_through_exported_files() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let config = RcnnConfig {
        num_classes: 2,
        mask: false,
        fpn_channels: 8,
        fc_dim: 16,
        ..RcnnConfig::default()
    };
    let model = |seed| config.init(&tiny(50), &mut rng(seed), &device).unwrap();
    let shapes = state_dict(&model(1));
    let shapes = shapes
        .into_iter()
        .map(|(name, data)| (name, data.shape().to_vec()));
    let trained = noisy(shapes);
    for naming in [Naming::Torchvision, Naming::Detectron2] {
        export_detector(&trained, &path, naming).unwrap();
        let (loaded, report) = import_weights(model(2), &path, &ImportOptions::default()).unwrap();
        assert_eq!(state_dict(&loaded), trained, "{naming}");
        assert!(report.is_clean(), "{report}");
    }
    let resnet = tiny(50).init(&mut rng(3), &device).unwrap();
    for naming in NAMINGS {
        export_backbone(&resnet, &path, naming).unwrap();
        let (loaded, _) = import_weights(model(2), &path, &ImportOptions::default()).unwrap();
        assert_eq!(
            state_dict(&loaded.backbone),
            state_dict(&resnet),
            "{naming}"
        );
    }
    // The file is all there is of it, and a folder that is not there is named.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("no/where.safetensors");
    let error = export_backbone(&resnet, &nowhere, Naming::Timm).unwrap_err();
    assert!(error.to_string().contains("where.safetensors"), "{error}");
    let strict = inscon_model::Strictness::Exact;
    load_state_dict(resnet, &backbone(50), "", strict).unwrap();
}
