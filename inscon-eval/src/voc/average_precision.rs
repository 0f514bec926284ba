//! The two ways in which VOC turns a precision-recall curve into a number.

use serde::{Deserialize, Serialize};

use crate::sum::pairwise_sum;

/// How average precision is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VocMetric {
    /// VOC 2007: mean of the best precision at the recalls 0, .1, .. 1.
    Voc07,
    /// VOC 2010 and later: exact area under the envelope of the curve.
    Voc10,
}

impl VocMetric {
    /// Average precision of a curve whose points are in order of falling score (`voc_ap`).
    pub(super) fn average_precision(self, recall: &[f64], precision: &[f64]) -> f64 {
        match self {
            Self::Voc07 => (0..11).fold(0.0, |sum, tenth| {
                // numpy's arange, not literals: 3 * .1 is above .3.
                let at = f64::from(tenth) * 0.1;
                let reached = recall.iter().zip(precision).filter(|(r, _)| **r >= at);
                sum + reached.map(|(_, p)| *p).fold(0.0, f64::max) / 11.0
            }),
            Self::Voc10 => {
                let recall: Vec<f64> = [&[0.0], recall, &[1.0]].concat();
                let mut envelope: Vec<f64> = [&[0.0], precision, &[0.0]].concat();
                for i in (1..envelope.len()).rev() {
                    envelope[i - 1] = envelope[i - 1].max(envelope[i]);
                }
                let steps = recall
                    .windows(2)
                    .zip(&envelope[1..])
                    .filter(|(r, _)| r[1] != r[0]);
                let areas: Vec<f64> = steps.map(|(r, p)| (r[1] - r[0]) * p).collect();
                pairwise_sum(&areas)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_by_hand() {
        let (recall, precision) = ([0.5, 0.5, 1.0], [1.0, 0.5, 2.0 / 3.0]);
        let seven = VocMetric::Voc07.average_precision(&recall, &precision);
        assert!(
            (seven - (6.0 + 5.0 * 2.0 / 3.0) / 11.0).abs() < 1e-15,
            "{seven}"
        );
        let ten = VocMetric::Voc10.average_precision(&recall, &precision);
        assert!((ten - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15, "{ten}");
        assert_eq!(VocMetric::Voc07.average_precision(&[], &[]), 0.0);
        assert_eq!(VocMetric::Voc10.average_precision(&[], &[]), 0.0);
    }
}
