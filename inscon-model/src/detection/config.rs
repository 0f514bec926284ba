//! Every value of the detector, by name.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Which statistics the backbone's batch norms use while the detector trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackboneNorm {
    /// The batch's own, as the SyncBN recipes of self-supervised learning do.
    #[default]
    Train,
    /// The running ones, and affine parameters without gradient (detectron2's `FrozenBN`).
    Frozen,
}

/// Norm after each convolution of the FPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FpnNorm {
    /// None; the convolutions carry biases.
    #[default]
    None,
    /// Batch norm (the SyncBN of the COCO recipes); the convolutions carry no biases.
    Batch,
}

/// Mask R-CNN (or Faster R-CNN) with FPN; the defaults are detectron2's `R_50_FPN` files in the D
/// variant of `recipes.md`, with an unfrozen backbone.
///
/// Every field scales down: a slim detector for 128-pixel images sets smaller `fpn_channels`,
/// `fc_dim`, `anchor_sizes`, numbers of proposals and `canonical_size`.
///
/// ```
/// use inscon_model::detection::MaskRcnnConfig;
/// let slim = MaskRcnnConfig { num_classes: 3, fpn_channels: 64, ..Default::default() };
/// assert!(slim.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskRcnnConfig {
    /// Foreground classes; labels are `0..num_classes`.
    pub num_classes: usize,
    /// Whether there is a mask branch; without it this is Faster R-CNN.
    pub mask: bool,
    /// Batch statistics of the backbone.
    pub norm: BackboneNorm,
    /// Backbone stages that do not train: 0 none, 1 the stem, 2 the stem and `layer1`, … 5 all
    /// (detectron2's `FREEZE_AT`). Frozen stages use running statistics.
    pub frozen_stages: usize,
    /// Channels of every FPN level.
    pub fpn_channels: usize,
    /// Norm of the FPN.
    pub fpn_norm: FpnNorm,
    /// Anchor sizes in pixels of P2, P3, P4, P5 and, where there is a fifth entry, P6. Every level
    /// must have the same number.
    pub anchor_sizes: Vec<Vec<f32>>,
    /// Anchor height over width.
    pub anchor_ratios: Vec<f32>,
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
    /// Side of the box head's input.
    pub box_pooler_size: usize,
    /// Side of the mask head's input; its output is twice as large.
    pub mask_pooler_size: usize,
    /// Fully connected layers of the box head.
    pub fc_number: usize,
    /// Their width.
    pub fc_dim: usize,
    /// 3×3 convolutions of the mask head.
    pub mask_convs: usize,
    /// Their channels.
    pub mask_channels: usize,
    /// Test: detections need a higher score.
    pub score_threshold: f32,
    /// Test: IoU of the NMS within a class.
    pub nms: f32,
    /// Test: detections of an image, at most.
    pub detections_per_image: usize,
}

impl Default for MaskRcnnConfig {
    fn default() -> Self {
        Self {
            num_classes: 80,
            mask: true,
            norm: BackboneNorm::Train,
            frozen_stages: 0,
            fpn_channels: 256,
            fpn_norm: FpnNorm::None,
            anchor_sizes: [32.0, 64.0, 128.0, 256.0, 512.0]
                .map(|size| vec![size])
                .to_vec(),
            anchor_ratios: vec![0.5, 1.0, 2.0],
            rpn_negative_below: 0.3,
            rpn_positive_from: 0.7,
            rpn_low_quality_matches: true,
            rpn_batch_per_image: 256,
            rpn_positive_fraction: 0.5,
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
            box_pooler_size: 7,
            mask_pooler_size: 14,
            fc_number: 2,
            fc_dim: 1024,
            mask_convs: 4,
            mask_channels: 256,
            score_threshold: 0.05,
            nms: 0.5,
            detections_per_image: 100,
        }
    }
}

impl MaskRcnnConfig {
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
            ("fc_number", self.fc_number),
            ("fc_dim", self.fc_dim),
            ("mask_convs", self.mask_convs),
            ("mask_channels", self.mask_channels),
        ];
        for (field, value) in positive {
            if value == 0 {
                return error(field, value.to_string(), "give at least 1");
            }
        }
        let per_level = self.anchor_sizes.first().map_or(0, Vec::len);
        if !matches!(self.anchor_sizes.len(), 4 | 5)
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
        if !(2..=5).contains(&self.pooler_canonical_level) {
            let mend = "the levels that are pooled are 2, 3, 4 and 5";
            let value = self.pooler_canonical_level.to_string();
            return error("pooler_canonical_level", value, mend);
        }
        Ok(())
    }

    /// Anchors at one place of a level.
    #[must_use]
    pub fn anchors_per_location(&self) -> usize {
        self.anchor_sizes.first().map_or(0, Vec::len) * self.anchor_ratios.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_serde() {
        let config = MaskRcnnConfig::default();
        assert!(config.validate().is_ok());
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("\"norm\":\"train\"") && text.contains("\"fpn_norm\":\"none\""));
        assert_eq!(
            serde_json::from_str::<MaskRcnnConfig>(&text).unwrap(),
            config
        );
        let frozen: MaskRcnnConfig = serde_json::from_str("{\"norm\":\"frozen\"}").unwrap();
        assert_eq!(frozen.norm, BackboneNorm::Frozen);
        assert!(serde_json::from_str::<MaskRcnnConfig>("{\"anchor_size\": 1}").is_err());
    }

    #[test]
    fn contradictions_are_named() {
        let message = |edit: fn(&mut MaskRcnnConfig)| {
            let mut config = MaskRcnnConfig::default();
            edit(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(message(|c| c.fc_dim = 0).contains("fc_dim"));
        assert!(message(|c| c.anchor_sizes = vec![vec![8.0]; 3]).contains("P2, P3"));
        assert!(message(|c| c.anchor_sizes[1].push(9.0)).contains("same length"));
        assert!(message(|c| c.rpn_negative_below = 0.8).contains("swap"));
        assert!(message(|c| c.frozen_stages = 6).contains("frozen_stages = 6"));
        assert!(message(|c| c.nms = f32::NAN).contains("nms"));
    }
}
