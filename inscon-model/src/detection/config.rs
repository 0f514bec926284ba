//! Every value of the detector, by name.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, value};

use super::Preset;
use crate::{ModelError, NormMode};

/// What the detector is built around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// Feature pyramid over C2 to C5; the RoI heads pool from P2 to P5 (detectron2's
    /// `R_50_FPN`).
    #[default]
    Fpn,
    /// The RPN and the pooler read C4; each RoI goes through `layer4` (detectron2's `R_50_C4`,
    /// `Res5ROIHeads`).
    C4,
}

/// Which statistics the backbone's batch norms use while the detector trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackboneNorm {
    /// The batch's own, as the SyncBN recipes of self-supervised learning do; over several devices
    /// once [`GeneralizedRcnn::synchronize`](super::GeneralizedRcnn::synchronize) was called.
    #[default]
    Train,
    /// The running ones, and affine parameters without gradient (detectron2's `FrozenBN`).
    Frozen,
}

impl BackboneNorm {
    /// The mode of a stage that trains.
    pub(super) fn of_training(self) -> NormMode {
        match self {
            Self::Train => NormMode::Train,
            Self::Frozen => NormMode::Frozen,
        }
    }
}

/// Norm after each convolution of the FPN or of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConvNorm {
    /// None; the convolutions carry biases.
    #[default]
    None,
    /// Batch norm (the SyncBN of the COCO recipes); the convolutions carry no biases.
    Batch,
}

/// What the RPN's loss terms are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RpnNormalizer {
    /// `rpn_batch_per_image` times the images (detectron2).
    #[default]
    BatchSize,
    /// The anchors drawn (torchvision); the same unless an image has too few.
    Sampled,
}

/// How the mask of a RoI's ground truth becomes the mask head's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskTargets {
    /// Aligned RoIAlign of the mask, cut at one half (detectron2's `BitMasks.crop_and_resize`).
    #[default]
    Binary,
    /// RoIAlign without the half-pixel shift, shares kept (torchvision's
    /// `project_masks_on_boxes`).
    Soft,
}

/// Faster or Mask R-CNN, on a feature pyramid or on C4.
///
/// The defaults are detectron2's `R_50_FPN` files with an unfrozen backbone; the recipes of
/// `recipes.md` are [presets](Preset).
///
/// Every field scales down: a slim detector for 128-pixel images sets smaller `fpn_channels`,
/// `fc_dim`, `anchor_sizes`, numbers of proposals and `canonical_size`.
///
/// ```
/// use inscon_model::detection::RcnnConfig;
/// let slim = RcnnConfig { num_classes: 3, fpn_channels: 64, ..Default::default() };
/// assert!(slim.validate().is_ok());
///
/// let text = r#"{ "preset": "faster-rcnn-c4", "num_classes": 20 }"#;
/// let voc: RcnnConfig = serde_json::from_str(text).unwrap();
/// assert_eq!(voc, RcnnConfig { num_classes: 20, ..RcnnConfig::faster_rcnn_c4() });
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct RcnnConfig {
    /// On a pyramid or on C4.
    pub architecture: Architecture,
    /// Foreground classes; labels are `0..num_classes`.
    pub num_classes: usize,
    /// Whether there is a mask branch; without it this is Faster R-CNN.
    pub mask: bool,
    /// Batch statistics of the backbone.
    pub norm: BackboneNorm,
    /// Added to the variance by the backbone's batch norms; torchvision's COCO weights were
    /// trained with 0.
    pub norm_epsilon: f64,
    /// Backbone stages that do not train: 0 none, 1 the stem, 2 the stem and `layer1`, … 5 all
    /// (detectron2's `FREEZE_AT`). Frozen stages use running statistics.
    pub frozen_stages: usize,
    /// C4: whether a batch norm follows `layer4` (MoCo's `Res5ROIHeadsExtraNorm`).
    pub res5_norm: bool,
    /// FPN: channels of every level.
    pub fpn_channels: usize,
    /// FPN: norm of its convolutions.
    pub fpn_norm: ConvNorm,
    /// Anchor sizes in pixels. FPN: of P2, P3, P4, P5 and, where there is a fifth entry, P6; every
    /// level must have the same number. C4: one entry.
    pub anchor_sizes: Vec<Vec<f32>>,
    /// Anchor height over width.
    pub anchor_ratios: Vec<f32>,
    /// Whether anchors around the origin are rounded to whole pixels (torchvision).
    pub anchor_rounding: bool,
    /// RPN: anchors below this IoU with every box are background.
    pub rpn_negative_below: f32,
    /// RPN: anchors from this IoU on are foreground; in between they are ignored.
    pub rpn_positive_from: f32,
    /// RPN: whether each box's best anchors are foreground whatever their IoU.
    pub rpn_low_quality_matches: bool,
    /// RPN: anchors drawn in an image.
    pub rpn_batch_per_image: usize,
    /// RPN: share of foreground among them, at most.
    pub rpn_positive_fraction: f32,
    /// RPN: whether background may be drawn in the padding of a batch of unequal images, as
    /// detectron2 and torchvision do.
    pub rpn_sample_padding: bool,
    /// RPN: divisor of the losses.
    pub rpn_normalizer: RpnNormalizer,
    /// RPN: weights of the four box deltas.
    pub rpn_box_weights: [f32; 4],
    /// RPN: β of the smooth L1; 0 is L1.
    pub rpn_smooth_l1_beta: f64,
    /// RPN: IoU of the NMS within a level.
    pub rpn_nms: f32,
    /// RPN: proposals of a level before NMS, in training.
    pub rpn_pre_nms_train: usize,
    /// RPN: proposals of an image after NMS, in training.
    pub rpn_post_nms_train: usize,
    /// RPN: proposals of a level before NMS, at test.
    pub rpn_pre_nms_test: usize,
    /// RPN: proposals of an image after NMS, at test.
    pub rpn_post_nms_test: usize,
    /// RPN: proposals whose sides are not longer than this, in pixels, are dropped.
    pub rpn_min_size: f32,
    /// RoI heads: proposals drawn in an image.
    pub roi_batch_per_image: usize,
    /// RoI heads: share of foreground among them, at most.
    pub roi_positive_fraction: f32,
    /// RoI heads: proposals from this IoU on are foreground, the others background.
    pub roi_positive_from: f32,
    /// RoI heads: whether the ground truth joins the proposals in training.
    pub roi_append_ground_truth: bool,
    /// RoI heads: weights of the four box deltas.
    pub box_weights: [f32; 4],
    /// RoI heads: β of the smooth L1; 0 is L1.
    pub box_smooth_l1_beta: f64,
    /// Bound of a predicted change of log width and height, in both stages.
    pub box_scale_clamp: f32,
    /// Side in pixels of the box that is pooled from `pooler_canonical_level`.
    pub pooler_canonical_size: f32,
    /// The level of a box of `pooler_canonical_size`: 2 is P2, 5 is P5.
    pub pooler_canonical_level: usize,
    /// Sampling points of a RoIAlign bin along an axis; 0 is adaptive.
    pub pooler_sampling_ratio: usize,
    /// Whether RoIAlign shifts by half a cell (detectron2's v2).
    pub pooler_aligned: bool,
    /// Side of a pooled RoI for the boxes; C4 halves it in `layer4`.
    pub box_pooler_size: usize,
    /// FPN: side of the mask head's input; its output is twice as large. C4's mask head reads what
    /// the box head reads.
    pub mask_pooler_size: usize,
    /// FPN: 3×3 convolutions of the box head.
    pub box_convs: usize,
    /// FPN: their channels.
    pub box_conv_channels: usize,
    /// FPN: their norm.
    pub box_norm: ConvNorm,
    /// FPN: fully connected layers of the box head.
    pub fc_number: usize,
    /// FPN: their width.
    pub fc_dim: usize,
    /// 3×3 convolutions of the mask head.
    pub mask_convs: usize,
    /// Channels of the mask head.
    pub mask_channels: usize,
    /// Norm of the mask head's convolutions.
    pub mask_norm: ConvNorm,
    /// How the masks' targets are made.
    pub mask_targets: MaskTargets,
    /// Test: detections need a higher score.
    pub score_threshold: f32,
    /// Test: detections with a side shorter than this, in pixels, are dropped.
    pub box_min_size: f32,
    /// Test: IoU of the NMS within a class.
    pub nms: f32,
    /// Test: detections of an image, at most.
    pub detections_per_image: usize,
}

impl Default for RcnnConfig {
    fn default() -> Self {
        Self {
            architecture: Architecture::Fpn,
            num_classes: 80,
            mask: true,
            norm: BackboneNorm::Train,
            norm_epsilon: 1e-5,
            frozen_stages: 0,
            res5_norm: false,
            fpn_channels: 256,
            fpn_norm: ConvNorm::None,
            anchor_sizes: [32.0, 64.0, 128.0, 256.0, 512.0]
                .map(|size| vec![size])
                .to_vec(),
            anchor_ratios: vec![0.5, 1.0, 2.0],
            anchor_rounding: false,
            rpn_negative_below: 0.3,
            rpn_positive_from: 0.7,
            rpn_low_quality_matches: true,
            rpn_batch_per_image: 256,
            rpn_positive_fraction: 0.5,
            rpn_sample_padding: false,
            rpn_normalizer: RpnNormalizer::BatchSize,
            rpn_box_weights: [1.0; 4],
            rpn_smooth_l1_beta: 0.0,
            rpn_nms: 0.7,
            rpn_pre_nms_train: 2000,
            rpn_post_nms_train: 1000,
            rpn_pre_nms_test: 1000,
            rpn_post_nms_test: 1000,
            rpn_min_size: 0.0,
            roi_batch_per_image: 512,
            roi_positive_fraction: 0.25,
            roi_positive_from: 0.5,
            roi_append_ground_truth: true,
            box_weights: [10.0, 10.0, 5.0, 5.0],
            box_smooth_l1_beta: 0.0,
            box_scale_clamp: (1000.0f32 / 16.0).ln(),
            pooler_canonical_size: 224.0,
            pooler_canonical_level: 4,
            pooler_sampling_ratio: 0,
            pooler_aligned: true,
            box_pooler_size: 7,
            mask_pooler_size: 14,
            box_convs: 0,
            box_conv_channels: 256,
            box_norm: ConvNorm::None,
            fc_number: 2,
            fc_dim: 1024,
            mask_convs: 4,
            mask_channels: 256,
            mask_norm: ConvNorm::None,
            mask_targets: MaskTargets::Binary,
            score_threshold: 0.05,
            box_min_size: 0.0,
            nms: 0.5,
            detections_per_image: 100,
        }
    }
}

impl RcnnConfig {
    /// Checks the values against each other.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first bad field and the mend.
    pub fn validate(&self) -> Result<(), ModelError> {
        let error = |field: &'static str, value: String, mend: &str| {
            Err(ModelError::Config {
                field,
                value,
                mend: mend.to_owned(),
            })
        };
        let positive = [
            ("num_classes", self.num_classes),
            ("fpn_channels", self.fpn_channels),
            ("rpn_batch_per_image", self.rpn_batch_per_image),
            ("rpn_pre_nms_train", self.rpn_pre_nms_train),
            ("rpn_post_nms_train", self.rpn_post_nms_train),
            ("rpn_pre_nms_test", self.rpn_pre_nms_test),
            ("rpn_post_nms_test", self.rpn_post_nms_test),
            ("roi_batch_per_image", self.roi_batch_per_image),
            ("box_pooler_size", self.box_pooler_size),
            ("mask_pooler_size", self.mask_pooler_size),
            ("fc_dim", self.fc_dim),
            ("box_conv_channels", self.box_conv_channels),
            ("mask_channels", self.mask_channels),
        ];
        for (field, value) in positive {
            if value == 0 {
                return error(field, value.to_string(), "give at least 1");
            }
        }
        let per_level = self.anchor_sizes.first().map_or(0, Vec::len);
        if self.architecture == Architecture::C4 {
            if self.anchor_sizes.len() != 1 || per_level == 0 {
                let mend = "C4 is one level: give one list with all sizes";
                return error("anchor_sizes", format!("{:?}", self.anchor_sizes), mend);
            }
        } else if !matches!(self.anchor_sizes.len(), 4 | 5)
            || per_level == 0
            || self
                .anchor_sizes
                .iter()
                .any(|sizes| sizes.len() != per_level)
        {
            return error(
                "anchor_sizes",
                format!("{:?}", self.anchor_sizes),
                "give a list for P2, P3, P4, P5 and, if wanted, P6, all of the same length",
            );
        }
        let of_sizes = self
            .anchor_sizes
            .iter()
            .flatten()
            .copied()
            .collect::<Vec<_>>();
        let lengths: [(&'static str, &[f32]); 6] = [
            ("anchor_sizes", &of_sizes),
            ("anchor_ratios", &self.anchor_ratios),
            ("pooler_canonical_size", &[self.pooler_canonical_size]),
            ("rpn_box_weights", &self.rpn_box_weights),
            ("box_weights", &self.box_weights),
            ("box_scale_clamp", &[self.box_scale_clamp]),
        ];
        for (field, values) in lengths {
            if values.is_empty() || values.iter().any(|x| !x.is_finite() || *x <= 0.0) {
                return error(field, format!("{values:?}"), "give numbers above 0");
            }
        }
        let fractions = [
            ("rpn_negative_below", self.rpn_negative_below),
            ("rpn_positive_from", self.rpn_positive_from),
            ("rpn_positive_fraction", self.rpn_positive_fraction),
            ("rpn_nms", self.rpn_nms),
            ("roi_positive_fraction", self.roi_positive_fraction),
            ("roi_positive_from", self.roi_positive_from),
            ("score_threshold", self.score_threshold),
            ("nms", self.nms),
        ];
        for (field, value) in fractions {
            if !(0.0..=1.0).contains(&value) {
                return error(field, value.to_string(), "give a number from 0 to 1");
            }
        }
        if self.rpn_negative_below > self.rpn_positive_from {
            let mend = format!("rpn_positive_from is {}, swap them", self.rpn_positive_from);
            return error(
                "rpn_negative_below",
                self.rpn_negative_below.to_string(),
                &mend,
            );
        }
        if self.frozen_stages > 5 {
            let mend = "there are five stages, the stem and layer1 to layer4";
            return error("frozen_stages", self.frozen_stages.to_string(), mend);
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon >= 0.0) {
            let mend = "give a number from 0 on; batch norm's usual one is 1e-5";
            return error("norm_epsilon", self.norm_epsilon.to_string(), mend);
        }
        if !(2..=5).contains(&self.pooler_canonical_level) {
            let mend = "the levels that are pooled are 2, 3, 4 and 5";
            let value = self.pooler_canonical_level.to_string();
            return error("pooler_canonical_level", value, mend);
        }
        Ok(())
    }

    /// Convolutions and fully connected layers of the box head; C4 has neither.
    pub(super) fn box_layers(&self) -> [usize; 2] {
        match self.architecture {
            Architecture::Fpn => [self.box_convs, self.fc_number],
            Architecture::C4 => [0, 0],
        }
    }

    /// Anchors at one place of a level.
    #[must_use]
    pub fn anchors_per_location(&self) -> usize {
        self.anchor_sizes.first().map_or(0, Vec::len) * self.anchor_ratios.len()
    }
}

/// The given values over those of `preset`, or over the defaults.
impl<'de> Deserialize<'de> for RcnnConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut given = Map::<String, Value>::deserialize(deserializer)?;
        let base = match given.remove("preset") {
            Some(name) => Preset::deserialize(name)
                .map_err(D::Error::custom)?
                .config(),
            None => Self::default(),
        };
        let mut all = Self::serialize(&base, value::Serializer).map_err(D::Error::custom)?;
        if let Value::Object(all) = &mut all {
            all.extend(given);
        }
        Self::deserialize(all).map_err(D::Error::custom)
    }
}

impl Serialize for RcnnConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_serde() {
        let config = RcnnConfig::default();
        assert!(config.validate().is_ok());
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("\"norm\":\"train\"") && text.contains("\"fpn_norm\":\"none\""));
        assert_eq!(serde_json::from_str::<RcnnConfig>(&text).unwrap(), config);
        let frozen: RcnnConfig = serde_json::from_str("{\"norm\":\"frozen\"}").unwrap();
        assert_eq!(frozen.norm, BackboneNorm::Frozen);
        assert!(serde_json::from_str::<RcnnConfig>("{\"anchor_size\": 1}").is_err());
    }

    #[test]
    fn contradictions_are_named() {
        let message = |edit: fn(&mut RcnnConfig)| {
            let mut config = RcnnConfig::default();
            edit(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(message(|c| c.fc_dim = 0).contains("fc_dim"));
        assert!(message(|c| c.anchor_sizes = vec![vec![8.0]; 3]).contains("P2, P3"));
        assert!(message(|c| c.anchor_sizes[1].push(9.0)).contains("same length"));
        assert!(message(|c| c.architecture = Architecture::C4).contains("C4 is one level"));
        assert!(message(|c| c.norm_epsilon = -1.0).contains("norm_epsilon"));
        assert!(message(|c| c.rpn_negative_below = 0.8).contains("swap"));
        assert!(message(|c| c.frozen_stages = 6).contains("frozen_stages = 6"));
        assert!(message(|c| c.nms = f32::NAN).contains("nms"));
    }
}
