//! `[finetune]`: the detector and its training.

use inscon_model::detection::RcnnConfig;
use serde::{Deserialize, Serialize};

use crate::Schedule;

/// Fine-tuning of Mask R-CNN (or Faster R-CNN) with FPN. The defaults are detectron2's 1× schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// The detector.
    pub detector: RcnnConfig,
    /// Iterations.
    pub iterations: u64,
    /// Images in an iteration.
    pub batch: usize,
    /// Shortest sides to draw from in training, in pixels.
    pub min_sizes: Vec<u32>,
    /// Bound of the longest side.
    pub max_size: u32,
    /// Shortest side at test.
    pub test_min_size: u32,
    /// Images of the training set to use, drawn by the seed; 0 is all.
    pub max_train_images: usize,
    /// Images of the validation set to use, the first by id; 0 is all.
    pub max_val_images: usize,
    /// Learning rate of the whole batch.
    pub lr: f64,
    /// SGD momentum.
    pub momentum: f64,
    /// SGD weight decay.
    pub weight_decay: f64,
    /// SGD weight decay of norms.
    pub weight_decay_norm: f64,
    /// Decay of the learning rate.
    pub schedule: Schedule,
    /// Iterations of linear warm-up.
    pub warmup_steps: u64,
    /// Iterations between evaluations during training; 0 is only at the end.
    pub eval_every: u64,
    /// Iterations between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// Iterations between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            detector: RcnnConfig::default(),
            iterations: 90_000,
            batch: 16,
            min_sizes: vec![640, 672, 704, 736, 768, 800],
            max_size: 1333,
            test_min_size: 800,
            max_train_images: 0,
            max_val_images: 0,
            lr: 0.02,
            momentum: 0.9,
            weight_decay: 1e-4,
            weight_decay_norm: 0.0,
            schedule: Schedule::Steps {
                milestones: vec![6.0 / 9.0, 8.0 / 9.0],
                gamma: 0.1,
            },
            warmup_steps: 1000,
            eval_every: 0,
            log_every: 20,
            checkpoint_every: 2500,
        }
    }
}
