//! One thing in a scene: outline, surface and pose, and its footprint on the pixel grid.

use rand::{Rng, RngExt};

use super::noise::Noise;
use super::outline::Outline;
use super::palette::{Rgb, uniform};
use super::surface::Surface;
use super::{Category, ScenesConfig};

/// A thing, with a category or without.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) category: Option<Category>,
    pub(super) outline: Outline,
    pub(super) surface: Surface,
    pub(super) pose: Pose,
}

/// Where a thing lies and how it is bent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    /// Centre, in pixels of the grid.
    centre: [f32; 2],
    /// Radius, in pixels of the grid.
    pub(super) radius: f32,
    /// From grid offsets (in radii) to the thing's own frame, row by row.
    inverse: [f32; 4],
    warp: Noise,
    bend: f32,
}

impl Pose {
    /// A random rotation, mirror and foreshortening around `centre`.
    pub(super) fn sample(
        centre: [f32; 2],
        radius: f32,
        config: &ScenesConfig,
        rng: &mut impl Rng,
    ) -> Self {
        let turn = |angle: f32| [angle.cos(), -angle.sin(), angle.sin(), angle.cos()];
        // Seen at a slant along a random axis: one direction is shortened.
        let slant = uniform(rng, 0.68, 1.0);
        let mirror = if rng.random() { 1.0 } else { -1.0 };
        let first = turn(uniform(rng, 0.0, std::f32::consts::TAU));
        let second = turn(uniform(rng, 0.0, std::f32::consts::TAU));
        let stretch = [1.0, 0.0, 0.0, mirror / slant];
        Self {
            centre,
            radius,
            inverse: product(second, product(stretch, first)),
            warp: Noise::new(rng.random()),
            bend: config.deform * uniform(rng, 0.05, 0.28),
        }
    }

    /// The centre, in pixels of the grid.
    pub(super) fn centre(&self) -> [f32; 2] {
        self.centre
    }

    /// A place of the grid in the thing's own frame.
    fn local(&self, x: f32, y: f32) -> [f32; 2] {
        let (x, y) = (
            (x - self.centre[0]) / self.radius,
            (y - self.centre[1]) / self.radius,
        );
        let [a, b, c, d] = self.inverse;
        let (u, v) = (a * x + b * y, c * x + d * y);
        if self.bend == 0.0 {
            return [u, v];
        }
        [
            u + self.bend * self.warp.value(1.1 * u + 31.0, 1.1 * v),
            v + self.bend * self.warp.value(1.1 * u, 1.1 * v + 57.0),
        ]
    }
}

fn product([a, b, c, d]: [f32; 4], [e, f, g, h]: [f32; 4]) -> [f32; 4] {
    [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h]
}

/// A thing evaluated on a window of the grid, which may reach beyond the picture.
#[derive(Debug)]
pub(super) struct Footprint {
    /// The window's first column and row.
    pub(super) origin: [i32; 2],
    /// The window's width and height.
    pub(super) size: [usize; 2],
    /// Signed distance from the outline in grid pixels, row by row.
    distance: Vec<f32>,
    local: Vec<[f32; 2]>,
}

impl Footprint {
    /// Evaluates the thing where it is and a little around it, where its shadow falls.
    pub(super) fn new(body: &Body) -> Self {
        let pose = &body.pose;
        let reach = pose.radius * 1.45 + 2.0;
        let first = |c: f32| (c - reach).floor() as i32;
        let origin = [first(pose.centre[0]), first(pose.centre[1])];
        let side = (2.0 * reach).ceil() as usize + 1;
        let mut distance = Vec::with_capacity(side * side);
        let mut local = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let x = (origin[0] + column as i32) as f32 + 0.5;
                let y = (origin[1] + row as i32) as f32 + 0.5;
                let [u, v] = pose.local(x, y);
                distance.push(body.outline.distance(u, v) * pose.radius);
                local.push([u, v]);
            }
        }
        Self {
            origin,
            size: [side, side],
            distance,
            local,
        }
    }

    /// The distance at a column and row of the window; far away outside it.
    pub(super) fn distance(&self, column: i32, row: i32) -> f32 {
        let [w, h] = self.size;
        let inside = (0..w as i32).contains(&column) && (0..h as i32).contains(&row);
        if inside {
            self.distance[row as usize * w + column as usize]
        } else {
            f32::MAX
        }
    }

    /// Grid pixels of the whole thing, hidden or not.
    pub(super) fn area(&self) -> usize {
        self.distance.iter().filter(|d| **d < 0.0).count()
    }

    /// The thing's colour at a column and row of its window under `light`.
    pub(super) fn shade(&self, body: &Body, column: i32, row: i32, light: &Light) -> Rgb {
        let at = row as usize * self.size[0] + column as usize;
        let [u, v] = self.local[at];
        let here = self.distance[at];
        let slope = |a: f32, b: f32| (a - b).clamp(-2.0, 2.0) * 0.5;
        let around = |dx: i32, dy: i32| {
            let d = self.distance(column + dx, row + dy);
            if d == f32::MAX { here } else { d }
        };
        let gradient = [
            slope(around(1, 0), around(-1, 0)),
            slope(around(0, 1), around(0, -1)),
        ];
        // A quarter circle of the bevel's width: steep at the outline, flat inside.
        let bevel = body.outline.bevel() * body.pose.radius;
        let out = (1.0 + here / bevel).clamp(0.0, 0.97);
        let steep = out / (1.0 - out * out).sqrt();
        let lit = light.on([gradient[0] * steep, gradient[1] * steep]);
        let [r, g, b] = body.surface.colour(u, v);
        let glint = light.gloss * (lit - 0.9).max(0.0).powi(2) * 6.0;
        [r * lit + glint, g * lit + glint, b * lit + glint]
    }
}

/// The lamp of a scene.
#[derive(Debug, Clone, Copy)]
pub(super) struct Light {
    /// Unit vector towards the lamp; the third component points out of the picture.
    towards: [f32; 3],
    ambient: f32,
    gloss: f32,
    /// Darkness of shadows, and their length in pixels per radius.
    pub(super) shadow: f32,
    pub(super) throw: f32,
}

impl Light {
    /// A lamp somewhere above.
    pub(super) fn sample(rng: &mut impl Rng) -> Self {
        let angle = uniform(rng, 0.0, std::f32::consts::TAU);
        let tilt = uniform(rng, 0.4, 1.0);
        Self {
            towards: [
                tilt.sin() * angle.cos(),
                tilt.sin() * angle.sin(),
                tilt.cos(),
            ],
            ambient: uniform(rng, 0.35, 0.6),
            gloss: uniform(rng, 0.0, 1.2),
            shadow: uniform(rng, 0.2, 0.65),
            throw: uniform(rng, 0.04, 0.22),
        }
    }

    /// Brightness of a surface that rises towards `slope`'s opposite; 1 is about a flat one.
    fn on(&self, slope: [f32; 2]) -> f32 {
        let [x, y, z] = self.towards;
        let length = (1.0 + slope[0] * slope[0] + slope[1] * slope[1]).sqrt();
        let facing = ((x * slope[0] + y * slope[1] + z) / length).max(0.0);
        self.ambient + (1.0 - self.ambient) * facing / z.max(0.5)
    }

    /// Where the shadow of a thing of this radius falls, in grid pixels.
    pub(super) fn shadow_offset(&self, radius: f32) -> [f32; 2] {
        let length = self.throw * radius + 1.0;
        let flat = self.towards[0].hypot(self.towards[1]).max(1e-3);
        [
            -length * self.towards[0] / flat,
            -length * self.towards[1] / flat,
        ]
    }
}
