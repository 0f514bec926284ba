//! The whole detector.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::fpn::last_level;
use super::{
    AnchorGenerator, Architecture, BoxCoder, Detections, Fpn, LossDict, ProposalSelector,
    Proposals, RcnnConfig, RoiFeatures, RoiHeads, Rpn, RpnOutput, SampledRois, SamplingStats,
    Target,
};
use crate::{BatchNorm2d, ModelError, NormMode, ResNet, ResNetConfig, SyncGroup};

/// Mask R-CNN (He et al., arXiv 1703.06870), or Faster R-CNN (arXiv 1506.01497) where `mask` is
/// off, on a feature pyramid or on C4: detectron2's `GeneralizedRCNN`.
///
/// Images of several sizes lie padded in the top left of one batch; `sizes` are their own
/// `[height, width]`. Use [`Module::valid`] for inference without a gradient graph.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::ResNetConfig;
/// use inscon_model::detection::{RcnnConfig, Target};
/// use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
///
/// # fn main() -> Result<(), inscon_model::ModelError> {
/// let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
/// let device = Device::flex().autodiff();
/// let resnet = ResNetConfig { depth: 18, width: 0.25, output_stride: 32 };
/// let config = RcnnConfig {
///     num_classes: 2,
///     mask: false,
///     fpn_channels: 16,
///     fc_dim: 32,
///     ..Default::default()
/// };
/// let model = config.init(&resnet, &mut rng, &device)?;
/// let images = Tensor::zeros([1, 3, 64, 64], &device);
/// let target = Target { boxes: vec![[8.0, 8.0, 40.0, 40.0]], labels: vec![1], masks: None };
/// let losses = model.forward_train(images, &[[64, 64]], &[target], &mut rng);
/// let gradients = losses.total().backward();
/// # let _ = gradients;
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct GeneralizedRcnn {
    /// C2 to C5; on C4, `layer4` follows the pooling of RoIs.
    pub backbone: ResNet,
    /// P2 to P5; `None` on C4.
    pub fpn: Option<Fpn>,
    /// Proposals.
    pub rpn: Rpn,
    /// Classes, boxes, masks.
    pub roi_heads: RoiHeads,
    /// What it was made from.
    #[module(skip)]
    pub config: RcnnConfig,
    strides: [usize; 4],
}

impl RcnnConfig {
    /// A detector on a backbone with random weights; the backbone is drawn first.
    ///
    /// # Errors
    /// [`ModelError::Config`] for values that [`Self::validate`] or the backbone refuses.
    pub fn init(
        &self,
        resnet: &ResNetConfig,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<GeneralizedRcnn, ModelError> {
        self.validate()?;
        let backbone = resnet.init(rng, device)?;
        let channels = resnet.channels();
        let (fpn, rpn_channels) = match self.architecture {
            Architecture::Fpn => {
                let fpn = Fpn::new(channels, self.fpn_channels, self.fpn_norm, rng, device);
                (Some(fpn), self.fpn_channels)
            }
            Architecture::C4 => (None, channels[2]),
        };
        let mut model = GeneralizedRcnn {
            backbone,
            fpn,
            rpn: Rpn::new(self, rpn_channels, rng, device),
            roi_heads: RoiHeads::new(self, resnet, rng, device),
            config: self.clone(),
            strides: resnet.strides(),
        };
        for norm in model.backbone.norms_mut() {
            norm.epsilon = self.norm_epsilon;
        }
        Ok(model)
    }
}

impl GeneralizedRcnn {
    /// The maps that the RPN reads: P2 to P5 and, where there are five levels of anchors, P6; or
    /// C4 alone.
    ///
    /// With `training` the norms follow [`RcnnConfig::norm`]; otherwise all are at test.
    /// Frozen stages use running statistics and get no gradient.
    ///
    /// # Shapes
    /// - `images`: `[N, 3, H, W]`
    /// - output: `[N, C, H / stride, W / stride]`, rounded up
    #[must_use]
    pub fn features(&self, images: Tensor<4>, training: bool) -> Vec<Tensor<4>> {
        let mode = match training {
            true => self.config.norm.of_training(),
            false => NormMode::Eval,
        };
        let frozen = self.config.frozen_stages;
        let of_stage = |stage: usize| {
            if stage < frozen {
                NormMode::Frozen
            } else {
                mode
            }
        };
        let cut = |stage: usize, x: Tensor<4>| if stage < frozen { x.detach() } else { x };

        let x = cut(0, self.backbone.forward_stem(images, of_stage(0), 1));
        let layer = |stage: usize, x: Tensor<4>| {
            let x = self
                .backbone
                .forward_layer(stage - 1, x, of_stage(stage), 1);
            cut(stage, x)
        };
        let c2 = layer(1, x);
        let c3 = layer(2, c2.clone());
        let c4 = layer(3, c3.clone());
        let Some(fpn) = &self.fpn else {
            return vec![c4];
        };
        let c5 = layer(4, c4.clone());
        let mut features = fpn.forward([c2, c3, c4, c5], head_mode(training)).to_vec();
        if self.config.anchor_sizes.len() == 5 {
            features.push(last_level(features[3].clone()));
        }
        features
    }

    /// The RPN over the maps of [`features`](Self::features), its anchors level by level, and the
    /// proposals of each image. `sizes` are the images' own `[height, width]`.
    #[must_use]
    pub fn propose(
        &self,
        features: &[Tensor<4>],
        sizes: &[[usize; 2]],
        training: bool,
    ) -> (RpnOutput, Vec<Vec<[f32; 4]>>, Vec<Proposals>) {
        let config = &self.config;
        let rpn = self.rpn.forward(features);
        let anchors = rpn.anchors(&self.anchor_generator(), &self.anchor_strides());
        let (pre_nms, post_nms) = match training {
            true => (config.rpn_pre_nms_train, config.rpn_post_nms_train),
            false => (config.rpn_pre_nms_test, config.rpn_post_nms_test),
        };
        let selector = ProposalSelector {
            pre_nms,
            post_nms,
            nms: config.rpn_nms,
            min_size: config.rpn_min_size,
        };
        let proposals = rpn.proposals(selector, self.rpn_coder(), &anchors, sizes);
        (rpn, anchors, proposals)
    }

    /// What the RoI heads read of the maps of [`features`](Self::features).
    #[must_use]
    pub fn roi_features<'a>(&'a self, maps: &'a [Tensor<4>], training: bool) -> RoiFeatures<'a> {
        RoiFeatures {
            maps,
            strides: self.strides,
            backbone: self.fpn.is_none().then_some(&self.backbone),
            mode: head_mode(training),
        }
    }

    /// Every batch norm that trains takes its statistics over the devices of `group` from now on;
    /// `None` ends that. Each device calls the same forward and backward at the same time.
    pub fn synchronize(&mut self, group: Option<&SyncGroup>) {
        for norm in self.norms_mut() {
            norm.sync = group.cloned();
        }
    }

    /// Every batch norm.
    pub fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        let fpn = self.fpn.iter_mut().flat_map(Fpn::norms_mut);
        let heads = self.roi_heads.norms_mut();
        self.backbone.norms_mut().chain(fpn).chain(heads)
    }

    /// The losses of one batch. An image without ground truth trains as background.
    ///
    /// # Shapes
    /// - `images`: `[N, 3, H, W]`, normalised, padded
    ///
    /// # Panics
    /// If sizes or targets are not N, a size exceeds the batch's, a target's lengths differ, a
    /// label is not below `num_classes`, or a mask is missing or not of its image's size.
    pub fn forward_train(
        &self,
        images: Tensor<4>,
        sizes: &[[usize; 2]],
        targets: &[Target],
        rng: &mut impl Rng,
    ) -> LossDict {
        let config = &self.config;
        check_sizes(&images, sizes);
        check_targets(config, sizes, targets);
        let features = self.features(images, true);
        let (rpn, anchors, proposals) = self.propose(&features, sizes, true);
        let rpn_loss = rpn.loss(config, &anchors, sizes, targets, rng);
        let sampled = SampledRois::draw(config, &proposals, targets, rng);
        let roi_features = self.roi_features(&features, true);
        let roi_loss = self.roi_heads.loss(config, roi_features, &sampled, targets);
        LossDict {
            rpn_cls: rpn_loss.cls,
            rpn_box: rpn_loss.bbox,
            cls: roi_loss.cls,
            bbox: roi_loss.bbox,
            mask: roi_loss.mask,
            stats: SamplingStats {
                rpn_positives: rpn_loss.positives,
                rpn_negatives: rpn_loss.negatives,
                proposals: proposals.iter().map(|image| image.boxes.len()).sum(),
                non_finite_proposals: proposals.iter().map(|image| image.non_finite).sum(),
                roi_positives: sampled.positives,
                roi_negatives: sampled.rois.len() - sampled.positives,
            },
        }
    }

    /// Detections of each image, in the pixels of `images`.
    ///
    /// # Panics
    /// If sizes are not N, or a size exceeds the batch's.
    #[must_use]
    pub fn infer(&self, images: Tensor<4>, sizes: &[[usize; 2]]) -> Vec<Detections> {
        check_sizes(&images, sizes);
        let features = self.features(images, false);
        let (_, _, proposals) = self.propose(&features, sizes, false);
        let roi_features = self.roi_features(&features, false);
        self.roi_heads
            .infer(&self.config, roi_features, &proposals, sizes)
    }

    fn anchor_generator(&self) -> AnchorGenerator {
        let config = &self.config;
        AnchorGenerator::new(
            &config.anchor_sizes,
            &config.anchor_ratios,
            config.anchor_rounding,
        )
    }

    /// Strides of P2 to P5 and, if it is there, P6; or of C4.
    fn anchor_strides(&self) -> Vec<usize> {
        if self.fpn.is_none() {
            return vec![self.strides[2]];
        }
        let mut strides = self.strides.to_vec();
        strides.push(2 * self.strides[3]);
        strides.truncate(self.config.anchor_sizes.len());
        strides
    }

    fn rpn_coder(&self) -> BoxCoder {
        BoxCoder::new(self.config.rpn_box_weights, self.config.box_scale_clamp)
    }
}

/// Mode of the norms outside the backbone.
fn head_mode(training: bool) -> NormMode {
    if training {
        NormMode::Train
    } else {
        NormMode::Eval
    }
}

fn check_sizes(images: &Tensor<4>, sizes: &[[usize; 2]]) {
    let [n, _, height, width] = images.dims();
    assert_eq!(
        n,
        sizes.len(),
        "images {:?} and {} sizes",
        images.dims(),
        sizes.len()
    );
    for size in sizes {
        assert!(
            size[0] <= height && size[1] <= width,
            "image {size:?} in [{height}, {width}]"
        );
    }
}

fn check_targets(config: &RcnnConfig, sizes: &[[usize; 2]], targets: &[Target]) {
    assert_eq!(sizes.len(), targets.len(), "images and targets");
    for (image, (target, &[height, width])) in targets.iter().zip(sizes).enumerate() {
        let objects = target.boxes.len();
        assert_eq!(
            objects,
            target.labels.len(),
            "boxes and labels of image {image}"
        );
        let limit = config.num_classes;
        assert!(
            target.labels.iter().all(|&label| label < limit),
            "image {image}: labels {:?} of {limit} classes",
            target.labels
        );
        if config.mask && objects > 0 {
            let masks = target.masks.as_deref().unwrap_or_default();
            assert_eq!(objects, masks.len(), "boxes and masks of image {image}");
            for mask in masks {
                let found = [mask.height, mask.width];
                assert_eq!(found, [height, width], "mask and image {image}");
                assert_eq!(
                    mask.data.len(),
                    height * width,
                    "pixels of a mask of image {image}"
                );
            }
        }
    }
}
