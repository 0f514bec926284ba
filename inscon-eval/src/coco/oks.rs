//! Object keypoint similarity.

use crate::sum::pairwise_sum;

/// How alike two sets of keypoints `[x, y, v, ..]` are, from 0 to 1 (pycocotools' `computeOks`):
/// the mean over the truth's labelled points of `exp(-d² / (2 (2σ)² area))`. If none is labelled,
/// distances are those to the truth's box, doubled in size.
///
/// # Panics
/// When the lists are not of three numbers for each sigma.
pub(super) fn similarity(
    detection: &[f64],
    truth: &[f64],
    bbox: &[f64; 4],
    area: f64,
    sigmas: &[f64],
) -> f64 {
    assert_eq!(detection.len(), sigmas.len() * 3);
    assert_eq!(truth.len(), sigmas.len() * 3);
    let points = || {
        let (truth, detection) = (truth.as_chunks::<3>().0, detection.as_chunks::<3>().0);
        truth.iter().zip(detection).zip(sigmas)
    };
    let labelled = truth.as_chunks::<3>().0.iter().any(|point| point[2] > 0.0);
    let [x, y, width, height] = *bbox;
    let outside = |v: f64, low: f64, high: f64| largest(0.0, low - v) + largest(0.0, v - high);
    let terms: Vec<f64> = points()
        .filter(|((t, _), _)| !labelled || t[2] > 0.0)
        .map(|((t, d), sigma)| {
            let (dx, dy) = if labelled {
                (d[0] - t[0], d[1] - t[1])
            } else {
                (
                    outside(d[0], x - width, x + width * 2.0),
                    outside(d[1], y - height, y + height * 2.0),
                )
            };
            let variance = (sigma * 2.0) * (sigma * 2.0);
            let e = (dx * dx + dy * dy) / variance / (area + f64::EPSILON) / 2.0;
            (-e).exp()
        })
        .collect();
    pairwise_sum(&terms) / terms.len() as f64
}

/// numpy's maximum: NaN if one is.
fn largest(a: f64, b: f64) -> f64 {
    if b.is_nan() { b } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (sigmas, bbox) = ([0.1, 0.05], [0.0, 0.0, 10.0, 10.0]);
        let truth = [2.0, 3.0, 2.0, 9.0, 9.0, 0.0];
        let same = similarity(&truth, &truth, &bbox, 100.0, &sigmas);
        assert_eq!(same, 1.0);
        // One pixel off: 1 / (2 * .04 * 100) = .125.
        let off = similarity(
            &[3.0, 3.0, 0.0, 0.0, 0.0, 0.0],
            &truth,
            &bbox,
            100.0,
            &sigmas,
        );
        assert!((off - (-0.125_f64).exp()).abs() < 1e-12, "{off}");
        // Nothing is labelled: within the doubled box all is well.
        let none = [0.0; 6];
        let inside = [-9.0, 19.0, 1.0, 5.0, 5.0, 1.0];
        assert_eq!(similarity(&inside, &none, &bbox, 100.0, &sigmas), 1.0);
        let beyond = [-11.0, 5.0, 1.0, 5.0, 5.0, 1.0];
        let expected = f64::midpoint((-0.125_f64).exp(), 1.0);
        assert!((similarity(&beyond, &none, &bbox, 100.0, &sigmas) - expected).abs() < 1e-12);
    }
}
