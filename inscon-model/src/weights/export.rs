//! Our weights under other projects' names.

use std::path::Path;

use super::schemes::{CONV_FC_HEAD, Part, of_naming, present_name};
use super::{Metadata, Naming, StateDict, state_dict, write_safetensors_file};
use crate::{ModelError, ResNet};

/// Writes a ResNet as safetensors under another project's names.
///
/// ```python
/// import safetensors.torch, torchvision, timm
/// weights = safetensors.torch.load_file("backbone.safetensors")        # Torchvision or Timm
/// torchvision.models.resnet50().load_state_dict(weights, strict=False)  # fc.* alone is missing
/// timm.create_model("resnet50", num_classes=0).load_state_dict(weights)
/// # detectron2 reads pickles: MODEL.WEIGHTS "backbone.pth"
/// torch.save({"model": safetensors.torch.load_file("d2.safetensors"), "matching_heuristics": True}, "backbone.pth")
/// ```
/// In detectron2 set `MODEL.RESNETS.STRIDE_IN_1X1 False`, `MODEL.PIXEL_MEAN` and `PIXEL_STD` to the
/// recipe's (RGB, mean and standard deviation of ImageNet times 255) and `INPUT.FORMAT "RGB"`.
///
/// # Errors
/// [`ModelError::File`]: the file cannot be written.
pub fn export_backbone(resnet: &ResNet, path: &Path, naming: Naming) -> Result<(), ModelError> {
    let dict = rename(&state_dict(resnet), naming)?;
    write_safetensors_file(path, &dict, &pytorch())
}

/// Writes a detector's state dict as safetensors under another project's names.
///
/// Under [`Naming::Torchvision`] the class, box and mask predictors get rows of background: see
/// [`rename`].
///
/// # Errors
/// As [`rename`]; [`ModelError::File`]: the file cannot be written.
pub fn export_detector(
    detector: &StateDict,
    path: &Path,
    naming: Naming,
) -> Result<(), ModelError> {
    write_safetensors_file(path, &rename(detector, naming)?, &pytorch())
}

/// What tools of Hugging Face look for.
fn pytorch() -> Metadata {
    Metadata::from([("format".to_owned(), "pt".to_owned())])
}

/// The state dict of a ResNet or of a detector of ours under another project's names.
///
/// torchvision's detectors have background as class 0: its row of `cls_score` comes first instead
/// of last, and `bbox_pred` and the mask predictor get rows of zeros for it.
///
/// # Errors
/// [`ModelError::Naming`] for a tensor that the project has no name for, and for detectors that it
/// does not have: none in timm, C4 in torchvision, box heads there other than fully connected
/// layers or four convolutions and one fully connected layer.
///
/// # Example
/// ```
/// use burn::tensor::TensorData;
/// use inscon_model::{Naming, StateDict, rename};
///
/// let dict = StateDict::from([("bn1.bias".to_owned(), TensorData::new(vec![0f32; 64], [64]))]);
/// let renamed = rename(&dict, Naming::Detectron2)?;
/// assert!(renamed.contains_key("stem.conv1.norm.bias"));
/// # Ok::<(), inscon_model::ModelError>(())
/// ```
pub fn rename(dict: &StateDict, naming: Naming) -> Result<StateDict, ModelError> {
    let dict: StateDict = dict
        .iter()
        .map(|(name, data)| {
            (
                present_name(name).unwrap_or_else(|| name.clone()),
                data.clone(),
            )
        })
        .collect();
    let has = |start: &str| dict.keys().any(|name| name.starts_with(start));
    let part = match has("backbone.") {
        true => Part::Detector,
        false => Part::Backbone,
    };
    let error = |name: &str, mend| ModelError::Naming {
        name: name.to_owned(),
        naming: naming.name(),
        mend,
    };
    let scheme = of_naming(naming, part, has("fpn.")).ok_or_else(|| {
        let first = dict.keys().next().map_or("", String::as_str);
        error(
            first,
            "it has no such detector; write detectron2's names, or export the backbone alone",
        )
    })?;
    let convs = (0..).take_while(|i| has(&format!("roi_heads.box_head.convs.{i}.")));
    let convs = convs.count();
    let conv_fc_head = naming == Naming::Torchvision && convs > 0;
    let mut renamed = StateDict::new();
    for (ours, data) in &dict {
        let (mut theirs, change) = scheme.to_theirs(ours).ok_or_else(|| {
            error(
                ours,
                "give the state dict of a ResNet or of a detector of this project, without a prefix",
            )
        })?;
        if let (true, Some(fc)) = (conv_fc_head, ours.strip_prefix("roi_heads.box_head.fcs.")) {
            let leaf = fc.strip_prefix("0.").filter(|_| convs == 4);
            let leaf = leaf.ok_or_else(|| {
                error(
                    ours,
                    "its box head has fully connected layers, or four convolutions and one",
                )
            })?;
            theirs = CONV_FC_HEAD.replace('*', leaf);
        }
        renamed.insert(theirs, change.to_theirs(data.clone()));
    }
    Ok(renamed)
}
