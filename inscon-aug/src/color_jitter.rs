//! Colour jitter: brightness, contrast, saturation and hue in random order.

use image::RgbImage;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::lanes::{Lanes, Run, vectorized};
use crate::planes::on_planes;
use crate::rng::{chance, shuffle, uniform};

/// torchvision's `ColorJitter`, applied with probability `p`. Defaults: MoCo v2's (.4, .4, .4, .1),
/// p .8.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// Factor of brightness from `[max(0, 1 − b), 1 + b]`; 0 leaves it out.
    pub brightness: f64,
    /// Factor of contrast, likewise.
    pub contrast: f64,
    /// Factor of saturation, likewise.
    pub saturation: f64,
    /// Shift of hue from `[−h, h]`, in turns; at most ½; 0 leaves it out.
    pub hue: f64,
    /// Probability of jittering at all.
    pub p: f64,
}

impl Default for ColorJitter {
    fn default() -> Self {
        Self {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            p: 0.8,
        }
    }
}

impl ColorJitter {
    /// Draws the operations, in the order in which they are to be applied; none with probability `1
    /// − p`.
    pub fn sample(&self, rng: &mut impl Rng) -> Vec<ColorOp> {
        if !chance(rng, self.p) {
            return Vec::new();
        }
        let mut factor =
            |strength: f64| uniform(rng, (1.0 - strength).max(0.0), 1.0 + strength) as f32;
        let mut ops = Vec::with_capacity(4);
        if self.brightness > 0.0 {
            ops.push(ColorOp::Brightness(factor(self.brightness)));
        }
        if self.contrast > 0.0 {
            ops.push(ColorOp::Contrast(factor(self.contrast)));
        }
        if self.saturation > 0.0 {
            ops.push(ColorOp::Saturation(factor(self.saturation)));
        }
        if self.hue > 0.0 {
            ops.push(ColorOp::Hue(uniform(rng, -self.hue, self.hue) as f32));
        }
        shuffle(rng, &mut ops);
        ops
    }
}

/// One colour operation with its drawn parameter; pixels as PIL computes them, on bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorOp {
    /// Blend with black: `factor · v`.
    Brightness(f32),
    /// Blend with the image's mean luma: `m + factor · (v − m)`.
    Contrast(f32),
    /// Blend with the pixel's luma: `l + factor · (v − l)`.
    Saturation(f32),
    /// Shift of PIL's 8-bit hue, in turns of the colour circle.
    Hue(f32),
    /// The pixel's luma, three times: greyscale among the jitter (MoCo v1 has it before).
    Grayscale,
    /// Inverts what is at least this bright: `v < threshold ? v : 255 − v`.
    Solarize(u8),
}

impl ColorOp {
    /// Applies the operation in place.
    pub fn apply(&self, img: &mut RgbImage) {
        on_planes(img, |planes| self.apply_planes(planes));
    }

    /// The same on three planes of equal length.
    pub(crate) fn apply_planes(&self, planes: [&mut [u8]; 3]) {
        vectorized(Recolor(*self, planes));
    }
}

struct Recolor<'a>(ColorOp, [&'a mut [u8]; 3]);

impl Run for Recolor<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: impl Lanes) {
        let [r, g, b] = self.1;
        match self.0 {
            ColorOp::Brightness(factor) => {
                for plane in [r, g, b] {
                    blend_with_constant(plane, 0.0, factor);
                }
            }
            ColorOp::Contrast(factor) => {
                let mean = mean_luma(r, g, b);
                for plane in [r, g, b] {
                    blend_with_constant(plane, mean, factor);
                }
            }
            ColorOp::Saturation(factor) => saturate(r, g, b, factor),
            ColorOp::Hue(turns) => shift_hue(r, g, b, turns),
            ColorOp::Grayscale => {
                for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
                    let grey = luma([*r, *g, *b]);
                    (*r, *g, *b) = (grey, grey, grey);
                }
            }
            ColorOp::Solarize(threshold) => {
                for plane in [r, g, b] {
                    for v in plane {
                        *v = if *v < threshold { *v } else { 255 - *v };
                    }
                }
            }
        }
    }
}

/// Greyscale on three planes of equal length; only the first is written.
pub(crate) fn luma_plane(planes: [&mut [u8]; 3]) {
    vectorized(Luma(planes));
}

struct Luma<'a>([&'a mut [u8]; 3]);

impl Run for Luma<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: impl Lanes) {
        let [r, g, b] = self.0;
        for ((r, &mut g), &mut b) in r.iter_mut().zip(g).zip(b) {
            *r = luma([*r, g, b]);
        }
    }
}

/// PIL's `L`: (19595 R + 38470 G + 7471 B + 2¹⁵) / 2¹⁶, ITU-R 601-2.
#[inline(always)]
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let part = |v: u8, weight: u32| u32::from(v).wrapping_mul(weight);
    let sum = part(r, 19595)
        .wrapping_add(part(g, 38470))
        .wrapping_add(part(b, 7471));
    (sum.wrapping_add(0x8000) >> 16) as u8
}

/// PIL's `ImagingBlend`: in f32, truncated and clipped to a byte.
#[inline(always)]
fn blend(from: f32, to: u8, factor: f32) -> u8 {
    let level = from + factor * (f32::from(to) - from);
    // Not `clamp`, nor a cast to a byte: they heed NaN, which costs more than the rest.
    let level = if level > 0.0 { level } else { 0.0 };
    let level = if level < 255.0 { level } else { 255.0 };
    whole(level) as u8
}

/// A blend of a constant image with this one.
#[inline(always)]
fn blend_with_constant(plane: &mut [u8], constant: f32, factor: f32) {
    for v in plane {
        *v = blend(constant, *v, factor);
    }
}

/// The mean of the luma, rounded to a whole level as `ImageEnhance.Contrast` does.
#[inline(always)]
fn mean_luma(r: &[u8], g: &[u8], b: &[u8]) -> f32 {
    /// Pixels whose luma a `u32` can sum.
    const RUN: usize = 1 << 16;
    if r.is_empty() {
        return 0.0;
    }
    let mut sum = 0;
    for ((r, g), b) in r.chunks(RUN).zip(g.chunks(RUN)).zip(b.chunks(RUN)) {
        let mut part = 0u32;
        for ((&r, &g), &b) in r.iter().zip(g).zip(b) {
            part = part.wrapping_add(u32::from(luma([r, g, b])));
        }
        sum += u64::from(part);
    }
    (sum as f64 / r.len() as f64 + 0.5).floor() as f32
}

#[inline(always)]
fn saturate(r: &mut [u8], g: &mut [u8], b: &mut [u8], factor: f32) {
    let pixels = r.iter_mut().zip(g.iter_mut()).zip(b.iter_mut());
    for ((r, g), b) in pixels {
        let grey = f32::from(luma([*r, *g, *b]));
        *r = blend(grey, *r, factor);
        *g = blend(grey, *g, factor);
        *b = blend(grey, *b, factor);
    }
}

/// torchvision's `adjust_hue` on PIL images: to 8-bit HSV, add with wrap-around, back.
#[inline(always)]
fn shift_hue(r: &mut [u8], g: &mut [u8], b: &mut [u8], turns: f32) {
    // torchvision truncates towards zero before wrapping to a byte.
    let shift = i32::from((f64::from(turns) * 255.0) as i32 as u8);
    let pixels = r.iter_mut().zip(g.iter_mut()).zip(b.iter_mut());
    for ((r, g), b) in pixels {
        let [h, s, v] = hsv([*r, *g, *b]);
        [*r, *g, *b] = rgb([(h + shift) & 0xff, s, v]);
    }
}

/// PIL's `rgb2hsv`, in bytes. Grey has saturation 0 and a hue without meaning.
///
/// PIL mixes single and double precision; that this gives the same for every colour, a test says.
/// No branches, so that it vectorises.
#[inline(always)]
fn hsv(pixel: [u8; 3]) -> [i32; 3] {
    let [r, g, b] = pixel.map(i32::from);
    let max = r.max(g).max(b);
    let min = r.min(g).min(b);
    let middle = r
        .wrapping_add(g)
        .wrapping_add(b)
        .wrapping_sub(max)
        .wrapping_sub(min);
    let range = max.wrapping_sub(min);
    // The hue is a whole sixth and, above or below it, the middle channel's distance from the
    // brightest in terms of the darkest's.
    let part = max.wrapping_sub(middle) as f32 / range.max(1) as f32;
    let (base, rises) = if r == max {
        (0.0, b <= g)
    } else if g == max {
        (2.0, r <= b)
    } else {
        (4.0, g <= r)
    };
    let sixths = if rises {
        base + 1.0 - part
    } else {
        base - 1.0 + part
    };
    let hue = sixths / 6.0 * 255.0;
    let hue = if hue < 0.0 { hue + 255.0 } else { hue };
    let saturation = range as f32 / max.max(1) as f32 * 255.0;
    [whole(hue), whole(saturation), max]
}

/// PIL's `hsv2rgb` of bytes, with whole numbers; equal for every colour, as a test says.
#[inline(always)]
fn rgb([h, s, v]: [i32; 3]) -> [u8; 3] {
    let turned = h * 6;
    let sector = whole(turned as f32 * (1.0 / 255.0) + 1e-3);
    let position = turned - sector * 255;
    // v · (1 − s/255 · share/255), rounded; the product is below 2²⁴, so that f32 holds it.
    let level = |share: i32| {
        let product = v * (65025 - s * share) + 32512;
        whole(product as f32 * (1.0 / 65025.0))
    };
    let low = level(255);
    let between = level(if sector & 1 == 1 {
        position
    } else {
        255 - position
    });
    let red = match sector {
        1 | 4 => between,
        2 | 3 => low,
        _ => v,
    };
    let green = match sector {
        1 | 2 => v,
        4 | 5 => low,
        _ => between,
    };
    let blue = match sector {
        3 | 4 => v,
        2 | 5 => between,
        _ => low,
    };
    [red as u8, green as u8, blue as u8]
}

/// The whole part of a number from 0 to 2²³: added to 2²³ it is the lower part of the float's bits.
/// A cast would be several instructions on x86, for what does not fit.
#[inline(always)]
fn whole(v: f32) -> i32 {
    const UNIT: f32 = 8_388_608.0;
    (v.trunc() + UNIT).to_bits().wrapping_sub(UNIT.to_bits()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PIL's conversion as it is written, with doubles.
    fn pil_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        if max == min {
            return [0, 0, max];
        }
        let range = f32::from(max - min);
        let [rc, gc, bc] = [r, g, b].map(|v| f32::from(max - v) / range);
        let [rc64, gc64, bc64] = [rc, gc, bc].map(f64::from);
        let hue = if r == max {
            bc - gc
        } else if g == max {
            (2.0 + rc64 - bc64) as f32
        } else {
            (4.0 + gc64 - rc64) as f32
        };
        let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
        let saturation = range / f32::from(max);
        [
            (f64::from(hue) * 255.0) as u8,
            (f64::from(saturation) * 255.0) as u8,
            max,
        ]
    }

    fn pil_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
        if s == 0 {
            return [v; 3];
        }
        let position = f64::from(f32::from(h)) * 6.0 / 255.0;
        let sector = position.floor();
        let f = (position - sector) as f32;
        let fs = (f64::from(f32::from(s)) / 255.0) as f32;
        let level = |missing: f64| (f64::from(v) * (1.0 - missing)).round() as u8;
        let p = level(f64::from(fs));
        let q = level(f64::from(fs * f));
        let t = level(f64::from(fs) * (1.0 - f64::from(f)));
        match sector as u32 % 6 {
            0 => [v, t, p],
            1 => [q, v, p],
            2 => [p, v, t],
            3 => [p, q, v],
            4 => [t, p, v],
            _ => [v, p, q],
        }
    }

    #[test]
    fn every_color_has_pils_hue() {
        let mut unequal = 0;
        for r in 0..=255 {
            for g in 0..=255 {
                for b in 0..=255 {
                    let expected = pil_hsv([r, g, b]);
                    let [h, s, v] = hsv([r, g, b]);
                    let equal = if expected[1] == 0 {
                        [s, v] == [0, i32::from(expected[2])]
                    } else {
                        [h, s, v] == expected.map(i32::from)
                    };
                    unequal += u32::from(!equal);
                }
            }
        }
        assert_eq!(unequal, 0);
    }

    #[test]
    fn every_hue_has_pils_color() {
        let mut unequal = 0;
        for h in 0..=255 {
            for s in 0..=255 {
                for v in 0..=255 {
                    unequal += u32::from(rgb([h, s, v].map(i32::from)) != pil_rgb([h, s, v]));
                }
            }
        }
        assert_eq!(unequal, 0);
    }
}
