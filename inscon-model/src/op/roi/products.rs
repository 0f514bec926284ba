//! RoIAlign as two batched products of matrices, for backends without a kernel.

use burn::tensor::{Tensor, TensorData};

use super::{Roi, RoiAlign, in_place};

/// Floats of the largest intermediate tensor (128 MB); more RoIs are worked off in chunks.
const CHUNK: usize = 1 << 25;

/// [`super::roi_align`]; the gradient is two products as well.
pub(super) fn roi_align(features: Tensor<4>, rois: &[Roi], align: RoiAlign) -> Tensor<4> {
    let [images, channels, height, width] = features.dims();
    let mut of_image: Vec<Vec<usize>> = vec![Vec::new(); images];
    for (index, roi) in rois.iter().enumerate() {
        of_image[roi.image].push(index);
    }
    // Every image gets as many rows as the fullest; spare rows have zero weights.
    let rows = of_image.iter().map(Vec::len).max().unwrap_or(0);
    let per_row = images * align.output * channels * height;
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
        let size = [channels, height, width];
        pooled.push(part(columns.clone(), size, rois, &members, count, align));
        done += images * count;
    }
    in_place(pooled, &place)
}

/// `count` rows of every image: `[N · count, C, output, output]`.
fn part(
    columns: Tensor<3>,
    [channels, height, width]: [usize; 3],
    rois: &[Roi],
    members: &[&[usize]],
    count: usize,
    align: RoiAlign,
) -> Tensor<4> {
    let (images, side) = (members.len(), align.output);
    let mut wx = vec![0.0; images * count * side * width];
    let mut wy = vec![0.0; images * count * side * height];
    for (image, list) in members.iter().enumerate() {
        for (row, &index) in list.iter().enumerate() {
            let [x0, y0, x1, y1] = rois[index].bbox;
            let at = image * count + row;
            let wx = &mut wx[at * side * width..][..side * width];
            align.taps(x0, x1, width, |bin, cell, weight| {
                wx[bin * width + cell] += weight
            });
            let wy = &mut wy[at * side * height..][..side * height];
            align.taps(y0, y1, height, |bin, cell, weight| {
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// On flex the kernel is the other way to the same; that it is right, `tests/op_roi_align.rs`
    /// says.
    #[cfg(feature = "flex")]
    #[test]
    fn as_the_kernel() {
        let device = Device::flex();
        let values = |tensor: Tensor<4>| tensor.into_data().try_to_vec::<f32>().unwrap();
        // 2·14·16·160 floats a row: 468 rows a chunk.
        let shape = [2, 16, 160, 40];
        let noise = (0..2 * 16 * 160 * 40).map(|i| (i as f32 * 0.37).sin());
        let x = TensorData::new(noise.collect::<Vec<f32>>(), shape);
        let x = Tensor::<4>::from_data(x, &device);
        let rois: Vec<Roi> = (0..700)
            .map(|i| {
                let at = |phase: usize, side: f32| ((i * phase % 101) as f32 / 80.0 - 0.1) * side;
                Roi {
                    image: usize::from(i % 9 == 0),
                    bbox: [
                        at(7, 80.0),
                        at(13, 320.0),
                        at(29, 80.0) + 5.0,
                        at(31, 320.0) + 9.0,
                    ],
                }
            })
            .collect();
        for (sampling_ratio, aligned) in [(0, true), (2, false)] {
            let align = RoiAlign {
                output: 14,
                spatial_scale: 0.5,
                sampling_ratio,
                aligned,
            };
            let mut results = Vec::new();
            for form in [roi_align, |x, rois: &[Roi], align| {
                super::super::roi_align(x, rois, align)
            }] {
                let leaf = x.clone().autodiff().require_grad();
                let y = form(leaf.clone(), &rois, align);
                let gradient = leaf.grad(&(y.clone() * y.clone()).sum().backward());
                results.push((values(y.inner()), values(gradient.unwrap())));
            }
            for (a, b) in [
                (&results[0].0, &results[1].0),
                (&results[0].1, &results[1].1),
            ] {
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 2e-4 * (1.0 + a.abs());
                assert!(a.len() == b.len() && a.iter().zip(b).all(close));
            }
        }
    }
}
