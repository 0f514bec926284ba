//! Sums of products in f64, with bounds for f32; runs on every instruction set and several numbers
//! of threads.
#![allow(clippy::unwrap_used, dead_code)] // helpers of tests, not all of them in each

use std::sync::LazyLock;

use inscon_model::op::kernel::{ConvShape, Cpu};
use rayon::{ThreadPool, ThreadPoolBuilder};

pub(crate) const EPSILON: f64 = f32::EPSILON as f64;

/// Roundings allowed for a sum of `n` products.
pub(crate) fn k(n: usize) -> f64 {
    4.0 + (n as f64).sqrt()
}

static POOLS: LazyLock<[ThreadPool; 3]> =
    LazyLock::new(|| [1, 2, 5].map(|n| ThreadPoolBuilder::new().num_threads(n).build().unwrap()));

/// `run` for each instruction set; its result may not depend on the number of threads.
pub(crate) fn on_all(run: impl Fn(Cpu) -> Vec<Vec<f32>> + Sync, check: impl Fn(&str, &[Vec<f32>])) {
    for cpu in Cpu::all() {
        let bits = |values: &[Vec<f32>]| -> Vec<Vec<u32>> {
            let bits = |values: &Vec<f32>| values.iter().map(|v| v.to_bits()).collect();
            values.iter().map(bits).collect()
        };
        let [one, more @ ..] = &*POOLS;
        let values = one.install(|| run(cpu));
        for pool in more {
            let other = pool.install(|| run(cpu));
            let threads = pool.current_num_threads();
            assert!(bits(&values) == bits(&other), "{cpu}: {threads} threads");
        }
        check(&cpu.to_string(), &values);
    }
}

pub(crate) fn nan(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// Random 64 bits (splitmix).
pub(crate) fn hash(seed: u64, at: usize) -> u64 {
    let mut z = seed.wrapping_add((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Signs at random, magnitudes in ½…1.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    (0..len)
        .map(|at| {
            let bits = hash(seed, at);
            let magnitude = 0.5 + (bits >> 41) as f32 / (1u64 << 24) as f32;
            if bits & 1 == 0 { magnitude } else { -magnitude }
        })
        .collect()
}

/// Exact sums, with what their bounds need.
pub(crate) struct Sums {
    pub(crate) sum: Vec<f64>,
    pub(crate) absolute: Vec<f64>,
    pub(crate) terms: Vec<usize>,
}

impl Sums {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            sum: vec![0.0; len],
            absolute: vec![0.0; len],
            terms: vec![0; len],
        }
    }

    pub(crate) fn add(&mut self, at: usize, a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        self.sum[at] += product;
        self.absolute[at] += product.abs();
        self.terms[at] += 1;
    }

    /// For sums by Winograd's tiles: the transforms add up to ten neighbours and take them away
    /// again, so that the error follows the largest sum around, and is greater.
    pub(crate) fn check_tiles(&self, what: &str, got: &[f32]) {
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let terms = self.terms.iter().copied().max().unwrap_or(0);
        let bound = 16.0 * k(terms) * EPSILON * most(&self.absolute);
        assert!(bound < 0.25, "{what}: a tap could hide in {bound}");
        for (at, (&got, &exact)) in got.iter().zip(&self.sum).enumerate() {
            near(&format!("{what}[{at}]"), got, exact, bound);
        }
    }

    pub(crate) fn check(&self, what: &str, got: &[f32]) {
        assert_eq!(got.len(), self.sum.len(), "{what}");
        for (at, &got) in got.iter().enumerate() {
            let bound = k(self.terms[at]) * EPSILON * self.absolute[at];
            assert!(bound < 0.25, "{what}: a tap could hide");
            let (exact, terms) = (self.sum[at], self.terms[at]);
            let error = (f64::from(got) - exact).abs();
            assert!(
                error <= bound,
                "{what}[{at}]: {got}, exactly {exact}: {error} > {bound} ({terms} terms)"
            );
        }
    }
}

/// Calls `visit` with the offsets in x, weight and y of each product of the convolution.
pub(crate) fn products(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let [height, width] = shape.size;
    let [rows, columns] = shape.output_size();
    let (per, out) = (shape.input / shape.groups, shape.output / shape.groups);
    let inside = |axis: usize, at: usize, tap: usize| {
        (at * shape.stride[axis] + tap * shape.dilation[axis])
            .checked_sub(shape.padding[axis])
            .filter(|&at| at < shape.size[axis])
    };
    for (image, m) in (0..shape.images).flat_map(|n| (0..shape.output).map(move |m| (n, m))) {
        for (oy, ox) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            let y = ((image * shape.output + m) * rows + oy) * columns + ox;
            for c in 0..per {
                let channel = image * shape.input + m / out * per + c;
                for ky in 0..shape.kernel[0] {
                    let Some(iy) = inside(0, oy, ky) else {
                        continue;
                    };
                    for kx in 0..shape.kernel[1] {
                        if let Some(ix) = inside(1, ox, kx) {
                            let x = (channel * height + iy) * width + ix;
                            let tap = (m * per + c) * shape.kernel[0] + ky;
                            visit(x, tap * shape.kernel[1] + kx, y);
                        }
                    }
                }
            }
        }
    }
}

/// Lengths of input, weight and output.
pub(crate) fn lengths(shape: &ConvShape) -> [usize; 3] {
    let [rows, columns] = shape.output_size();
    [
        shape.images * shape.input * shape.size[0] * shape.size[1],
        shape.output * (shape.input / shape.groups) * shape.kernel[0] * shape.kernel[1],
        shape.images * shape.output * rows * columns,
    ]
}

/// Whether `got` is `exact` to within `bound`.
pub(crate) fn near(what: &str, got: f32, exact: f64, bound: f64) {
    let error = (f64::from(got) - exact).abs();
    assert!(
        error <= bound,
        "{what}: {got}, exactly {exact}: {error} > {bound}"
    );
}
