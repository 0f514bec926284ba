//! Max pooling that remembers where each maximum came from.

use rayon::prelude::*;

use super::{Cpu, items_of};

/// Sizes of a max pooling, PyTorch's arguments; planes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolShape {
    /// Images times channels.
    pub planes: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step of the window.
    pub stride: [usize; 2],
    /// Cells of −∞ on every side, at most half the window.
    pub padding: [usize; 2],
}

impl PoolShape {
    /// Height and width of the output (rounded down, as PyTorch's `ceil_mode=False`).
    #[must_use]
    pub fn output_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.size[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    fn check(&self, x: usize, y: usize) {
        let [height, width] = self.output_size();
        assert!(
            (0..2).all(|axis| 2 * self.padding[axis] <= self.kernel[axis]),
            "{self:?}: a padding above half the window"
        );
        assert_eq!(
            x,
            self.planes * self.size[0] * self.size[1],
            "{self:?}: input"
        );
        assert_eq!(y, self.planes * height * width, "{self:?}: output");
    }
}

impl Cpu {
    /// The maximum of each window of `x` `[planes, H, W]`, the first among equals, NaN above all
    /// (as PyTorch); returns for each the offset of its source in its plane.
    ///
    /// # Panics
    /// If a length is not that of the shape, or a padding is more than half the window.
    pub fn max_pool2d(self, shape: &PoolShape, x: &[f32], y: &mut [f32]) -> Vec<u32> {
        shape.check(x.len(), y.len());
        let ([height, width], [rows, columns]) = (shape.size, shape.output_size());
        let mut sources = vec![0u32; y.len()];
        let (plane, output) = (height * width, rows * columns);
        let planes = items_of(output * shape.kernel[0] * shape.kernel[1]);
        y.par_chunks_mut(output * planes)
            .zip(sources.par_chunks_mut(output * planes))
            .zip(x.par_chunks(plane * planes))
            .for_each(|((y, sources), x)| {
                self.dispatch(
                    #[inline(always)]
                    || {
                        let outputs = y.chunks_exact_mut(output);
                        let sources = sources.chunks_exact_mut(output);
                        for ((y, sources), x) in outputs.zip(sources).zip(x.chunks_exact(plane)) {
                            pool_plane(shape, x, y, sources);
                        }
                    },
                );
            });
        sources
    }

    /// The gradient of the input: each gradient goes to the source of its maximum. Every value of
    /// `dx` is overwritten.
    ///
    /// # Panics
    /// If a length is not that of the shape, or a source lies outside its plane.
    pub fn max_pool2d_gradient(
        self,
        shape: &PoolShape,
        sources: &[u32],
        dy: &[f32],
        dx: &mut [f32],
    ) {
        shape.check(dx.len(), dy.len());
        assert_eq!(sources.len(), dy.len(), "{shape:?}: sources");
        let [rows, columns] = shape.output_size();
        let (plane, output) = (shape.size[0] * shape.size[1], rows * columns);
        dx.par_chunks_mut(plane)
            .zip(dy.par_chunks(output))
            .zip(sources.par_chunks(output))
            .with_min_len(items_of(plane))
            .for_each(|((dx, dy), sources)| {
                dx.fill(0.0);
                for (&dy, &source) in dy.iter().zip(sources) {
                    dx[source as usize] += dy;
                }
            });
    }
}

#[inline(always)]
fn pool_plane(shape: &PoolShape, x: &[f32], y: &mut [f32], sources: &mut [u32]) {
    let ([height, width], [_, columns]) = (shape.size, shape.output_size());
    let rows = y
        .chunks_exact_mut(columns)
        .zip(sources.chunks_exact_mut(columns));
    // Outputs whose windows lie inside the columns.
    let left = shape.padding[1].div_ceil(shape.stride[1]).min(columns);
    let right = (width + shape.padding[1])
        .checked_sub(shape.kernel[1])
        .map_or(0, |last| last / shape.stride[1] + 1)
        .clamp(left, columns);
    for (row, (y, sources)) in rows.enumerate() {
        let top = (row * shape.stride[0]).saturating_sub(shape.padding[0]);
        let bottom = (row * shape.stride[0] + shape.kernel[0] - shape.padding[0]).min(height);
        y.fill(f32::NEG_INFINITY);
        // A window of −∞ has its first cell as source.
        for (column, source) in sources.iter_mut().enumerate() {
            let first = (column * shape.stride[1]).saturating_sub(shape.padding[1]);
            *source = (top * width + first) as u32;
        }
        for in_y in top..bottom {
            let x = &x[in_y * width..(in_y + 1) * width];
            let base = in_y * width;
            let edge = |column: usize, y: &mut f32, source: &mut u32| {
                let start = (column * shape.stride[1]).saturating_sub(shape.padding[1]);
                let end =
                    (column * shape.stride[1] + shape.kernel[1] - shape.padding[1]).min(width);
                for in_x in start..end {
                    take(x[in_x], base + in_x, y, source);
                }
            };
            for column in (0..left).chain(right..columns) {
                edge(column, &mut y[column], &mut sources[column]);
            }
            for tap in 0..shape.kernel[1] {
                let offset = left * shape.stride[1] + tap - shape.padding[1];
                let x = x.get(offset..).unwrap_or_default();
                let inner = y[left..right].iter_mut().zip(&mut sources[left..right]);
                if shape.stride[1] == 2 {
                    for (index, (y, source)) in inner.enumerate() {
                        take(x[2 * index], base + offset + 2 * index, y, source);
                    }
                } else {
                    for (index, (y, source)) in inner.enumerate() {
                        let at = index * shape.stride[1];
                        take(x[at], base + offset + at, y, source);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn take(value: f32, at: usize, y: &mut f32, source: &mut u32) {
    // A NaN is taken once and kept.
    let above = (value > *y) | (value.is_nan() & !y.is_nan());
    *y = if above { value } else { *y };
    *source = if above { at as u32 } else { *source };
}
