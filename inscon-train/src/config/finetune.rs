//! `[finetune]`: the detector and its training.

use inscon_aug::SampleStyle;
use inscon_model::detection::RcnnConfig;
use serde::{Deserialize, Serialize};

use crate::{ClipGradients, Schedule};

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
    /// How they are drawn: detectron2's `INPUT.MIN_SIZE_TRAIN_SAMPLING`.
    pub min_size_sampling: SampleStyle,
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
    /// Bound of the gradients: `{ kind = "value" | "norm" | "full-model", value = 1.0 }`; none by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_gradients: Option<ClipGradients>,
    /// Batches over which the norms' statistics are taken anew before each evaluation and at the
    /// end (detectron2's `TEST.PRECISE_BN`); 0 keeps the running ones. MoCo's VOC recipe has 200.
    pub precise_bn_iterations: u64,
    /// Decay of the learning rate.
    pub schedule: Schedule,
    /// Iterations of linear warm-up.
    pub warmup_steps: u64,
    /// Iterations between evaluations during training; 0 is only at the end. The best detector
    /// among those evaluated is kept beside the last.
    pub eval_every: u64,
    /// Iterations between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// Iterations between checkpoints.
    pub checkpoint_every: u64,
}

impl FinetuneConfig {
    /// Checks the values against each other.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.batch == 0 || self.min_sizes.is_empty() {
            return Err(
                "finetune.batch must be at least 1 and finetune.min_sizes not empty".into(),
            );
        }
        if self.min_sizes.contains(&0) || self.test_min_size == 0 {
            return Err("finetune.min_sizes and finetune.test_min_size must be at least 1".into());
        }
        if self.min_size_sampling == SampleStyle::Range {
            let ordered = matches!(self.min_sizes[..], [low, high] if low <= high);
            if !ordered {
                return Err(format!(
                    "finetune.min_sizes = {:?} is no range: give the smallest and the largest, or \
                     min_size_sampling = \"choice\"",
                    self.min_sizes
                ));
            }
        }
        if let Some(clip) = self.clip_gradients {
            let value = clip.value();
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!(
                    "finetune.clip_gradients.value = {value} must be above 0; leave the key out for \
                     no bound"
                ));
            }
        }
        Ok(())
    }
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            detector: RcnnConfig::default(),
            iterations: 90_000,
            batch: 16,
            min_sizes: vec![640, 672, 704, 736, 768, 800],
            min_size_sampling: SampleStyle::Choice,
            max_size: 1333,
            test_min_size: 800,
            max_train_images: 0,
            max_val_images: 0,
            lr: 0.02,
            momentum: 0.9,
            weight_decay: 1e-4,
            weight_decay_norm: 0.0,
            clip_gradients: None,
            precise_bn_iterations: 0,
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
