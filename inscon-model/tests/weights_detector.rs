//! torchvision's own Mask R-CNN (`fixtures/weights.py`) into our detectors, and backbones in and
//! out of detectors.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;
#[path = "common/weights.rs"]
mod files;

use burn::tensor::{Device, TensorData};
use common::rng;
use files::{assert_formula, assert_holds, exact, fixture, formula, import, tiny};
use inscon_model::detection::{GeneralizedRcnn, RcnnConfig};
use inscon_model::{
    ImportOptions, Layout, StateDict, import_state_dict, import_weights, state_dict,
};

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
