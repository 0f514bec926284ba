//! Gaussian blur: as PIL approximates it, by three extended box blurs, and by the kernel itself.
//!
//! Gwosdek et al., *Theoretical foundations of Gaussian convolution by extended box filtering*,
//! SSVM 2011. The figures are PIL's to the last bit: 8.24 fixed point, each pass rounded to bytes,
//! edges replicated.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::lanes::{Lanes, Run, vectorized};
use crate::planes::{grow, on_planes};

const PASSES: u32 = 3;
/// Columns that an exact kernel blurs at a time.
const RUN: usize = 32;

/// How a Gaussian blur is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlurKernel {
    /// PIL's `ImageFilter.GaussianBlur`: three box blurs (MoCo v2).
    #[default]
    Pil,
    /// torchvision's `GaussianBlur`: the Gaussian sampled at `size` pixels along each axis and
    /// normalised, edges reflected (BYOL has 23 at 224 px). Within one level of it.
    Exact {
        /// Odd number of taps along an axis.
        size: u32,
    },
}

/// Blurs in place with standard deviation `sigma` in pixels; PIL's
/// `ImageFilter.GaussianBlur(sigma)`.
pub fn gaussian_blur(img: &mut RgbImage, sigma: f32) {
    gaussian_blur_with(img, sigma, BlurKernel::Pil);
}

/// Blurs in place with standard deviation `sigma` in pixels and either kernel.
///
/// ```
/// use image::{Rgb, RgbImage};
/// use inscon_aug::{BlurKernel, gaussian_blur_with};
/// let mut img = RgbImage::from_pixel(9, 7, Rgb([1, 2, 3]));
/// gaussian_blur_with(&mut img, 1.5, BlurKernel::Exact { size: 5 });
/// assert_eq!(img.get_pixel(0, 0), &Rgb([1, 2, 3]));
/// ```
///
/// # Panics
/// If an exact kernel's size is even.
pub fn gaussian_blur_with(img: &mut RgbImage, sigma: f32, kernel: BlurKernel) {
    let width = img.width() as usize;
    let mut scratch = BlurScratch::default();
    on_planes(img, |planes| {
        for plane in planes {
            scratch.blur(plane, width, sigma, kernel);
        }
    });
}

/// Memory that blurs work in.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlurScratch {
    /// Two padded lines, or planes.
    boxes: [Vec<u8>; 2],
    /// Sums of wide boxes, of a line.
    sums: Vec<u32>,
    /// Half of an exact kernel, from its middle.
    weights: Vec<f32>,
    /// A padded line, or strip of columns.
    line: Vec<f32>,
    /// A plane after the first pass.
    plane: Vec<f32>,
}

/// A plane to be blurred.
struct Job<'a> {
    scratch: &'a mut BlurScratch,
    plane: &'a mut [u8],
    width: usize,
    sigma: f32,
    kernel: BlurKernel,
}

impl Run for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: impl Lanes) {
        let Self {
            scratch,
            plane,
            width,
            sigma,
            kernel,
        } = self;
        match kernel {
            BlurKernel::Pil => scratch.boxes(plane, width, sigma),
            BlurKernel::Exact { size } => scratch.exact(plane, width, sigma, size as usize / 2),
        }
    }
}

impl BlurScratch {
    /// Blurs a plane of rows of `width` bytes.
    pub(crate) fn blur(&mut self, plane: &mut [u8], width: usize, sigma: f32, kernel: BlurKernel) {
        if plane.is_empty() {
            return;
        }
        if let BlurKernel::Exact { size } = kernel {
            assert!(size % 2 == 1, "a blur kernel of {size} taps has no middle");
        }
        vectorized(Job {
            scratch: self,
            plane,
            width,
            sigma,
            kernel,
        });
    }

    #[inline(always)]
    fn boxes(&mut self, plane: &mut [u8], width: usize, sigma: f32) {
        let kernel = BoxKernel::new(box_radius(sigma));
        // A kernel of one pixel changes nothing.
        if kernel.near == 1 << 24 {
            return;
        }
        self.box_rows(plane, width, &kernel);
        self.box_columns(plane, width, &kernel);
    }

    #[inline(always)]
    fn box_rows(&mut self, plane: &mut [u8], width: usize, kernel: &BoxKernel) {
        let margin = kernel.radius + 1;
        let [a, b] = &mut self.boxes;
        grow(a, width + 2 * margin);
        grow(b, width + 2 * margin);
        let mut a = &mut a[..width + 2 * margin];
        let mut b = &mut b[..width + 2 * margin];
        for row in plane.chunks_exact_mut(width) {
            a[margin..margin + width].copy_from_slice(row);
            for pass in 0..PASSES {
                let (first, last) = (a[margin], a[margin + width - 1]);
                a[..margin].fill(first);
                a[margin + width..].fill(last);
                let out = match pass {
                    2 => &mut *row,
                    _ => &mut b[margin..margin + width],
                };
                kernel.line(|k| &a[k..], out, &mut self.sums);
                std::mem::swap(&mut a, &mut b);
            }
        }
    }

    #[inline(always)]
    fn box_columns(&mut self, plane: &mut [u8], width: usize, kernel: &BoxKernel) {
        let last = plane.len() / width - 1;
        let [a, b] = &mut self.boxes;
        grow(a, plane.len());
        grow(b, plane.len());
        for pass in 0..PASSES {
            let (from, to): (&[u8], &mut [u8]) = match pass {
                0 => (plane, a),
                1 => (a, b),
                _ => (b, plane),
            };
            for (y, out) in to.chunks_exact_mut(width).take(last + 1).enumerate() {
                let row = |k: usize| {
                    let y = (y + k).saturating_sub(kernel.radius + 1).min(last);
                    &from[y * width..]
                };
                kernel.line(row, out, &mut self.sums);
            }
        }
    }

    #[inline(always)]
    fn exact(&mut self, plane: &mut [u8], width: usize, sigma: f32, radius: usize) {
        let height = plane.len() / width;
        let radius = set_weights(&mut self.weights, sigma, radius);
        let (weights, line) = (&self.weights[..], &mut self.line);
        let runs = width.div_ceil(RUN);
        line.resize(runs * RUN + 2 * radius, 0.0);
        // The first pass leaves whole runs.
        let stride = runs * RUN;
        self.plane.resize(stride * height, 0.0);
        for (row, out) in plane
            .chunks_exact(width)
            .zip(self.plane.chunks_exact_mut(stride))
        {
            for (out, &v) in line[radius..].iter_mut().zip(row) {
                *out = f32::from(v);
            }
            for k in 1..=radius {
                line[radius - k] = f32::from(row[reflected(-(k as isize), width)]);
                line[radius + width - 1 + k] =
                    f32::from(row[reflected((width - 1 + k) as isize, width)]);
            }
            for (i, out) in out.chunks_exact_mut(RUN).enumerate() {
                out.copy_from_slice(&symmetric(&line[i * RUN..], 1, weights));
            }
        }

        line.resize((height + 2 * radius) * RUN, 0.0);
        for left in (0..width).step_by(RUN) {
            let used = RUN.min(width - left);
            for (y, line) in line.chunks_exact_mut(RUN).enumerate() {
                let y = reflected(y as isize - radius as isize, height);
                line.copy_from_slice(&self.plane[y * stride + left..][..RUN]);
            }
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                let run = symmetric(&line[y * RUN..], RUN, weights);
                for (out, v) in row[left..][..used].iter_mut().zip(run) {
                    *out = v.round_ties_even() as u8;
                }
            }
        }
    }
}

/// Half of the Gaussian of `2·radius + 1` taps, from its middle, all of them summing to 1. Gives the
/// radius that is left without the taps beyond 5 sigma, which change no level by more than 2·10⁻⁴.
fn set_weights(weights: &mut Vec<f32>, sigma: f32, radius: usize) -> usize {
    let sigma = f64::from(sigma);
    let radius = radius.min((5.0 * sigma).ceil() as usize);
    let weight = |k: usize| (-0.5 * (k as f64 / sigma).powi(2)).exp();
    let total = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
    weights.clear();
    weights.extend((0..=radius).map(|k| (weight(k) / total) as f32));
    radius
}

/// The sum of taps that lie `stride` apart; those equally far from the middle are added first, so
/// that a mirrored picture gives mirrored figures.
#[inline(always)]
fn symmetric(taps: &[f32], stride: usize, weights: &[f32]) -> [f32; RUN] {
    let tap = |k: usize| {
        let Some(tap) = taps[k * stride..].first_chunk::<RUN>() else {
            unreachable!("the line has room for the kernel")
        };
        tap
    };
    let radius = weights.len() - 1;
    let mut sums = tap(radius).map(|v| v * weights[0]);
    for (k, weight) in weights.iter().enumerate().skip(1) {
        let (before, after) = (tap(radius - k), tap(radius + k));
        for i in 0..RUN {
            sums[i] += (before[i] + after[i]) * weight;
        }
    }
    sums
}

/// Where a position beyond the ends lies when the line is mirrored at its first and last pixel.
fn reflected(position: isize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    let position = position.rem_euclid(period as isize) as usize;
    position.min(period - position)
}

/// The fractional box radius whose threefold blur has this standard deviation (formulas 7, 11 and
/// 14 of the paper).
fn box_radius(sigma: f32) -> f32 {
    let variance = sigma * sigma / PASSES as f32;
    let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((length - 1.0) / 2.0).floor();
    let fraction = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    whole + fraction
}

/// 2·radius + 1 pixels of weight `near`, one more on each side of weight `far`; weights in 8.24
/// fixed point.
struct BoxKernel {
    radius: usize,
    near: u32,
    far: u32,
}

impl BoxKernel {
    fn new(radius: f32) -> Self {
        let whole = radius as u32;
        let near = ((1u32 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
        let far = (1u32 << 24).saturating_sub((whole * 2 + 1) * near) / 2;
        Self {
            radius: whole as usize,
            near,
            far,
        }
    }

    /// (near·weight + far·weight + ½) for the bytes of a line, whose `k`th taps `tap` gives. The
    /// weights sum to at most 2²⁴, so nothing overflows; the wrapping operations keep a debug build
    /// from checking each of them.
    #[inline(always)]
    fn line<'a>(&self, tap: impl Fn(usize) -> &'a [u8], out: &mut [u8], sums: &mut Vec<u32>) {
        let n = out.len();
        let span = 2 * self.radius + 1;
        let (left, right) = (&tap(0)[..n], &tap(span + 1)[..n]);
        let wide = |v: u8| u32::from(v);
        let weigh = |near: u32, left: u8, right: u8| {
            let sum = near
                .wrapping_mul(self.near)
                .wrapping_add((wide(left).wrapping_add(wide(right))).wrapping_mul(self.far));
            (sum.wrapping_add(1 << 23) >> 24) as u8
        };
        match self.radius {
            0 => {
                let a = &tap(1)[..n];
                for i in 0..n {
                    out[i] = weigh(wide(a[i]), left[i], right[i]);
                }
            }
            1 => {
                let (a, b, c) = (&tap(1)[..n], &tap(2)[..n], &tap(3)[..n]);
                for i in 0..n {
                    let near = wide(a[i]).wrapping_add(wide(b[i])).wrapping_add(wide(c[i]));
                    out[i] = weigh(near, left[i], right[i]);
                }
            }
            _ => {
                sums.clear();
                sums.resize(n, 0);
                for k in 1..=span {
                    for (sum, &v) in sums.iter_mut().zip(&tap(k)[..n]) {
                        *sum = sum.wrapping_add(wide(v));
                    }
                }
                for i in 0..n {
                    out[i] = weigh(sums[i], left[i], right[i]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_mirrored_at_their_ends() {
        let places = |len| (-5..8).map(move |p| reflected(p, len)).collect::<Vec<_>>();
        assert_eq!(places(1), [0; 13]);
        assert_eq!(places(4), [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
    }
}
