//! RoIAlign, differentiable in the features.

use burn::tensor::Tensor;

pub use crate::op::{Roi, RoiAlign};

impl RoiAlign {
    /// [`op::roi_align`](crate::op::roi_align).
    ///
    /// # Shapes
    /// - `features`: `[N, C, H, W]`
    /// - output: `[R, C, output, output]`, in the order of `rois`
    ///
    /// # Panics
    /// If there is no RoI, or one is of an image outside the batch.
    pub fn forward(&self, features: Tensor<4>, rois: &[Roi]) -> Tensor<4> {
        crate::op::roi_align(features, rois, *self)
    }
}

/// [`RoiAlign`] with torchvision's signature.
///
/// `rois` is read back to the host, where the weights are made; its values get no gradient.
///
/// # Shapes
/// - `features`: `[N, C, H, W]`
/// - `rois`: `[R, 5]`, image index and `x0, y0, x1, y1` in image pixels
/// - output: `[R, C, output, output]`
///
/// # Panics
/// If R is 0 or an index is outside the batch.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::detection::roi_align;
/// let device = Device::flex();
/// let features = Tensor::<4>::ones([1, 8, 16, 16], &device);
/// let rois = Tensor::from_floats([[0.0, 4.0, 4.0, 36.0, 20.0]], &device);
/// let pooled = roi_align(features, rois, 7, 0.25, 0, true);
/// assert_eq!(pooled.dims(), [1, 8, 7, 7]);
/// ```
#[must_use]
pub fn roi_align(
    features: Tensor<4>,
    rois: Tensor<2>,
    output: usize,
    spatial_scale: f64,
    sampling_ratio: usize,
    aligned: bool,
) -> Tensor<4> {
    let spatial_scale = spatial_scale as f32;
    assert_eq!(rois.dims()[1], 5, "RoIs are [R, 5], got {:?}", rois.dims());
    let values: Vec<f32> = rois.into_data().iter::<f32>().collect();
    let rois: Vec<Roi> = values
        .chunks_exact(5)
        .map(|row| Roi {
            image: row[0] as usize,
            bbox: [row[1], row[2], row[3], row[4]],
        })
        .collect();
    RoiAlign {
        output,
        spatial_scale,
        sampling_ratio,
        aligned,
    }
    .forward(features, &rois)
}
