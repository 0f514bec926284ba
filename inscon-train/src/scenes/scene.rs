//! A scene: what lies where, and how it is drawn.

use image::RgbImage;
use inscon_aug::BBox;
use rand::{Rng, RngExt};

use super::background::Background;
use super::body::{Body, Footprint, Light, Pose};
use super::noise::smoothstep;
use super::outline::Outline;
use super::palette::{Palette, Rgb, chance, log_uniform, scaled, uniform};
use super::photo::Photo;
use super::surface::Surface;
use super::{Category, ScenesConfig};

/// Grid pixels along a side of an image pixel.
const OVERSAMPLING: usize = 2;

/// An object of a category shows at least this many image pixels.
const LEAST_PIXELS: usize = 24;

/// Tries to find a place for a thing before it is given up.
const TRIES: usize = 8;

/// A scene before it is drawn.
#[derive(Debug)]
pub struct Scene {
    size: usize,
    background: Background,
    light: Light,
    photo: Photo,
    /// From the front to the back.
    bodies: Vec<(Body, Footprint)>,
    /// For each grid pixel, one more than the index of the front-most body there; 0 is none.
    owners: Vec<u16>,
}

/// A drawn scene.
#[derive(Debug, Clone)]
pub struct ScenePicture {
    /// The picture.
    pub image: RgbImage,
    /// The objects, from the front to the back.
    pub instances: Vec<SceneInstance>,
}

/// One object of a picture.
#[derive(Debug, Clone)]
pub struct SceneInstance {
    /// Its category.
    pub category: Category,
    /// 1 where it is seen, row by row over the whole picture. Masks of a picture are disjoint: a
    /// pixel belongs to what covers most of it.
    pub mask: Vec<u8>,
    /// The tight box around the mask, in pixel edges.
    pub bbox: BBox,
}

impl Scene {
    /// Places things from the front to the back. A thing that would show less of itself than
    /// [`ScenesConfig::min_visible`] is tried elsewhere, so whatever is seen of an object is
    /// labelled and whatever is labelled can be seen.
    ///
    /// # Panics
    /// When the settings do not pass [`ScenesConfig::validate`].
    #[must_use]
    pub fn sample(config: &ScenesConfig, rng: &mut impl Rng) -> Self {
        let side = config.size as usize * OVERSAMPLING;
        let background = Background::sample(rng);
        let light = Light::sample(rng);
        let photo = Photo::sample(config, rng);
        let objects = rng.random_range(config.min_objects..=config.max_objects);
        let clutter = uniform(rng, 0.0, 2.0 * config.clutter).round() as usize;
        let mut order: Vec<bool> = (0..objects + clutter).map(|i| i < objects).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let mut scene = Self {
            size: config.size as usize,
            background,
            light,
            photo,
            bodies: Vec::new(),
            owners: vec![0; side * side],
        };
        for is_object in order {
            for _ in 0..TRIES {
                let body = scene.propose(is_object, config, rng);
                if scene.place(body, config) {
                    break;
                }
            }
        }
        scene
    }

    fn side(&self) -> usize {
        self.size * OVERSAMPLING
    }

    fn propose(&self, is_object: bool, config: &ScenesConfig, rng: &mut impl Rng) -> Body {
        let side = self.side() as f32;
        let large = !is_object && chance(rng, 0.2);
        let diameter = match (is_object, large) {
            (true, _) => log_uniform(rng, config.min_scale, config.max_scale),
            (false, true) => log_uniform(rng, 0.1, 0.3),
            (false, false) => log_uniform(rng, 0.03, 0.15),
        };
        let centre = match self.bodies.last() {
            // Things come in heaps.
            Some((other, _)) if chance(rng, 0.35) => {
                let angle = uniform(rng, 0.0, std::f32::consts::TAU);
                let reach = uniform(rng, 0.6, 1.1) * (other.pose.radius + 0.5 * diameter * side);
                let [x, y] = other.pose.centre();
                [x + reach * angle.cos(), y + reach * angle.sin()]
            }
            _ => [
                uniform(rng, -0.04, 1.04) * side,
                uniform(rng, -0.04, 1.04) * side,
            ],
        };
        let at = |v: f32| (v / side).clamp(0.0, 1.0);
        let contrast = uniform(rng, 0.22, 0.45);
        let palette = if chance(rng, config.camouflage) {
            Palette::near(
                rng,
                self.background.palette(at(centre[0]), at(centre[1])),
                contrast,
            )
        } else {
            Palette::sample(rng, contrast)
        };
        let pose = Pose::sample(centre, 0.5 * diameter * side, config, rng);
        if is_object {
            let category = Category::ALL[rng.random_range(0..Category::ALL.len())];
            let outline = Outline::of(category, rng);
            let surface = Surface::of(category, &outline, palette, rng);
            Body {
                category: Some(category),
                outline,
                surface,
                pose,
            }
        } else {
            let outline = Outline::clutter(rng, large);
            Body {
                category: None,
                outline,
                surface: Surface::plain(palette, rng),
                pose,
            }
        }
    }

    /// Puts a thing behind all others if enough of it is seen there.
    fn place(&mut self, body: Body, config: &ScenesConfig) -> bool {
        let footprint = Footprint::new(&body);
        let side = self.side() as i32;
        let mut free = Vec::new();
        for row in 0..footprint.size[1] as i32 {
            for column in 0..footprint.size[0] as i32 {
                let (x, y) = (footprint.origin[0] + column, footprint.origin[1] + row);
                let on_grid = (0..side).contains(&x) && (0..side).contains(&y);
                if on_grid && footprint.distance(column, row) < 0.0 {
                    let at = (y * side + x) as usize;
                    if self.owners[at] == 0 {
                        free.push(at);
                    }
                }
            }
        }
        let least = if body.category.is_some() {
            let share = (config.min_visible * footprint.area() as f32).ceil() as usize;
            share.max(LEAST_PIXELS * OVERSAMPLING * OVERSAMPLING)
        } else {
            1
        };
        if free.len() < least {
            return false;
        }
        let owner = self.bodies.len() as u16 + 1;
        for at in free {
            self.owners[at] = owner;
        }
        self.bodies.push((body, footprint));
        true
    }

    /// Draws the picture and the masks.
    #[must_use]
    pub fn render(&self) -> ScenePicture {
        let grid = self.paint();
        let (n, side) = (self.size, self.side());
        let mut pixels = Vec::with_capacity(n * n);
        for y in 0..n {
            for x in 0..n {
                let mut sum = [0.0; 3];
                for (i, j) in block() {
                    let colour = grid[(y * OVERSAMPLING + j) * side + x * OVERSAMPLING + i];
                    for (s, c) in sum.iter_mut().zip(colour) {
                        *s += c;
                    }
                }
                pixels.push(scaled(sum, 1.0 / (OVERSAMPLING * OVERSAMPLING) as f32));
            }
        }
        ScenePicture {
            image: self.photo.develop(pixels, n),
            instances: self.instances(),
        }
    }

    /// Colours of the grid, from the back to the front.
    fn paint(&self) -> Vec<Rgb> {
        let side = self.side();
        let mut grid = vec![[0.0; 3]; side * side];
        for y in 0..self.size {
            for x in 0..self.size {
                let at = |v: usize| (v as f32 + 0.5) / self.size as f32;
                let colour = self.background.colour(at(x), at(y));
                for (i, j) in block() {
                    grid[(y * OVERSAMPLING + j) * side + x * OVERSAMPLING + i] = colour;
                }
            }
        }
        for (index, (body, footprint)) in self.bodies.iter().enumerate().rev() {
            let owner = index as u16 + 1;
            let [dx, dy] = self
                .light
                .shadow_offset(body.pose.radius)
                .map(|v| v.round() as i32);
            let soft = 1.5 + 0.5 * self.light.throw * body.pose.radius;
            for row in 0..footprint.size[1] as i32 {
                for column in 0..footprint.size[0] as i32 {
                    let (x, y) = (footprint.origin[0] + column, footprint.origin[1] + row);
                    if !(0..side as i32).contains(&x) || !(0..side as i32).contains(&y) {
                        continue;
                    }
                    let at = y as usize * side + x as usize;
                    if self.owners[at] == owner {
                        grid[at] = footprint.shade(body, column, row, &self.light);
                    } else {
                        let depth = footprint.distance(column - dx, row - dy);
                        let dark = self.light.shadow * (1.0 - smoothstep(-soft, soft, depth));
                        grid[at] = scaled(grid[at], 1.0 - dark);
                    }
                }
            }
        }
        grid
    }

    fn instances(&self) -> Vec<SceneInstance> {
        let (n, side) = (self.size, self.side());
        let mut masks = vec![Vec::new(); self.bodies.len() + 1];
        for y in 0..n {
            for x in 0..n {
                let mut seen = [0_u16; OVERSAMPLING * OVERSAMPLING];
                for (slot, (i, j)) in seen.iter_mut().zip(block()) {
                    *slot = self.owners[(y * OVERSAMPLING + j) * side + x * OVERSAMPLING + i];
                }
                masks[usize::from(majority(&seen))].push([x, y]);
            }
        }
        let objects = self.bodies.iter().zip(&masks[1..]);
        objects
            .filter(|(_, pixels)| !pixels.is_empty())
            .filter_map(|((body, _), pixels)| {
                let mut mask = vec![0; n * n];
                let (mut low, mut high) = ([n; 2], [0; 2]);
                for &[x, y] in pixels {
                    mask[y * n + x] = 1;
                    low = [low[0].min(x), low[1].min(y)];
                    high = [high[0].max(x + 1), high[1].max(y + 1)];
                }
                let [x0, y0, x1, y1] = [low[0], low[1], high[0], high[1]].map(|v| v as f32);
                Some(SceneInstance {
                    category: body.category?,
                    mask,
                    bbox: BBox { x0, y0, x1, y1 },
                })
            })
            .collect()
    }
}

/// Offsets of the grid pixels of an image pixel.
fn block() -> impl Iterator<Item = (usize, usize)> {
    (0..OVERSAMPLING * OVERSAMPLING).map(|k| (k % OVERSAMPLING, k / OVERSAMPLING))
}

/// The most frequent owner; of equals the one in front, and anything before nothing.
fn majority(owners: &[u16]) -> u16 {
    let count = |o: u16| owners.iter().filter(|p| **p == o).count();
    let rank = |o: u16| {
        (
            count(o),
            std::cmp::Reverse(if o == 0 { u16::MAX } else { o }),
        )
    };
    owners.iter().copied().max_by_key(|&o| rank(o)).unwrap_or(0)
}
