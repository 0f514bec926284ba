//! Max pooling that remembers where each maximum came from.

use pulp::{Simd, WithSimd};
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
                self.dispatch(PoolPlanes {
                    shape,
                    x,
                    y,
                    sources,
                });
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

/// A run of planes.
struct PoolPlanes<'a> {
    shape: &'a PoolShape,
    x: &'a [f32],
    y: &'a mut [f32],
    sources: &'a mut [u32],
}

impl WithSimd for PoolPlanes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [height, width] = self.shape.size;
        let [rows, columns] = self.shape.output_size();
        let mut buffers = (Vec::new(), Vec::new());
        let outputs = self.y.chunks_exact_mut(rows * columns);
        let sources = self.sources.chunks_exact_mut(rows * columns);
        let planes = self.x.chunks_exact(height * width);
        for ((y, sources), x) in outputs.zip(sources).zip(planes) {
            pool_plane(self.shape, x, y, sources, &mut buffers);
        }
    }
}

/// One plane: the greatest key of the rows of a window for each column first, which is contiguous,
/// then of the columns.
#[inline(always)]
fn pool_plane(
    shape: &PoolShape,
    x: &[f32],
    y: &mut [f32],
    sources: &mut [u32],
    (keys, greatest): &mut (Vec<i64>, Vec<i64>),
) {
    let ([height, width], [_, columns]) = (shape.size, shape.output_size());
    keys.resize(x.len(), 0);
    for (at, (to, &x)) in (0u32..).zip(keys.iter_mut().zip(x)) {
        *to = key(x, at);
    }
    // Cells of the padding lose against any other.
    greatest.clear();
    greatest.resize(width + 2 * shape.padding[1], i64::MIN);
    let outputs = y.chunks_exact_mut(columns);
    for (row, (y, sources)) in outputs.zip(sources.chunks_exact_mut(columns)).enumerate() {
        let top = (row * shape.stride[0]).saturating_sub(shape.padding[0]);
        let bottom = (row * shape.stride[0] + shape.kernel[0] - shape.padding[0]).min(height);
        let inner = &mut greatest[shape.padding[1]..shape.padding[1] + width];
        inner.copy_from_slice(&keys[top * width..(top + 1) * width]);
        for in_y in top + 1..bottom {
            let keys = &keys[in_y * width..(in_y + 1) * width];
            for (greatest, &key) in inner.iter_mut().zip(keys) {
                *greatest = key.max(*greatest);
            }
        }
        if shape.kernel[1] == 3 && shape.stride[1] == 2 {
            // The window of ResNet's stem, its sizes known to the compiler.
            let pairs = greatest.as_chunks::<2>().0.windows(2);
            let odd = greatest.len() % 2 == 1;
            for ((y, source), pair) in y.iter_mut().zip(&mut *sources).zip(pairs) {
                let greatest = pair[0][0].max(pair[0][1]).max(pair[1][0]);
                take(greatest, x, y, source);
            }
            // The last window of an odd row has no second pair.
            if let (true, [.., a, b, c]) = (odd && columns * 2 < greatest.len(), &greatest[..]) {
                let last = columns - 1;
                take(*a.max(b).max(c), x, &mut y[last], &mut sources[last]);
            }
        } else {
            let windows = greatest.windows(shape.kernel[1]).step_by(shape.stride[1]);
            for ((y, source), window) in y.iter_mut().zip(sources).zip(windows) {
                let greatest = window.iter().fold(i64::MIN, |a, &b| a.max(b));
                take(greatest, x, y, source);
            }
        }
    }
}

#[inline(always)]
fn take(greatest: i64, x: &[f32], y: &mut f32, source: &mut u32) {
    *source = u32::MAX - greatest as u32;
    *y = x[*source as usize];
}

/// Orders values as max pooling does: NaN above all, both zeros equal; among equals the first.
#[inline(always)]
fn key(value: f32, at: u32) -> i64 {
    let bits = (value + 0.0).to_bits() as i32;
    let order = if value.is_nan() {
        i32::MAX
    } else {
        bits ^ ((bits >> 31) & i32::MAX)
    };
    (i64::from(order) << 32) | i64::from(u32::MAX - at)
}
