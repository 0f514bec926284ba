//! Every known layout as a table from our names to theirs.

use super::change::Change;
use super::names::{Layout, Naming};
use super::pattern;

/// What a layout names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A ResNet.
    Backbone,
    /// A detector, its ResNet under `backbone.`.
    Detector,
}

/// One row: names of these patterns are each other's.
#[derive(Debug)]
struct Rule {
    ours: &'static str,
    theirs: &'static str,
    change: Change,
}

/// Rows that share a prefix on either side.
#[derive(Debug)]
struct Group {
    ours: &'static str,
    theirs: &'static str,
    rules: &'static [Rule],
}

/// A layout.
#[derive(Debug)]
pub(super) struct Scheme {
    /// For people.
    pub(super) title: &'static str,
    pub(super) layout: Layout,
    pub(super) part: Part,
    /// Their name of the first convolution: what is before it is the prefix.
    pub(super) stem: &'static str,
    /// The first row that matches wins, in either direction.
    groups: &'static [Group],
    /// Names of older releases, which are read only.
    older: &'static [Group],
}

impl Scheme {
    /// Our name of theirs, without the prefix, and what happens to the values.
    pub(super) fn to_ours(&self, theirs: &str) -> Option<(String, Change)> {
        self.groups.iter().chain(self.older).find_map(|group| {
            let inner = theirs.strip_prefix(group.theirs)?;
            group.rules.iter().find_map(|rule| {
                let name = pattern::translate(rule.theirs, rule.ours, inner)?;
                Some((format!("{}{name}", group.ours), rule.change))
            })
        })
    }

    /// Their name of ours, and what happens to the values.
    pub(super) fn to_theirs(&self, ours: &str) -> Option<(String, Change)> {
        self.groups.iter().find_map(|group| {
            let inner = ours.strip_prefix(group.ours)?;
            group.rules.iter().find_map(|rule| {
                let name = pattern::translate(rule.ours, rule.theirs, inner)?;
                Some((format!("{}{name}", group.theirs), rule.change))
            })
        })
    }
}

/// The layout that `naming` means for a backbone, or for a detector with FPN or without (C4);
/// `None` where the project has no such detector.
pub(super) fn of_naming(naming: Naming, part: Part, fpn: bool) -> Option<&'static Scheme> {
    match (naming, part) {
        (Naming::Torchvision | Naming::Timm, Part::Backbone) => Some(&TORCHVISION_RESNET),
        (Naming::Detectron2, Part::Backbone) => Some(&DETECTRON2_RESNET),
        (Naming::Torchvision, Part::Detector) => fpn.then_some(&TORCHVISION_FPN),
        (Naming::Detectron2, Part::Detector) => Some(match fpn {
            true => &DETECTRON2_FPN,
            false => &DETECTRON2_C4,
        }),
        (Naming::Timm, Part::Detector) => None,
    }
}

/// All layouts; where two explain a file alike, the earlier one is meant.
pub(super) static SCHEMES: [&Scheme; 6] = [
    &TORCHVISION_RESNET,
    &DETECTRON2_RESNET,
    &INSCON,
    &TORCHVISION_FPN,
    &DETECTRON2_FPN,
    &DETECTRON2_C4,
];

static TORCHVISION_RESNET: Scheme = Scheme {
    title: "torchvision (or timm) ResNet",
    layout: Layout::Torchvision,
    part: Part::Backbone,
    stem: "conv1.weight",
    groups: &[group("", "", RESNET)],
    older: &[],
};

static DETECTRON2_RESNET: Scheme = Scheme {
    title: "detectron2 ResNet",
    layout: Layout::Detectron2,
    part: Part::Backbone,
    stem: "stem.conv1.weight",
    groups: &[group("", "", RESNET_DETECTRON2)],
    older: &[],
};

static INSCON: Scheme = Scheme {
    title: "inscon detector",
    layout: Layout::InsCon,
    part: Part::Detector,
    stem: "backbone.conv1.weight",
    groups: &[
        group("backbone.", "backbone.", RESNET),
        group("", "", HEADS),
    ],
    older: &[group("", "", HEADS_FORMER)],
};

static TORCHVISION_FPN: Scheme = Scheme {
    title: "torchvision Faster or Mask R-CNN with FPN",
    layout: Layout::Torchvision,
    part: Part::Detector,
    stem: "backbone.body.conv1.weight",
    groups: &[
        group("backbone.", "backbone.body.", RESNET),
        group("", "", HEADS_TORCHVISION),
    ],
    older: &[group("", "", HEADS_TORCHVISION_OLDER)],
};

static DETECTRON2_FPN: Scheme = Scheme {
    title: "detectron2 Faster or Mask R-CNN with FPN",
    layout: Layout::Detectron2,
    part: Part::Detector,
    stem: "backbone.bottom_up.stem.conv1.weight",
    groups: &[
        group("backbone.", "backbone.bottom_up.", RESNET_DETECTRON2),
        group("", "", HEADS_DETECTRON2),
    ],
    older: &[],
};

static DETECTRON2_C4: Scheme = Scheme {
    title: "detectron2 Faster or Mask R-CNN C4",
    layout: Layout::Detectron2,
    part: Part::Detector,
    stem: "backbone.stem.conv1.weight",
    groups: &[
        group("backbone.", "roi_heads.", RES5_DETECTRON2),
        group("backbone.", "backbone.", RESNET_DETECTRON2),
        group("", "", HEADS_DETECTRON2),
    ],
    older: &[],
};

const RESNET: &[Rule] = &[
    same("conv1.weight"),
    same("bn1.*"),
    same("layer{s}.{b}.conv{c}.weight"),
    same("layer{s}.{b}.bn{c}.*"),
    same("layer{s}.{b}.downsample.0.weight"),
    same("layer{s}.{b}.downsample.1.*"),
];

const RESNET_DETECTRON2: &[Rule] = &[
    rule("conv1.weight", "stem.conv1.weight"),
    rule("bn1.*", "stem.conv1.norm.*"),
    rule("layer{s}.{b}.conv{c}.weight", "res{s+1}.{b}.conv{c}.weight"),
    rule("layer{s}.{b}.bn{c}.*", "res{s+1}.{b}.conv{c}.norm.*"),
    rule(
        "layer{s}.{b}.downsample.0.weight",
        "res{s+1}.{b}.shortcut.weight",
    ),
    rule(
        "layer{s}.{b}.downsample.1.*",
        "res{s+1}.{b}.shortcut.norm.*",
    ),
];

/// In a C4 detector the last stage belongs to the heads.
const RES5_DETECTRON2: &[Rule] = &[
    rule("layer4.{b}.conv{c}.weight", "res5.{b}.conv{c}.weight"),
    rule("layer4.{b}.bn{c}.*", "res5.{b}.conv{c}.norm.*"),
    rule("layer4.{b}.downsample.0.weight", "res5.{b}.shortcut.weight"),
    rule("layer4.{b}.downsample.1.*", "res5.{b}.shortcut.norm.*"),
];

const HEADS: &[Rule] = &[
    same("fpn.lateral.{i}.conv.*"),
    same("fpn.lateral.{i}.norm.*"),
    same("fpn.output.{i}.conv.*"),
    same("fpn.output.{i}.norm.*"),
    same("rpn.conv.*"),
    same("rpn.objectness_logits.*"),
    same("rpn.anchor_deltas.*"),
    same("roi_heads.res5_norm.*"),
    same("roi_heads.box_head.convs.{i}.conv.*"),
    same("roi_heads.box_head.convs.{i}.norm.*"),
    same("roi_heads.box_head.fcs.{i}.*"),
    same("roi_heads.box_head.cls_score.*"),
    same("roi_heads.box_head.bbox_pred.*"),
    same("roi_heads.mask_head.convs.{i}.conv.*"),
    same("roi_heads.mask_head.convs.{i}.norm.*"),
    same("roi_heads.mask_head.deconv.*"),
    same("roi_heads.mask_head.predictor.*"),
];

/// Before the mask head's convolutions had norms.
const HEADS_FORMER: &[Rule] = &[rule(
    "roi_heads.mask_head.convs.{i}.conv.*",
    "roi_heads.mask_head.convs.{i}.*",
)];

/// Our present name of a name of ours that has changed.
pub(super) fn present_name(ours: &str) -> Option<String> {
    HEADS_FORMER
        .iter()
        .find_map(|rule| pattern::translate(rule.theirs, rule.ours, ours))
}

const HEADS_DETECTRON2: &[Rule] = &[
    rule("fpn.lateral.{i}.norm.*", "backbone.fpn_lateral{i+2}.norm.*"),
    rule("fpn.lateral.{i}.conv.*", "backbone.fpn_lateral{i+2}.*"),
    rule("fpn.output.{i}.norm.*", "backbone.fpn_output{i+2}.norm.*"),
    rule("fpn.output.{i}.conv.*", "backbone.fpn_output{i+2}.*"),
    rule("rpn.conv.*", "proposal_generator.rpn_head.conv.*"),
    rule(
        "rpn.objectness_logits.*",
        "proposal_generator.rpn_head.objectness_logits.*",
    ),
    rule(
        "rpn.anchor_deltas.*",
        "proposal_generator.rpn_head.anchor_deltas.*",
    ),
    rule("roi_heads.res5_norm.*", "roi_heads.res5.norm.*"),
    rule(
        "roi_heads.box_head.convs.{i}.norm.*",
        "roi_heads.box_head.conv{i+1}.norm.*",
    ),
    rule(
        "roi_heads.box_head.convs.{i}.conv.*",
        "roi_heads.box_head.conv{i+1}.*",
    ),
    rule(
        "roi_heads.box_head.fcs.{i}.*",
        "roi_heads.box_head.fc{i+1}.*",
    ),
    rule(
        "roi_heads.box_head.cls_score.*",
        "roi_heads.box_predictor.cls_score.*",
    ),
    rule(
        "roi_heads.box_head.bbox_pred.*",
        "roi_heads.box_predictor.bbox_pred.*",
    ),
    rule(
        "roi_heads.mask_head.convs.{i}.norm.*",
        "roi_heads.mask_head.mask_fcn{i+1}.norm.*",
    ),
    rule(
        "roi_heads.mask_head.convs.{i}.conv.*",
        "roi_heads.mask_head.mask_fcn{i+1}.*",
    ),
    same("roi_heads.mask_head.deconv.*"),
    same("roi_heads.mask_head.predictor.*"),
];

const HEADS_TORCHVISION: &[Rule] = &[
    rule(
        "fpn.lateral.{i}.conv.*",
        "backbone.fpn.inner_blocks.{i}.0.*",
    ),
    rule(
        "fpn.lateral.{i}.norm.*",
        "backbone.fpn.inner_blocks.{i}.1.*",
    ),
    rule("fpn.output.{i}.conv.*", "backbone.fpn.layer_blocks.{i}.0.*"),
    rule("fpn.output.{i}.norm.*", "backbone.fpn.layer_blocks.{i}.1.*"),
    rule("rpn.conv.*", "rpn.head.conv.0.0.*"),
    rule("rpn.objectness_logits.*", "rpn.head.cls_logits.*"),
    rule("rpn.anchor_deltas.*", "rpn.head.bbox_pred.*"),
    rule(
        "roi_heads.box_head.convs.{i}.conv.*",
        "roi_heads.box_head.{i}.0.*",
    ),
    rule(
        "roi_heads.box_head.convs.{i}.norm.*",
        "roi_heads.box_head.{i}.1.*",
    ),
    // `FastRCNNConvFCHead` counts its flattening and its ReLUs: the layer after four convolutions
    // is its sixth. Which of the two names is meant shows in whether there are convolutions.
    rule(
        "roi_heads.box_head.fcs.{i}.*",
        "roi_heads.box_head.fc{i+6}.*",
    ),
    changed(
        "roi_heads.box_head.cls_score.*",
        "roi_heads.box_predictor.cls_score.*",
        Change::BackgroundFirst,
    ),
    changed(
        "roi_heads.box_head.bbox_pred.*",
        "roi_heads.box_predictor.bbox_pred.*",
        Change::NoBackground(4),
    ),
    rule(
        "roi_heads.mask_head.convs.{i}.conv.*",
        "roi_heads.mask_head.{i}.0.*",
    ),
    rule(
        "roi_heads.mask_head.convs.{i}.norm.*",
        "roi_heads.mask_head.{i}.1.*",
    ),
    rule(
        "roi_heads.mask_head.deconv.*",
        "roi_heads.mask_predictor.conv5_mask.*",
    ),
    changed(
        "roi_heads.mask_head.predictor.*",
        "roi_heads.mask_predictor.mask_fcn_logits.*",
        Change::NoBackground(1),
    ),
];

const HEADS_TORCHVISION_OLDER: &[Rule] = &[
    rule("fpn.lateral.{i}.conv.*", "backbone.fpn.inner_blocks.{i}.*"),
    rule("fpn.output.{i}.conv.*", "backbone.fpn.layer_blocks.{i}.*"),
    rule("rpn.conv.*", "rpn.head.conv.*"),
    rule(
        "roi_heads.mask_head.convs.{i}.conv.*",
        "roi_heads.mask_head.mask_fcn{i+1}.*",
    ),
    rule("roi_heads.box_head.fcs.0.*", CONV_FC_HEAD),
];

/// torchvision's name of the fully connected layer behind four convolutions.
pub(super) const CONV_FC_HEAD: &str = "roi_heads.box_head.5.*";

const fn group(ours: &'static str, theirs: &'static str, rules: &'static [Rule]) -> Group {
    Group {
        ours,
        theirs,
        rules,
    }
}

const fn rule(ours: &'static str, theirs: &'static str) -> Rule {
    changed(ours, theirs, Change::None)
}

const fn same(name: &'static str) -> Rule {
    rule(name, name)
}

const fn changed(ours: &'static str, theirs: &'static str, change: Change) -> Rule {
    Rule {
        ours,
        theirs,
        change,
    }
}
