//! Outlines as signed distances: negative inside, in units of the object's own radius.

use std::f32::consts::{PI, TAU};

use rand::{Rng, RngExt};

use super::Category;
use super::noise::Noise;
use super::palette::uniform;

/// An outline within about the unit disc. Distances are exact or nearly so close to the outline,
/// which is where they are used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outline {
    Gear {
        teeth: f32,
        depth: f32,
        hole: f32,
    },
    Ring {
        hole: f32,
    },
    Star {
        points: f32,
        inner: f32,
    },
    Leaf {
        width: f32,
    },
    Ellipse {
        height: f32,
    },
    Block {
        height: f32,
        corner: f32,
    },
    /// Clutter: a straight thin thing.
    Stick {
        width: f32,
    },
    /// Clutter: a convex polygon with few corners.
    Shard {
        corners: f32,
        flatness: f32,
    },
    /// Clutter: a round thing with an uneven outline.
    Blob {
        noise: Noise,
        depth: f32,
    },
    /// Clutter: a part of a thin circle.
    Arc {
        width: f32,
        opening: f32,
    },
}

impl Outline {
    /// An outline of the category.
    pub(super) fn of(category: Category, rng: &mut impl Rng) -> Self {
        match category {
            Category::Gear => Self::Gear {
                teeth: rng.random_range(7..=12) as f32,
                depth: uniform(rng, 0.16, 0.26),
                hole: uniform(rng, 0.2, 0.4),
            },
            Category::Ring => Self::Ring {
                hole: uniform(rng, 0.35, 0.65),
            },
            Category::Star => Self::Star {
                points: rng.random_range(5..=6) as f32,
                inner: uniform(rng, 0.4, 0.55),
            },
            Category::Leaf => Self::Leaf {
                width: uniform(rng, 0.32, 0.55),
            },
            Category::Melon | Category::Ladybird => Self::ellipse(rng),
            Category::Crate | Category::Basket => Self::block(rng),
        }
    }

    /// The outline of something of no category; `large` ones are told from objects by their
    /// outline, or, where they share one, by having a plain surface.
    pub(super) fn clutter(rng: &mut impl Rng, large: bool) -> Self {
        let shard = |rng: &mut _| Self::Shard {
            corners: RngExt::random_range(rng, 3..=5) as f32,
            flatness: uniform(rng, 0.5, 1.0),
        };
        let blob = |rng: &mut _| Self::Blob {
            noise: Noise::new(RngExt::random(rng)),
            depth: uniform(rng, 0.2, 0.55),
        };
        match (large, rng.random_range(0..4)) {
            (_, 0) => shard(rng),
            (_, 1) => blob(rng),
            (true, 2) => Self::ellipse(rng),
            (true, _) => Self::block(rng),
            (false, 2) => Self::Stick {
                width: uniform(rng, 0.06, 0.16),
            },
            (false, _) => Self::Arc {
                width: uniform(rng, 0.08, 0.16),
                opening: uniform(rng, 0.8, 2.4),
            },
        }
    }

    fn ellipse(rng: &mut impl Rng) -> Self {
        Self::Ellipse {
            height: uniform(rng, 0.62, 0.95),
        }
    }

    fn block(rng: &mut impl Rng) -> Self {
        Self::Block {
            height: uniform(rng, 0.5, 0.78),
            corner: uniform(rng, 0.03, 0.2),
        }
    }

    /// The distance of a place from the outline.
    pub(super) fn distance(&self, x: f32, y: f32) -> f32 {
        let radius = x.hypot(y);
        match *self {
            Self::Gear { teeth, depth, hole } => {
                let profile = (2.2 * (teeth * y.atan2(x)).cos()).clamp(-1.0, 1.0);
                (radius - (1.0 - depth * (0.5 - 0.5 * profile))).max(hole - radius)
            }
            Self::Ring { hole } => (radius - 1.0).max(hole - radius),
            Self::Star { points, inner } => {
                // One half of one point: the line from its tip to its inner corner.
                let sector = PI / points;
                let angle = (y.atan2(x) + TAU).rem_euclid(2.0 * sector) - sector;
                let (px, py) = (radius * angle.cos(), radius * angle.abs().sin());
                let (tip_x, tip_y) = (sector.cos(), sector.sin());
                let (dx, dy) = (tip_x - inner, tip_y);
                ((px - inner) * dy - py * dx) / dx.hypot(dy)
            }
            Self::Leaf { width } => {
                // Two arcs of one radius through both tips.
                let arc = (1.0 + width * width) / (2.0 * width);
                x.hypot(y.abs() + arc - width) - arc
            }
            Self::Ellipse { height } => {
                let scaled = x.hypot(y / height);
                let slope = x.hypot(y / (height * height)).max(1e-4);
                scaled * (scaled - 1.0) / slope
            }
            Self::Block { height, corner } => {
                let (qx, qy) = (x.abs() - 0.9 + corner, y.abs() - height + corner);
                qx.max(0.0).hypot(qy.max(0.0)) + qx.max(qy).min(0.0) - corner
            }
            Self::Stick { width } => (x.abs() - 1.0 + width).max(0.0).hypot(y) - width,
            Self::Shard { corners, flatness } => {
                let y = y / flatness;
                let sector = PI / corners;
                let angle = (y.atan2(x) + TAU).rem_euclid(2.0 * sector) - sector;
                (x.hypot(y) * angle.cos() - sector.cos()) * flatness
            }
            Self::Blob { noise, depth } => {
                let (u, v) = if radius > 1e-4 {
                    (x / radius, y / radius)
                } else {
                    (1.0, 0.0)
                };
                radius - (1.0 - depth * (0.5 + 0.5 * noise.fractal(1.5 * u, 1.5 * v, 2)))
            }
            Self::Arc { width, opening } => {
                let past = (y.atan2(x).abs() - opening).max(0.0);
                (radius - 0.9 + width).abs().max(past * radius) - width
            }
        }
    }

    /// How far in from the outline the surface is rounded, in radii.
    pub(super) fn bevel(&self) -> f32 {
        match *self {
            Self::Gear { .. } => 0.09,
            Self::Ring { hole } => 0.5 * (1.0 - hole),
            Self::Star { .. } => 0.3,
            Self::Leaf { width } => 0.6 * width,
            Self::Ellipse { height } => height,
            Self::Block { .. } => 0.07,
            Self::Stick { width } | Self::Arc { width, .. } => width,
            Self::Shard { .. } => 0.12,
            Self::Blob { .. } => 0.7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_lie_in_the_unit_disc() {
        let mut rng = inscon_aug::stream(5, &[]);
        for category in Category::ALL {
            for _ in 0..20 {
                let outline = Outline::of(category, &mut rng);
                for k in 0..64 {
                    let angle = k as f32 * TAU / 64.0;
                    let far = outline.distance(1.25 * angle.cos(), 1.25 * angle.sin());
                    assert!(far > 0.0, "{outline:?} reaches out at {angle}: {far}");
                }
                let inside = (0..32 * 32).filter(|k| {
                    let at = |v: i32| v as f32 / 16.0 - 1.0;
                    outline.distance(at(k % 32), at(k / 32)) < 0.0
                });
                assert!(inside.count() > 150, "{outline:?} is too small");
            }
        }
    }

    #[test]
    fn distances() {
        let near = |outline: Outline, x: f32, y: f32, expected: f32| {
            let distance = outline.distance(x, y);
            assert!(
                (distance - expected).abs() < 1e-3,
                "{outline:?} at {x}, {y}: {distance}"
            );
        };
        near(Outline::Ring { hole: 0.5 }, 0.0, 0.75, -0.25);
        near(
            Outline::Block {
                height: 0.5,
                corner: 0.0,
            },
            0.0,
            0.8,
            0.3,
        );
        near(Outline::Ellipse { height: 0.7 }, 0.0, 0.7, 0.0);
        near(Outline::Leaf { width: 0.4 }, 1.0, 0.0, 0.0);
        near(Outline::Leaf { width: 0.4 }, 0.0, 0.4, 0.0);
        // A tip of the star, and an inner corner half a sector on.
        let star = Outline::Star {
            points: 5.0,
            inner: 0.5,
        };
        near(star, 1.0, 0.0, 0.0);
        near(star, 0.5 * (PI / 5.0).cos(), 0.5 * (PI / 5.0).sin(), 0.0);
    }
}
