//! From outcomes to precision at given recalls.

use super::matching::Outcome;

/// One precision-recall curve, read off.
pub(super) struct Curve {
    /// Recall over all detections; 0 without any.
    pub(super) recall: f64,
    /// Precision at each recall threshold; 0 where not reached.
    pub(super) precision: Vec<f64>,
    /// Score at which each recall threshold is reached; 0 where not reached.
    pub(super) scores: Vec<f64>,
}

/// Positions of `scores` from best to worst; equals keep their order, NaN comes last.
pub(crate) fn by_score(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (scores[a], scores[b]);
        b.partial_cmp(&a)
            .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    });
    order
}

/// `ranked` are outcome and score, best score first; `positives` (at least one) the truths that
/// count.
pub(super) fn curve(
    ranked: impl Iterator<Item = (Outcome, f64)>,
    positives: usize,
    thresholds: &[f64],
) -> Curve {
    let (mut hits, mut misses) = (0.0, 0.0);
    let (mut recall, mut precision, mut score) = (Vec::new(), Vec::new(), Vec::new());
    for (outcome, s) in ranked {
        match outcome {
            Outcome::Hit => hits += 1.0,
            Outcome::Miss => misses += 1.0,
            Outcome::Ignored => {}
        }
        recall.push(hits / positives as f64);
        precision.push(hits / (misses + hits + f64::EPSILON));
        score.push(s);
    }
    // The envelope: at each recall the best precision at that recall or a later one.
    for i in (1..precision.len()).rev() {
        if precision[i] > precision[i - 1] {
            precision[i - 1] = precision[i];
        }
    }
    let mut read = Curve {
        recall: recall.last().copied().unwrap_or(0.0),
        precision: vec![0.0; thresholds.len()],
        scores: vec![0.0; thresholds.len()],
    };
    for (r, threshold) in thresholds.iter().enumerate() {
        let first = recall.partition_point(|v| v < threshold);
        if first == recall.len() {
            break;
        }
        read.precision[r] = precision[first];
        read.scores[r] = score[first];
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_their_order_and_nan_is_last() {
        assert_eq!(
            by_score(&[0.5, f64::NAN, 0.9, 0.5, f64::NEG_INFINITY]),
            [2, 0, 3, 4, 1]
        );
    }

    #[test]
    fn a_hit_a_miss_a_hit() {
        let ranked = [
            (Outcome::Hit, 0.9),
            (Outcome::Miss, 0.8),
            (Outcome::Hit, 0.7),
        ];
        let read = curve(ranked.into_iter(), 4, &[0.0, 0.25, 0.3, 0.5, 0.6]);
        assert_eq!(read.recall, 0.5);
        let (one, two_thirds) = (1.0 / (1.0 + f64::EPSILON), 2.0 / (3.0 + f64::EPSILON));
        assert_eq!(read.precision, [one, one, two_thirds, two_thirds, 0.0]);
        assert_eq!(read.scores, [0.9, 0.9, 0.7, 0.7, 0.0]);
    }
}
