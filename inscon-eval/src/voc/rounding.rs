//! The decimals that detectron2's text files keep.

/// `format!("{:.N}")` and back.
fn decimals<const N: usize>(value: f64) -> f64 {
    // A float that was just printed always parses; NaN and infinities too.
    format!("{value:.N$}").parse().unwrap_or(value)
}

/// A score to three decimals.
pub(super) fn score(value: f64) -> f64 {
    decimals::<3>(value)
}

/// A box `[xmin, ymin, xmax, ymax]` to one decimal.
pub(super) fn corners(corners: [f64; 4]) -> [f64; 4] {
    corners.map(decimals::<1>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even_as_in_python() {
        // Exact ties in binary; Python: f"{x:.3f}", f"{x:.1f}".
        assert_eq!([0.0625, 0.1875, 0.3125].map(score), [0.062, 0.188, 0.312]);
        assert_eq!(corners([0.25, 0.75, 1.25, -0.25]), [0.2, 0.8, 1.2, -0.2]);
        assert!(score(f64::NAN).is_nan());
    }
}
