//! Gaussian blur: as PIL approximates it, by three extended box blurs, and by the kernel itself.
//!
//! Gwosdek et al., *Theoretical foundations of Gaussian convolution by extended box filtering*,
//! SSVM 2011. The figures are PIL's to the last bit: 8.24 fixed point, each pass rounded to bytes,
//! edges replicated.

use image::RgbImage;
use pulp::Arch;
use serde::{Deserialize, Serialize};

use crate::planes::{grow, on_planes};

const PASSES: u32 = 3;
/// Bytes that are blurred at a time.
const RUN: usize = 32;
/// Box taps whose sum a `u16` can hold.
const TAPS: usize = 257;

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
    /// Two padded lines, or strips of columns.
    lines: [Vec<u8>; 2],
    /// Half of an exact kernel, from its middle.
    weights: Vec<f32>,
    /// A padded line, or strip of columns.
    line: Vec<f32>,
    /// A plane after the first pass.
    plane: Vec<f32>,
}

impl BlurScratch {
    /// Blurs a plane of rows of `width` bytes.
    pub(crate) fn blur(&mut self, plane: &mut [u8], width: usize, sigma: f32, kernel: BlurKernel) {
        if plane.is_empty() {
            return;
        }
        let simd = Arch::new();
        match kernel {
            BlurKernel::Pil => simd.dispatch(
                #[inline(always)]
                || self.boxes(plane, width, sigma),
            ),
            BlurKernel::Exact { size } => {
                assert!(size % 2 == 1, "a blur kernel of {size} taps has no middle");
                simd.dispatch(
                    #[inline(always)]
                    || self.exact(plane, width, sigma, size as usize / 2),
                );
            }
        }
    }

    #[inline(always)]
    fn boxes(&mut self, plane: &mut [u8], width: usize, sigma: f32) {
        let kernel = BoxKernel::new(box_radius(sigma));
        // A kernel of one pixel changes nothing.
        if kernel.near == 1 << 24 {
            return;
        }
        match kernel.radius {
            0 => self.box_passes::<1>(plane, width, &kernel),
            1 => self.box_passes::<3>(plane, width, &kernel),
            _ => self.box_passes::<0>(plane, width, &kernel),
        }
    }

    /// `SPAN` is the number of near taps, 0 for any.
    #[inline(always)]
    fn box_passes<const SPAN: usize>(
        &mut self,
        plane: &mut [u8],
        width: usize,
        kernel: &BoxKernel,
    ) {
        let height = plane.len() / width;
        let margin = kernel.radius + 1;
        let [a, b] = &mut self.lines;

        let runs = width.div_ceil(RUN);
        for buffer in [&mut *a, b] {
            grow(buffer, runs * RUN + 2 * margin);
        }
        for row in plane.chunks_exact_mut(width) {
            a[margin..margin + width].copy_from_slice(row);
            for _ in 0..PASSES {
                let (first, last) = (a[margin], a[margin + width - 1]);
                a[..margin].fill(first);
                a[margin + width..width + 2 * margin].fill(last);
                for i in 0..runs {
                    let run = kernel.run::<SPAN>(&a[i * RUN..], 1);
                    b[margin + i * RUN..][..RUN].copy_from_slice(&run);
                }
                std::mem::swap(a, b);
            }
            row.copy_from_slice(&a[margin..margin + width]);
        }

        // Columns go in strips, so that all passes find them near.
        for buffer in [&mut *a, b] {
            grow(buffer, (height + 2 * margin) * RUN);
        }
        for left in (0..width).step_by(RUN) {
            let (a, b) = (&mut *a, &mut *b);
            let used = RUN.min(width - left);
            let inside = margin * RUN..(margin + height) * RUN;
            let rows = plane.chunks_exact(width).map(|row| &row[left..][..used]);
            for (line, row) in a[inside.clone()].chunks_exact_mut(RUN).zip(rows) {
                line[..used].copy_from_slice(row);
            }
            for _ in 0..PASSES {
                for k in 0..margin {
                    a.copy_within(inside.start..inside.start + RUN, k * RUN);
                    a.copy_within(inside.end - RUN..inside.end, inside.end + k * RUN);
                }
                let lines = b[inside.clone()].chunks_exact_mut(RUN);
                for (y, line) in lines.enumerate() {
                    line.copy_from_slice(&kernel.run::<SPAN>(&a[y * RUN..], RUN));
                }
                std::mem::swap(a, b);
            }
            let rows = plane.chunks_exact_mut(width);
            for (row, line) in rows.zip(a[inside].chunks_exact(RUN)) {
                row[left..][..used].copy_from_slice(&line[..used]);
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

    /// (near·weight + far·weight + ½) for neighbouring bytes whose taps lie `stride` apart. The
    /// weights sum to at most 2²⁴, so nothing overflows; the wrapping operations keep a debug build
    /// from checking each of them.
    #[inline(always)]
    fn run<const SPAN: usize>(&self, taps: &[u8], stride: usize) -> [u8; RUN] {
        let tap = |k: usize| {
            let Some(tap) = taps[k * stride..].first_chunk::<RUN>() else {
                unreachable!("the line has room for the kernel")
            };
            tap
        };
        let span = if SPAN > 0 { SPAN } else { 2 * self.radius + 1 };
        let mut near = [0u32; RUN];
        for start in (0..span).step_by(TAPS) {
            let mut part = [0u16; RUN];
            for k in start..span.min(start + TAPS) {
                for (sum, &v) in part.iter_mut().zip(tap(k + 1)) {
                    *sum = sum.wrapping_add(u16::from(v));
                }
            }
            for (sum, part) in near.iter_mut().zip(part) {
                *sum = sum.wrapping_add(u32::from(part));
            }
        }
        let (left, right) = (tap(0), tap(span + 1));
        let mut out = [0; RUN];
        for i in 0..RUN {
            let far = u32::from(u16::from(left[i]).wrapping_add(u16::from(right[i])));
            let sum = near[i]
                .wrapping_mul(self.near)
                .wrapping_add(far.wrapping_mul(self.far));
            out[i] = (sum.wrapping_add(1 << 23) >> 24) as u8;
        }
        out
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
