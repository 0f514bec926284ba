//! Gaussian blur as PIL approximates it: three extended box blurs.
//!
//! Gwosdek et al., *Theoretical foundations of Gaussian convolution by extended box filtering*,
//! SSVM 2011. The figures are PIL's to the last bit: 8.24 fixed point, each pass rounded to bytes,
//! edges replicated.

use image::RgbImage;

const PASSES: u32 = 3;

/// Blurs in place with standard deviation `sigma` in pixels; PIL's
/// `ImageFilter.GaussianBlur(sigma)`.
pub fn gaussian_blur(img: &mut RgbImage, sigma: f32) {
    let (width, height) = img.dimensions();
    let kernel = BoxKernel::new(box_radius(sigma));
    // A kernel of one pixel changes nothing.
    if width == 0 || height == 0 || kernel.near == 1 << 24 {
        return;
    }
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

    /// One pass over `line`, whose neighbouring pixels lie `stride` bytes apart: 3 within a row, a
    /// row's length within a column (all columns at once). `padded` is the line with `radius + 1`
    /// pixels of room on each side.
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
            0 => self.one_tap(line, stride, padded),
            1 => self.three_taps(line, stride, padded),
            _ => self.running_sum(line, stride, padded),
        }
    }

    /// Radius below 1 (sigma < 1.42). This and the next are summed anew for each byte, which
    /// vectorises.
    fn one_tap(&self, line: &mut [u8], stride: usize, padded: &[u8]) {
        let n = line.len();
        let tap = |k: usize| &padded[k * stride..][..n];
        let (left, near, right) = (tap(0), tap(1), tap(2));
        for i in 0..n {
            let far = u16::from(left[i]) + u16::from(right[i]);
            line[i] = self.weigh(u16::from(near[i]), far);
        }
    }

    /// Radius from 1 to 2 (sigma < 2.45).
    fn three_taps(&self, line: &mut [u8], stride: usize, padded: &[u8]) {
        let n = line.len();
        let tap = |k: usize| &padded[k * stride..][..n];
        let (left, a, b, c, right) = (tap(0), tap(1), tap(2), tap(3), tap(4));
        for i in 0..n {
            let near = u16::from(a[i]) + u16::from(b[i]) + u16::from(c[i]);
            let far = u16::from(left[i]) + u16::from(right[i]);
            line[i] = self.weigh(near, far);
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
                let far = u32::from(left[c]) + u32::from(right[c]);
                pixel[c] = ((sums[c] * self.near + far * self.far + (1 << 23)) >> 24) as u8;
            }
        }
    }

    /// (near·weight + far·weight + ½) in 8.24 fixed point; the weights sum to at most 2²⁴, so nothing
    /// overflows. They are cut into a high and a low part, so that all products are of 16-bit numbers,
    /// which every x86-64 multiplies eight at a time; the wrapping operations keep a debug build from
    /// checking each of them, which would stop that.
    #[inline(always)]
    fn weigh(&self, near: u16, far: u16) -> u8 {
        let times = |v: u16, weight: u32| u32::from(v).wrapping_mul(u32::from(weight as u16));
        let high = times(near, self.near >> 8).wrapping_add(times(far, self.far >> 8));
        let low = times(near, self.near & 0xff).wrapping_add(times(far, self.far & 0xff));
        ((high << 8).wrapping_add(low).wrapping_add(1 << 23) >> 24) as u8
    }
}
