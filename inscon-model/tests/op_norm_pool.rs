//! Batch norm and max pooling against naive f64 loops, on every instruction set and several numbers
//! of threads; bounds as in `op_kernels.rs`.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/sums.rs"]
mod sums;

use inscon_model::op::kernel::{Affine, Cpu, NormShape, PoolShape};
use proptest::prelude::*;
use sums::{EPSILON, Sums, hash, k, nan, near, noise, on_all};

// Batch norm.

/// The statistic of each value.
fn rows(shape: &NormShape) -> impl Iterator<Item = usize> + '_ {
    let channels = shape.channels;
    (0..shape.images).flat_map(move |image| {
        let group = image / (shape.images / shape.groups);
        (0..channels).flat_map(move |c| std::iter::repeat_n(group * channels + c, shape.plane))
    })
}

fn norm_len(shape: &NormShape) -> usize {
    shape.images * shape.channels * shape.plane
}

prop_compose! {
    fn norm_shapes()(
        per in 1usize..=4,
        groups in 1usize..=4,
        channels in 1usize..=37,
        plane in prop_oneof![1usize..=9, 1usize..=200],
    ) -> NormShape {
        NormShape { images: per * groups, channels, plane, groups }
    }
}

fn check_statistics(shape: &NormShape, seed: u64, centre: f32, scale: f32) {
    let x: Vec<f32> = noise(norm_len(shape), seed)
        .into_iter()
        .map(|x| x * scale + centre)
        .collect();
    let (statistics, count) = (shape.groups * shape.channels, shape.count());
    let mut sums = Sums::new(statistics);
    for (&x, row) in x.iter().zip(rows(shape)) {
        sums.add(row, x, 1.0);
    }
    let run = |cpu: Cpu| {
        let (mean, variance) = cpu.batch_statistics(shape, &x);
        vec![mean, variance, cpu.channel_sums(shape, &x)]
    };
    on_all(run, |cpu, got| {
        let [mean, variance, totals] = got else {
            panic!("three results")
        };
        // Around the mean that was found: E(x − m)² = variance + (m − mean)².
        let mut squares = vec![0.0; statistics];
        for (&x, row) in x.iter().zip(rows(shape)) {
            squares[row] += (f64::from(x) - f64::from(mean[row])).powi(2);
        }
        // Sums are f32 over a plane and f64 over planes.
        let bound = k(shape.plane) * EPSILON;
        let n = count as f64;
        for row in 0..statistics {
            let what = format!("{cpu}, {shape:?}, centre {centre}, row {row}");
            near(
                &what,
                totals[row],
                sums.sum[row],
                bound * sums.absolute[row],
            );
            near(
                &what,
                mean[row],
                sums.sum[row] / n,
                bound * sums.absolute[row] / n,
            );
            near(
                &what,
                variance[row],
                squares[row] / n,
                bound * squares[row] / n,
            );
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn statistics_are_their_formula(shape in norm_shapes(), seed: u64) {
        check_statistics(&shape, seed, 0.0, 1.0);
        check_statistics(&shape, seed, 1e3, 0.1);
    }

    #[test]
    fn affine_is_its_formula(shape in norm_shapes(), seed: u64, relu: bool, add: bool) {
        let (len, statistics) = (norm_len(&shape), shape.groups * shape.channels);
        let [x, residual] = [seed, seed ^ 1].map(|seed| noise(len, seed));
        let [scale, shift] = [seed ^ 2, seed ^ 3].map(|seed| noise(statistics, seed));
        let affine = Affine { scale: &scale, shift: &shift };
        let added = add.then_some(&residual[..]);
        let run = |cpu: Cpu| {
            let (mut y, mut scaled, mut in_place) = (nan(len), x.clone(), x.clone());
            cpu.affine(&shape, &x, affine, added, relu, &mut y);
            cpu.affine_in_place(&shape, affine, added, relu, &mut in_place);
            cpu.scale(&shape, &scale, &mut scaled);
            vec![y, scaled, in_place]
        };
        on_all(run, |cpu, got| {
            assert_eq!(got[0], got[2], "{cpu}, {shape:?}: in place");
            for (at, row) in rows(&shape).enumerate() {
                let residual = if add { f64::from(residual[at]) } else { 0.0 };
                let [a, b] = [f64::from(x[at]) * f64::from(scale[row]), f64::from(shift[row])];
                let exact = if relu { (a + b + residual).max(0.0) } else { a + b + residual };
                let bound = 2.0 * EPSILON * (a.abs() + b.abs() + residual.abs());
                near(&format!("{cpu}, {shape:?}, {at}"), got[0][at], exact, bound);
                assert_eq!(got[1][at], x[at] * scale[row], "{cpu}, {shape:?}, {at}: scale");
            }
        });
    }

    #[test]
    fn norm_gradients_are_their_formula(shape in norm_shapes(), seed: u64, relu: bool) {
        let (len, statistics) = (norm_len(&shape), shape.groups * shape.channels);
        let [x, dy, mut y] = [seed, seed ^ 1, seed ^ 2].map(|seed| noise(len, seed));
        // What a ReLU returns, and both zeros.
        for (at, y) in y.iter_mut().enumerate() {
            let bits = hash(seed, at);
            *y = if bits.is_multiple_of(7) { -0.0 } else { y.max(0.0) };
        }
        let of = |seed: u64| noise(statistics, seed);
        // Means beyond the values keep the products of the bound away from 0.
        let mean: Vec<f32> = of(seed ^ 3).into_iter().map(|m| m * 4.0).collect();
        let [slope, scale, shift] = [of(seed ^ 4), of(seed ^ 5), of(seed ^ 6)];
        let affine = Affine { scale: &scale, shift: &shift };
        let behind = relu.then_some(&y[..]);
        let dz: Vec<f32> = dy.iter().zip(&y).map(|(&dy, &y)| if relu && y <= 0.0 { 0.0 } else { dy }).collect();
        let mut sums = [Sums::new(statistics), Sums::new(statistics)];
        for (at, row) in rows(&shape).enumerate() {
            sums[0].add(row, dz[at], 1.0);
            sums[1].add(row, dz[at], x[at] - mean[row]);
        }
        let run = |cpu: Cpu| {
            let found = cpu.norm_sums(&shape, &x, &mean, behind, &dy);
            let [mut dx, mut opened] = [dy.clone(), dy.clone()];
            cpu.norm_gradient(&shape, &x, &mean, &slope, affine, behind, &mut dx);
            cpu.relu_gradient(&y, &mut opened);
            vec![found.gradient, found.centred, dx, opened]
        };
        on_all(run, |cpu, got| {
            sums[0].check(&format!("{cpu}, {shape:?}: gradient"), &got[0]);
            sums[1].check(&format!("{cpu}, {shape:?}: centred"), &got[1]);
            for (at, row) in rows(&shape).enumerate() {
                let of = |value: f32| f64::from(value);
                let terms = [
                    of(dz[at]) * of(scale[row]),
                    (of(x[at]) - of(mean[row])) * of(slope[row]),
                    of(shift[row]),
                ];
                let bound = 3.0 * EPSILON * terms.iter().map(|term| term.abs()).sum::<f64>();
                near(&format!("{cpu}, {shape:?}, {at}"), got[2][at], terms.iter().sum(), bound);
                let opened = if y[at] > 0.0 { dy[at] } else { 0.0 };
                assert_eq!(got[3][at], opened, "{cpu}, {shape:?}, {at}: ReLU");
            }
        });
    }
}

#[test]
fn batch_norm_passes_what_is_not_finite() {
    let shape = NormShape {
        images: 4,
        channels: 3,
        plane: 37,
        groups: 2,
    };
    let mut x = noise(norm_len(&shape), 0);
    (x[0], x[38]) = (f32::NAN, f32::INFINITY);
    (x[3 * 37 * 3 + 36], x[100]) = (f32::NAN, f32::NEG_INFINITY);
    let ones = [1.0; 6];
    let affine = Affine {
        scale: &ones,
        shift: &ones,
    };
    let run = |cpu: Cpu| {
        let (mean, variance) = cpu.batch_statistics(&shape, &x);
        let mut y = nan(x.len());
        cpu.affine(&shape, &x, affine, None, true, &mut y);
        vec![mean, variance, y]
    };
    on_all(run, |cpu, got| {
        let mut bad = [false; 6];
        for (&x, row) in x.iter().zip(rows(&shape)) {
            bad[row] |= !x.is_finite();
        }
        assert_eq!(bad, [true, true, true, true, false, false], "{cpu}");
        for row in 0..6 {
            assert_eq!(!got[0][row].is_finite(), bad[row], "{cpu}: mean {row}");
            assert_eq!(got[1][row].is_nan(), bad[row], "{cpu}: variance {row}");
        }
        for (&y, &x) in got[2].iter().zip(&x) {
            assert!(
                y == (x + 1.0).max(0.0) || (x.is_nan() && y.is_nan()),
                "{cpu}: {y} of {x}"
            );
        }
    });
}

// Max pooling.

fn check_pool(shape: &PoolShape, x: &[f32], seed: u64) {
    let ([height, width], [rows, columns]) = (shape.size, shape.output_size());
    let len_y = shape.planes * rows * columns;
    let dy = noise(len_y, seed);
    let mut exact = Sums::new(x.len());
    let mut best = Vec::new();
    for plane in 0..shape.planes {
        for (oy, ox) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            // The first among equals, NaN above all.
            let mut found: Option<(usize, f32)> = None;
            for (ky, kx) in
                (0..shape.kernel[0]).flat_map(|y| (0..shape.kernel[1]).map(move |x| (y, x)))
            {
                let y = (oy * shape.stride[0] + ky).wrapping_sub(shape.padding[0]);
                let at = (ox * shape.stride[1] + kx).wrapping_sub(shape.padding[1]);
                if y < height && at < width {
                    let at = y * width + at;
                    let value = x[plane * height * width + at];
                    if found.is_none_or(|(_, max)| value > max || (value.is_nan() && !max.is_nan()))
                    {
                        found = Some((at, value));
                    }
                }
            }
            let (at, value) = found.unwrap();
            exact.add(plane * height * width + at, dy[best.len()], 1.0);
            best.push((at, value));
        }
    }
    let run = |cpu: Cpu| {
        let (mut y, mut dx) = (nan(len_y), nan(x.len()));
        let sources = cpu.max_pool2d(shape, x, &mut y);
        cpu.max_pool2d_gradient(shape, &sources, &dy, &mut dx);
        // Offsets below 2²⁴ are f32.
        vec![y, sources.into_iter().map(|at| at as f32).collect(), dx]
    };
    on_all(run, |cpu, got| {
        for (at, &(source, value)) in best.iter().enumerate() {
            let [y, from] = [got[0][at], got[1][at]];
            assert_eq!(from, source as f32, "{cpu}, {shape:?}, {at}: source of {y}");
            assert_eq!(y.to_bits(), value.to_bits(), "{cpu}, {shape:?}, {at}");
        }
        exact.check(&format!("{cpu}, {shape:?}: gradient"), &got[2]);
    });
}

prop_compose! {
    fn pool_shapes()(
        planes in 1usize..=70,
        size in prop_oneof![[1usize..=6, 1..=6], [1usize..=40, 1..=40]],
        kernel in prop_oneof![Just([3, 3]), Just([2, 2]), [1usize..=5, 1..=5]],
        stride in prop_oneof![Just([2, 2]), [1usize..=4, 1..=4]],
        padding in [0usize..=2, 0..=2],
    ) -> PoolShape {
        let padding = [0, 1].map(|axis| padding[axis].min(kernel[axis] / 2));
        let size = [0, 1].map(|axis| size[axis].max(kernel[axis] - 2 * padding[axis]).max(1));
        PoolShape { planes, size, kernel, stride, padding }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// Distinct values; a few values, with ties of both zeros; NaN and infinities.
    #[test]
    fn max_pooling_is_its_definition(shape in pool_shapes(), seed: u64) {
        let len = shape.planes * shape.size[0] * shape.size[1];
        check_pool(&shape, &noise(len, seed), seed);
        for few in [
            &[0.0, -0.0, 1.0, -1.0][..],
            &[f32::NEG_INFINITY, f32::NEG_INFINITY, f32::MIN, -f32::NAN, f32::NAN, f32::INFINITY, -1e-45],
            &[f32::NEG_INFINITY],
        ] {
            let pick = |at| few[hash(seed, at) as usize % few.len()];
            check_pool(&shape, &(0..len).map(pick).collect::<Vec<_>>(), seed);
        }
    }
}

// Lengths that are not those of the shape.

const NORM: NormShape = NormShape {
    images: 4,
    channels: 2,
    plane: 3,
    groups: 2,
};

#[test]
#[should_panic(expected = "length")]
fn a_short_input_of_batch_norm_panics() {
    let _ = Cpu::detect().batch_statistics(&NORM, &[0.0; 23]);
}

#[test]
#[should_panic(expected = "the groups do not divide the images")]
fn groups_that_do_not_divide_the_images_panic() {
    let shape = NormShape { groups: 3, ..NORM };
    let _ = Cpu::detect().channel_sums(&shape, &[0.0; 24]);
}

#[test]
#[should_panic(expected = "length")]
fn a_short_residual_panics() {
    let affine = Affine {
        scale: &[1.0; 4],
        shift: &[0.0; 4],
    };
    let y = &mut [0.0; 24];
    Cpu::detect().affine(&NORM, &[0.0; 24], affine, Some(&[0.0; 12]), false, y);
}

const POOL: PoolShape = PoolShape {
    planes: 2,
    size: [6, 6],
    kernel: [3, 3],
    stride: [2, 2],
    padding: [1, 1],
};

#[test]
#[should_panic(expected = "output")]
fn a_short_output_of_max_pooling_panics() {
    Cpu::detect().max_pool2d(&POOL, &[0.0; 72], &mut [0.0; 17]);
}

#[test]
#[should_panic(expected = "a padding above half the window")]
fn a_padding_above_half_the_window_panics() {
    let shape = PoolShape {
        padding: [2, 2],
        ..POOL
    };
    Cpu::detect().max_pool2d(&shape, &[0.0; 72], &mut [0.0; 32]);
}

#[test]
#[should_panic(expected = "sources")]
fn too_few_sources_panic() {
    Cpu::detect().max_pool2d_gradient(&POOL, &[0; 17], &[0.0; 18], &mut [0.0; 72]);
}
