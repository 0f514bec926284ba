//! Figures of a classifier: top-1 and average precision.

use ndarray::Array2;

/// Share of rows whose largest score is at their label; the first of equal scores counts.
#[must_use]
pub fn top1(scores: &Array2<f32>, labels: &[usize]) -> f64 {
    let hits = scores
        .rows()
        .into_iter()
        .zip(labels)
        .filter(|(row, label)| {
            let mut best = 0;
            for (class, score) in row.iter().enumerate() {
                if *score > row[best] {
                    best = class;
                }
            }
            best == **label
        });
    hits.count() as f64 / labels.len().max(1) as f64
}

/// Average precision of a ranking: `Σ (Rₙ − Rₙ₋₁)·Pₙ` over its thresholds, as scikit-learn's
/// `average_precision_score`; rows of equal score come in together. `None` without a positive.
///
/// # Example
/// ```
/// let ranked = [(0.9, true), (0.8, false), (0.7, true)];
/// let ap = inscon_train::probe::average_precision(ranked.into_iter()).unwrap();
/// assert!((ap - (0.5 * 1.0 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
/// ```
#[must_use]
pub fn average_precision(ranked: impl Iterator<Item = (f32, bool)>) -> Option<f64> {
    let mut ranked: Vec<(f32, bool)> = ranked.collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = ranked.iter().filter(|(_, positive)| *positive).count();
    if positives == 0 {
        return None;
    }
    let (mut hits, mut seen, mut sum) = (0usize, 0usize, 0.0);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let new = tied.iter().filter(|(_, positive)| *positive).count();
        hits += new;
        seen += tied.len();
        sum += new as f64 / positives as f64 * hits as f64 / seen as f64;
    }
    Some(sum)
}

/// One-versus-rest average precision of each class that occurs in `labels`, ranked by its column
/// of `scores` `[N, classes]`, and their mean (NaN when none occurs).
#[must_use]
pub fn mean_average_precision(scores: &Array2<f32>, labels: &[usize]) -> (f64, Vec<Option<f64>>) {
    let per_class: Vec<Option<f64>> = (0..scores.ncols())
        .map(|class| {
            let column = scores.column(class);
            average_precision(column.iter().zip(labels).map(|(s, l)| (*s, *l == class)))
        })
        .collect();
    let present: Vec<f64> = per_class.iter().copied().flatten().collect();
    (
        present.iter().sum::<f64>() / present.len() as f64,
        per_class,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])` is .8333 in its manual.
    #[test]
    fn scikit_learns_example() {
        let ranked = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let ap = average_precision(ranked.into_iter()).unwrap();
        assert!((ap - 0.833_333).abs() < 1e-5, "{ap}");
    }

    #[test]
    fn ties_do_not_depend_on_their_order() {
        let a = average_precision([(0.5, true), (0.5, false)].into_iter());
        let b = average_precision([(0.5, false), (0.5, true)].into_iter());
        assert_eq!((a, b), (Some(0.5), Some(0.5)));
        assert_eq!(average_precision([(0.5, false)].into_iter()), None);
    }

    #[test]
    fn absent_classes_leave_the_mean_alone() {
        let scores = ndarray::arr2(&[[0.9, 0.1, 0.5], [0.2, 0.8, 0.4]]);
        let (mean, per_class) = mean_average_precision(&scores, &[0, 1]);
        assert_eq!(mean, 1.0);
        assert_eq!(per_class, [Some(1.0), Some(1.0), None]);
        assert_eq!(top1(&scores, &[0, 2]), 0.5);
    }
}
