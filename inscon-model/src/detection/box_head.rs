//! The box head: fully connected layers, classes and class-specific boxes.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::MaskRcnnConfig;
use crate::{Linear, WeightInit};

/// detectron2's `FastRCNNConvFCHead` without convolutions and its `FastRCNNOutputLayers`.
#[derive(Module, Debug)]
pub struct BoxHead {
    /// Hidden layers, ReLU after each.
    pub fcs: Vec<Linear>,
    /// Logits of the classes and, last, of background.
    pub cls_score: Linear,
    /// Four deltas a class.
    pub bbox_pred: Linear,
}

impl BoxHead {
    /// Hidden layers by Caffe2's Xavier, class weights `N(0, .01²)`, box weights `N(0, .001²)`.
    pub fn new(config: &MaskRcnnConfig, rng: &mut impl Rng, device: &Device) -> Self {
        let mut input = config.fpn_channels * config.box_pooler_size.pow(2);
        let mut fcs = Vec::with_capacity(config.fc_number);
        for _ in 0..config.fc_number {
            fcs.push(Linear::new(
                input,
                config.fc_dim,
                WeightInit::XavierCaffe2,
                rng,
                device,
            ));
            input = config.fc_dim;
        }
        let classes = config.num_classes;
        Self {
            fcs,
            cls_score: Linear::new(input, classes + 1, WeightInit::Normal(0.01), rng, device),
            bbox_pred: Linear::new(input, 4 * classes, WeightInit::Normal(0.001), rng, device),
        }
    }

    /// # Shapes
    /// - `x`: `[R, C, side, side]`
    /// - output: logits `[R, classes + 1]`, deltas `[R, 4 · classes]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        let x = self
            .fcs
            .iter()
            .fold(x.flatten(1, 3), |x, fc| relu(fc.forward(x)));
        (self.cls_score.forward(x.clone()), self.bbox_pred.forward(x))
    }
}
