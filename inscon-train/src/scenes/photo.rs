//! The camera: uneven light, white balance, blur and noise.

use image::{Rgb as Pixel, RgbImage};
use rand::{Rng, RngExt};

use super::ScenesConfig;
use super::palette::{Rgb, normal, scaled, uniform};

/// How a picture is taken.
#[derive(Debug, Clone)]
pub(super) struct Photo {
    exposure: f32,
    white: [f32; 3],
    slope: [f32; 2],
    vignette: f32,
    blur: f32,
    noise: f32,
    seed: u64,
}

impl Photo {
    /// Draws the settings.
    pub(super) fn sample(config: &ScenesConfig, rng: &mut impl Rng) -> Self {
        let angle = uniform(rng, 0.0, std::f32::consts::TAU);
        let steep = config.lighting * uniform(rng, 0.0, 1.0);
        Self {
            exposure: 1.0 + 0.4 * config.lighting * uniform(rng, -1.0, 1.0),
            white: std::array::from_fn(|_| 1.0 + 0.2 * config.lighting * uniform(rng, -1.0, 1.0)),
            slope: [steep * angle.cos(), steep * angle.sin()],
            vignette: config.lighting * uniform(rng, 0.0, 0.6),
            blur: config.blur * uniform(rng, 0.0, 1.0),
            noise: config.noise / 255.0 * uniform(rng, 0.1, 1.0),
            seed: rng.random(),
        }
    }

    /// Turns colours, row by row over a square of side `n`, into a picture.
    pub(super) fn develop(&self, mut pixels: Vec<Rgb>, n: usize) -> RgbImage {
        for (at, pixel) in pixels.iter_mut().enumerate() {
            let place = |v: usize| 2.0 * (v as f32 + 0.5) / n as f32 - 1.0;
            let (x, y) = (place(at % n), place(at / n));
            let slope = (self.slope[0] * x + self.slope[1] * y).exp2();
            let light = self.exposure * slope * (1.0 - 0.5 * self.vignette * (x * x + y * y));
            *pixel = std::array::from_fn(|c| pixel[c] * light * self.white[c]);
        }
        let pixels = blurred(pixels, n, self.blur);
        let mut rng = inscon_aug::stream(self.seed, &[]);
        let mut image = RgbImage::new(n as u32, n as u32);
        for (to, from) in image.pixels_mut().zip(pixels) {
            // Most of a sensor's noise is common to the three channels.
            let common = normal(&mut rng);
            *to = Pixel(from.map(|v| {
                let v = v + self.noise * (0.8 * common + 0.6 * normal(&mut rng));
                (v.clamp(0.0, 1.0) * 255.0).round() as u8
            }));
        }
        image
    }
}

/// A Gaussian blur, columns after rows; pixels beyond the border repeat it.
fn blurred(pixels: Vec<Rgb>, n: usize, sigma: f32) -> Vec<Rgb> {
    if sigma < 0.05 {
        return pixels;
    }
    let reach = (3.0 * sigma).ceil() as i64;
    let weights: Vec<f32> = (-reach..=reach)
        .map(|k| (-((k * k) as f32) / (2.0 * sigma * sigma)).exp())
        .collect();
    let total: f32 = weights.iter().sum();
    let pass = |from: &[Rgb], step: usize| -> Vec<Rgb> {
        let along = |at: usize| if step == 1 { at % n } else { at / n } as i64;
        (0..n * n)
            .map(|at| {
                let here = along(at);
                let start = at as i64 - here * step as i64;
                let mut sum = [0.0; 3];
                for (k, weight) in (-reach..=reach).zip(&weights) {
                    let there = (here + k).clamp(0, n as i64 - 1);
                    let colour = from[(start + there * step as i64) as usize];
                    for (s, c) in sum.iter_mut().zip(colour) {
                        *s += weight * c;
                    }
                }
                scaled(sum, 1.0 / total)
            })
            .collect()
    };
    pass(&pass(&pixels, 1), n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_keeps_the_sum_and_is_symmetric() {
        let n = 15;
        let mut pixels = vec![[0.0; 3]; n * n];
        pixels[7 * n + 7] = [1.0, 2.0, 3.0];
        let out = blurred(pixels, n, 1.2);
        let sum: f32 = out.iter().map(|p| p[1]).sum();
        assert!((sum - 2.0).abs() < 1e-4, "{sum}");
        assert!((out[5 * n + 8][0] - out[8 * n + 5][0]).abs() < 1e-7);
        assert!((out[7 * n + 4][2] - out[7 * n + 10][2]).abs() < 1e-7);
    }
}
