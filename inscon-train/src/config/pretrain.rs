//! `[pretrain]`.

use inscon_aug::{KeyView, ViewAugmentation};
use inscon_loss::{CellLossConfig, InsConLossConfig, Negatives};
use inscon_model::Split;
use serde::{Deserialize, Serialize};

use crate::Schedule;

/// Pretraining. The defaults are InsCon's over MoCo v2's recipe (`recipes.md`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainConfig {
    /// Passes over the images.
    pub epochs: u64,
    /// Images in a step; a multiple of grid².
    pub batch: usize,
    /// Side of one instance view in pixels.
    pub tile: u32,
    /// Instance views along a side of the canvas; 1 is MoCo v2's plain view.
    pub grid: usize,
    /// Whether keys are stitched as well (`multi`) or plain instance views (`single`, MosRep's).
    pub key_view: KeyView,
    /// The augmentation of both views; `size` is overwritten by `tile`.
    pub augmentation: Option<ViewAugmentation>,
    /// How a canvas' feature map is cut into tiles.
    pub split: Split,
    /// Width of the hidden layer of both heads; 0 is the backbone's own.
    pub hidden: usize,
    /// Dimension of the embedding.
    pub dim: usize,
    /// Length of each queue of negatives.
    pub queue: usize,
    /// Softmax temperature.
    pub temperature: f64,
    /// Negatives of the instance term.
    pub negatives: Negatives,
    /// Momentum of the key encoder.
    pub ema: f64,
    /// Independent batch-norm groups of the key forward (ShuffleBN's job on one device).
    pub bn_groups: usize,
    /// The same for the query forward; MoCo's eight GPUs amount to 8.
    pub query_bn_groups: usize,
    /// Weight of the cell term: (1 − λ)·instance + λ·cell.
    pub lambda: f64,
    /// Steps over which λ rises from 0.
    pub lambda_warmup_steps: u64,
    /// The cell term.
    pub cell: CellLossConfig,
    /// Learning rate of the whole batch.
    pub lr: f64,
    /// SGD momentum.
    pub momentum: f64,
    /// SGD weight decay, on all parameters.
    pub weight_decay: f64,
    /// Decay of the learning rate.
    pub schedule: Schedule,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// Steps between checkpoints; 0 is once an epoch.
    pub checkpoint_every: u64,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            epochs: 200,
            batch: 256,
            tile: 224,
            grid: 2,
            key_view: KeyView::Multi,
            augmentation: None,
            split: Split::Slice,
            hidden: 0,
            dim: 128,
            queue: 65_536,
            temperature: 0.2,
            negatives: Negatives::QueueAndBatch,
            ema: 0.999,
            bn_groups: 8,
            query_bn_groups: 1,
            lambda: 0.5,
            lambda_warmup_steps: 0,
            cell: CellLossConfig::default(),
            lr: 0.03,
            momentum: 0.9,
            weight_decay: 1e-4,
            schedule: Schedule::CosinePerEpoch,
            warmup_steps: 0,
            log_every: 10,
            checkpoint_every: 0,
        }
    }
}

impl PretrainConfig {
    /// The objective's settings.
    #[must_use]
    pub fn loss(&self) -> InsConLossConfig {
        InsConLossConfig {
            temperature: self.temperature,
            negatives: self.negatives,
            lambda: self.lambda,
            cell: self.cell.clone(),
        }
    }

    /// λ at 0-based step `step`, rising linearly over the warm-up.
    #[must_use]
    pub fn lambda_at(&self, step: u64) -> f64 {
        if step < self.lambda_warmup_steps {
            self.lambda * step as f64 / self.lambda_warmup_steps as f64
        } else {
            self.lambda
        }
    }

    /// Instance views along a side of a key canvas.
    #[must_use]
    pub fn key_grid(&self) -> usize {
        match self.key_view {
            KeyView::Multi => self.grid,
            KeyView::Single => 1,
        }
    }

    /// The augmentation of both views, at the size of a tile.
    #[must_use]
    pub fn views(&self) -> ViewAugmentation {
        match &self.augmentation {
            Some(augmentation) => ViewAugmentation {
                size: self.tile,
                ..augmentation.clone()
            },
            None => ViewAugmentation::moco_v2(self.tile),
        }
    }
}
