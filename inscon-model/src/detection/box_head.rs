//! The box head: convolutions and fully connected layers, classes and class-specific boxes.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::{NormedConv, RcnnConfig};
use crate::{BatchNorm2d, Linear, NormMode, WeightInit};

/// detectron2's `FastRCNNConvFCHead` and its `FastRCNNOutputLayers`. With neither convolutions nor
/// fully connected layers it predicts from the mean over a RoI's bins, as the C4 detectors do.
#[derive(Module, Debug)]
pub struct BoxHead {
    /// 3×3, norm and ReLU after each.
    pub convs: Vec<NormedConv>,
    /// Hidden layers, ReLU after each.
    pub fcs: Vec<Linear>,
    /// Logits of the classes and, last, of background.
    pub cls_score: Linear,
    /// Four deltas a class.
    pub bbox_pred: Linear,
}

impl BoxHead {
    /// A head over `[channels, side, side]`. Convolutions by Kaiming's normal of the fan-out,
    /// hidden layers by Caffe2's Xavier, class weights `N(0, .01²)`, box weights `N(0, .001²)`.
    pub fn new(
        config: &RcnnConfig,
        [channels, side]: [usize; 2],
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let [convs, fc_number] = config.box_layers();
        let mut input = channels;
        let convs = (0..convs)
            .map(|_| {
                let shape = [input, config.box_conv_channels, 3];
                let init = WeightInit::KaimingNormalFanOut;
                input = config.box_conv_channels;
                NormedConv::new(shape, config.box_norm, init, rng, device)
            })
            .collect();
        if fc_number > 0 {
            input *= side * side;
        }
        let mut fcs = Vec::with_capacity(fc_number);
        for _ in 0..fc_number {
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
            convs,
            fcs,
            cls_score: Linear::new(input, classes + 1, WeightInit::Normal(0.01), rng, device),
            bbox_pred: Linear::new(input, 4 * classes, WeightInit::Normal(0.001), rng, device),
        }
    }

    /// # Shapes
    /// - `x`: `[R, C, side, side]`
    /// - output: logits `[R, classes + 1]`, deltas `[R, 4 · classes]`
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, mode: NormMode) -> (Tensor<2>, Tensor<2>) {
        let convs = self.convs.iter();
        let x = convs.fold(x, |x, conv| conv.forward_relu(x, mode));
        let x = if self.fcs.is_empty() {
            let [rois, channels, height, width] = x.dims();
            let mean = x.reshape([rois, channels, height * width]).mean_dim(2);
            mean.reshape([rois, channels])
        } else {
            x.flatten(1, 3)
        };
        let x = self.fcs.iter().fold(x, |x, fc| relu(fc.forward(x)));
        (self.cls_score.forward(x.clone()), self.bbox_pred.forward(x))
    }

    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        self.convs.iter_mut().flat_map(NormedConv::norms_mut)
    }
}
