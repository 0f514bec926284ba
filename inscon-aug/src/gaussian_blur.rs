//! Gaussian blur as PIL approximates it: three extended box blurs.
//!
//! Gwosdek et al., *Theoretical foundations of Gaussian convolution by extended box filtering*, SSVM 2011. The figures
//! are PIL's to the last bit: 8.24 fixed point, each pass rounded to bytes, edges replicated.

use image::RgbImage;

const PASSES: u32 = 3;

/// Blurs in place with standard deviation `sigma` in pixels; PIL's `ImageFilter.GaussianBlur(sigma)`.
pub fn gaussian_blur(img: &mut RgbImage, sigma: f32) {
    let (width, height) = img.dimensions();
    if width == 0 || height == 0 || sigma <= 0.0 {
        return;
    }
    let kernel = BoxKernel::new(box_radius(sigma));
    let row = width as usize * 3;
    let margin = kernel.radius + 1;

    let mut padded = vec![0; row + 2 * margin * 3];
    for line in img.chunks_exact_mut(row) {
        for _ in 0..PASSES {
            kernel.pass(line, 3, &mut padded);
        }
    }
    let mut padded = vec![0; (height as usize + 2 * margin) * row];
    for _ in 0..PASSES {
        kernel.pass(img, row, &mut padded);
    }
}

/// The fractional box radius whose threefold blur has this standard deviation (formulas 7, 11 and 14 of the paper).
fn box_radius(sigma: f32) -> f32 {
    let variance = sigma * sigma / PASSES as f32;
    let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
    let whole = ((length - 1.0) / 2.0).floor();
    let fraction = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
        / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
    whole + fraction
}

/// 2·radius + 1 pixels of weight `near`, one more on each side of weight `far`; weights in 8.24 fixed point.
struct BoxKernel {
    radius: usize,
    near: u32,
    far: u32,
}

impl BoxKernel {
    fn new(radius: f32) -> Self {
        let whole = radius as u32;
        let near = ((1u32 << 24) as f32 / (radius * 2.0 + 1.0)) as u32;
        let far = ((1 << 24) - (whole * 2 + 1) * near) / 2;
        Self {
            radius: whole as usize,
            near,
            far,
        }
    }

    /// One pass over `line`, whose neighbouring pixels lie `stride` bytes apart: 3 within a row, a row's length within a
    /// column (all columns at once). `padded` is the line with `radius + 1` pixels of room on each side.
    fn pass(&self, line: &mut [u8], stride: usize, padded: &mut [u8]) {
        let margin = (self.radius + 1) * stride;
        let end = margin + line.len();
        padded[margin..end].copy_from_slice(line);
        for k in 0..=self.radius {
            padded[k * stride..(k + 1) * stride].copy_from_slice(&line[..stride]);
            let last = line.len() - stride;
            padded[end + k * stride..end + (k + 1) * stride].copy_from_slice(&line[last..]);
        }
        match self.radius {
            0 => self.taps::<1>(line, stride, padded),
            1 => self.taps::<3>(line, stride, padded),
            _ => self.running_sum(line, stride, padded),
        }
    }

    /// The narrow kernels (sigma < 2.83): `N` near taps, summed anew for each byte, which vectorises.
    fn taps<const N: usize>(&self, line: &mut [u8], stride: usize, padded: &[u8]) {
        let n = line.len();
        let tap: [&[u8]; N] = std::array::from_fn(|k| &padded[(k + 1) * stride..][..n]);
        let left = &padded[..n];
        let right = &padded[(N + 1) * stride..][..n];
        for i in 0..n {
            let near: u32 = tap.iter().map(|t| u32::from(t[i])).sum();
            line[i] = self.weigh(near, u32::from(left[i]) + u32::from(right[i]));
        }
    }

    /// Any width: one addition and one subtraction for each byte.
    fn running_sum(&self, line: &mut [u8], stride: usize, padded: &[u8]) {
        let span = 2 * self.radius + 1;
        let mut sums = vec![0u32; stride];
        // The window of pixel −1, so that each step can move it first.
        for k in 0..span {
            for (sum, &v) in sums.iter_mut().zip(&padded[k * stride..]) {
                *sum += u32::from(v);
            }
        }
        for (j, pixel) in line.chunks_exact_mut(stride).enumerate() {
            let left = &padded[j * stride..][..stride];
            let enter = &padded[(j + span) * stride..][..stride];
            let right = &padded[(j + span + 1) * stride..][..stride];
            for c in 0..stride {
                sums[c] += u32::from(enter[c]);
                sums[c] -= u32::from(left[c]);
                pixel[c] = self.weigh(sums[c], u32::from(left[c]) + u32::from(right[c]));
            }
        }
    }

    #[inline(always)]
    fn weigh(&self, near: u32, far: u32) -> u8 {
        ((near * self.near + far * self.far + (1 << 23)) >> 24) as u8
    }
}
