//! What the objects are made of. `x` and `y` are in the object's own frame, in radii.

use rand::{Rng, RngExt};

use super::Category;
use super::material::Material;
use super::noise::{Noise, mix, smoothstep};
use super::outline::Outline;
use super::palette::{Palette, Rgb, blend, scaled, uniform};

/// A surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    kind: Kind,
    palette: Palette,
    wear: Noise,
    /// Strength of worn places.
    worn: f32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain(Material),
    /// A plain surface with midrib and veins.
    Veins {
        material: Material,
        pairs: f32,
        lean: f32,
    },
    /// Stripes from pole to pole.
    Meridians {
        stripes: f32,
        height: f32,
        wobble: f32,
    },
    /// Spots over a dome, and a line down its middle.
    Spots {
        per_radius: f32,
        size: f32,
        height: f32,
    },
    Planks {
        count: f32,
        height: f32,
        brace: bool,
    },
    Weave {
        strands: f32,
        height: f32,
    },
}

impl Surface {
    /// The surface of a category over `outline`.
    pub(super) fn of(
        category: Category,
        outline: &Outline,
        palette: Palette,
        rng: &mut impl Rng,
    ) -> Self {
        let height = match *outline {
            Outline::Ellipse { height } | Outline::Block { height, .. } => height,
            _ => 1.0,
        };
        let kind = match category {
            Category::Gear | Category::Ring | Category::Star => {
                Kind::Plain(Material::sample(rng, palette, [1.2, 4.0]))
            }
            Category::Leaf => Kind::Veins {
                material: Material::sample(rng, palette, [1.2, 3.0]),
                pairs: uniform(rng, 3.0, 6.0),
                lean: uniform(rng, 0.5, 1.3),
            },
            Category::Melon => Kind::Meridians {
                stripes: rng.random_range(5..=9) as f32,
                height,
                wobble: uniform(rng, 0.05, 0.25),
            },
            Category::Ladybird => Kind::Spots {
                per_radius: uniform(rng, 1.9, 2.9),
                size: uniform(rng, 0.27, 0.38),
                height,
            },
            Category::Crate => Kind::Planks {
                count: rng.random_range(3..=5) as f32,
                height,
                brace: rng.random(),
            },
            Category::Basket => Kind::Weave {
                strands: uniform(rng, 3.2, 5.5),
                height,
            },
        };
        Self {
            kind,
            palette,
            wear: Noise::new(rng.random()),
            worn: uniform(rng, 0.0, 0.45),
        }
    }

    /// The surface of clutter.
    pub(super) fn plain(palette: Palette, rng: &mut impl Rng) -> Self {
        let kind = Kind::Plain(Material::sample(rng, palette, [0.6, 3.0]).faint());
        Self {
            kind,
            palette,
            wear: Noise::new(rng.random()),
            worn: uniform(rng, 0.0, 0.45),
        }
    }

    /// The colour at a place of the surface, in even light.
    pub(super) fn colour(&self, x: f32, y: f32) -> Rgb {
        let [base, other] = self.palette.colours;
        let colour = match self.kind {
            Kind::Plain(material) => material.colour(x, y),
            Kind::Veins {
                material,
                pairs,
                lean,
            } => {
                let side = ((x + lean * y.abs()) * pairs).rem_euclid(1.0) - 0.5;
                let vein = 1.0 - smoothstep(0.07, 0.16, side.abs());
                let rib = 1.0 - smoothstep(0.025, 0.06, y.abs());
                let ink = scaled(blend(base, other, 0.5), 0.5);
                blend(material.colour(x, y), ink, (0.6 * vein).max(rib))
            }
            Kind::Meridians {
                stripes,
                height,
                wobble,
            } => {
                let y = y / height + wobble * self.wear.value(2.5 * x, 2.5 * y);
                let girth = (1.0 - x * x).max(0.02).sqrt();
                let longitude = (y / girth).clamp(-1.0, 1.0).asin() / std::f32::consts::PI + 0.5;
                let wave = (longitude * stripes * std::f32::consts::PI).sin();
                blend(base, other, smoothstep(0.3, 0.7, wave.abs()))
            }
            Kind::Spots {
                per_radius,
                size,
                height,
            } => {
                let y = y / height;
                let bulge = 1.0 / (1.35 - 0.55 * (x * x + y * y)).max(0.5);
                let cell = self
                    .wear
                    .cellular(per_radius * x * bulge + 9.0, per_radius * y * bulge + 9.0);
                let spot = 1.0 - smoothstep(size - 0.05, size + 0.05, cell.distance);
                let seam = 1.0 - smoothstep(0.02, 0.05, y.abs());
                blend(base, other, spot.max(seam))
            }
            Kind::Planks {
                count,
                height,
                brace,
            } => planks(self, x, y / height, count, brace),
            Kind::Weave { strands, height } => {
                let (a, b) = (strands * x, strands * y.max(-height));
                let over = (a.floor() + b.floor()).rem_euclid(2.0) < 0.5;
                let (along, across) = if over { (a, b) } else { (b, a) };
                let round = (std::f32::consts::PI * across.rem_euclid(1.0)).sin();
                let arch = (std::f32::consts::PI * along.rem_euclid(1.0)).sin();
                let tone = if over { base } else { other };
                scaled(tone, mix(0.3, 1.1, round.sqrt() * mix(0.65, 1.0, arch)))
            }
        };
        let worn = self.worn * smoothstep(0.1, 0.6, self.wear.fractal(1.7 * x + 40.0, 1.7 * y, 4));
        let grain = 1.0 + 0.12 * self.wear.fractal(7.0 * x, 7.0 * y, 2);
        scaled(
            blend(colour, scaled(blend(base, other, 0.5), 0.6), worn),
            grain,
        )
    }
}

fn planks(surface: &Surface, x: f32, y: f32, count: f32, brace: bool) -> Rgb {
    let [base, other] = surface.palette.colours;
    let frame = (0.9 - x.abs()).min(1.0 - y.abs());
    let in_frame = frame < 0.19;
    let on_brace = brace && (y - x / 0.9).abs() < 0.2;
    let grain = |a: f32, b: f32| 0.5 * surface.wear.fractal(2.0 * a, 14.0 * b, 2);
    let (wood, edge) = if in_frame {
        (blend(other, base, 0.25 + grain(x, y)), (frame - 0.19).abs())
    } else if on_brace {
        (
            blend(other, base, 0.25 + grain(x + y, y - x)),
            0.2 - (y - x / 0.9).abs(),
        )
    } else {
        let row = (0.5 * y + 0.5) * count;
        let tone = surface.wear.value(row.floor() * 7.3, 0.5);
        let gap = (0.5 - (row.rem_euclid(1.0) - 0.5).abs()) * 2.0 / count;
        (blend(base, other, 0.2 * tone + 0.2 + grain(x, y)), gap)
    };
    scaled(wood, mix(0.3, 1.0, smoothstep(0.0, 0.06, edge)))
}
