//! Colours, drawn without regard to the category.

use rand::{Rng, RngExt};

use super::noise::mix;

/// Red, green and blue in `[0, 1]`, in the space the image is stored in.
pub(super) type Rgb = [f32; 3];

/// A number in `[from, to]`; the ends may be equal.
pub(super) fn uniform(rng: &mut impl Rng, from: f32, to: f32) -> f32 {
    mix(from, to, rng.random::<f32>())
}

/// A number in `[from, to]`, each doubling equally likely.
pub(super) fn log_uniform(rng: &mut impl Rng, from: f32, to: f32) -> f32 {
    uniform(rng, from.ln(), to.ln()).exp()
}

/// A standard normal number (Box–Muller).
pub(super) fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

/// Whether an event of this probability happens.
pub(super) fn chance(rng: &mut impl Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

/// Two colours that differ in lightness, so that what they draw can be told from one another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    /// A first colour, and one that is darker or lighter.
    pub(super) colours: [Rgb; 2],
}

impl Palette {
    /// Any hues; lightness differs by at least `contrast`.
    pub(super) fn sample(rng: &mut impl Rng, contrast: f32) -> Self {
        let vivid = uniform(rng, 0.0, 1.0).powi(2);
        let first = hsv(rng.random(), 0.05 + 0.6 * vivid, uniform(rng, 0.25, 0.9));
        Self {
            colours: [first, Self::partner(rng, first, contrast)],
        }
    }

    /// The colours of another palette, moved a little: what camouflage wears.
    pub(super) fn near(rng: &mut impl Rng, other: &Self, contrast: f32) -> Self {
        let pick = other.colours[usize::from(rng.random::<bool>())];
        let first = pick.map(|c| (c + uniform(rng, -0.06, 0.06)).clamp(0.02, 0.98));
        Self {
            colours: [first, Self::partner(rng, first, contrast)],
        }
    }

    fn partner(rng: &mut impl Rng, first: Rgb, contrast: f32) -> Rgb {
        let related = chance(rng, 0.5);
        let apart = contrast + uniform(rng, 0.0, 0.25);
        let light = luminance(first);
        let (darker, lighter) = (light - apart, light + apart);
        let wanted_darker = (light > 0.5) != chance(rng, 0.15);
        let target = if (wanted_darker && darker > 0.04) || lighter > 0.96 {
            darker
        } else {
            lighter
        };
        let base = if related {
            first
        } else {
            hsv(rng.random(), uniform(rng, 0.1, 0.6), 0.6)
        };
        with_luminance(base, target)
    }
}

/// Rec. 601 luma.
pub(super) fn luminance(c: Rgb) -> f32 {
    0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]
}

/// Between two colours.
pub(super) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

/// A colour made brighter or darker.
pub(super) fn scaled(c: Rgb, by: f32) -> Rgb {
    c.map(|v| v * by)
}

fn with_luminance(c: Rgb, target: f32) -> Rgb {
    let light = luminance(c).max(0.02);
    let bright = scaled(c, target / light);
    let over = bright.iter().copied().fold(1.0, f32::max);
    // What cannot be made bright enough by scaling is made paler.
    let clipped = scaled(bright, 1.0 / over);
    let missing = target - luminance(clipped);
    clipped.map(|v| (v + missing).clamp(0.0, 1.0))
}

fn hsv(hue: f32, saturation: f32, value: f32) -> Rgb {
    let channel = |n: f32| {
        let k = (n + hue * 6.0) % 6.0;
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues() {
        assert_eq!(hsv(0.0, 1.0, 1.0), [1.0, 0.0, 0.0]);
        assert_eq!(hsv(0.5, 1.0, 0.5), [0.0, 0.5, 0.5]);
        assert_eq!(hsv(0.3, 0.0, 0.25), [0.25, 0.25, 0.25]);
    }

    #[test]
    fn partners_keep_their_distance() {
        let mut rng = inscon_aug::stream(1, &[]);
        for _ in 0..500 {
            let [a, b] = Palette::sample(&mut rng, 0.25).colours;
            assert!((luminance(a) - luminance(b)).abs() > 0.1, "{a:?} {b:?}");
        }
    }
}
