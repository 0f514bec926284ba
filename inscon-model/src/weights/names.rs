//! The projects whose names are known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Whose names to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// `torchvision.models`: `resnet*` and the detectors with FPN.
    Torchvision,
    /// detectron2: a backbone from `stem.conv1.weight`, detectors with FPN and C4.
    Detectron2,
    /// timm's ResNets, which are torchvision's names; there are no detectors.
    Timm,
}

impl Naming {
    /// Its name, as it is written in flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Detectron2 => "detectron2",
            Self::Timm => "timm",
        }
    }
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Naming {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        [Self::Torchvision, Self::Detectron2, Self::Timm]
            .into_iter()
            .find(|naming| naming.name() == text)
            .ok_or_else(|| ModelError::UnknownNaming(text.to_owned()))
    }
}

/// Whose names a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// torchvision's or timm's, which for a backbone are also ours.
    Torchvision,
    /// detectron2's.
    Detectron2,
    /// Those of our own detectors.
    InsCon,
}
