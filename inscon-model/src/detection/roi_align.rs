//! RoIAlign, differentiable in the features.

use burn::tensor::{Int, Tensor, TensorData};

/// Floats of the largest intermediate tensor (128 MB); more RoIs are worked off in chunks.
const CHUNK: usize = 1 << 25;

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
/// The weights are made on the host; the sums are two batched matrix products, so the gradient is
/// two as well: exact, and deterministic where a scatter-add of samples is not.
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
    /// # Shapes
    /// - `features`: `[N, C, H, W]`
    /// - output: `[R, C, output, output]`, in the order of `rois`
    ///
    /// Samples more than one cell outside the map count as zero; an inverted box gives zeros where
    /// the sampling is adaptive, as in torchvision.
    ///
    /// # Panics
    /// If there is no RoI, or one is of an image outside the batch.
    pub fn forward(&self, features: Tensor<4>, rois: &[Roi]) -> Tensor<4> {
        let [images, channels, height, width] = features.dims();
        assert!(!rois.is_empty(), "RoIAlign of no RoI");
        let mut of_image: Vec<Vec<usize>> = vec![Vec::new(); images];
        for (index, roi) in rois.iter().enumerate() {
            assert!(
                roi.image < images,
                "RoI {index} of image {} of {images}",
                roi.image
            );
            of_image[roi.image].push(index);
        }
        // Every image gets as many rows as the fullest; spare rows have zero weights.
        let rows = of_image.iter().map(Vec::len).max().unwrap_or(0);
        let per_row = images * self.output * channels * height;
        let chunk = (CHUNK / per_row.max(1)).clamp(1, rows);

        let columns = features
            .reshape([images, channels * height, width])
            .swap_dims(1, 2);
        let mut pooled = Vec::new();
        let mut place = vec![0; rois.len()];
        let mut done = 0;
        for first in (0..rows).step_by(chunk) {
            let count = chunk.min(rows - first);
            let members: Vec<&[usize]> = of_image
                .iter()
                .map(|list| &list[first.min(list.len())..(first + count).min(list.len())])
                .collect();
            for (image, list) in members.iter().enumerate() {
                for (row, &index) in list.iter().enumerate() {
                    place[index] = done + image * count + row;
                }
            }
            pooled.push(self.chunk(
                columns.clone(),
                [channels, height, width],
                rois,
                &members,
                count,
            ));
            done += images * count;
        }
        let pooled = if pooled.len() == 1 {
            pooled.remove(0)
        } else {
            Tensor::cat(pooled, 0)
        };
        if place.iter().enumerate().all(|(index, &row)| index == row) && done == rois.len() {
            return pooled;
        }
        let place: Vec<i64> = place.into_iter().map(|row| row as i64).collect();
        let place = TensorData::new(place, [rois.len()]);
        let place = Tensor::<1, Int>::from_data(place, &pooled.device());
        pooled.select(0, place)
    }

    /// `count` rows of every image: `[N · count, C, output, output]`.
    fn chunk(
        &self,
        columns: Tensor<3>,
        [channels, height, width]: [usize; 3],
        rois: &[Roi],
        members: &[&[usize]],
        count: usize,
    ) -> Tensor<4> {
        let (images, side) = (members.len(), self.output);
        let mut wx = vec![0.0; images * count * side * width];
        let mut wy = vec![0.0; images * count * side * height];
        for (image, list) in members.iter().enumerate() {
            for (row, &index) in list.iter().enumerate() {
                let [x0, y0, x1, y1] = rois[index].bbox;
                let at = image * count + row;
                let wx = &mut wx[at * side * width..][..side * width];
                self.taps(x0, x1, width, |bin, cell, weight| {
                    wx[bin * width + cell] += weight
                });
                let wy = &mut wy[at * side * height..][..side * height];
                self.taps(y0, y1, height, |bin, cell, weight| {
                    wy[bin * height + cell] += weight
                });
            }
        }
        let device = columns.device();
        let wx = TensorData::new(wx, [images, count * side, width]);
        let wy = TensorData::new(wy, [images * count, side, height]);
        let wx = Tensor::<3>::from_data(wx, &device);
        let wy = Tensor::<3>::from_data(wy, &device);

        let rows = wx.matmul(columns); // [N, count·output, C·H]
        let rows = rows.reshape([images * count, side * channels, height]);
        let bins = rows.matmul(wy.swap_dims(1, 2)); // [N·count, output(x)·C, output(y)]
        bins.reshape([images * count, side, channels, side])
            .permute([0, 2, 3, 1])
    }

    /// The weights of one axis: calls `tap(bin, cell, weight)` for each; a cell may come up more
    /// than once. `start` and `end` are in image pixels, `cells` is the length of the map.
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
            for step in 0..grid {
                let within = (step as f32 + 0.5) * bin_length / grid as f32;
                let at = start + bin as f32 * bin_length + within;
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

    #[test]
    fn taps_literal() {
        let align = RoiAlign {
            output: 2,
            spatial_scale: 1.0,
            sampling_ratio: 0,
            aligned: true,
        };
        // Bins of one cell that lie on the cells.
        assert_eq!(
            weights(align, 1.0, 3.0, 4),
            [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        );
        // A shift by half a cell averages neighbours; outside by less than a cell is the border.
        assert_eq!(weights(align, -0.5, 1.5, 3), [1.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
        // Inverted and empty boxes have no samples; far outside counts as zero.
        assert_eq!(weights(align, 3.0, 1.0, 4), [0.0; 8]);
        assert_eq!(weights(align, 3.0, 3.0, 4), [0.0; 8]);
        assert_eq!(weights(align, 20.0, 24.0, 4), [0.0; 8]);
        assert_eq!(weights(align, f32::NAN, 24.0, 4), [0.0; 8]);
    }
}
