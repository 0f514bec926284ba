//! Colour jitter: brightness, contrast, saturation and hue in random order.

use image::RgbImage;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::grayscale::luma;
use crate::rng::{chance, shuffle, uniform};

/// torchvision's `ColorJitter`, applied with probability `p`. Defaults: MoCo v2's (.4, .4, .4, .1), p .8.
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
    /// Draws the operations, in the order in which they are to be applied; none with probability `1 − p`.
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
}

impl ColorOp {
    /// Applies the operation in place.
    pub fn apply(&self, img: &mut RgbImage) {
        match *self {
            Self::Brightness(factor) => blend_with_constant(img, 0.0, factor),
            Self::Contrast(factor) => {
                let mean = mean_luma(img);
                blend_with_constant(img, mean, factor);
            }
            Self::Saturation(factor) => saturate(img, factor),
            Self::Hue(turns) => shift_hue(img, turns),
        }
    }
}

/// PIL's `ImagingBlend` of a constant image with this one: in f32, truncated and clipped to a byte.
fn blend_with_constant(img: &mut RgbImage, constant: f32, factor: f32) {
    let table: [u8; 256] =
        std::array::from_fn(|v| (constant + factor * (v as f32 - constant)) as u8);
    for v in img.iter_mut() {
        *v = table[usize::from(*v)];
    }
}

/// The mean of the luma, rounded to a whole level as `ImageEnhance.Contrast` does.
fn mean_luma(img: &RgbImage) -> f32 {
    let (pixels, _) = img.as_chunks::<3>();
    if pixels.is_empty() {
        return 0.0;
    }
    let sum: u64 = pixels.iter().map(|&p| u64::from(luma(p))).sum();
    (sum as f64 / pixels.len() as f64 + 0.5).floor() as f32
}

fn saturate(img: &mut RgbImage, factor: f32) {
    let (pixels, _) = img.as_chunks_mut::<3>();
    for pixel in pixels {
        let grey = f32::from(luma(*pixel));
        for v in pixel {
            *v = (grey + factor * (f32::from(*v) - grey)) as u8;
        }
    }
}

/// torchvision's `adjust_hue` on PIL images: to 8-bit HSV, add with wrap-around, back.
fn shift_hue(img: &mut RgbImage, turns: f32) {
    // torchvision truncates towards zero before wrapping to a byte.
    let shift = (f64::from(turns) * 255.0) as i32 as u8;
    let sectors: [(u8, f32); 256] = std::array::from_fn(|h| {
        let position = h as f64 * 6.0 / 255.0;
        (
            position.floor() as u8 % 6,
            (position - position.floor()) as f32,
        )
    });
    let (pixels, _) = img.as_chunks_mut::<3>();
    for pixel in pixels {
        let [h, s, v] = hsv(*pixel);
        if s == 0 {
            *pixel = [v; 3];
            continue;
        }
        let (sector, fraction) = sectors[usize::from(h.wrapping_add(shift))];
        let saturation = (f64::from(s) / 255.0) as f32;
        let level = |share: f32| (f64::from(v) * (1.0 - f64::from(share)) + 0.5) as u8;
        let p = level(saturation);
        let q = level(saturation * fraction);
        let t = (f64::from(v) * (1.0 - f64::from(saturation) * (1.0 - f64::from(fraction))) + 0.5)
            as u8;
        *pixel = match sector {
            0 => [v, t, p],
            1 => [q, v, p],
            2 => [p, v, t],
            3 => [p, q, v],
            4 => [t, p, v],
            _ => [v, p, q],
        };
    }
}

/// PIL's `rgb2hsv`, with its mixture of single and double precision.
fn hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let max = r.max(g).max(b);
    let min = r.min(g).min(b);
    if max == min {
        return [0, 0, max];
    }
    let range = f32::from(max - min);
    let saturation = range / f32::from(max);
    let part = |v: u8| f32::from(max - v) / range;
    let hue = if r == max {
        part(b) - part(g)
    } else if g == max {
        (2.0 + f64::from(part(r)) - f64::from(part(b))) as f32
    } else {
        (4.0 + f64::from(part(g)) - f64::from(part(r))) as f32
    };
    let turned = f64::from(hue) / 6.0 + 1.0;
    let hue = (if turned >= 1.0 { turned - 1.0 } else { turned }) as f32;
    [
        (f64::from(hue) * 255.0) as u8,
        (f64::from(saturation) * 255.0) as u8,
        max,
    ]
}
