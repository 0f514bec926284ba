//! `[model]` and `[pretrain]`.

use inscon_aug::ViewAugmentation;
use serde::{Deserialize, Serialize};

use crate::Schedule;

/// The backbone, shared by pretraining, probe and detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// ResNet depth: 18, 34, 50 or 101.
    pub depth: u32,
    /// Multiplier of every channel count.
    pub width: f64,
    /// Stride of C5: 32, or 16 so that small tiles keep enough cells.
    pub output_stride: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { depth: 50, width: 1.0, output_stride: 32 }
    }
}

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
    pub negatives: NegativesKind,
    /// Momentum of the key encoder.
    pub ema: f64,
    /// Independent batch-norm groups of a batch (ShuffleBN's job on one device).
    pub bn_groups: usize,
    /// Weight of the cell term: (1 − λ)·instance + λ·cell.
    pub lambda: f64,
    /// Steps over which λ rises from 0.
    pub lambda_warmup_steps: u64,
    /// The cell term.
    pub cell: CellConfig,
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
            augmentation: None,
            split: Split::Slice,
            hidden: 0,
            dim: 128,
            queue: 65_536,
            temperature: 0.2,
            negatives: NegativesKind::QueueAndBatch,
            ema: 0.999,
            bn_groups: 8,
            lambda: 0.5,
            lambda_warmup_steps: 0,
            cell: CellConfig::default(),
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

/// How a canvas' feature map is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// By reshaping; the tile must be a multiple of the stride.
    Slice,
    /// By RoIAlign (aligned, adaptive sampling).
    RoiAlign,
}

/// Negatives of the instance term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NegativesKind {
    /// The queue alone: MoCo.
    #[serde(rename = "queue")]
    Queue,
    /// The queue and the other images of the batch.
    #[serde(rename = "queue+batch")]
    QueueAndBatch,
    /// The other images of the batch alone.
    #[serde(rename = "batch")]
    Batch,
}

/// The cell-instance term.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CellConfig {
    /// How cells of the two views correspond.
    pub matching: Matching,
    /// Cells closer than this many cell diagonals are the same place.
    pub positive_below: f64,
    /// Cells at least so far apart push each other away.
    pub negative_from: f64,
    /// Weight of the pull.
    pub pull: f64,
    /// Weight of the push.
    pub push: f64,
    /// Push from far cells of the same image.
    pub far_cells: bool,
    /// Push from cells of the other images on the key canvas.
    pub other_tiles: bool,
    /// Push from the queue of mean cells.
    pub queue: bool,
}

impl Default for CellConfig {
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

/// How cells of the two views correspond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// By the distance of their centres in the source image (PixPro's).
    Distance,
    /// By the largest cosine of backbone features (DenseCL's).
    Densecl,
}
