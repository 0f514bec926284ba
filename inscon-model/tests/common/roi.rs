//! RoIAlign in f64, sample by sample, from torchvision's definition.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file takes a part

use inscon_model::detection::{Roi, RoiAlign};
use rand::{Rng, RngExt};

/// Where the samples of one axis of a RoI lie: for each bin its positions, in cells.
fn positions(align: RoiAlign, start: f32, end: f32) -> Vec<Vec<f64>> {
    let (output, scale) = (align.output as f64, f64::from(align.spatial_scale));
    let offset = if align.aligned { 0.5 } else { 0.0 };
    let [start, end] = [start, end].map(|edge| f64::from(edge) * scale - offset);
    let mut side = end - start;
    if !align.aligned {
        side = side.max(1.0);
    }
    let grid = match align.sampling_ratio {
        0 => (side / output).ceil().max(0.0) as usize,
        ratio => ratio,
    };
    let at = |bin: usize, step: usize| {
        start + (bin as f64 + (step as f64 + 0.5) / grid as f64) * side / output
    };
    (0..align.output)
        .map(|bin| (0..grid).map(|step| at(bin, step)).collect())
        .collect()
}

/// Corners and weights of a bilinear sample: none if it lies more than a cell outside.
fn corners([y, x]: [f64; 2], [height, width]: [usize; 2]) -> Vec<(usize, f64)> {
    if y < -1.0 || y > height as f64 || x < -1.0 || x > width as f64 {
        return Vec::new();
    }
    let y = y.clamp(0.0, (height - 1) as f64);
    let x = x.clamp(0.0, (width - 1) as f64);
    let (v, u) = (y.floor() as usize, x.floor() as usize);
    let (v1, u1) = ((v + 1).min(height - 1), (u + 1).min(width - 1));
    let (dy, dx) = (y - v as f64, x - u as f64);
    vec![
        (v * width + u, (1.0 - dy) * (1.0 - dx)),
        (v * width + u1, (1.0 - dy) * dx),
        (v1 * width + u, dy * (1.0 - dx)),
        (v1 * width + u1, dy * dx),
    ]
}

/// Calls `tap(output value, map value, weight)` for each corner of each sample, for maps of
/// `[N, C, H, W]`.
pub fn each_tap(
    [_, channels, height, width]: [usize; 4],
    rois: &[Roi],
    align: RoiAlign,
    mut tap: impl FnMut(usize, usize, f64),
) {
    let side = align.output;
    for (index, roi) in rois.iter().enumerate() {
        let [x0, y0, x1, y1] = roi.bbox;
        let (rows, columns) = (positions(align, y0, y1), positions(align, x0, x1));
        let count = (rows[0].len() * columns[0].len()).max(1) as f64;
        for channel in 0..channels {
            let plane = (roi.image * channels + channel) * height * width;
            for (bin_y, rows) in rows.iter().enumerate() {
                for (bin_x, columns) in columns.iter().enumerate() {
                    let to = ((index * channels + channel) * side + bin_y) * side + bin_x;
                    for &y in rows {
                        for &x in columns {
                            for (cell, weight) in corners([y, x], [height, width]) {
                                tap(to, plane + cell, weight / count);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `[R, C, output, output]`.
pub fn forward(x: &[f32], shape: [usize; 4], rois: &[Roi], align: RoiAlign) -> Vec<f64> {
    let mut y = vec![0.0; rois.len() * shape[1] * align.output * align.output];
    each_tap(shape, rois, align, |to, from, weight| {
        y[to] += weight * f64::from(x[from]);
    });
    y
}

/// `[N, C, H, W]`.
pub fn gradient(dy: &[f32], shape: [usize; 4], rois: &[Roi], align: RoiAlign) -> Vec<f64> {
    let mut dx = vec![0.0; shape.iter().product()];
    each_tap(shape, rois, align, |to, from, weight| {
        dx[from] += weight * f64::from(dy[to]);
    });
    dx
}

/// Whether a sample lies so near the edge of what counts that f32 may decide otherwise than f64.
pub fn on_the_edge(roi: &Roi, size: [usize; 2], align: RoiAlign) -> bool {
    let [x0, y0, x1, y1] = roi.bbox;
    let axis = |start, end, cells: usize| {
        let near = |at: &f64| (at + 1.0).abs() < 1e-4 || (at - cells as f64).abs() < 1e-4;
        positions(align, start, end).iter().flatten().any(near)
    };
    axis(y0, y1, size[0]) || axis(x0, x1, size[1])
}

/// Boxes of every kind around an image of `[height, width]` pixels: inside, across the border,
/// outside, tiny, inverted, on whole pixels. All edges are multiples of an eighth, so that f32 and
/// f64 agree on the number of samples.
pub fn random_rois(
    number: usize,
    images: usize,
    [height, width]: [f32; 2],
    rng: &mut impl Rng,
) -> Vec<Roi> {
    (0..number)
        .map(|i| {
            let mut point = || {
                let mut lerp = |side: f32| -0.3 * side + rng.random::<f32>() * 1.6 * side;
                [lerp(width), lerp(height)]
            };
            let ([ax, ay], [bx, by]) = (point(), point());
            let sorted = [ax.min(bx), ay.min(by), ax.max(bx), ay.max(by)];
            let bbox = match i % 7 {
                0 => [ax, ay, bx, by], // inverted as often as not
                1 => [ax, ay, ax + 0.375, ay + 0.625],
                2 => sorted.map(|v| v + 2.0 * width),
                3 => sorted.map(f32::round),
                4 => [ax, ay, ax, ay],
                _ => sorted,
            };
            Roi {
                image: rng.random_range(0..images),
                bbox: bbox.map(|v| (v * 8.0).round() / 8.0),
            }
        })
        .collect()
}
