//! Plain materials: what backgrounds, clutter and the surfaces of shape-decided objects are made of.

use rand::{Rng, RngExt};

use super::noise::{Noise, smoothstep};
use super::palette::{Palette, Rgb, blend, log_uniform, scaled, uniform};

/// A texture over the plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Material {
    pattern: Pattern,
    palette: Palette,
    noise: Noise,
    /// Features per unit of length.
    frequency: f32,
    /// Unit vector across stripes and along grain.
    across: [f32; 2],
    /// Strength of the pattern, and of the fine grain over it.
    strength: f32,
    grain: f32,
}

#[derive(Debug, Clone, Copy)]
enum Pattern {
    /// Fractal noise.
    Clouds,
    /// Wavy stripes.
    Stripes,
    /// A checkerboard.
    Checks,
    /// Cells with dark joints.
    Pebbles,
    /// Noise drawn out in one direction: wood, brushed metal, grass.
    Brushed,
    /// Veins.
    Marble,
    /// Dots at random places.
    Dots,
    /// Rows of bricks.
    Bricks,
}

const PATTERNS: [Pattern; 8] = [
    Pattern::Clouds,
    Pattern::Stripes,
    Pattern::Checks,
    Pattern::Pebbles,
    Pattern::Brushed,
    Pattern::Marble,
    Pattern::Dots,
    Pattern::Bricks,
];

impl Material {
    /// Any pattern in the colours of `palette`, with `frequency` features per unit of length.
    pub(super) fn sample(rng: &mut impl Rng, palette: Palette, frequency: [f32; 2]) -> Self {
        let angle = uniform(rng, 0.0, std::f32::consts::TAU);
        Self {
            pattern: PATTERNS[rng.random_range(0..PATTERNS.len())],
            palette,
            noise: Noise::new(rng.random()),
            frequency: log_uniform(rng, frequency[0], frequency[1]),
            across: [angle.cos(), angle.sin()],
            strength: uniform(rng, 0.35, 1.0),
            grain: uniform(rng, 0.03, 0.16),
        }
    }

    /// The same with a hardly visible pattern.
    pub(super) fn faint(self) -> Self {
        Self {
            strength: 0.35 * self.strength,
            ..self
        }
    }

    /// Its two colours.
    pub(super) fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The colour at a place.
    pub(super) fn colour(&self, x: f32, y: f32) -> Rgb {
        let f = self.frequency;
        let [c, s] = self.across;
        // Along and across the grain, in features.
        let (a, b) = (f * (c * x + s * y), f * (c * y - s * x));
        let noise = self.noise;
        let t = match self.pattern {
            Pattern::Clouds => 0.5 + 0.8 * noise.fractal(0.5 * a, 0.5 * b, 4),
            Pattern::Stripes => {
                let wave = a + 0.35 * noise.value(0.6 * a, 0.6 * b);
                smoothstep(-0.35, 0.35, (std::f32::consts::TAU * wave * 0.5).sin())
            }
            Pattern::Checks => {
                let side = |v: f32| 6.0 * (std::f32::consts::PI * v).sin();
                0.5 - 0.5 * (side(a).clamp(-1.0, 1.0) * side(b).clamp(-1.0, 1.0))
            }
            Pattern::Pebbles => {
                let cell = noise.cellular(a, b);
                smoothstep(0.02, 0.22, cell.margin) * (0.35 + 0.65 * cell.value)
            }
            Pattern::Brushed => 0.5 + 0.75 * noise.fractal(1.6 * a, 0.16 * b, 3),
            Pattern::Marble => {
                let vein = noise.fractal(0.6 * a, 0.6 * b, 4);
                1.0 - smoothstep(0.0, 0.22, (0.5 * a + 3.0 * vein).sin().abs())
            }
            Pattern::Dots => 1.0 - smoothstep(0.26, 0.34, noise.cellular(a, b).distance),
            Pattern::Bricks => {
                let row = b.floor();
                let along = 0.5 * a + 0.5 * (row - 2.0 * (0.5 * row).floor());
                let edge = |v: f32| 0.5 - (v - v.floor() - 0.5).abs();
                let joint = (2.0 * edge(along)).min(edge(b));
                let tone = 0.25 * Noise::new(7).value(along.floor() * 3.7, row * 5.3);
                smoothstep(0.03, 0.09, joint) * (0.75 + tone)
            }
        };
        let colour = blend(
            self.palette.colours[0],
            self.palette.colours[1],
            (0.5 + (t - 0.5) * self.strength).clamp(0.0, 1.0),
        );
        scaled(
            colour,
            1.0 + self.grain * noise.fractal(5.0 * f * x, 5.0 * f * y, 2),
        )
    }
}
