//! The C4 detectors: gradients, frozen stages, masks, empty images; values are compared with
//! torchvision's in `torchvision_detectors.rs`.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use common::{noise_tensor, rectangle, rng};
use inscon_model::detection::{GeneralizedRcnn, RcnnConfig, Target};
use inscon_model::{ResNetConfig, SyncGroup, is_buffer, state_dict};

const RESNET: ResNetConfig = ResNetConfig {
    depth: 18,
    width: 0.125,
    output_stride: 32,
};

fn slim() -> RcnnConfig {
    RcnnConfig {
        num_classes: 2,
        anchor_sizes: vec![vec![12.0, 24.0, 48.0]],
        rpn_batch_per_image: 64,
        rpn_pre_nms_train: 100,
        rpn_post_nms_train: 40,
        rpn_pre_nms_test: 100,
        rpn_post_nms_test: 30,
        roi_batch_per_image: 16,
        mask_channels: 16,
        ..RcnnConfig::faster_rcnn_c4()
    }
}

fn batch(device: &Device) -> (Tensor<4>, [[usize; 2]; 2], Vec<Target>) {
    let target = |bbox: [usize; 4], label, size| Target {
        boxes: vec![bbox.map(|v| v as f32)],
        labels: vec![label],
        masks: Some(vec![rectangle(bbox, size)]),
    };
    let sizes = [[96, 128], [80, 90]];
    let targets = vec![
        target([60, 20, 120, 90], 1, sizes[0]),
        target([5, 30, 80, 70], 0, sizes[1]),
    ];
    (noise_tensor([2, 3, 96, 128], 1, device), sizes, targets)
}

fn step(model: &GeneralizedRcnn, device: &Device) -> (Vec<f32>, burn::tensor::Gradients) {
    let (images, sizes, targets) = batch(device);
    let losses = model.forward_train(images, &sizes, &targets, &mut rng(2));
    assert!(losses.stats.roi_positives > 0 && losses.stats.rpn_positives > 0);
    let terms = losses.terms().into_iter();
    let terms = terms.map(|(_, term)| term.into_scalar::<f32>()).collect();
    (terms, losses.total().backward())
}

#[test]
fn losses_and_gradients_with_and_without_masks() {
    let device = Device::flex().autodiff();
    for mask in [false, true] {
        let config = RcnnConfig { mask, ..slim() };
        let model = config.init(&RESNET, &mut rng(1), &device).unwrap();
        let (terms, gradients) = step(&model, &device);
        assert_eq!(terms.len(), 4 + usize::from(mask));
        assert!(terms.iter().all(|t| t.is_finite() && *t > 0.0), "{terms:?}");
        for weight in [
            &model.backbone.conv1.weight,
            &model.rpn.conv.weight,
            &model.rpn.anchor_deltas.weight,
        ] {
            let largest = weight.val().grad(&gradients).unwrap().abs().max();
            assert!(largest.into_scalar::<f32>() > 0.0);
        }
        let names = state_dict(&model);
        assert!(names.contains_key("roi_heads.res5_norm.running_mean"));
        assert!(!names.keys().any(|name| name.starts_with("fpn")));
        assert_eq!(
            names["rpn.objectness_logits.weight"].shape().to_vec(),
            [9, 32, 1, 1]
        );
        assert_eq!(
            names["roi_heads.box_head.cls_score.weight"]
                .shape()
                .to_vec(),
            [3, 64]
        );

        let (images, sizes, _) = batch(&device);
        let found = model.valid().infer(images.inner(), &sizes);
        for detections in &found {
            // `layer4` halves 14 bins, the mask head doubles them.
            assert_eq!(detections.mask_side, if mask { 14 } else { 0 });
            assert_eq!(detections.masks.is_some(), mask);
        }
    }
}

/// With output stride 16 `layer4` keeps the bins.
#[test]
fn masks_of_a_dilated_backbone() {
    let device = Device::flex();
    let resnet = ResNetConfig {
        output_stride: 16,
        ..RESNET
    };
    for score_threshold in [0.0, 1.0] {
        let config = RcnnConfig {
            mask: true,
            score_threshold,
            ..slim()
        };
        let model = config.init(&resnet, &mut rng(1), &device).unwrap();
        let (images, sizes, _) = batch(&device);
        for found in model.infer(images, &sizes) {
            assert_eq!(found.is_empty(), score_threshold == 1.0);
            assert_eq!(found.mask_side, 28);
            let masks = found.masks.unwrap();
            assert!(masks.len() == found.boxes.len() && masks.iter().all(|m| m.len() == 28 * 28));
        }
    }
}

/// Everything trained moves its statistics, `layer4` and the norm after it over RoIs; all five
/// stages frozen leaves that norm alone.
#[test]
fn frozen_stages_keep_their_statistics() {
    let device = Device::flex().autodiff();
    for frozen_stages in [0, 2, 5] {
        let config = RcnnConfig {
            frozen_stages,
            ..slim()
        };
        let model = config.init(&RESNET, &mut rng(1), &device).unwrap();
        let before = state_dict(&model);
        let (_, gradients) = step(&model, &device);
        let after = state_dict(&model);
        for name in before.keys().filter(|name| is_buffer(name)) {
            let stages = ["conv1 bn1", "layer1", "layer2", "layer3", "layer4"];
            let of = |stage: &str| {
                stage
                    .split(' ')
                    .any(|part| name.contains(&format!("backbone.{part}.")))
            };
            let stage = stages.iter().position(|stage| of(stage));
            let frozen = stage.is_some_and(|stage| stage < frozen_stages);
            assert_eq!(
                before[name] == after[name],
                frozen,
                "{name}, {frozen_stages} frozen"
            );
        }
        let stem = model.backbone.conv1.weight.val().grad(&gradients);
        assert_eq!(stem.is_none(), frozen_stages > 0);
        let norm = model.roi_heads.res5_norm.as_ref().unwrap();
        assert!(norm.weight.val().grad(&gradients).is_some());
    }
}

#[test]
fn images_without_objects() {
    let device = Device::flex().autodiff();
    let model = slim().init(&RESNET, &mut rng(1), &device).unwrap();
    let (images, sizes, _) = batch(&device);
    let empty = vec![Target::default(); 2];
    let losses = model.forward_train(images, &sizes, &empty, &mut rng(2));
    let total = losses.total().into_scalar::<f32>();
    assert!(total.is_finite() && total > 0.0);
    assert_eq!(losses.bbox.into_scalar::<f32>(), 0.0);
}

/// Background anchors are drawn on the image, not in the padding, unless it is asked for.
#[test]
fn padding_is_not_sampled() {
    let device = Device::flex();
    let (images, _, _) = batch(&device);
    let drawn = |rpn_sample_padding, sizes: &[[usize; 2]; 2]| {
        let config = RcnnConfig {
            rpn_sample_padding,
            rpn_batch_per_image: 100_000,
            ..slim()
        };
        let model = config.init(&RESNET, &mut rng(1), &device).unwrap();
        let targets = vec![Target::default(); 2];
        let losses = model.forward_train(images.clone(), sizes, &targets, &mut rng(2));
        losses.stats.rpn_negatives
    };
    // Maps of 6×8 cells at stride 16 with 9 anchors: 48 cells, of which 48 and 3·2 on the image.
    assert_eq!(drawn(true, &[[96, 128], [48, 32]]), 2 * 48 * 9);
    assert_eq!(drawn(false, &[[96, 128], [48, 32]]), (48 + 6) * 9);
    // A cell's anchors count where its corner is on the image.
    assert_eq!(drawn(false, &[[96, 128], [49, 32]]), (48 + 8) * 9);
}

/// Two devices with half of the batch each take the statistics of the whole.
#[test]
fn synchronized_devices_share_statistics() {
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = SyncGroup::of_threads(2)
            .into_iter()
            .enumerate()
            .map(|(rank, group)| {
                scope.spawn(move || {
                    let device = Device::flex().autodiff();
                    let mut model = slim().init(&RESNET, &mut rng(1), &device).unwrap();
                    model.synchronize(Some(&group));
                    let (images, sizes, targets) = batch(&device);
                    let losses = model.forward_train(
                        images.narrow(0, rank, 1),
                        &sizes[rank..=rank],
                        &targets[rank..=rank],
                        &mut rng(2),
                    );
                    let gradients = losses.total().backward();
                    let stem = model.backbone.conv1.weight.val().grad(&gradients).unwrap();
                    assert!(stem.abs().max().into_scalar::<f32>().is_finite());
                    state_dict(&model)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let device = Device::flex().autodiff();
    let alone = slim().init(&RESNET, &mut rng(1), &device).unwrap();
    step(&alone, &device);
    let alone = state_dict(&alone);
    for (name, value) in found[0].iter().filter(|(name, _)| is_buffer(name)) {
        assert_eq!(*value, found[1][name], "{name}");
        // The RPN's and the backbone's batch is the same two images; the RoIs are drawn per device.
        let on_rois = name.contains("layer4") || name.contains("res5_norm");
        if !on_rois {
            let pairs = value.iter::<f32>().zip(alone[name].iter::<f32>());
            let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-4, "{name}: {largest}");
        }
    }
}
