//! Everything a detector computes of one batch, by the names of `fixtures/torchvision_detectors.py`.

#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use inscon_model::detection::{GeneralizedRcnn, RcnnConfig, Roi, RoiPooler, Target};
use inscon_model::{NormMode, ResNetConfig, StateDict, Strictness, load_state_dict};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
use serde::Deserialize;

/// A case of the script.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub resnet: ResNetConfig,
    pub detector: RcnnConfig,
    /// `[height, width]` of each image.
    pub sizes: Vec<[usize; 2]>,
    /// Parameters whose gradients are wanted.
    pub gradients: Vec<String>,
}

/// What goes in besides the weights.
pub struct Inputs {
    pub images: TensorData,
    pub targets: Vec<Target>,
    pub rois: Vec<Roi>,
}

pub type Outputs = BTreeMap<String, TensorData>;

pub fn model(case: &Case, weights: &StateDict, device: &Device) -> GeneralizedRcnn {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let model = case
        .detector
        .init(&case.resnet, &mut rng, device)
        .unwrap_or_else(|error| panic!("{error}"));
    let loaded = load_state_dict(model, weights, "", Strictness::Exact);
    loaded.unwrap_or_else(|error| panic!("{error}")).0
}

/// Inference with `weights`, then one training step.
pub fn run(case: &Case, weights: &StateDict, inputs: &Inputs) -> Outputs {
    let mut out = Outputs::new();
    infer(
        case,
        &model(case, weights, &Device::flex()),
        inputs,
        &mut out,
    );
    let device = Device::flex().autodiff();
    train(case, &model(case, weights, &device), inputs, &mut out);
    out
}

fn infer(case: &Case, model: &GeneralizedRcnn, inputs: &Inputs, out: &mut Outputs) {
    let device = Device::flex();
    let config = &case.detector;
    let images = Tensor::<4>::from_data(inputs.images.clone(), &device);
    let maps = model.features(images.clone(), false);
    for (level, map) in maps.iter().enumerate() {
        out.insert(format!("feature.{level}"), map.to_data());
    }
    let (rpn, _, proposals) = model.propose(&maps, &case.sizes, false);
    out.insert("rpn.logits".into(), rpn.logits.to_data());
    out.insert("rpn.deltas".into(), rpn.deltas.to_data());
    for (image, found) in proposals.iter().enumerate() {
        out.insert(format!("proposals.{image}"), boxes(&found.boxes));
    }

    let features = model.roi_features(&maps, false);
    let heads = &model.roi_heads;
    let pooled = heads.box_features(config, features, &inputs.rois);
    if model.fpn.is_some() {
        out.insert("roi.pooled".into(), pooled.to_data());
    } else {
        let align = inscon_model::detection::RoiAlign {
            output: config.box_pooler_size,
            spatial_scale: 1.0 / 16.0,
            sampling_ratio: config.pooler_sampling_ratio,
            aligned: config.pooler_aligned,
        };
        let pooled = align.forward(maps[0].clone(), &inputs.rois);
        out.insert("roi.pooled".into(), pooled.to_data());
    }
    let (logits, deltas) = heads.box_head.forward(pooled, NormMode::Eval);
    out.insert("roi.logits".into(), logits.to_data());
    out.insert("roi.deltas".into(), deltas.to_data());
    if let Some(head) = &heads.mask_head {
        let pooler = RoiPooler {
            output: config.mask_pooler_size,
            strides: features.strides,
            sampling_ratio: config.pooler_sampling_ratio,
            aligned: config.pooler_aligned,
            canonical_size: config.pooler_canonical_size,
            canonical_level: config.pooler_canonical_level,
        };
        let classes: Vec<usize> = (0..inputs.rois.len())
            .map(|i| i % config.num_classes)
            .collect();
        let pooled = pooler.forward(&maps, &inputs.rois);
        let masks = head.forward(pooled, &classes, NormMode::Eval);
        out.insert("roi.masks".into(), masks.to_data());
    }
    for (image, found) in model.infer(images, &case.sizes).into_iter().enumerate() {
        let n = found.len();
        let mut put = |what: &str, data| out.insert(format!("detections.{image}.{what}"), data);
        put("boxes", boxes(&found.boxes));
        put("scores", TensorData::new(found.scores, [n]));
        let labels = found.labels.iter().map(|&label| label as f32).collect();
        put("labels", TensorData::new(labels, [n]));
        if let Some(masks) = found.masks {
            let side = found.mask_side;
            put("masks", TensorData::new(masks.concat(), [n, side, side]));
        }
    }
}

fn train(case: &Case, model: &GeneralizedRcnn, inputs: &Inputs, out: &mut Outputs) {
    let device = Device::flex().autodiff();
    let images = Tensor::<4>::from_data(inputs.images.clone(), &device);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let losses = model.forward_train(images, &case.sizes, &inputs.targets, &mut rng);
    for (name, term) in losses.terms() {
        out.insert(name.into(), term.inner().into_data());
    }
    let mut collect = Collect {
        gradients: losses.total().backward(),
        wanted: &case.gradients,
        path: Vec::new(),
        out,
    };
    model.visit(&mut collect);
}

fn boxes(boxes: &[[f32; 4]]) -> TensorData {
    TensorData::new(boxes.concat(), [boxes.len(), 4])
}

struct Collect<'a> {
    gradients: Gradients,
    wanted: &'a [String],
    path: Vec<String>,
    out: &'a mut Outputs,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        if self.wanted.contains(&name) {
            let gradient = param
                .val()
                .grad(&self.gradients)
                .unwrap_or_else(|| panic!("{name} has no gradient"));
            self.out
                .insert(format!("gradient.{name}"), gradient.into_data());
        }
    }
}
