//! The methods, each a handful of `[pretrain]` values.

use serde::{Deserialize, Serialize};

/// A pretraining method of the family, as a preset over `[pretrain]`.
///
/// | preset | what it sets |
/// |---|---|
/// | `moco-v2` | grid 1, λ 0, negatives from the queue |
/// | `moco-v2+cell` | grid 1, λ .5: the cell term alone |
/// | `densecl` | grid 1, cells matched by the argmax of backbone cosines, cell negatives from the queue |
/// | `multi` | grid 2, λ 0: multi-instance consistency alone |
/// | `inscon` | grid 2, λ .5 |
///
/// InsCon's paper is public to us as its abstract: `inscon` is this project's reconstruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// He et al. 2019, Chen et al. 2020.
    #[serde(rename = "moco-v2")]
    MocoV2,
    /// MoCo v2 with the cell-instance term.
    #[serde(rename = "moco-v2+cell")]
    MocoV2Cell,
    /// Wang et al. 2021.
    #[serde(rename = "densecl")]
    DenseCl,
    /// InsCon without its cell term.
    #[serde(rename = "multi")]
    Multi,
    /// Multi-instance and cell-instance consistency.
    #[serde(rename = "inscon")]
    InsCon,
}

impl Method {
    /// The values it sets, by dotted key.
    #[must_use]
    pub fn settings(self) -> Vec<(&'static str, toml::Value)> {
        let grid = |g: i64| ("pretrain.grid", toml::Value::Integer(g));
        let lambda = |l: f64| ("pretrain.lambda", toml::Value::Float(l));
        let text = |key, value: &str| (key, toml::Value::String(value.into()));
        match self {
            Self::MocoV2 => vec![grid(1), lambda(0.0), text("pretrain.negatives", "queue")],
            Self::MocoV2Cell => vec![grid(1), lambda(0.5), text("pretrain.negatives", "queue")],
            Self::DenseCl => vec![
                grid(1),
                lambda(0.5),
                text("pretrain.negatives", "queue"),
                text("pretrain.cell.matching", "densecl"),
                ("pretrain.cell.far_cells", toml::Value::Boolean(false)),
            ],
            Self::Multi => vec![
                grid(2),
                lambda(0.0),
                text("pretrain.negatives", "queue+batch"),
            ],
            Self::InsCon => vec![
                grid(2),
                lambda(0.5),
                text("pretrain.negatives", "queue+batch"),
            ],
        }
    }
}
