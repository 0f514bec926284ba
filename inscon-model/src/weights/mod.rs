//! State dicts, files of weights, and the names that other projects give the same tensors.
//!
//! # Files
//! [`WeightFile`] reads safetensors and everything `torch.save` has written: the zip of PyTorch
//! 1.6 and later, the legacy pickle before it, and checkpoints that nest the state dict
//! (`state_dict.module.encoder_q.conv1.weight`). No code of a pickle is run: the crate
//! `pytorch-reader` interprets the calls that rebuild tensors and keeps every other object opaque.
//! A pickle whose tensors hide in such objects, and a pickle of numpy arrays, is an error with the
//! command that converts it.
//!
//! # Names
//! Ours are torchvision's for the backbone, and `backbone.*`, `fpn.*`, `rpn.*`, `roi_heads.*` for a
//! detector. [`import_weights`] recognises the layout and the prefix of a file and reports them;
//! [`export_backbone`] and [`export_detector`] write another project's [`Naming`].
//!
//! | ours | torchvision | detectron2 |
//! |---|---|---|
//! | `bn1.weight` | the same | `stem.conv1.norm.weight` |
//! | `layer1.0.downsample.0.weight` | the same | `res2.0.shortcut.weight` |
//! | `fpn.lateral.0.conv.weight` | `backbone.fpn.inner_blocks.0.0.weight` | `backbone.fpn_lateral2.weight` |
//! | `rpn.objectness_logits.weight` | `rpn.head.cls_logits.weight` | `proposal_generator.rpn_head.objectness_logits.weight` |
//! | `roi_heads.box_head.fcs.0.weight` | `roi_heads.box_head.fc6.weight` | `roi_heads.box_head.fc1.weight` |
//!
//! timm's ResNets have torchvision's names. torchvision's detectors count background as class 0 and
//! have rows for it in the class, box and mask predictors; ours and detectron2's have it last in
//! `cls_score` and nowhere else. Import moves its class row to the end and drops its box and mask
//! rows, export moves the class row back and writes zeros for the others, which inference never
//! reads. torchvision's COCO weights have 91 classes with background, so they are 90 classes here.

mod change;
mod check;
mod export;
mod file;
mod harmless;
mod import;
mod inspect;
mod names;
mod pattern;
mod recognise;
mod report;
mod safetensors;
mod schemes;
mod state_dict;

pub use export::*;
pub use file::*;
pub use import::*;
pub use inspect::*;
pub use names::*;
pub use report::*;
pub use safetensors::*;
pub use state_dict::*;
