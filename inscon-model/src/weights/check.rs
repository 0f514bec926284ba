//! What values and shapes say about weights.

use std::collections::BTreeMap;
use std::fmt;

use crate::ModelError;

/// Refuses values that no network works with.
pub(super) fn refuse_bad_values(name: &str, values: &[f32]) -> Result<(), ModelError> {
    let error = |what: String| {
        Err(ModelError::Values {
            name: name.to_owned(),
            what,
        })
    };
    let bad = values.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        let all = values.len();
        return error(format!("has NaN or infinity in {bad} of its {all} values"));
    }
    match values.iter().find(|v| **v < 0.0) {
        Some(value) if name.ends_with("running_var") => {
            error(format!("is a variance and holds {value}"))
        }
        _ => Ok(()),
    }
}

/// Whether a weight is nothing but zeros: a convolution or a norm that was never set.
pub(super) fn is_dead(name: &str, values: &[f32]) -> bool {
    name.ends_with(".weight") && !values.is_empty() && values.iter().all(|v| *v == 0.0)
}

/// Statistics of norms, gathered over a network.
#[derive(Debug, Default)]
pub(super) struct Norms {
    /// Running means and variances.
    statistics: usize,
    /// Those that are still at 0 and 1.
    initial_statistics: usize,
    /// Weights and biases of norms.
    affine: usize,
    /// Those that are still at 1 and 0.
    initial_affine: usize,
}

impl Norms {
    /// Counts a tensor by its (our) name.
    pub(super) fn add(&mut self, name: &str, values: &[f32]) {
        // detectron2's frozen norms start at a variance of 1 − ε.
        let all = |value: f32| values.iter().all(|v| (*v - value).abs() < 1e-4);
        let mut segments = name.rsplit('.');
        let leaf = segments.next().unwrap_or_default();
        let layer = segments.next().unwrap_or_default();
        let norm = layer.starts_with("bn") || layer == "norm" || name.contains("downsample.1.");
        let (initial, statistic) = match leaf {
            "running_mean" => (all(0.0), true),
            "running_var" => (all(1.0), true),
            "weight" if norm => (all(1.0), false),
            "bias" if norm => (all(0.0), false),
            _ => return,
        };
        let (count, at_start) = match statistic {
            true => (&mut self.statistics, &mut self.initial_statistics),
            false => (&mut self.affine, &mut self.initial_affine),
        };
        *count += 1;
        *at_start += usize::from(initial);
    }

    /// What is suspicious about them, if anything.
    pub(super) fn suspicion(&self) -> Option<&'static str> {
        let untouched = |count: usize, initial: usize| count > 0 && count == initial;
        let statistics = untouched(self.statistics, self.initial_statistics);
        let affine = untouched(self.affine, self.initial_affine);
        match (statistics, affine) {
            (true, true) => Some(
                "every norm is as it was initialised (mean 0, variance 1, weight 1, bias 0): these \
                 look like random weights",
            ),
            (true, false) => Some(
                "every norm has mean 0 and variance 1, the statistics are folded into weight and \
                 bias: weights of Caffe2's kind expect BGR pixels of 0 to 255 and the stride on \
                 the 1×1 convolution, which this network does not do",
            ),
            _ => None,
        }
    }
}

/// The kind of ResNet that tensors by our names (without `backbone.`) are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    blocks: [usize; 4],
    bottleneck: bool,
    /// Output channels of the first convolution.
    stem: usize,
    /// Output channels of a 3×3 convolution of the first stage.
    middle: usize,
}

impl Architecture {
    /// `None` without a first convolution and four stages.
    pub(super) fn of<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Option<Self> {
        let shapes: BTreeMap<&str, &[usize]> = tensors.collect();
        let mut blocks = [0; 4];
        for name in shapes.keys() {
            let Some((stage, rest)) = name.strip_prefix("layer").and_then(|n| n.split_once('.'))
            else {
                continue;
            };
            let block = rest.split('.').next().and_then(|b| b.parse::<usize>().ok());
            let stage = stage.parse::<usize>().ok().and_then(|s| s.checked_sub(1));
            if let (Some(count), Some(block)) = (stage.and_then(|s| blocks.get_mut(s)), block) {
                *count = (*count).max(block.saturating_add(1));
            }
        }
        let first = |name: &str| shapes.get(name).and_then(|shape| shape.first()).copied();
        let bottleneck = shapes.contains_key("layer1.0.conv3.weight");
        Some(Self {
            blocks,
            bottleneck,
            stem: first("conv1.weight")?,
            middle: first("layer1.0.conv2.weight")?,
        })
        .filter(|found| found.blocks.iter().all(|count| *count > 0))
    }

    /// Its number of layers, if it is one of torchvision's.
    pub(super) fn depth(&self) -> Option<u32> {
        Some(match (self.blocks, self.bottleneck) {
            ([2, 2, 2, 2], false) => 18,
            ([3, 4, 6, 3], false) => 34,
            ([3, 4, 6, 3], true) => 50,
            ([3, 4, 23, 3], true) => 101,
            ([3, 8, 36, 3], true) => 152,
            _ => return None,
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.depth() {
            Some(depth) => write!(f, "a ResNet-{depth}")?,
            None => {
                let kind = if self.bottleneck {
                    "bottleneck"
                } else {
                    "basic"
                };
                write!(f, "a ResNet of {:?} {kind} blocks", self.blocks)?;
            }
        }
        let width = self.stem as f64 / 64.0;
        if self.stem != self.middle {
            write!(f, " with {} channels in the 3×3 of layer1", self.middle)?;
        }
        write!(f, " of width {width}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_refused() {
        assert!(refuse_bad_values("a.weight", &[1.0, -2.0]).is_ok());
        let error = refuse_bad_values("a.weight", &[1.0, f32::NAN, f32::INFINITY]).unwrap_err();
        assert!(error.to_string().contains("`a.weight`"), "{error}");
        assert!(error.to_string().contains("2 of its 3"), "{error}");
        let error = refuse_bad_values("a.running_var", &[1.0, -2.0]).unwrap_err();
        assert!(error.to_string().contains("-2"), "{error}");
    }

    #[test]
    fn folded_and_untouched_norms_are_told_apart() {
        let mut norms = Norms::default();
        norms.add("layer1.0.bn1.running_mean", &[0.0, 0.0]);
        norms.add("layer1.0.bn1.running_var", &[1.0, 1.0]);
        norms.add("layer1.0.conv1.weight", &[0.3, 1.0]);
        norms.add("layer1.0.downsample.1.weight", &[1.0, 1.0]);
        assert!(norms.suspicion().unwrap().contains("random weights"));
        norms.add("bn1.bias", &[0.1, 0.0]);
        assert!(norms.suspicion().unwrap().contains("Caffe2"));
        norms.add("bn1.running_mean", &[0.1, 0.0]);
        assert_eq!(norms.suspicion(), None);
    }
}
