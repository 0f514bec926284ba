//! What lies behind the objects: one to three materials that meet along curves, and a gradient.

use rand::{Rng, RngExt};

use super::material::Material;
use super::noise::{Noise, smoothstep};
use super::palette::{Palette, Rgb, blend, scaled, uniform};

/// A background over the unit square.
#[derive(Debug, Clone)]
pub(super) struct Background {
    /// From the bottom up; the first is everywhere.
    layers: Vec<Layer>,
    gradient: [f32; 2],
}

#[derive(Debug, Clone)]
struct Layer {
    material: Material,
    border: Noise,
    normal: [f32; 2],
    offset: f32,
    waviness: f32,
}

impl Background {
    /// Draws one.
    pub(super) fn sample(rng: &mut impl Rng) -> Self {
        let count = [1, 2, 2, 3][rng.random_range(0..4)];
        let layers = (0..count).map(|_| Layer::sample(rng)).collect();
        let (angle, strength) = (
            uniform(rng, 0.0, std::f32::consts::TAU),
            uniform(rng, 0.0, 0.3),
        );
        Self {
            layers,
            gradient: [strength * angle.cos(), strength * angle.sin()],
        }
    }

    /// The colour at a place, both coordinates in `[0, 1]`.
    pub(super) fn colour(&self, x: f32, y: f32) -> Rgb {
        let mut colour = self.layers[0].material.colour(x, y);
        for layer in &self.layers[1..] {
            let cover = layer.cover(x, y);
            if cover > 0.0 {
                colour = blend(colour, layer.material.colour(x, y), cover);
            }
        }
        let [gx, gy] = self.gradient;
        scaled(colour, 1.0 + gx * (x - 0.5) * 2.0 + gy * (y - 0.5) * 2.0)
    }

    /// The colours at a place, for what wants to look like it.
    pub(super) fn palette(&self, x: f32, y: f32) -> &Palette {
        let top = self.layers[1..]
            .iter()
            .rev()
            .find(|layer| layer.cover(x, y) > 0.5);
        top.unwrap_or(&self.layers[0]).material.palette()
    }
}

impl Layer {
    fn sample(rng: &mut impl Rng) -> Self {
        let contrast = uniform(rng, 0.05, 0.4);
        let palette = Palette::sample(rng, contrast);
        let angle = uniform(rng, 0.0, std::f32::consts::TAU);
        Self {
            material: Material::sample(rng, palette, [4.0, 22.0]),
            border: Noise::new(rng.random()),
            normal: [angle.cos(), angle.sin()],
            offset: uniform(rng, -0.35, 0.35),
            waviness: if rng.random() {
                0.0
            } else {
                uniform(rng, 0.1, 0.5)
            },
        }
    }

    fn cover(&self, x: f32, y: f32) -> f32 {
        let along = self.normal[0] * (x - 0.5) + self.normal[1] * (y - 0.5);
        let wave = self.waviness * self.border.fractal(2.5 * x, 2.5 * y, 3);
        smoothstep(-0.004, 0.004, along + wave - self.offset)
    }
}
