//! The recipes by name.

use serde::{Deserialize, Serialize};

use super::{Architecture, BackboneNorm, ConvNorm, MaskTargets, RcnnConfig, RpnNormalizer};

/// Named sets of values: `preset = "faster-rcnn-c4"` in a configuration file, under which the
/// other keys then change single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// [`RcnnConfig::mask_rcnn_fpn_d`].
    MaskRcnnFpnD,
    /// [`RcnnConfig::mask_rcnn_fpn_p`].
    MaskRcnnFpnP,
    /// [`RcnnConfig::faster_rcnn_c4`].
    FasterRcnnC4,
    /// [`RcnnConfig::torchvision_fasterrcnn_fpn`].
    TorchvisionFasterrcnnFpn,
    /// [`RcnnConfig::torchvision_maskrcnn_fpn`].
    TorchvisionMaskrcnnFpn,
}

impl Preset {
    /// Its values.
    #[must_use]
    pub fn config(self) -> RcnnConfig {
        match self {
            Self::MaskRcnnFpnD => RcnnConfig::mask_rcnn_fpn_d(),
            Self::MaskRcnnFpnP => RcnnConfig::mask_rcnn_fpn_p(),
            Self::FasterRcnnC4 => RcnnConfig::faster_rcnn_c4(),
            Self::TorchvisionFasterrcnnFpn => RcnnConfig::torchvision_fasterrcnn_fpn(),
            Self::TorchvisionMaskrcnnFpn => RcnnConfig::torchvision_maskrcnn_fpn(),
        }
    }
}

impl RcnnConfig {
    /// Mask R-CNN with FPN, variant D of `recipes.md` (MoCo, DetCo): two fully connected layers in
    /// the box head, norm in the FPN, none in the heads.
    #[must_use]
    pub fn mask_rcnn_fpn_d() -> Self {
        Self {
            fpn_norm: ConvNorm::Batch,
            ..Self::default()
        }
    }

    /// Mask R-CNN with FPN, variant P of `recipes.md` (DenseCL, InsLoc, PixPro, SoCo): four
    /// convolutions and one fully connected layer in the box head, norm in FPN and heads.
    #[must_use]
    pub fn mask_rcnn_fpn_p() -> Self {
        Self {
            fpn_norm: ConvNorm::Batch,
            box_convs: 4,
            box_norm: ConvNorm::Batch,
            fc_number: 1,
            mask_norm: ConvNorm::Batch,
            ..Self::default()
        }
    }

    /// Faster R-CNN on C4 as MoCo fine-tunes on PASCAL VOC (`recipes.md`): 20 classes, all five
    /// anchor sizes on stride 16, RoIAlign 14×14 → `layer4` → norm → mean.
    #[must_use]
    pub fn faster_rcnn_c4() -> Self {
        Self {
            architecture: Architecture::C4,
            num_classes: 20,
            mask: false,
            res5_norm: true,
            anchor_sizes: vec![vec![32.0, 64.0, 128.0, 256.0, 512.0]],
            rpn_pre_nms_train: 12_000,
            rpn_post_nms_train: 2000,
            rpn_pre_nms_test: 6000,
            rpn_post_nms_test: 1000,
            box_pooler_size: 14,
            mask_convs: 0,
            ..Self::default()
        }
    }

    /// torchvision's `fasterrcnn_resnet50_fpn`, to run its weights or to be compared with it.
    ///
    /// torchvision takes an anchor's stride from the padded image's size and the map's, so its P6
    /// has another stride than 64 where the padded side is not a multiple of 64.
    #[must_use]
    pub fn torchvision_fasterrcnn_fpn() -> Self {
        Self {
            num_classes: 90,
            mask: false,
            norm: BackboneNorm::Frozen,
            norm_epsilon: 0.0,
            frozen_stages: 2,
            anchor_rounding: true,
            rpn_sample_padding: true,
            rpn_normalizer: RpnNormalizer::Sampled,
            rpn_smooth_l1_beta: 1.0 / 9.0,
            rpn_pre_nms_train: 2000,
            rpn_post_nms_train: 2000,
            rpn_min_size: 1e-3,
            box_smooth_l1_beta: 1.0 / 9.0,
            pooler_sampling_ratio: 2,
            pooler_aligned: false,
            mask_targets: MaskTargets::Soft,
            box_min_size: 1e-2,
            ..Self::default()
        }
    }

    /// torchvision's `maskrcnn_resnet50_fpn`: [`Self::torchvision_fasterrcnn_fpn`] with masks.
    #[must_use]
    pub fn torchvision_maskrcnn_fpn() -> Self {
        Self {
            mask: true,
            ..Self::torchvision_fasterrcnn_fpn()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_lie_under_the_other_keys() {
        for preset in [
            Preset::MaskRcnnFpnD,
            Preset::MaskRcnnFpnP,
            Preset::FasterRcnnC4,
            Preset::TorchvisionFasterrcnnFpn,
            Preset::TorchvisionMaskrcnnFpn,
        ] {
            let config = preset.config();
            assert!(config.validate().is_ok(), "{preset:?}");
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<RcnnConfig>(&text).unwrap(), config);
            let mut given = serde_json::json!({ "rpn_nms": 0.6 });
            given["preset"] = serde_json::to_value(preset).unwrap();
            let mut config = config;
            config.rpn_nms = 0.6;
            assert_eq!(serde_json::from_value::<RcnnConfig>(given).unwrap(), config);
        }
        let error = |text| {
            serde_json::from_str::<RcnnConfig>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(error("{\"preset\": \"yolo\"}").contains("faster-rcnn-c4"));
        assert!(error("{\"preset\": \"faster-rcnn-c4\", \"rpn\": 1}").contains("rpn"));
    }

    /// The values of `recipes.md`.
    #[test]
    fn c4_is_the_voc_recipe() {
        let c4 = RcnnConfig::faster_rcnn_c4();
        assert_eq!(c4.anchors_per_location(), 15);
        assert_eq!(
            (c4.rpn_pre_nms_train, c4.rpn_post_nms_train),
            (12_000, 2000)
        );
        assert_eq!((c4.rpn_pre_nms_test, c4.rpn_post_nms_test), (6000, 1000));
        assert!(c4.res5_norm && c4.norm == BackboneNorm::Train && c4.frozen_stages == 0);
        assert_eq!((c4.box_pooler_size, c4.pooler_sampling_ratio), (14, 0));
        assert_eq!(c4.box_weights, [10.0, 10.0, 5.0, 5.0]);
    }
}
