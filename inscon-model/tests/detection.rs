//! The detector as a whole: losses, gradients, images without objects, padding, and an overfit.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use common::{noise_tensor, rectangle, rng};
use inscon_model::detection::{
    AnchorGenerator, BackboneNorm, BitMask, ConvNorm, Detections, GeneralizedRcnn, LossDict,
    Proposals, RcnnConfig, Roi, RoiFeatures, RoiHeads, RpnOutput, SampledRois, Target, iou,
    paste_mask,
};
use inscon_model::{NormMode, ResNetConfig, Strictness, is_buffer, load_state_dict, state_dict};

const RESNET: ResNetConfig = ResNetConfig {
    depth: 18,
    width: 0.125,
    output_stride: 32,
};

fn slim() -> RcnnConfig {
    RcnnConfig {
        num_classes: 2,
        fpn_channels: 16,
        anchor_sizes: [12.0, 24.0, 48.0, 96.0].map(|size| vec![size]).to_vec(),
        rpn_batch_per_image: 64,
        rpn_pre_nms_train: 100,
        rpn_post_nms_train: 50,
        rpn_pre_nms_test: 100,
        rpn_post_nms_test: 30,
        roi_batch_per_image: 32,
        pooler_canonical_size: 56.0,
        fc_dim: 64,
        mask_convs: 1,
        mask_channels: 16,
        ..Default::default()
    }
}

fn target(objects: &[([usize; 4], usize)], size: [usize; 2]) -> Target {
    Target {
        boxes: objects
            .iter()
            .map(|(bbox, _)| bbox.map(|v| v as f32))
            .collect(),
        labels: objects.iter().map(|(_, label)| *label).collect(),
        masks: Some(
            objects
                .iter()
                .map(|(bbox, _)| rectangle(*bbox, size))
                .collect(),
        ),
    }
}

fn finite(losses: &LossDict) -> Vec<f32> {
    let terms: Vec<f32> = losses
        .terms()
        .into_iter()
        .map(|(_, term)| term.into_scalar::<f32>())
        .collect();
    assert!(terms.iter().all(|term| term.is_finite()), "{terms:?}");
    let total = losses.total().into_scalar::<f32>();
    assert!((total - terms.iter().sum::<f32>()).abs() < 1e-5 * total.max(1.0));
    terms
}

/// Largest absolute gradient of every parameter; `None` without gradient.
fn gradients(model: &GeneralizedRcnn, gradients: &Gradients) -> BTreeMap<String, Option<f32>> {
    struct Visit<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        found: BTreeMap<String, Option<f32>>,
    }
    impl ModuleVisitor for Visit<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.gradients);
            let largest = gradient.map(|g| g.abs().max().into_scalar::<f32>());
            self.found.insert(self.path.join("."), largest);
        }
    }
    let mut visit = Visit {
        gradients,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    model.visit(&mut visit);
    visit.found
}

fn batch(device: &Device) -> (Tensor<4>, [[usize; 2]; 2], Vec<Target>) {
    let images = noise_tensor([2, 3, 96, 128], 1, device);
    let sizes = [[96, 128], [80, 90]];
    let targets = vec![
        target(&[([10, 10, 34, 40], 0), ([60, 20, 120, 90], 1)], sizes[0]),
        target(&[([5, 30, 80, 70], 1)], sizes[1]),
    ];
    (images, sizes, targets)
}

#[test]
fn every_trained_parameter_gets_a_finite_gradient() {
    let device = Device::flex().autodiff();
    let cases = [
        slim(),
        RcnnConfig {
            fpn_norm: ConvNorm::Batch,
            mask: false,
            ..slim()
        },
        RcnnConfig {
            anchor_sizes: vec![vec![12.0, 20.0]; 5],
            rpn_smooth_l1_beta: 0.1,
            ..slim()
        },
    ];
    for config in cases {
        let model = config.init(&RESNET, &mut rng(1), &device).unwrap();
        let (images, sizes, targets) = batch(&device);
        let losses = model.forward_train(images, &sizes, &targets, &mut rng(2));
        let terms = finite(&losses);
        assert_eq!(terms.len(), if config.mask { 5 } else { 4 });
        assert!(terms.iter().all(|term| *term > 0.0), "{terms:?}");
        assert!(losses.stats.rpn_positives > 0 && losses.stats.roi_positives > 0);
        assert_eq!(losses.stats.rpn_positives + losses.stats.rpn_negatives, 128);
        assert_eq!(losses.stats.non_finite_proposals, 0);
        for (name, gradient) in gradients(&model, &losses.total().backward()) {
            if is_buffer(&name) {
                assert_eq!(gradient, None, "{name}");
            } else {
                let largest = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
                assert!(largest.is_finite(), "{name}: {largest}");
                // A bias before a batch norm has none by construction; there are none here.
                assert!(largest > 0.0, "the gradient of {name} is zero");
            }
        }
    }
}

/// At the start all classes are as good as equal, anchors at one half, masks at one half.
#[test]
fn first_losses_are_those_of_a_guess() {
    let device = Device::flex();
    let model = slim().init(&RESNET, &mut rng(3), &device).unwrap();
    let (images, sizes, targets) = batch(&device);
    let losses = model.forward_train(images, &sizes, &targets, &mut rng(4));
    let terms = finite(&losses);
    let ln2 = std::f32::consts::LN_2;
    assert!((terms[0] - ln2).abs() < 0.05, "objectness {}", terms[0]);
    assert!((terms[2] - 3f32.ln()).abs() < 0.1, "classes {}", terms[2]);
    assert!((terms[4] - ln2).abs() < 0.01, "masks {}", terms[4]);
}

#[test]
fn frozen_parts_have_no_gradient_and_keep_their_statistics() {
    let device = Device::flex().autodiff();
    let config = RcnnConfig {
        frozen_stages: 2,
        norm: BackboneNorm::Train,
        ..slim()
    };
    let model = config.init(&RESNET, &mut rng(1), &device).unwrap();
    let before = state_dict(&model);
    let (images, sizes, targets) = batch(&device);
    let losses = model.forward_train(images.clone(), &sizes, &targets, &mut rng(2));
    let found = gradients(&model, &losses.total().backward());
    let after = state_dict(&model);
    for (name, gradient) in &found {
        let frozen = ["backbone.conv1", "backbone.bn1", "backbone.layer1"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        assert_eq!(gradient.is_none(), frozen || is_buffer(name), "{name}");
        if is_buffer(name) {
            assert_eq!(before[name] == after[name], frozen, "{name}");
        }
    }

    let config = RcnnConfig {
        norm: BackboneNorm::Frozen,
        ..slim()
    };
    let model = config.init(&RESNET, &mut rng(1), &device).unwrap();
    let before = state_dict(&model);
    let losses = model.forward_train(images, &sizes, &targets, &mut rng(2));
    let found = gradients(&model, &losses.total().backward());
    assert_eq!(before, state_dict(&model));
    assert!(found["backbone.conv1.weight"].is_some());
    assert!(found["backbone.layer2.0.bn1.weight"].is_none());
}

#[test]
fn images_without_objects_train() {
    let device = Device::flex().autodiff();
    let model = slim().init(&RESNET, &mut rng(5), &device).unwrap();
    let (images, sizes, mut targets) = batch(&device);
    for empty in [vec![1], vec![0, 1]] {
        for image in empty {
            targets[image] = Target::default();
        }
        let losses = model.forward_train(images.clone(), &sizes, &targets, &mut rng(6));
        let terms = finite(&losses);
        let none = targets.iter().all(|t| t.boxes.is_empty());
        assert_eq!(
            terms[1] == 0.0 && terms[3] == 0.0 && terms[4] == 0.0,
            none,
            "{terms:?}"
        );
        let found = gradients(&model, &losses.total().backward());
        assert!(found.values().flatten().all(|g| g.is_finite()));
        assert!(found["rpn.objectness_logits.weight"].is_some_and(|g| g > 0.0));
    }
}

/// A degenerate box is nobody's; NaN weights give no proposals, not a panic.
#[test]
fn bad_numbers_do_not_panic() {
    let device = Device::flex().autodiff();
    let model = slim().init(&RESNET, &mut rng(5), &device).unwrap();
    let (images, sizes, mut targets) = batch(&device);
    targets[0].boxes[0] = [10.0, 10.0, 10.0, 40.0];
    finite(&model.forward_train(images.clone(), &sizes, &targets, &mut rng(6)));

    let broken = images * f32::NAN;
    let losses = model.forward_train(broken.clone(), &sizes, &targets, &mut rng(6));
    assert!(losses.stats.non_finite_proposals > 0);
    assert_eq!(losses.stats.proposals, 0);
    let found = model.valid().infer(broken.inner(), &sizes);
    assert!(found.iter().all(Detections::is_empty));
}

#[test]
fn the_same_seed_gives_the_same_losses() {
    let device = Device::flex();
    let model = slim().init(&RESNET, &mut rng(7), &device).unwrap();
    let (images, sizes, targets) = batch(&device);
    let run = |seed| finite(&model.forward_train(images.clone(), &sizes, &targets, &mut rng(seed)));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn stays_inside_the_image() {
    let device = Device::flex();
    let config = RcnnConfig {
        score_threshold: 0.0,
        ..slim()
    };
    let model = config.init(&RESNET, &mut rng(8), &device).unwrap();
    let (images, sizes, _) = batch(&device);
    let found = model.infer(images, &sizes);
    assert_eq!(found.len(), 2);
    for (detections, [height, width]) in found.iter().zip(sizes) {
        assert!(!detections.is_empty() && detections.len() <= 100);
        for [x0, y0, x1, y1] in &detections.boxes {
            assert!(*x0 >= 0.0 && *y0 >= 0.0 && x0 <= x1 && y0 <= y1);
            assert!(*x1 <= width as f32 && *y1 <= height as f32);
        }
        assert!(detections.scores.windows(2).all(|pair| pair[0] >= pair[1]));
        let masks = detections.masks.as_ref().unwrap();
        assert_eq!(detections.mask_side, 28);
        assert!(masks.len() == detections.len() && masks.iter().all(|m| m.len() == 28 * 28));
    }
}

/// Output stride 16 has two maps of one size in the pyramid.
#[test]
fn dilated_backbone() {
    let device = Device::flex();
    let resnet = ResNetConfig {
        output_stride: 16,
        ..RESNET
    };
    let config = RcnnConfig {
        anchor_sizes: vec![vec![32.0]; 5],
        ..slim()
    };
    let model = config.init(&resnet, &mut rng(9), &device).unwrap();
    let features = model.features(Tensor::ones([1, 3, 96, 64], &device), false);
    let sizes: Vec<[usize; 2]> = features
        .iter()
        .map(|f| [f.dims()[2], f.dims()[3]])
        .collect();
    assert_eq!(sizes, [[24, 16], [12, 8], [6, 4], [6, 4], [3, 2]]);
    let (images, sizes, targets) = batch(&device);
    finite(&model.forward_train(images, &sizes, &targets, &mut rng(2)));
}

/// With predictions of zero each term is known: ln 2 for each drawn anchor, and the targets
/// themselves, over `rpn_batch_per_image · N`.
#[test]
fn rpn_loss_by_hand() {
    let device = Device::flex();
    let generator = AnchorGenerator::new(&[vec![16.0]], &[1.0], false);
    let anchors = vec![generator.grid(0, [4, 5], 8)];
    let output = RpnOutput {
        logits: Tensor::zeros([2, 20], &device),
        deltas: Tensor::zeros([2, 20, 4], &device),
        grids: vec![[4, 5]],
    };
    let truth = [1.0, 2.0, 19.0, 17.0];
    let targets = vec![
        Target {
            boxes: vec![truth],
            labels: vec![0],
            masks: None,
        },
        Target::default(),
    ];
    let config = RcnnConfig {
        rpn_batch_per_image: 100,
        ..slim()
    };
    let loss = output.loss(&config, &anchors, &[[32, 40]; 2], &targets, &mut rng(1));

    let overlaps: Vec<f32> = anchors[0]
        .iter()
        .map(|&anchor| iou(anchor, truth))
        .collect();
    let best = overlaps.iter().copied().fold(0.0, f32::max);
    let (mut positives, mut negatives, mut distance) = (0, 20, 0.0f64);
    for (anchor, &overlap) in anchors[0].iter().zip(&overlaps) {
        if overlap >= 0.7 || overlap == best {
            positives += 1;
            let [x0, y0, x1, y1] = anchor.map(f64::from);
            // A 16-pixel anchor, a truth of 18×15 centred at (10, 9.5).
            distance += ((10.0 - (x0 + x1) / 2.0) / 16.0).abs();
            distance += ((9.5 - (y0 + y1) / 2.0) / 16.0).abs();
            distance += (18.0f64 / 16.0).ln().abs() + (15.0f64 / 16.0).ln().abs();
        } else if overlap < 0.3 {
            negatives += 1;
        }
    }
    assert_eq!((loss.positives, loss.negatives), (positives, negatives));
    let cls = f64::from(loss.cls.into_scalar::<f32>());
    let expected = (positives + negatives) as f64 * 2f64.ln() / 200.0;
    assert!((cls - expected).abs() < 1e-6, "{cls} against {expected}");
    let bbox = f64::from(loss.bbox.into_scalar::<f32>());
    let expected = distance / 200.0;
    assert!((bbox - expected).abs() < 1e-6, "{bbox} against {expected}");
}

/// With all weights zero the classes are as good as equal, the masks at one half, and the box
/// predictions are the biases: only those of the RoI's own class may count, over all RoIs.
#[test]
fn roi_loss_by_hand() {
    let device = Device::flex();
    let config = slim();
    let heads = RoiHeads::new(&config, &RESNET, &mut rng(1), &device);
    let mut dict = state_dict(&heads);
    for data in dict.values_mut() {
        *data = TensorData::zeros::<f32, _>(data.shape().clone());
    }
    let bias = vec![70.0f32, 70.0, 70.0, 70.0, 1.0, 2.0, 3.0, 4.0];
    dict.insert("box_head.bbox_pred.bias".into(), TensorData::new(bias, [8]));
    let (heads, _) = load_state_dict(heads, &dict, "", Strictness::Exact).unwrap();

    let features: Vec<Tensor<4>> = (0..4)
        .map(|level| noise_tensor([2, 16, 24 >> level, 32 >> level], level, &device))
        .collect();
    let targets = vec![
        Target::default(),
        target(&[([5, 30, 80, 70], 0), ([10, 10, 30, 50], 1)], [96, 128]),
    ];
    let roi = |image, bbox| Roi { image, bbox };
    let sampled = SampledRois {
        rois: vec![
            roi(1, [12.0, 10.0, 32.0, 50.0]),
            roi(0, [0.0, 0.0, 50.0, 50.0]),
            roi(1, [60.0, 60.0, 90.0, 90.0]),
        ],
        labels: vec![1, 2, 2],
        truth: vec![1],
        positives: 1,
    };
    let features = RoiFeatures {
        maps: &features,
        strides: [4, 8, 16, 32],
        backbone: None,
        mode: NormMode::Train,
    };
    let loss = heads.loss(&config, features, &sampled, &targets);
    let scalar = |loss: Tensor<1>| loss.into_scalar::<f32>();
    assert!((scalar(loss.cls) - 3f32.ln()).abs() < 1e-6);
    assert!((scalar(loss.mask.unwrap()) - std::f32::consts::LN_2).abs() < 1e-6);
    // The target is -1 · (2 / 20) of the width times 10 and nothing else.
    let expected = (2.0 + 2.0 + 3.0 + 4.0) / 3.0;
    let got = scalar(loss.bbox);
    assert!((got - expected).abs() < 1e-5, "{got} against {expected}");
}

#[test]
fn drawn_rois_keep_quota_and_truth() {
    let config = RcnnConfig {
        roi_batch_per_image: 8,
        ..slim()
    };
    let (.., targets) = batch(&Device::flex());
    let proposals: Vec<Proposals> = targets
        .iter()
        .map(|target| Proposals {
            // Near copies of every box, and boxes in a corner of nobody's.
            boxes: (0..6)
                .flat_map(|i| {
                    target
                        .boxes
                        .iter()
                        .map(move |b| b.map(|v| v + 0.1 * i as f32))
                })
                .chain((0..20).map(|i| [i as f32, 85.0, i as f32 + 9.0, 95.0]))
                .collect(),
            ..Default::default()
        })
        .collect();
    let drawn = SampledRois::draw(&config, &proposals, &targets, &mut rng(3));
    assert_eq!((drawn.rois.len(), drawn.positives), (16, 4));
    for (i, roi) in drawn.rois.iter().enumerate() {
        let target = &targets[roi.image];
        let best = target
            .boxes
            .iter()
            .map(|&b| iou(b, roi.bbox))
            .fold(0.0, f32::max);
        if i < drawn.positives {
            let truth = drawn.truth[i];
            assert_eq!(iou(target.boxes[truth], roi.bbox), best);
            assert_eq!(drawn.labels[i], target.labels[truth]);
            assert!(best >= 0.5);
        } else {
            assert!(drawn.labels[i] == 2 && best < 0.5);
        }
    }
    // Without proposals the ground truth is what is left, or nothing.
    let none = vec![Proposals::default(); 2];
    let drawn = SampledRois::draw(&config, &none, &targets, &mut rng(3));
    assert_eq!((drawn.rois.len(), drawn.positives), (3, 3));
    let config = RcnnConfig {
        roi_append_ground_truth: false,
        ..config
    };
    let drawn = SampledRois::draw(&config, &none, &targets, &mut rng(3));
    assert!(drawn.rois.is_empty());
}

/// Adam, kept to what the overfit needs.
struct Adam {
    lr: f64,
    step: i32,
    moments: BTreeMap<String, (Tensor<1>, Tensor<1>)>,
}

impl Adam {
    fn step<M: Module>(&mut self, module: M, gradients: &mut Gradients) -> M {
        struct Update<'a> {
            adam: &'a mut Adam,
            gradients: &'a mut Gradients,
        }
        impl ModuleMapper for Update<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let (id, value, mapper) = param.consume();
                let Some(gradient) = value.grad_remove(self.gradients) else {
                    return Param::from_mapped_value(id, value, mapper);
                };
                let value = value.inner();
                let shape = value.dims();
                let gradient: Tensor<1> = gradient.reshape([-1]);
                let (mut m, mut v) = match self.adam.moments.remove(&id.to_string()) {
                    Some(moments) => moments,
                    None => (gradient.zeros_like(), gradient.zeros_like()),
                };
                m = m * 0.9 + gradient.clone() * 0.1;
                v = v * 0.99 + gradient.square() * 0.01;
                self.adam
                    .moments
                    .insert(id.to_string(), (m.clone(), v.clone()));
                let m = m / (1.0 - 0.9f64.powi(self.adam.step));
                let v = v / (1.0 - 0.99f64.powi(self.adam.step));
                let value = value - (m / (v.sqrt() + 1e-8)).reshape(shape) * self.adam.lr;
                Param::from_mapped_value(id, Tensor::from_inner(value).require_grad(), mapper)
            }
        }
        self.step += 1;
        module.map(&mut Update {
            adam: self,
            gradients,
        })
    }
}

/// Bright (class 0) and dark (class 1) rectangles on grey.
fn scene(objects: &[([usize; 4], usize)], [height, width]: [usize; 2]) -> Vec<f32> {
    let mut pixels = vec![0.0; 3 * height * width];
    for (mask, (_, class)) in objects.iter().map(|o| (rectangle(o.0, [height, width]), o)) {
        for channel in 0..3 {
            for (pixel, inside) in mask.data.iter().enumerate() {
                if *inside == 1 {
                    pixels[channel * height * width + pixel] = [1.5, -1.5][*class];
                }
            }
        }
    }
    pixels
}

fn mask_iou(a: &BitMask, b: &BitMask) -> f32 {
    let both = a
        .data
        .iter()
        .zip(&b.data)
        .filter(|(a, b)| **a == 1 && **b == 1)
        .count();
    both as f32 / (a.area() + b.area() - both) as f32
}

/// Training on four pictures finds their boxes and masks again.
#[test]
fn overfits_four_pictures() {
    let device = Device::flex().autodiff();
    let size = [96, 96];
    let scenes: [&[([usize; 4], usize)]; 4] = [
        &[([10, 12, 40, 44], 0), ([52, 40, 90, 84], 1)],
        &[([30, 20, 74, 60], 1)],
        &[([4, 50, 36, 92], 0), ([48, 8, 88, 40], 0)],
        &[],
    ];
    let pixels: Vec<f32> = scenes
        .iter()
        .flat_map(|objects| scene(objects, size))
        .collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [4, 3, 96, 96]), &device);
    let targets: Vec<Target> = scenes.iter().map(|objects| target(objects, size)).collect();
    let sizes = [size; 4];

    let mut model = slim().init(&RESNET, &mut rng(10), &device).unwrap();
    let mut adam = Adam {
        lr: 3e-3,
        step: 0,
        moments: BTreeMap::new(),
    };
    let mut sampling = rng(11);
    let mut history = Vec::new();
    for step in 0..STEPS {
        adam.lr = if step < STEPS * 2 / 3 { 3e-3 } else { 6e-4 };
        let losses = model.forward_train(images.clone(), &sizes, &targets, &mut sampling);
        history.push(losses.total().into_scalar::<f32>());
        let mut gradients = losses.total().backward();
        model = adam.step(model, &mut gradients);
    }
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    let (first, last) = (mean(&history[..5]), mean(&history[STEPS - 5..]));
    println!("loss {first} to {last}");
    assert!(last < first / 3.0, "loss {first} to {last}");

    let found = model.valid().infer(images.inner(), &sizes);
    for (image, (detections, target)) in found.iter().zip(&targets).enumerate() {
        let sure = detections
            .scores
            .iter()
            .filter(|score| **score > 0.5)
            .count();
        assert_eq!(
            sure,
            target.boxes.len(),
            "image {image}: {:?}",
            detections.scores
        );
        for (truth, bbox) in target.boxes.iter().enumerate() {
            let best = (0..sure)
                .max_by(|&a, &b| {
                    let overlap = |i: usize| iou(detections.boxes[i], *bbox);
                    overlap(a).total_cmp(&overlap(b))
                })
                .unwrap();
            assert_eq!(
                detections.labels[best], target.labels[truth],
                "image {image}"
            );
            let overlap = iou(detections.boxes[best], *bbox);
            assert!(overlap > 0.7, "image {image}: box IoU {overlap}");
            let probs = &detections.masks.as_ref().unwrap()[best];
            let mask = paste_mask(probs, 28, detections.boxes[best], 96, 96);
            let overlap = mask_iou(&mask, &target.masks.as_ref().unwrap()[truth]);
            assert!(overlap > 0.7, "image {image}: mask IoU {overlap}");
        }
    }
}

const STEPS: usize = 150;
