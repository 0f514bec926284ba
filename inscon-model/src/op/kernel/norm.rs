//! Batch norm with ReLU and residual addition in as few passes over memory as it needs.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Cpu, items_of};

/// Sizes of a batch norm over `[N, C, P]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormShape {
    /// Images.
    pub images: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels of a plane.
    pub plane: usize,
    /// Runs of consecutive images that have statistics of their own.
    pub groups: usize,
}

impl NormShape {
    fn len(&self) -> usize {
        self.images * self.channels * self.plane
    }

    /// Statistics: groups times channels.
    fn rows(&self) -> usize {
        self.groups * self.channels
    }

    /// Values behind one statistic.
    #[must_use]
    pub fn count(&self) -> usize {
        self.images / self.groups * self.plane
    }

    fn check(&self, lengths: &[usize]) {
        assert!(
            self.groups > 0 && self.images.is_multiple_of(self.groups),
            "{self:?}: the groups do not divide the images"
        );
        for &len in lengths {
            assert_eq!(len, self.len(), "{self:?}: length");
        }
    }

    /// Checks vectors with a value a statistic.
    fn check_rows(&self, vectors: &[&[f32]]) {
        for vector in vectors {
            assert_eq!(vector.len(), self.rows(), "{self:?}: statistics");
        }
    }

    /// The planes of statistic `row`.
    fn planes<'a>(&self, values: &'a [f32], row: usize) -> impl Iterator<Item = &'a [f32]> {
        let (group, channel) = (row / self.channels, row % self.channels);
        let (images, channels, plane) = (self.images / self.groups, self.channels, self.plane);
        (group * images..(group + 1) * images)
            .map(move |image| &values[(image * channels + channel) * plane..][..plane])
    }

    /// The statistic of plane `index`, counted over (image, channel).
    fn row(&self, index: usize) -> usize {
        let (image, channel) = (index / self.channels, index % self.channels);
        image / (self.images / self.groups) * self.channels + channel
    }
}

/// `y = x·scale + shift`, by statistic.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// `[groups, C]`.
    pub scale: &'a [f32],
    /// `[groups, C]`.
    pub shift: &'a [f32],
}

/// Sums of a backward pass over the values of each statistic, `[groups, C]`: `dz` is the gradient
/// behind the ReLU.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSums {
    /// `Σ dz`.
    pub gradient: Vec<f32>,
    /// `Σ dz·(x − mean)`.
    pub centred: Vec<f32>,
}

impl Cpu {
    /// The sum of each channel of `x` `[N, C, P]` in each group, `[groups, C]`.
    ///
    /// # Panics
    /// If the length is not that of the shape, or the groups do not divide the images.
    #[must_use]
    pub fn channel_sums(self, shape: &NormShape, x: &[f32]) -> Vec<f32> {
        shape.check(&[x.len()]);
        (0..shape.rows())
            .into_par_iter()
            .with_min_len(items_of(shape.count()))
            .map(|row| self.moment(shape, x, row, None) as f32)
            .collect()
    }

    /// `Σ x`, or `Σ (x − mean)²`, of one statistic: `f32` within a plane, `f64` over planes.
    fn moment(self, shape: &NormShape, x: &[f32], row: usize, mean: Option<f32>) -> f64 {
        shape
            .planes(x, row)
            .map(|plane| {
                f64::from(self.dispatch(Moment {
                    plane,
                    mean: mean.unwrap_or(0.0),
                    square: mean.is_some(),
                }))
            })
            .sum()
    }

    /// Mean and biased variance, `[groups, C]` each, of `x` `[N, C, P]`.
    ///
    /// The variance is the mean of squared distances from the mean (a second pass, in cache), so it
    /// loses nothing where the mean is far from zero.
    ///
    /// # Panics
    /// If the length is not that of the shape, or the groups do not divide the images.
    #[must_use]
    pub fn batch_statistics(self, shape: &NormShape, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        shape.check(&[x.len()]);
        let count = shape.count() as f64;
        (0..shape.rows())
            .into_par_iter()
            .with_min_len(items_of(shape.count()))
            .map(|row| {
                let mean = (self.moment(shape, x, row, None) / count) as f32;
                let squares = self.moment(shape, x, row, Some(mean));
                (mean, (squares / count) as f32)
            })
            .unzip()
    }

    /// `y = x·scale + shift (+ residual)`, then ReLU where asked: every value of `y` is
    /// overwritten.
    ///
    /// # Panics
    /// If a length is not that of the shape.
    pub fn affine(
        self,
        shape: &NormShape,
        x: &[f32],
        affine: Affine<'_>,
        residual: Option<&[f32]>,
        relu: bool,
        y: &mut [f32],
    ) {
        self.affine_of(shape, Some(x), affine, residual, relu, y);
    }

    /// [`Self::affine`] of `values`, in place.
    ///
    /// # Panics
    /// If a length is not that of the shape.
    pub fn affine_in_place(
        self,
        shape: &NormShape,
        affine: Affine<'_>,
        residual: Option<&[f32]>,
        relu: bool,
        values: &mut [f32],
    ) {
        self.affine_of(shape, None, affine, residual, relu, values);
    }

    fn affine_of(
        self,
        shape: &NormShape,
        x: Option<&[f32]>,
        affine: Affine<'_>,
        residual: Option<&[f32]>,
        relu: bool,
        y: &mut [f32],
    ) {
        let length = |values: Option<&[f32]>| values.map_or(shape.len(), <[f32]>::len);
        shape.check(&[length(x), y.len(), length(residual)]);
        shape.check_rows(&[affine.scale, affine.shift]);
        let plane = shape.plane;
        let planes = items_of(plane);
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        y.par_chunks_mut(plane * planes)
            .enumerate()
            .for_each(|(chunk, y)| {
                self.dispatch(
                    #[inline(always)]
                    || {
                        for (index, y) in y.chunks_exact_mut(plane).enumerate() {
                            let index = chunk * planes + index;
                            let row = shape.row(index);
                            let (scale, shift) = (affine.scale[row], affine.shift[row]);
                            let range = index * plane..(index + 1) * plane;
                            let of = |x: f32| x * scale + shift;
                            match (x.map(|x| &x[range.clone()]), residual.map(|r| &r[range])) {
                                (Some(x), Some(residual)) => {
                                    for ((y, x), r) in y.iter_mut().zip(x).zip(residual) {
                                        *y = above(of(*x) + r, floor);
                                    }
                                }
                                (Some(x), None) => {
                                    for (y, x) in y.iter_mut().zip(x) {
                                        *y = above(of(*x), floor);
                                    }
                                }
                                (None, Some(residual)) => {
                                    for (y, r) in y.iter_mut().zip(residual) {
                                        *y = above(of(*y) + r, floor);
                                    }
                                }
                                (None, None) => {
                                    for y in y {
                                        *y = above(of(*y), floor);
                                    }
                                }
                            }
                        }
                    },
                );
            });
    }

    /// `to = from`, in parallel.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn copy(self, from: &[f32], to: &mut [f32]) {
        assert_eq!(from.len(), to.len(), "copy: lengths");
        to.par_chunks_mut(super::GRAIN)
            .zip(from.par_chunks(super::GRAIN))
            .for_each(|(to, from)| to.copy_from_slice(from));
    }

    /// The sums that the gradients of batch norm need; `y` is the output behind a ReLU, absent
    /// without one.
    ///
    /// # Panics
    /// If a length is not that of the shape.
    #[must_use]
    pub fn norm_sums(
        self,
        shape: &NormShape,
        x: &[f32],
        mean: &[f32],
        y: Option<&[f32]>,
        dy: &[f32],
    ) -> NormSums {
        shape.check(&[x.len(), dy.len(), y.map_or(x.len(), <[f32]>::len)]);
        shape.check_rows(&[mean]);
        let (gradient, centred) = (0..shape.rows())
            .into_par_iter()
            .with_min_len(items_of(shape.count()))
            .map(|row| {
                let (mut gradient, mut centred) = (0.0, 0.0);
                let mut outputs = y.map(|y| shape.planes(y, row));
                for (x, dy) in shape.planes(x, row).zip(shape.planes(dy, row)) {
                    let [a, b] = self.dispatch(Sums {
                        x,
                        mean: mean[row],
                        y: outputs.as_mut().and_then(Iterator::next),
                        dy,
                    });
                    gradient += f64::from(a);
                    centred += f64::from(b);
                }
                (gradient as f32, centred as f32)
            })
            .unzip();
        NormSums { gradient, centred }
    }

    /// Turns `dy` into `dz`, the gradient behind the ReLU, in place.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn relu_gradient(self, y: &[f32], dy: &mut [f32]) {
        assert_eq!(y.len(), dy.len(), "lengths");
        dy.par_chunks_mut(super::GRAIN)
            .zip(y.par_chunks(super::GRAIN))
            .for_each(|(dy, y)| {
                self.dispatch(
                    #[inline(always)]
                    || {
                        for (dy, &y) in dy.iter_mut().zip(y) {
                            *dy = if y > 0.0 { *dy } else { 0.0 };
                        }
                    },
                );
            });
    }

    /// `dx = dz·scale + (x − mean)·slope + shift`, by statistic, written over `dy`; `dz` is `dy`
    /// behind the ReLU whose output is `y`, where there is one.
    ///
    /// # Panics
    /// If a length is not that of the shape.
    #[allow(clippy::too_many_arguments)] // one for each operand of the formula
    pub fn norm_gradient(
        self,
        shape: &NormShape,
        x: &[f32],
        mean: &[f32],
        slope: &[f32],
        affine: Affine<'_>,
        y: Option<&[f32]>,
        dy: &mut [f32],
    ) {
        shape.check(&[x.len(), dy.len(), y.map_or(x.len(), <[f32]>::len)]);
        shape.check_rows(&[mean, slope, affine.scale, affine.shift]);
        let plane = shape.plane;
        let planes = items_of(plane);
        dy.par_chunks_mut(plane * planes)
            .enumerate()
            .for_each(|(chunk, dy)| {
                self.dispatch(
                    #[inline(always)]
                    || {
                        for (index, dy) in dy.chunks_exact_mut(plane).enumerate() {
                            let index = chunk * planes + index;
                            let row = shape.row(index);
                            let (scale, shift) = (affine.scale[row], affine.shift[row]);
                            let (mean, slope) = (mean[row], slope[row]);
                            let range = index * plane..(index + 1) * plane;
                            let x = &x[range.clone()];
                            let dx = |dz: f32, x: f32| dz * scale + (x - mean) * slope + shift;
                            match y {
                                Some(y) => {
                                    for ((dy, &x), &y) in dy.iter_mut().zip(x).zip(&y[range]) {
                                        *dy = dx(if y > 0.0 { *dy } else { 0.0 }, x);
                                    }
                                }
                                None => {
                                    for (dy, &x) in dy.iter_mut().zip(x) {
                                        *dy = dx(*dy, x);
                                    }
                                }
                            }
                        }
                    },
                );
            });
    }

    /// `values = values·scale`, by statistic, in place: the gradient of a frozen batch norm.
    ///
    /// # Panics
    /// If a length is not that of the shape.
    pub fn scale(self, shape: &NormShape, scale: &[f32], values: &mut [f32]) {
        shape.check(&[values.len()]);
        shape.check_rows(&[scale]);
        let plane = shape.plane;
        let planes = items_of(plane);
        values
            .par_chunks_mut(plane * planes)
            .enumerate()
            .for_each(|(chunk, values)| {
                for (index, values) in values.chunks_exact_mut(plane).enumerate() {
                    let scale = scale[shape.row(chunk * planes + index)];
                    values.iter_mut().for_each(|value| *value *= scale);
                }
            });
    }
}

/// The greater of both; NaN stays NaN.
#[inline(always)]
fn above(value: f32, floor: f32) -> f32 {
    if value < floor { floor } else { value }
}

/// `Σ x` or `Σ (x − mean)²` of one plane.
struct Moment<'a> {
    plane: &'a [f32],
    mean: f32,
    square: bool,
}

impl WithSimd for Moment<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        const WAYS: usize = 4;
        let (vectors, rest) = S::as_simd_f32s(self.plane);
        let (wide, narrow) = vectors.as_chunks::<WAYS>();
        let mean = simd.splat_f32s(self.mean);
        let mut sums = [simd.splat_f32s(0.0); WAYS];
        let add = |sum: S::f32s, x: S::f32s| {
            if self.square {
                let x = simd.sub_f32s(x, mean);
                simd.mul_add_f32s(x, x, sum)
            } else {
                simd.add_f32s(x, sum)
            }
        };
        for x in wide {
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum = add(*sum, x);
            }
        }
        for &x in narrow {
            sums[0] = add(sums[0], x);
        }
        let [a, b, c, d] = sums;
        let mut sum = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)));
        for &x in rest {
            sum += if self.square {
                (x - self.mean) * (x - self.mean)
            } else {
                x
            };
        }
        sum
    }
}

/// `Σ dz` and `Σ dz·(x − mean)` of one plane.
struct Sums<'a> {
    x: &'a [f32],
    mean: f32,
    y: Option<&'a [f32]>,
    dy: &'a [f32],
}

impl WithSimd for Sums<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        const WAYS: usize = 2;
        let (x, x_rest) = S::as_simd_f32s(self.x);
        let (dy, dy_rest) = S::as_simd_f32s(self.dy);
        let (zero, mean) = (simd.splat_f32s(0.0), simd.splat_f32s(self.mean));
        let mut gradient = [zero; WAYS];
        let mut centred = [zero; WAYS];
        let y = self.y.map(S::as_simd_f32s);
        for (at, (&x, &dy)) in x.iter().zip(dy).enumerate() {
            let dz = match y {
                Some((y, _)) => simd.select_f32s(simd.less_than_f32s(zero, y[at]), dy, zero),
                None => dy,
            };
            let way = at % WAYS;
            gradient[way] = simd.add_f32s(gradient[way], dz);
            centred[way] = simd.mul_add_f32s(dz, simd.sub_f32s(x, mean), centred[way]);
        }
        let mut sums = [gradient, centred].map(|[a, b]| simd.reduce_sum_f32s(simd.add_f32s(a, b)));
        for (at, (x, &dy)) in x_rest.iter().zip(dy_rest).enumerate() {
            let open = y.is_none_or(|(_, y)| y[at] > 0.0);
            let dz = if open { dy } else { 0.0 };
            sums[0] += dz;
            sums[1] += dz * (x - self.mean);
        }
        sums
    }
}
