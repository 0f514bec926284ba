//! Colour jitter: brightness, contrast, saturation and hue in random order.

use image::RgbImage;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::grayscale::luma;
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

/// torchvision's `adjust_hue` on PIL images: to 8-bit HSV, add with wrap-around, back. Without
/// branches: on busy pictures their misprediction costs more than the arithmetic.
fn shift_hue(img: &mut RgbImage, turns: f32) {
    // torchvision truncates towards zero before wrapping to a byte.
    let shift = (f64::from(turns) * 255.0) as i32 as u8;
    // Sixth of the circle and position within it, of each 8-bit hue.
    let sectors: [(usize, f32); 256] = std::array::from_fn(|h| {
        let position = h as f64 * 6.0 / 255.0;
        (position as usize % 6, (position - position.floor()) as f32)
    });
    let shares: [f32; 256] = std::array::from_fn(|s| (s as f64 / 255.0) as f32);
    // Which of [v, p, q, t] are red, green and blue.
    const CHANNELS: [[usize; 3]; 6] = [
        [0, 3, 1],
        [2, 0, 1],
        [1, 0, 3],
        [1, 2, 0],
        [3, 1, 0],
        [0, 1, 2],
    ];
    let (pixels, _) = img.as_chunks_mut::<3>();
    for pixel in pixels {
        let [h, s, v] = hsv(*pixel);
        let (sector, fraction) = sectors[usize::from(h.wrapping_add(shift))];
        let saturation = shares[usize::from(s)];
        let level = |missing: f64| (f64::from(v) * (1.0 - missing) + 0.5) as u8;
        let levels = [
            v,
            level(f64::from(saturation)),
            level(f64::from(saturation * fraction)),
            level(f64::from(saturation) * (1.0 - f64::from(fraction))),
        ];
        *pixel = CHANNELS[sector].map(|c| levels[c]);
    }
}

/// PIL's `rgb2hsv`, with its mixture of single and double precision. Grey has saturation 0 and a
/// hue without meaning.
#[inline(always)]
fn hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let max = r.max(g).max(b);
    let min = r.min(g).min(b);
    let range = f32::from((max - min).max(1));
    let saturation = f32::from(max - min) / f32::from(max.max(1));
    let (base, plus, minus) = if r == max {
        (0.0, b, g)
    } else if g == max {
        (2.0, r, b)
    } else {
        (4.0, g, r)
    };
    let part = |v: u8| f64::from(f32::from(max - v) / range);
    let hue = (base + part(plus) - part(minus)) as f32;
    let turned = f64::from(hue) / 6.0 + 1.0;
    let hue = (if turned >= 1.0 { turned - 1.0 } else { turned }) as f32;
    [
        (f64::from(hue) * 255.0) as u8,
        (f64::from(saturation) * 255.0) as u8,
        max,
    ]
}
