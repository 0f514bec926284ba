//! numpy's summation, whose rounding the printed means depend on.

/// Sum of `values` in numpy's pairwise order: eight accumulators within blocks of 128, halves
/// (rounded down to a multiple of 8) above that.
pub(crate) fn pairwise_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().fold(0.0, |sum, v| sum + v);
    }
    if n <= 128 {
        let mut r = [0.0; 8];
        r.copy_from_slice(&values[..8]);
        let (blocks, rest) = values[8..].as_chunks::<8>();
        for block in blocks {
            for (sum, v) in r.iter_mut().zip(block) {
                *sum += v;
            }
        }
        let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        return rest.iter().fold(sum, |sum, v| sum + v);
    }
    let half = n / 2;
    let (left, right) = values.split_at(half - half % 8);
    pairwise_sum(left) + pairwise_sum(right)
}

/// numpy's mean, or `None` of nothing.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| pairwise_sum(values) / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_numpy_does() {
        // numpy 2.4: repr((1.0 / (np.arange(n) * 0.1 + 0.3)).sum())
        for (n, expected) in NUMPY {
            let x: Vec<f64> = (0..n).map(|i| 1.0 / (i as f64 * 0.1 + 0.3)).collect();
            assert_eq!(pairwise_sum(&x), expected, "{n} values");
        }
    }

    const NUMPY: [(usize, f64); 7] = [
        (0, 0.0),
        (5, 10.928571428571429),
        (8, 14.28968253968254),
        (100, 37.07082429307258),
        (129, 39.562249260522364),
        (1000, 59.87467865541361),
        (12345, 84.98424557589608),
    ];
}
