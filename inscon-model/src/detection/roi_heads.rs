//! The second stage: sampling of proposals, pooling, box head, mask head.

use burn::module::Module;
use burn::tensor::activation::{log_softmax, sigmoid, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;

use super::losses::{bce_with_logits, smooth_l1};
use super::{
    Architecture, BoxCoder, BoxHead, DetectionSelector, Detections, MaskHead, MaskTargets, Matcher,
    Proposals, RcnnConfig, Roi, RoiAlign, RoiPooler, Target, crop_and_resize, project_mask,
    sample_balanced,
};
use crate::{BatchNorm2d, NormMode, ResNet, ResNetConfig};

/// What the RoI heads read: the maps of a batch and, on C4, the backbone whose `layer4` follows
/// the pooling.
#[derive(Debug, Clone, Copy)]
pub struct RoiFeatures<'a> {
    /// FPN: P2 to P5, `[N, C, Hᵢ, Wᵢ]`; C4: that map alone.
    pub maps: &'a [Tensor<4>],
    /// Strides of C2 to C5 in image pixels.
    pub strides: [usize; 4],
    /// C4: the backbone.
    pub backbone: Option<&'a ResNet>,
    /// Mode of the heads' norms and of `layer4`'s.
    pub mode: NormMode,
}

/// Box head and mask head (detectron2's `StandardROIHeads` on a pyramid, `Res5ROIHeads` on C4).
///
/// C4's `layer4` is the backbone's own, so that a pretrained backbone is taken whole.
#[derive(Module, Debug)]
pub struct RoiHeads {
    /// C4: after `layer4`, where [`res5_norm`](RcnnConfig::res5_norm) asks for it.
    pub res5_norm: Option<BatchNorm2d>,
    /// Classes and boxes.
    pub box_head: BoxHead,
    /// Masks; `None` in Faster R-CNN.
    pub mask_head: Option<MaskHead>,
}

/// The RoIs drawn for training; the first `positives` are foreground.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledRois {
    /// The regions.
    pub rois: Vec<Roi>,
    /// Class of each; `num_classes` is background.
    pub labels: Vec<usize>,
    /// Index of the ground truth of each foreground RoI in its image.
    pub truth: Vec<usize>,
    /// Number of foreground RoIs.
    pub positives: usize,
}

/// The heads' loss terms.
#[derive(Debug, Clone)]
pub struct RoiLoss {
    /// Softmax cross-entropy, mean over the RoIs, `[1]`.
    pub cls: Tensor<1>,
    /// Smooth L1 of the foreground, divided by the number of RoIs, `[1]`.
    pub bbox: Tensor<1>,
    /// Binary cross-entropy, mean over the foreground's mask cells, `[1]`.
    pub mask: Option<Tensor<1>>,
}

impl SampledRois {
    /// Draws `roi_batch_per_image` RoIs of every image among its proposals and, if so configured,
    /// its ground truth.
    pub fn draw(
        config: &RcnnConfig,
        proposals: &[Proposals],
        targets: &[Target],
        rng: &mut impl Rng,
    ) -> Self {
        let threshold = config.roi_positive_from;
        let matcher = Matcher {
            negative_below: threshold,
            positive_from: threshold,
            low_quality_matches: false,
        };
        let (mut foreground, mut background) = (Vec::new(), Vec::new());
        for (image, (proposals, target)) in proposals.iter().zip(targets).enumerate() {
            let mut boxes = proposals.boxes.clone();
            if config.roi_append_ground_truth {
                let finite = target
                    .boxes
                    .iter()
                    .filter(|b| b.iter().all(|x| x.is_finite()));
                boxes.extend(finite);
            }
            let matches = matcher.matches(&target.boxes, &boxes);
            let (positives, negatives) = sample_balanced(
                &matches.labels,
                config.roi_batch_per_image,
                config.roi_positive_fraction,
                rng,
            );
            let roi = |index: usize| Roi {
                image,
                bbox: boxes[index],
            };
            for index in positives {
                let truth = matches.truth[index];
                foreground.push((roi(index), target.labels[truth], truth));
            }
            background.extend(negatives.into_iter().map(roi));
        }
        let positives = foreground.len();
        let mut rois: Vec<Roi> = foreground.iter().map(|(roi, ..)| *roi).collect();
        let mut labels: Vec<usize> = foreground.iter().map(|(_, label, _)| *label).collect();
        let truth = foreground.iter().map(|(.., truth)| *truth).collect();
        rois.extend(background);
        labels.resize(rois.len(), config.num_classes);
        Self {
            rois,
            labels,
            truth,
            positives,
        }
    }
}

impl RoiHeads {
    /// The heads that `config` describes, on a backbone of `resnet`.
    pub fn new(
        config: &RcnnConfig,
        resnet: &ResNetConfig,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let [.., c5] = resnet.channels();
        let (channels, side) = match config.architecture {
            Architecture::Fpn => (config.fpn_channels, config.box_pooler_size),
            Architecture::C4 => (c5, config.box_pooler_size.div_ceil(2)),
        };
        let res5_norm = config.architecture == Architecture::C4 && config.res5_norm;
        Self {
            res5_norm: res5_norm.then(|| BatchNorm2d::new(channels, device)),
            box_head: BoxHead::new(config, [channels, side], rng, device),
            mask_head: config
                .mask
                .then(|| MaskHead::new(config, channels, rng, device)),
        }
    }

    /// What the box head reads of each RoI: `[R, C, side, side]`.
    #[must_use]
    pub fn box_features(
        &self,
        config: &RcnnConfig,
        features: RoiFeatures<'_>,
        rois: &[Roi],
    ) -> Tensor<4> {
        let Some(backbone) = features.backbone else {
            return pooler(config, features.strides, config.box_pooler_size)
                .forward(features.maps, rois);
        };
        let align = RoiAlign {
            output: config.box_pooler_size,
            spatial_scale: 1.0 / features.strides[2] as f32,
            sampling_ratio: config.pooler_sampling_ratio,
            aligned: config.pooler_aligned,
        };
        let x = align.forward(features.maps[0].clone(), rois);
        let frozen = config.frozen_stages > 4;
        let mode = match (frozen, features.mode, config.norm.of_training()) {
            (true, ..) => NormMode::Frozen,
            (false, NormMode::Train, of_training) => of_training,
            (false, mode, _) => mode,
        };
        let x = backbone.forward_layer(3, x, mode, 1);
        let x = if frozen { x.detach() } else { x };
        match &self.res5_norm {
            Some(norm) => norm.forward(x, features.mode, 1),
            None => x,
        }
    }

    /// Losses over the drawn RoIs.
    ///
    /// # Panics
    /// If there is a mask head and a target with a foreground RoI has no masks, or if C4's
    /// backbone is missing.
    #[must_use]
    pub fn loss(
        &self,
        config: &RcnnConfig,
        features: RoiFeatures<'_>,
        sampled: &SampledRois,
        targets: &[Target],
    ) -> RoiLoss {
        check_backbone(config, features);
        let device = features.maps[0].device();
        let zero = || Tensor::zeros([1], &device);
        let number = sampled.rois.len();
        if number == 0 {
            return RoiLoss {
                cls: zero(),
                bbox: zero(),
                mask: self.mask_head.as_ref().map(|_| zero()),
            };
        }
        let pooled = self.box_features(config, features, &sampled.rois);
        let mask = self.mask_head.as_ref().map(|head| {
            if sampled.positives == 0 {
                return zero();
            }
            let pooled = match config.architecture {
                Architecture::Fpn => pooler(config, features.strides, config.mask_pooler_size)
                    .forward(features.maps, &sampled.rois[..sampled.positives]),
                Architecture::C4 => pooled.clone().narrow(0, 0, sampled.positives),
            };
            let labels = &sampled.labels[..sampled.positives];
            let logits = head.forward(pooled, labels, features.mode);
            let wanted = mask_targets(config, sampled, targets, logits.dims()[1]);
            let wanted = Tensor::from_data(TensorData::new(wanted, logits.dims()), &device);
            bce_with_logits(logits, wanted).mean()
        });
        let (logits, deltas) = self.box_head.forward(pooled, features.mode);

        let labels: Vec<i64> = sampled.labels.iter().map(|&label| label as i64).collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [number, 1]), &device);
        let cls = log_softmax(logits, 1).gather(1, labels).mean().neg();

        let bbox = if sampled.positives == 0 {
            zero()
        } else {
            let coder = BoxCoder::new(config.box_weights, config.box_scale_clamp);
            let (mut rows, mut wanted) = (Vec::new(), Vec::new());
            for i in 0..sampled.positives {
                let Roi { image, bbox } = sampled.rois[i];
                rows.push((i * config.num_classes + sampled.labels[i]) as i64);
                wanted.extend(coder.encode(bbox, targets[image].boxes[sampled.truth[i]]));
            }
            let rows = TensorData::new(rows, [sampled.positives]);
            let rows = Tensor::<1, Int>::from_data(rows, &device);
            let wanted = TensorData::new(wanted, [sampled.positives, 4]);
            let wanted = Tensor::from_data(wanted, &device);
            let deltas = deltas
                .reshape([number * config.num_classes, 4])
                .select(0, rows);
            smooth_l1(deltas, wanted, config.box_smooth_l1_beta).sum() / number as f64
        };
        RoiLoss { cls, bbox, mask }
    }

    /// Detections of each image; `sizes` are the images' `[height, width]`.
    ///
    /// # Panics
    /// If C4's backbone is missing.
    #[must_use]
    pub fn infer(
        &self,
        config: &RcnnConfig,
        features: RoiFeatures<'_>,
        proposals: &[Proposals],
        sizes: &[[usize; 2]],
    ) -> Vec<Detections> {
        check_backbone(config, features);
        let classes = config.num_classes;
        let rois = rois_of(proposals.iter().map(|proposals| &proposals.boxes));
        let row = classes + 1 + 4 * classes;
        let values: Vec<f32> = if rois.is_empty() {
            Vec::new()
        } else {
            let pooled = self.box_features(config, features, &rois);
            let (logits, deltas) = self.box_head.forward(pooled, features.mode);
            let both = Tensor::cat(vec![softmax(logits, 1), deltas], 1);
            both.into_data().iter().collect()
        };
        let selector = DetectionSelector {
            score_threshold: config.score_threshold,
            min_size: config.box_min_size,
            nms: config.nms,
            limit: config.detections_per_image,
        };
        let coder = BoxCoder::new(config.box_weights, config.box_scale_clamp);
        let mut rows = values.chunks_exact(row);
        let mut found = Vec::with_capacity(proposals.len());
        for (proposals, &size) in proposals.iter().zip(sizes) {
            let (mut probabilities, mut deltas) = (Vec::new(), Vec::new());
            for row in rows.by_ref().take(proposals.boxes.len()) {
                probabilities.extend_from_slice(&row[..classes + 1]);
                deltas.extend_from_slice(&row[classes + 1..]);
            }
            let boxes = &proposals.boxes;
            found.push(selector.select(&probabilities, &deltas, boxes, classes, coder, size));
        }
        if let Some(head) = &self.mask_head {
            self.add_masks(head, config, features, &mut found);
        }
        found
    }

    fn add_masks(
        &self,
        head: &MaskHead,
        config: &RcnnConfig,
        features: RoiFeatures<'_>,
        found: &mut [Detections],
    ) {
        let rois = rois_of(found.iter().map(|detections| &detections.boxes));
        let (side, values): (usize, Vec<f32>) = if rois.is_empty() {
            let side = match config.architecture {
                Architecture::Fpn => config.mask_pooler_size,
                // `layer4` halves it unless the backbone's output stride is 16.
                Architecture::C4 => (config.box_pooler_size * 16).div_ceil(features.strides[3]),
            };
            (2 * side, Vec::new())
        } else {
            let classes: Vec<usize> = found.iter().flat_map(|d| d.labels.clone()).collect();
            let pooled = match config.architecture {
                Architecture::Fpn => pooler(config, features.strides, config.mask_pooler_size)
                    .forward(features.maps, &rois),
                Architecture::C4 => self.box_features(config, features, &rois),
            };
            let probabilities = sigmoid(head.forward(pooled, &classes, features.mode));
            (
                probabilities.dims()[1],
                probabilities.into_data().iter().collect(),
            )
        };
        let mut masks = values
            .chunks_exact((side * side).max(1))
            .map(<[f32]>::to_vec);
        for detections in found {
            detections.masks = Some(masks.by_ref().take(detections.len()).collect());
            detections.mask_side = side;
        }
    }

    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm2d> {
        let masks = self.mask_head.iter_mut().flat_map(MaskHead::norms_mut);
        let boxes = self.box_head.norms_mut();
        self.res5_norm.iter_mut().chain(boxes).chain(masks)
    }
}

fn check_backbone(config: &RcnnConfig, features: RoiFeatures<'_>) {
    assert!(
        (config.architecture == Architecture::C4) == features.backbone.is_some(),
        "RoI heads on C4 need the backbone, those on a pyramid have none"
    );
}

fn rois_of<'a>(boxes: impl Iterator<Item = &'a Vec<[f32; 4]>>) -> Vec<Roi> {
    let boxes = boxes.enumerate();
    boxes
        .flat_map(|(image, list)| list.iter().map(move |&bbox| Roi { image, bbox }))
        .collect()
}

fn pooler(config: &RcnnConfig, strides: [usize; 4], output: usize) -> RoiPooler {
    RoiPooler {
        output,
        strides,
        sampling_ratio: config.pooler_sampling_ratio,
        aligned: config.pooler_aligned,
        canonical_size: config.pooler_canonical_size,
        canonical_level: config.pooler_canonical_level,
    }
}

/// The masks of the foreground RoIs' ground truth, `[positives, side, side]`, in 0..=1.
fn mask_targets(
    config: &RcnnConfig,
    sampled: &SampledRois,
    targets: &[Target],
    side: usize,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(sampled.positives * side * side);
    for (roi, &truth) in sampled.rois.iter().zip(&sampled.truth) {
        let masks = targets[roi.image].masks.as_ref();
        let masks = masks.unwrap_or_else(|| {
            panic!(
                "image {} of the batch has boxes but no masks: turn the mask branch off",
                roi.image
            )
        });
        let mask = &masks[truth];
        match config.mask_targets {
            MaskTargets::Soft => out.extend(project_mask(mask, roi.bbox, side, false)),
            MaskTargets::Binary => {
                let cells = crop_and_resize(mask, roi.bbox, side);
                out.extend(cells.into_iter().map(|cell| f32::from(u8::from(cell))));
            }
        }
    }
    out
}
