//! Learning-rate schedules, as plain functions of the step.

use serde::{Deserialize, Serialize};

/// How the learning rate falls during training. All of them follow a linear warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// `lr · ½(1 + cos(π · epoch / epochs))`, constant inside an epoch: MoCo v2's
    /// (`main_moco.py`, `adjust_learning_rate`).
    CosinePerEpoch,
    /// The same cosine over steps.
    Cosine,
    /// `lr · gamma^k` after `k` of the milestones: detectron2's `WarmupMultiStepLR`.
    Steps {
        /// Fractions of the run, ascending, in `(0, 1)`: 90k iterations with steps at 60k and
        /// 80k are `[0.6667, 0.8889]`.
        milestones: Vec<f64>,
        /// Factor at each milestone.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
}

fn default_gamma() -> f64 {
    0.1
}

/// A schedule bound to the length of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningRate {
    /// Rate after the warm-up.
    pub base: f64,
    /// The shape of the decay.
    pub schedule: Schedule,
    /// Steps of linear warm-up from a thousandth of the base rate (detectron2's factor).
    pub warmup_steps: u64,
    /// Steps in an epoch; at least 1.
    pub steps_per_epoch: u64,
    /// Steps in the whole run; at least 1.
    pub total_steps: u64,
}

impl LearningRate {
    /// The rate of 0-based step `step`.
    ///
    /// # Example
    /// ```
    /// use inscon_train::{LearningRate, Schedule};
    /// let lr = LearningRate {
    ///     base: 0.03, schedule: Schedule::CosinePerEpoch, warmup_steps: 0,
    ///     steps_per_epoch: 10, total_steps: 20,
    /// };
    /// assert_eq!(lr.at(0), 0.03);
    /// assert_eq!(lr.at(9), 0.03);
    /// assert!((lr.at(10) - 0.015).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        let total = self.total_steps.max(1) as f64;
        let decayed = match &self.schedule {
            Schedule::CosinePerEpoch => {
                let per_epoch = self.steps_per_epoch.max(1);
                let epochs = self.total_steps.div_ceil(per_epoch).max(1) as f64;
                self.base * cosine((step / per_epoch) as f64 / epochs)
            }
            Schedule::Cosine => self.base * cosine(step as f64 / total),
            Schedule::Steps { milestones, gamma } => {
                let passed = milestones
                    .iter()
                    .filter(|m| step as f64 >= *m * total)
                    .count();
                self.base * gamma.powi(passed as i32)
            }
        };
        if step < self.warmup_steps {
            let alpha = step as f64 / self.warmup_steps as f64;
            decayed * (WARMUP_FACTOR * (1.0 - alpha) + alpha)
        } else {
            decayed
        }
    }
}

const WARMUP_FACTOR: f64 = 1e-3;

fn cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(schedule: Schedule, warmup_steps: u64) -> LearningRate {
        LearningRate {
            base: 0.02,
            schedule,
            warmup_steps,
            steps_per_epoch: 100,
            total_steps: 900,
        }
    }

    #[test]
    fn detectron2_one_x() {
        let steps = Schedule::Steps {
            milestones: vec![6.0 / 9.0, 8.0 / 9.0],
            gamma: 0.1,
        };
        let lr = rate(steps, 10);
        assert!((lr.at(0) - 0.02 * 0.001).abs() < 1e-12);
        assert!((lr.at(5) - 0.02 * (0.0005 + 0.5)).abs() < 1e-12);
        assert_eq!(lr.at(10), 0.02);
        assert_eq!(lr.at(599), 0.02);
        assert!((lr.at(600) - 0.002).abs() < 1e-12);
        assert!((lr.at(800) - 0.0002).abs() < 1e-12);
    }

    #[test]
    fn cosine_ends_near_zero() {
        let lr = rate(Schedule::Cosine, 0);
        assert_eq!(lr.at(0), 0.02);
        assert!((lr.at(450) - 0.01).abs() < 1e-12);
        assert!(lr.at(899) < 1e-6);
    }

    #[test]
    fn moco_is_constant_inside_an_epoch() {
        let lr = rate(Schedule::CosinePerEpoch, 0);
        assert_eq!(lr.at(100), lr.at(199));
        assert!(lr.at(200) < lr.at(199));
    }
}
