//! What files of weights hold beside the network, and what it is.

/// What segments of a name say about a tensor that the model does not need.
const SEGMENTS: [(&[&str], &str); 4] = [
    (&["num_batches_tracked"], "batch counters of norms"),
    (&COPIES, "a momentum copy or an optimizer's state"),
    (
        &[
            "fc",
            "classifier",
            "head",
            "heads",
            "projector",
            "projection",
            "projection_head",
            "predictor",
            "prediction_head",
            "mlp",
            "neck",
            "prototypes",
            "instance_head",
            "cell_head",
        ],
        "a classifier or projection head",
    ),
    (
        &[
            "anchor_generator",
            "cell_anchors",
            "pixel_mean",
            "pixel_std",
        ],
        "a detector's constants",
    ),
];

/// Segments of prefixes under which a network lies that is not the one to take.
const COPIES: [&str; 20] = [
    "encoder_k",
    "key",
    "key_encoder",
    "momentum",
    "momentum_encoder",
    "base_momentum_encoder",
    "backbone_momentum",
    "encoder_m",
    "student",
    "target",
    "target_encoder",
    "target_network",
    "target_backbone",
    "ema",
    "model_ema",
    "ema_model",
    "state_dict_ema",
    "optimizer",
    "optimizer_state_dict",
    "sgd",
];

/// Parts of a detector by the beginning of our name.
const PARTS: [(&str, &str); 5] = [
    ("fpn.", "FPN"),
    ("rpn.", "RPN"),
    ("roi_heads.mask_head.", "mask head"),
    ("roi_heads.box_head.", "box head"),
    ("roi_heads.", "norm after res5"),
];

/// Why a tensor that is left out is no loss; `None` if nobody knows.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    let has = |segment: &str| name.split('.').any(|s| s == segment);
    if name.split('.').any(|s| s.starts_with("queue")) {
        return Some("a queue of keys");
    }
    // SwAV's `prototypes`, OpenSelfSup's `encoder_q.1` beside its backbone `encoder_q.0`.
    if name.contains("encoder_q.1.") {
        return Some("a classifier or projection head");
    }
    SEGMENTS
        .iter()
        .find(|(segments, _)| segments.iter().any(|segment| has(segment)))
        .map(|(_, what)| *what)
}

/// How many segments of a prefix say that what is under it is a copy.
pub(super) fn copies(prefix: &str) -> usize {
    prefix.split('.').filter(|s| COPIES.contains(s)).count()
}

/// The part of a detector that our name belongs to.
pub(super) fn part_of_detector(ours: &str) -> &'static str {
    PARTS
        .iter()
        .find(|(start, _)| ours.starts_with(start))
        .map_or("other tensors", |(_, part)| *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_extras_are_known() {
        for (name, part) in [
            ("state_dict.module.encoder_q.fc.0.weight", "head"),
            ("state_dict.module.encoder_k.conv1.weight", "momentum copy"),
            ("state_dict.module.queue_ptr", "queue"),
            ("queue2", "queue"),
            ("optimizer.state.0.momentum_buffer", "optimizer"),
            ("bn1.num_batches_tracked", "counters"),
            ("pixel_mean", "constants"),
            ("key.backbone.conv1.weight", "momentum copy"),
        ] {
            let reason = reason(name).unwrap_or_default();
            assert!(reason.contains(part), "{name}: {reason}");
        }
        assert_eq!(reason("layer1.0.se.weight"), None);
        assert_eq!((copies("state_dict."), copies("module.encoder_k.")), (0, 1));
        assert_eq!(
            part_of_detector("roi_heads.res5_norm.weight"),
            "norm after res5"
        );
    }
}
