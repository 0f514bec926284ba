//! Value, fractal and cellular noise from integer hashes.

/// A field of noise; the seed chooses which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    seed: u32,
}

impl Noise {
    /// The field of `seed`.
    pub(super) fn new(seed: u32) -> Self {
        Self { seed }
    }

    /// Smooth noise in `[-1, 1]` with one feature per unit.
    pub(super) fn value(self, x: f32, y: f32) -> f32 {
        let (i, j) = (floor(x), floor(y));
        let (u, v) = (fade(x - i as f32), fade(y - j as f32));
        let at = |di: i32, dj: i32| unit(self.hash(i.wrapping_add(di), j.wrapping_add(dj)));
        let top = mix(at(0, 0), at(1, 0), u);
        let bottom = mix(at(0, 1), at(1, 1), u);
        mix(top, bottom, v) * 2.0 - 1.0
    }

    /// Octaves of [`value`](Self::value), each half as wide and half as strong; within `[-1, 1]`.
    pub(super) fn fractal(self, x: f32, y: f32, octaves: u32) -> f32 {
        // The lattice of each octave is turned, so that axes do not show.
        let (sin, cos) = (0.6, 0.8);
        let (mut x, mut y) = (x, y);
        let (mut sum, mut weight, mut total) = (0.0, 1.0, 0.0);
        for octave in 0..octaves {
            let field = Self::new(self.seed.wrapping_add(octave.wrapping_mul(0x9e37_79b9)));
            sum += weight * field.value(x, y);
            total += weight;
            weight *= 0.5;
            (x, y) = (
                2.0 * (cos * x - sin * y) + 17.0,
                2.0 * (sin * x + cos * y) - 5.0,
            );
        }
        sum / total
    }

    /// The nearest of one random point per unit cell: distance, the margin by which the second
    /// nearest is farther, and a number in `[0, 1)` of that point's own.
    pub(super) fn cellular(self, x: f32, y: f32) -> Cell {
        let (i, j) = (floor(x), floor(y));
        let (mut first, mut second, mut id) = (f32::MAX, f32::MAX, 0);
        for dj in -1..=1 {
            for di in -1..=1 {
                let (ci, cj) = (i.wrapping_add(di), j.wrapping_add(dj));
                let hash = self.hash(ci, cj);
                let px = ci as f32 + 0.15 + 0.7 * unit(hash);
                let py =
                    cj as f32 + 0.15 + 0.7 * unit(hash.rotate_left(16).wrapping_mul(0x85eb_ca6b));
                let distance = ((px - x).powi(2) + (py - y).powi(2)).sqrt();
                if distance < first {
                    (second, first, id) = (first, distance, hash);
                } else if distance < second {
                    second = distance;
                }
            }
        }
        Cell {
            distance: first,
            margin: second - first,
            value: unit(id.wrapping_mul(0xc2b2_ae35)),
        }
    }

    fn hash(self, i: i32, j: i32) -> u32 {
        let mut h = self.seed ^ (i as u32).wrapping_mul(0x9e37_79b1);
        h = (h ^ (h >> 15)).wrapping_mul(0x85eb_ca77);
        h ^= (j as u32).wrapping_mul(0xc2b2_ae3d);
        h = (h ^ (h >> 13)).wrapping_mul(0x27d4_eb2f);
        h ^ (h >> 16)
    }
}

/// The surroundings of a place in cellular noise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// To the nearest point, in cells.
    pub(super) distance: f32,
    /// How much farther the second nearest is; 0 on the border of two cells.
    pub(super) margin: f32,
    /// The nearest point's own number, in `[0, 1)`.
    pub(super) value: f32,
}

/// `a` at 0, `b` at 1.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `from`, 1 above `to`, smooth between.
pub(super) fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// `f32::floor` is a call into the C library on plain x86-64; this is the hottest place there is.
fn floor(x: f32) -> i32 {
    let towards_zero = x as i32;
    towards_zero - i32::from(x < towards_zero as f32)
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

fn unit(hash: u32) -> f32 {
    (hash >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_bounded_continuous_and_centred() {
        let noise = Noise::new(3);
        let mut sum = 0.0;
        for k in 0..10_000 {
            let (x, y) = (k as f32 * 0.173 - 300.0, k as f32 * 0.071);
            let here = noise.fractal(x, y, 4);
            assert!((-1.0..=1.0).contains(&here));
            assert!((noise.value(x, y) - noise.value(x + 1e-3, y)).abs() < 0.01);
            sum += here;
        }
        assert!((sum / 10_000.0).abs() < 0.05, "mean {}", sum / 10_000.0);
    }

    #[test]
    fn seeds_differ() {
        assert!((Noise::new(1).value(0.5, 0.5) - Noise::new(2).value(0.5, 0.5)).abs() > 1e-3);
    }
}
