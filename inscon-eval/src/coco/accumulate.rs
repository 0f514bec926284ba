//! From hits and misses to precision at given recalls.

/// One precision-recall curve in the making, best score first. Precision only falls between hits,
/// so the hits are all that its envelope needs.
#[derive(Debug, Default)]
pub(super) struct Curve {
    /// Score of the first detection, whatever came of it.
    top: Option<f64>,
    /// Misses so far, without those that the caller counts for many curves at once.
    pub(super) misses: u32,
    /// For each hit: the misses before it, and its score.
    hits: Vec<(u32, f64)>,
}

impl Curve {
    pub(super) fn clear(&mut self) {
        self.hits.clear();
        *self = Self {
            hits: std::mem::take(&mut self.hits),
            ..Self::default()
        };
    }

    /// A detection of this score is at hand; only the first one matters.
    pub(super) fn start(&mut self, score: f64) {
        self.top.get_or_insert(score);
    }

    /// A hit, after `others` misses that were counted elsewhere.
    pub(super) fn hit(&mut self, others: u32, score: f64) {
        self.hits.push((self.misses + others, score));
    }
}

/// Reads `curve` off at the recalls `thresholds` (ascending) into `precision` and `scores`, and
/// returns its last recall. `positives` (at least one) are the truths that count; `best` is memory.
pub(super) fn read_off(
    curve: &Curve,
    positives: usize,
    thresholds: &[f64],
    best: &mut Vec<f64>,
    precision: &mut [f64],
    scores: &mut [f64],
) -> f64 {
    precision.fill(0.0);
    scores.fill(0.0);
    let Some(top) = curve.top else {
        return 0.0;
    };
    let positives = positives as f64;
    best.clear();
    best.extend((1..).zip(&curve.hits).map(|(hits, &(misses, _))| {
        let (hits, misses) = (f64::from(hits), f64::from(misses));
        hits / (misses + hits + f64::EPSILON)
    }));
    // The envelope: at each recall the best precision at that recall or a later one.
    for i in (1..best.len()).rev() {
        best[i - 1] = best[i - 1].max(best[i]);
    }
    let mut next = 0;
    for (r, &threshold) in thresholds.iter().enumerate() {
        if threshold <= 0.0 {
            // Reached by the first detection, hit or not.
            precision[r] = best.first().copied().unwrap_or(0.0);
            scores[r] = top;
            continue;
        }
        while next < best.len() && (next + 1) as f64 / positives < threshold {
            next += 1;
        }
        if next == best.len() {
            break;
        }
        precision[r] = best[next];
        scores[r] = curve.hits[next].1;
    }
    curve.hits.len() as f64 / positives
}

/// Sorts from best to worst; NaN comes last, and the zeros are one.
pub(crate) fn score_key(score: f64) -> u64 {
    if score.is_nan() {
        return u64::MAX;
    }
    let bits = (score + 0.0).to_bits();
    // Of the floats from least to largest, these would be ascending.
    let ascending = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    !ascending
}

/// Positions of `scores` from best to worst; equals keep their order, NaN comes last.
pub(crate) fn by_score(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by_key(|&i| score_key(scores[i]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_their_order_and_nan_is_last() {
        assert_eq!(
            by_score(&[0.5, f64::NAN, 0.9, 0.5, f64::NEG_INFINITY, f64::INFINITY]),
            [5, 2, 0, 3, 4, 1]
        );
        assert_eq!(by_score(&[-1.0, -0.0, 0.0, 1e-300, -2.0]), [3, 1, 2, 0, 4]);
        assert_eq!(by_score(&[f64::NAN, -f64::NAN, f64::NAN]), [0, 1, 2]);
    }

    #[test]
    fn a_hit_a_miss_a_hit() {
        let mut curve = Curve::default();
        for score in [0.9, 0.8, 0.7] {
            curve.start(score);
        }
        curve.hit(0, 0.9);
        curve.misses += 1;
        curve.hit(0, 0.7);
        let (mut precision, mut scores) = ([0.0; 5], [0.0; 5]);
        let thresholds = [0.0, 0.25, 0.3, 0.5, 0.6];
        let mut best = Vec::new();
        let recall = read_off(
            &curve,
            4,
            &thresholds,
            &mut best,
            &mut precision,
            &mut scores,
        );
        assert_eq!(recall, 0.5);
        let (one, two_thirds) = (1.0 / (1.0 + f64::EPSILON), 2.0 / (3.0 + f64::EPSILON));
        assert_eq!(precision, [one, one, two_thirds, two_thirds, 0.0]);
        assert_eq!(scores, [0.9, 0.9, 0.7, 0.7, 0.0]);
    }
}
