//! The detector's loss terms.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, relu};

/// Loss terms of one batch, each `[1]`, each already divided by its own number.
#[derive(Debug, Clone)]
pub struct LossDict {
    /// RPN objectness.
    pub rpn_cls: Tensor<1>,
    /// RPN boxes.
    pub rpn_box: Tensor<1>,
    /// Classes of the sampled RoIs.
    pub cls: Tensor<1>,
    /// Boxes of the foreground RoIs.
    pub bbox: Tensor<1>,
    /// Masks of the foreground RoIs; `None` without a mask branch.
    pub mask: Option<Tensor<1>>,
    /// What was sampled.
    pub stats: SamplingStats,
}

impl LossDict {
    /// The sum, which is what trains.
    #[must_use]
    pub fn total(&self) -> Tensor<1> {
        let [first, rest @ ..] = &self.terms()[..] else {
            unreachable!("there are four terms")
        };
        rest.iter()
            .fold(first.1.clone(), |sum, (_, term)| sum + term.clone())
    }

    /// The terms with detectron2's names, for logs.
    #[must_use]
    pub fn terms(&self) -> Vec<(&'static str, Tensor<1>)> {
        let mut terms = vec![
            ("loss_rpn_cls", self.rpn_cls.clone()),
            ("loss_rpn_loc", self.rpn_box.clone()),
            ("loss_cls", self.cls.clone()),
            ("loss_box_reg", self.bbox.clone()),
        ];
        terms.extend(self.mask.clone().map(|mask| ("loss_mask", mask)));
        terms
    }
}

/// Counts over one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SamplingStats {
    /// Foreground anchors drawn.
    pub rpn_positives: usize,
    /// Background anchors drawn.
    pub rpn_negatives: usize,
    /// Proposals after NMS, ground truth not counted.
    pub proposals: usize,
    /// Proposals dropped because they were NaN or infinite; anything but 0 says the training
    /// diverges.
    pub non_finite_proposals: usize,
    /// Foreground RoIs drawn.
    pub roi_positives: usize,
    /// Background RoIs drawn.
    pub roi_negatives: usize,
}

/// Binary cross-entropy with logits, element by element.
pub(super) fn bce_with_logits<const D: usize>(logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
    // -t·log σ(x) - (1-t)·log σ(-x) = (1-t)·x - log σ(x)
    let negative = logits.clone() * targets.mul_scalar(-1.0).add_scalar(1.0);
    negative - log_sigmoid(logits)
}

/// Smooth L1, element by element; `beta` 0 is L1.
pub(super) fn smooth_l1<const D: usize>(
    prediction: Tensor<D>,
    target: Tensor<D>,
    beta: f64,
) -> Tensor<D> {
    let distance = (prediction - target).abs();
    if beta < 1e-5 {
        return distance;
    }
    // With m = min(d, β): m²/(2β) + (d - m).
    let excess = relu(distance.clone() - beta);
    let inner = distance - excess.clone();
    inner.square() / (2.0 * beta) + excess
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn literal_values_and_extremes() {
        let device = Device::flex();
        let x = Tensor::<1>::from_floats([0.0, 2.0, -3.0, 200.0, -200.0], &device);
        let t = Tensor::<1>::from_floats([1.0, 0.0, 1.0, 0.0, 1.0], &device);
        let got = bce_with_logits(x, t)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        for (got, want) in
            got.iter()
                .zip([std::f32::consts::LN_2, 2.126_928, 3.048_587_3, 200.0, 200.0])
        {
            assert!((got - want).abs() < 1e-5 * want, "{got} against {want}");
        }

        let a = Tensor::<1>::from_floats([0.0, 0.5, 3.0], &device);
        let b = Tensor::<1>::from_floats([0.25, 0.0, 0.0], &device);
        let l1 = smooth_l1(a.clone(), b.clone(), 0.0)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(l1, [0.25, 0.5, 3.0]);
        let smooth = smooth_l1(a, b, 1.0)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(smooth, [0.031_25, 0.125, 2.5]);
    }
}
