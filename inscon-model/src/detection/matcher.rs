//! Which ground truth a proposal or an anchor belongs to.

use super::pairwise_iou;

/// What a candidate is trained as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchLabel {
    /// Background.
    Negative,
    /// Between the thresholds: takes no part.
    Ignored,
    /// Foreground.
    Positive,
}

/// The best ground truth of every candidate, and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches {
    /// Index of the ground truth with the highest IoU (the first of equals); 0 without ground
    /// truth.
    pub truth: Vec<usize>,
    /// Labels.
    pub labels: Vec<MatchLabel>,
}

/// IoU thresholds, detectron2's `Matcher`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matcher {
    /// Below this a candidate is background.
    pub negative_below: f32,
    /// From this on it is foreground.
    pub positive_from: f32,
    /// Whether the best candidates of each ground truth are foreground whatever their IoU.
    ///
    /// They keep the ground truth they overlap most, which may be another one. A ground truth that
    /// meets no candidate makes none foreground (detectron2 would make all of IoU 0).
    pub low_quality_matches: bool,
}

impl Matcher {
    /// Matches `candidates` to `truth`.
    #[must_use]
    pub fn matches(&self, truth: &[[f32; 4]], candidates: &[[f32; 4]]) -> Matches {
        let n = candidates.len();
        let ious = pairwise_iou(truth, candidates);
        let mut best = vec![0.0f32; n];
        let mut matched = vec![0usize; n];
        for (t, row) in ious.chunks_exact(n.max(1)).enumerate() {
            for (i, &iou) in row.iter().enumerate() {
                if iou > best[i] {
                    best[i] = iou;
                    matched[i] = t;
                }
            }
        }
        let label = |&iou: &f32| {
            if truth.is_empty() || iou < self.negative_below {
                MatchLabel::Negative
            } else if iou < self.positive_from {
                MatchLabel::Ignored
            } else {
                MatchLabel::Positive
            }
        };
        let mut labels: Vec<MatchLabel> = best.iter().map(label).collect();
        if self.low_quality_matches {
            for row in ious.chunks_exact(n.max(1)) {
                let highest = row.iter().copied().fold(0.0, f32::max);
                if highest > 0.0 {
                    let ties = row
                        .iter()
                        .zip(&mut labels)
                        .filter(|(iou, _)| **iou == highest);
                    ties.for_each(|(_, label)| *label = MatchLabel::Positive);
                }
            }
        }
        Matches {
            truth: matched,
            labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MatchLabel::{Ignored, Negative, Positive};
    use super::*;

    const RPN: Matcher = Matcher {
        negative_below: 0.3,
        positive_from: 0.7,
        low_quality_matches: true,
    };

    /// Candidates of a unit-high row with chosen widths.
    fn wide(x0: f32, x1: f32) -> [f32; 4] {
        [x0, 0.0, x1, 1.0]
    }

    #[test]
    fn thresholds_and_low_quality() {
        let truth = [wide(0.0, 10.0), wide(100.0, 110.0)];
        let candidates = [
            wide(0.0, 8.0),
            wide(0.0, 5.0),
            wide(0.0, 2.0),
            wide(104.0, 114.0),
            wide(50.0, 60.0),
        ];
        let got = RPN.matches(&truth, &candidates);
        // IoUs .8, .5, .2; the second truth's best is 6/14, ignored but for the low-quality rule.
        assert_eq!(
            got.labels,
            [Positive, Ignored, Negative, Positive, Negative]
        );
        assert_eq!(got.truth, [0, 0, 0, 1, 0]);
        let strict = Matcher {
            low_quality_matches: false,
            ..RPN
        };
        let labels = strict.matches(&truth, &candidates).labels;
        assert_eq!(labels, [Positive, Ignored, Negative, Ignored, Negative]);
    }

    #[test]
    fn low_quality_keeps_the_better_truth() {
        // The only candidate of the second truth overlaps the first more.
        let truth = [wide(0.0, 10.0), wide(9.0, 30.0)];
        let got = RPN.matches(&truth, &[wide(0.0, 10.0)]);
        assert_eq!((got.labels, got.truth), (vec![Positive], vec![0]));
    }

    #[test]
    fn without_truth_all_is_background() {
        assert_eq!(RPN.matches(&[], &[wide(0.0, 1.0); 3]).labels, [Negative; 3]);
        assert_eq!(RPN.matches(&[wide(0.0, 1.0)], &[]).labels, []);
        // A truth out of reach, and one without area.
        let far = [wide(50.0, 60.0), wide(0.5, 0.5)];
        assert_eq!(RPN.matches(&far, &[wide(0.0, 1.0)]).labels, [Negative]);
        let all = Matcher {
            negative_below: 0.0,
            ..RPN
        };
        assert_eq!(all.matches(&[], &[wide(0.0, 1.0)]).labels, [Negative]);
    }
}
