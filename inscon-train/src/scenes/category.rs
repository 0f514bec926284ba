//! The eight categories.

use serde::{Deserialize, Serialize};

/// What an object is. The first four are told by their outline, whatever they are made of; the
/// others come in pairs of one outline and are told by their surface. Colour tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// A toothed disc with a hole.
    Gear,
    /// A disc with a hole and no teeth.
    Ring,
    /// Five or six points.
    Star,
    /// Two arcs that meet in two tips, with a midrib.
    Leaf,
    /// An ellipsoid with stripes from pole to pole.
    Melon,
    /// An ellipsoid with spots.
    Ladybird,
    /// A box of planks in a frame.
    Crate,
    /// A box with a weave.
    Basket,
}

impl Category {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 8] = [
        Self::Gear,
        Self::Ring,
        Self::Star,
        Self::Leaf,
        Self::Melon,
        Self::Ladybird,
        Self::Crate,
        Self::Basket,
    ];

    /// The id in the instances JSON, from 1.
    #[must_use]
    pub fn id(self) -> u64 {
        self as u64 + 1
    }

    /// The name in the instances JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gear => "gear",
            Self::Ring => "ring",
            Self::Star => "star",
            Self::Leaf => "leaf",
            Self::Melon => "melon",
            Self::Ladybird => "ladybird",
            Self::Crate => "crate",
            Self::Basket => "basket",
        }
    }
}
