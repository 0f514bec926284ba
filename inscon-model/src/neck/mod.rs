//! Heads of the contrastive pretraining, on C5.

mod cell_head;
mod instance_head;

pub use cell_head::*;
pub use instance_head::*;

use burn::tensor::Tensor;

/// Divides each vector along `dim` by its length, or by 1e-12 if that is longer: torch's
/// `normalize`.
///
/// # Panics
/// If `dim` ≥ `D`.
#[must_use]
pub fn l2_normalize<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    // The square is floored, not the root: √ has no gradient at 0.
    let squared = (x.clone() * x.clone()).sum_dim(dim).clamp_min(1e-24);
    x * squared.sqrt().recip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// The 3-4-5 triangle, and a zero vector whose gradient must stay finite.
    #[test]
    fn unit_vectors_and_the_zero_vector() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::from_data([[3.0, 4.0], [0.0, 0.0]], &device).require_grad();
        let y = l2_normalize(x.clone(), 1);
        let got = y.clone().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(got, [0.6, 0.8, 0.0, 0.0]);
        let gradient = x.grad(&y.sum().backward()).unwrap().into_data();
        assert!(
            gradient
                .try_to_vec::<f32>()
                .unwrap()
                .iter()
                .all(|g| g.is_finite())
        );
    }
}
