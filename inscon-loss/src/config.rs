//! Settings of the loss, as they stand in a recipe file.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which embeddings the instance term pushes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Negatives {
    /// The queue alone: MoCo.
    #[serde(rename = "queue")]
    Queue,
    /// The queue and the other tiles' keys: MosRep, and InsCon's default.
    #[serde(rename = "queue+batch")]
    QueueAndBatch,
    /// The other tiles' keys alone: SimCLR's one-sided form.
    #[serde(rename = "batch")]
    Batch,
}

impl Negatives {
    /// Whether the queue takes part.
    pub fn uses_queue(self) -> bool {
        self != Self::Batch
    }

    /// Whether the other tiles' keys take part.
    pub fn uses_batch(self) -> bool {
        self != Self::Queue
    }
}

/// How the cells of the two views of an image correspond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// By the distance of their centres in the source image: PixPro.
    Distance,
    /// By the largest cosine of backbone features: DenseCL.
    Densecl,
}

/// The cell-instance term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellLossConfig {
    /// How cells of the two views correspond.
    pub matching: Matching,
    /// Cells closer than this many cell diagonals are the same place.
    pub positive_below: f64,
    /// Cells at least so many cell diagonals apart push each other away.
    pub negative_from: f64,
    /// Weight of the pull, λ_pull.
    pub pull: f64,
    /// Weight of the push, λ_push. Zero can collapse the cell head: see [`Self::can_collapse`].
    pub push: f64,
    /// Push from far cells of the same image.
    pub far_cells: bool,
    /// Push from the cells of the other images on the key canvas.
    pub other_tiles: bool,
    /// Push from the queue of mean cells.
    pub queue: bool,
}

impl Default for CellLossConfig {
    fn default() -> Self {
        Self {
            matching: Matching::Distance,
            positive_below: 0.7,
            negative_from: 1.0,
            pull: 1.0,
            push: 1.0,
            far_cells: true,
            other_tiles: true,
            queue: true,
        }
    }
}

impl CellLossConfig {
    /// DenseCL's dense term: the best match by backbone cosine against the cell queue alone.
    pub fn densecl() -> Self {
        Self {
            matching: Matching::Densecl,
            far_cells: false,
            other_tiles: false,
            ..Self::default()
        }
    }

    /// Whether nothing keeps the cell head from mapping every cell to one vector. The caller
    /// should warn, and watch [`LossStats::cell_feature_std`](crate::LossStats::cell_feature_std).
    pub fn can_collapse(&self) -> bool {
        self.push == 0.0 || !(self.far_cells || self.other_tiles || self.queue)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first setting outside its range, with its value.
    pub fn validate(&self) -> Result<(), LossConfigError> {
        if !(self.positive_below > 0.0 && self.positive_below.is_finite()) {
            return Err(LossConfigError::PositiveBelow(self.positive_below));
        }
        if self.negative_from.is_nan() || self.negative_from < self.positive_below {
            return Err(LossConfigError::NegativeFrom {
                negative_from: self.negative_from,
                positive_below: self.positive_below,
            });
        }
        for (name, value) in [("pull", self.pull), ("push", self.push)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(LossConfigError::Weight { name, value });
            }
        }
        Ok(())
    }
}

/// The whole loss. The defaults are InsCon's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InsConLossConfig {
    /// Softmax temperature τ of both terms.
    pub temperature: f64,
    /// Negatives of the instance term.
    pub negatives: Negatives,
    /// Weight λ of the cell term: (1 − λ)·instance + λ·cell. The value that holds at a step is an
    /// argument of [`InsConLoss::forward`](crate::InsConLoss::forward): it may be warming up.
    pub lambda: f64,
    /// The cell term.
    pub cell: CellLossConfig,
}

impl Default for InsConLossConfig {
    fn default() -> Self {
        Self {
            temperature: 0.2,
            negatives: Negatives::QueueAndBatch,
            lambda: 0.5,
            cell: CellLossConfig::default(),
        }
    }
}

impl InsConLossConfig {
    /// MoCo v2: the instance term alone, against the queue.
    pub fn moco_v2() -> Self {
        Self {
            negatives: Negatives::Queue,
            lambda: 0.0,
            ..Self::default()
        }
    }

    /// Checks the ranges, the cell term's included.
    ///
    /// # Errors
    /// The first setting outside its range, with its value.
    pub fn validate(&self) -> Result<(), LossConfigError> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(LossConfigError::Temperature(self.temperature));
        }
        if !(0.0..=1.0).contains(&self.lambda) {
            return Err(LossConfigError::Lambda(self.lambda));
        }
        self.cell.validate()
    }
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LossConfigError {
    /// τ divides; it must be positive.
    #[error("temperature must be greater than 0, but is {0}")]
    Temperature(f64),
    /// λ mixes; it must be a share.
    #[error("lambda must be in [0, 1], but is {0}")]
    Lambda(f64),
    /// No cell is closer than 0.
    #[error("cell.positive_below must be greater than 0, but is {0}")]
    PositiveBelow(f64),
    /// A cell cannot be both a positive and a negative.
    #[error(
        "cell.negative_from must be at least cell.positive_below ({positive_below}), but is \
         {negative_from}"
    )]
    NegativeFrom {
        /// The value found.
        negative_from: f64,
        /// The least value allowed.
        positive_below: f64,
    },
    /// A negative weight would reverse the term.
    #[error("cell.{name} must be at least 0, but is {value}")]
    Weight {
        /// `pull` or `push`.
        name: &'static str,
        /// The value found.
        value: f64,
    },
}
