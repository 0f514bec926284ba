//! RoIAlign: its definition, and the choice of what computes it.

#[cfg(any(feature = "flex", feature = "cube"))]
pub(super) mod backend;
#[cfg(any(feature = "flex", feature = "cube"))]
mod plan;
mod products;

use burn::tensor::{Int, Tensor, TensorData};

#[cfg(any(feature = "flex", feature = "cube"))]
use backend::Plan;
#[cfg(any(feature = "flex", feature = "cube"))]
pub use plan::{RoiMap, RoiPlan};

#[cfg(feature = "flex")]
pub(super) use plan::Tap;
#[cfg(feature = "cube")]
pub(super) use plan::Taps;

/// A region of one image of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roi {
    /// Index of the image in the batch.
    pub image: usize,
    /// `[x0, y0, x1, y1]` in image pixels.
    pub bbox: [f32; 4],
}

/// RoIAlign (He et al., Mask R-CNN, arXiv 1703.06870), as `torchvision.ops.roi_align` computes it.
///
/// Each of `output²` bins averages bilinear samples at regular points. A bilinear sample is a
/// product of a vertical and a horizontal interpolation, and so is the mean over a bin's grid:
///
/// ```text
/// y[r, c, i, j] = Σ_v Σ_u  Wy[r, i, v] · Wx[r, j, u] · x[image(r), c, v, u]
/// ```
/// The weights are made on the host, once for all channels; no sample is ever written down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoiAlign {
    /// Bins along a side.
    pub output: usize,
    /// Feature cells per image pixel: 1 / stride.
    pub spatial_scale: f32,
    /// Samples of a bin along an axis; 0 takes ⌈RoI side / output⌉.
    pub sampling_ratio: usize,
    /// Shifts by half a cell, which puts samples where cells are (detectron2's RoIAlign v2).
    pub aligned: bool,
}

impl RoiAlign {
    /// The weights of one axis: calls `tap(bin, cell, weight)` for each, bin after bin; a cell may
    /// come up more than once. `start` and `end` are in image pixels, `cells` is the length of the
    /// map.
    pub fn taps(&self, start: f32, end: f32, cells: usize, mut tap: impl FnMut(usize, usize, f32)) {
        let offset = if self.aligned { 0.5 } else { 0.0 };
        let start = start * self.spatial_scale - offset;
        let mut length = end * self.spatial_scale - offset - start;
        if !self.aligned {
            length = length.max(1.0);
        }
        if !(start.is_finite() && length.is_finite()) || cells == 0 {
            return;
        }
        let bin_length = length / self.output as f32;
        let grid = match self.sampling_ratio {
            0 => bin_length.ceil().max(0.0) as usize,
            ratio => ratio,
        };
        let share = 1.0 / grid as f32;
        for bin in 0..self.output {
            let first = start + bin as f32 * bin_length;
            let mut steps = 0..grid;
            if grid > 4 * (cells + 2) {
                // A box far larger than the map: most samples lie outside and count as zero.
                let step = |at: f32| (at - first) / bin_length * grid as f32;
                let margin = (2.0 + 1e-5 * grid as f32).min((cells + 2) as f32);
                steps.start = (step(-1.0) - margin).max(0.0) as usize;
                steps.end = ((step(cells as f32) + margin).max(0.0) as usize).min(grid);
            }
            for step in steps {
                let within = (step as f32 + 0.5) * bin_length / grid as f32;
                let at = first + within;
                if at < -1.0 || at > cells as f32 {
                    continue;
                }
                let at = at.max(0.0);
                let low = at as usize;
                if low + 1 >= cells {
                    tap(bin, cells - 1, share);
                } else {
                    let high = at - low as f32;
                    tap(bin, low, (1.0 - high) * share);
                    tap(bin, low + 1, high * share);
                }
            }
        }
    }
}

/// RoIAlign, differentiable in the features.
///
/// On flex and on the Cube backends (feature `cube`) one operation with a hand-written backward;
/// elsewhere two batched products of matrices. The gradient is a sum in the order of the RoIs: the
/// same every time, on any number of threads.
///
/// # Shapes
/// - `features`: `[N, C, H, W]`
/// - output: `[R, C, output, output]`, in the order of `rois`
///
/// Samples more than one cell outside the map count as zero; an inverted box gives zeros where
/// the sampling is adaptive, as in torchvision; so does one that is not finite.
///
/// # Panics
/// If there is no RoI, or one is of an image outside the batch.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::op::{Roi, RoiAlign, roi_align};
///
/// let columns = Tensor::<1>::from_floats([0.0, 1.0, 2.0, 3.0], &Device::flex());
/// let align = RoiAlign { output: 1, spatial_scale: 0.5, sampling_ratio: 0, aligned: true };
/// let roi = Roi { image: 0, bbox: [2.0, 0.0, 6.0, 8.0] };
/// let pooled = roi_align(columns.reshape([1, 1, 1, 4]).repeat_dim(2, 4), &[roi], align);
/// assert_eq!(pooled.into_scalar::<f32>(), 1.5);
/// ```
pub fn roi_align(features: Tensor<4>, rois: &[Roi], align: RoiAlign) -> Tensor<4> {
    check(rois, features.dims()[0]);
    #[cfg(any(feature = "flex", feature = "cube"))]
    if backend::runs(&features) {
        let map = RoiMap::of(&features, align);
        let plan = RoiPlan::new(vec![map], rois.iter().map(|roi| (0, *roi)));
        return backend::roi_align(features, Plan::from(plan));
    }
    products::roi_align(features, rois, align)
}

/// [`roi_align`] of a pyramid: RoI `r` reads map `levels[r]`, whose cells per image pixel are
/// `spatial_scales[levels[r]]` (that of `align` is not used). Every level writes its own rows of
/// the output.
///
/// # Shapes
/// - `features`: `[N, C, Hᵢ, Wᵢ]`
/// - output: `[R, C, output, output]`, in the order of `rois`
///
/// # Panics
/// If there is no RoI, one is of an image outside the batch or of a fifth level, there are not as
/// many levels as RoIs, or the maps differ in N or C.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::op::{Roi, RoiAlign, roi_align_pyramid};
///
/// let device = Device::flex();
/// let maps = [0, 1, 2, 3].map(|i| Tensor::<4>::full([1, 2, 32 >> i, 32 >> i], i, &device));
/// let align = RoiAlign { output: 7, spatial_scale: 1.0, sampling_ratio: 0, aligned: true };
/// let rois = [Roi { image: 0, bbox: [8.0, 8.0, 90.0, 90.0] }; 2];
/// let scales = [4.0, 8.0, 16.0, 32.0].map(f32::recip);
/// let pooled = roi_align_pyramid(maps, scales, &rois, &[3, 1], align);
/// assert_eq!(pooled.dims(), [2, 2, 7, 7]);
/// assert_eq!(pooled.mean_dim(0).slice([0..1, 0..1, 3..4, 3..4]).into_scalar::<f32>(), 2.0);
/// ```
pub fn roi_align_pyramid(
    features: [Tensor<4>; 4],
    spatial_scales: [f32; 4],
    rois: &[Roi],
    levels: &[usize],
    align: RoiAlign,
) -> Tensor<4> {
    let [images, channels, ..] = features[0].dims();
    check(rois, images);
    assert_eq!(rois.len(), levels.len(), "RoIAlign: levels of the RoIs");
    for map in &features {
        let [n, c, ..] = map.dims();
        assert_eq!([n, c], [images, channels], "RoIAlign: maps of a pyramid");
    }
    let aligns = spatial_scales.map(|spatial_scale| RoiAlign {
        spatial_scale,
        ..align
    });
    #[cfg(any(feature = "flex", feature = "cube"))]
    if features.iter().all(backend::runs) {
        let maps = features.iter().zip(aligns);
        let maps = maps.map(|(map, align)| RoiMap::of(map, align)).collect();
        let plan = RoiPlan::new(maps, levels.iter().copied().zip(rois.iter().copied()));
        return backend::roi_align_pyramid(features, Plan::from(plan));
    }
    let mut members: [Vec<usize>; 4] = Default::default();
    for (index, &level) in levels.iter().enumerate() {
        members[level].push(index);
    }
    let mut pooled = Vec::new();
    for ((map, align), members) in features.into_iter().zip(aligns).zip(&members) {
        if !members.is_empty() {
            let of_level: Vec<Roi> = members.iter().map(|&index| rois[index]).collect();
            pooled.push(products::roi_align(map, &of_level, align));
        }
    }
    let mut place = vec![0; rois.len()];
    for (row, &index) in members.iter().flatten().enumerate() {
        place[index] = row;
    }
    in_place(pooled, &place)
}

fn check(rois: &[Roi], images: usize) {
    assert!(!rois.is_empty(), "RoIAlign of no RoI");
    for (index, roi) in rois.iter().enumerate() {
        assert!(
            roi.image < images,
            "RoI {index} of image {} of {images}",
            roi.image
        );
    }
}

/// The rows of all `parts`, row `place[r]` of them as row r.
fn in_place(mut parts: Vec<Tensor<4>>, place: &[usize]) -> Tensor<4> {
    let rows: usize = parts.iter().map(|part| part.dims()[0]).sum();
    let pooled = if parts.len() == 1 {
        parts.remove(0)
    } else {
        Tensor::cat(parts, 0)
    };
    if rows == place.len() && place.is_sorted() {
        return pooled;
    }
    let rows: Vec<i64> = place.iter().map(|&row| row as i64).collect();
    let rows = TensorData::new(rows, [place.len()]);
    let rows = Tensor::<1, Int>::from_data(rows, &pooled.device());
    pooled.select(0, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(align: RoiAlign, start: f32, end: f32, cells: usize) -> Vec<f32> {
        let mut dense = vec![0.0; align.output * cells];
        align.taps(start, end, cells, |bin, cell, weight| {
            dense[bin * cells + cell] += weight
        });
        dense
    }

    const ALIGN: RoiAlign = RoiAlign {
        output: 2,
        spatial_scale: 1.0,
        sampling_ratio: 0,
        aligned: true,
    };

    #[test]
    fn taps_literal() {
        // Bins of one cell that lie on the cells.
        assert_eq!(
            weights(ALIGN, 1.0, 3.0, 4),
            [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        );
        // A shift by half a cell averages neighbours; outside by less than a cell is the border.
        assert_eq!(weights(ALIGN, -0.5, 1.5, 3), [1.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
        // Inverted and empty boxes have no samples; far outside counts as zero.
        assert_eq!(weights(ALIGN, 3.0, 1.0, 4), [0.0; 8]);
        assert_eq!(weights(ALIGN, 3.0, 3.0, 4), [0.0; 8]);
        assert_eq!(weights(ALIGN, 20.0, 24.0, 4), [0.0; 8]);
        assert_eq!(weights(ALIGN, f32::NAN, 24.0, 4), [0.0; 8]);
    }

    /// The samples that are left out of a huge box are those outside the map.
    #[test]
    fn a_huge_box_is_not_walked_through() {
        for (start, end) in [(-3000.0f32, 5000.0), (-1e6, 1e6), (1.25, 4000.5)] {
            let mut all = [0.0; 8];
            let bin_length = (end - start) / 2.0;
            let grid = bin_length.ceil();
            for bin in 0..2 {
                for step in 0..grid as usize {
                    let within = (step as f32 + 0.5) * bin_length / grid;
                    let at = (start - 0.5) + bin as f32 * bin_length + within;
                    if (-1.0..=4.0).contains(&at) {
                        let at = at.clamp(0.0, 3.0);
                        let (low, high) = (at as usize, at - at.floor());
                        all[bin * 4 + low] += (1.0 - high) / grid;
                        all[bin * 4 + (low + 1).min(3)] += high / grid;
                    }
                }
            }
            let got = weights(ALIGN, start, end, 4);
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            assert!(got.iter().zip(&all).all(close), "{got:?} against {all:?}");
        }
        let share: f32 = weights(ALIGN, -1e30, 1e30, 4).iter().sum();
        assert!((0.0..1e-20).contains(&share), "{share}");
    }
}
