//! The convolutions against a naive f64 loop, on every instruction set and several numbers of threads.
//!
//! **Bound.** A sum of n products of f32 values may differ from the exact one by
//! `k(n)·ε·Σ|a·b|`, `k(n)` = 4 + √n: the rounding of a sum is a random walk, and the worst case of
//! any order, n/2, is never met by n > 64 random terms. The factors have magnitudes in ½…1, so one
//! product is at least ¼; `Sums::check` asserts that the bound is below that, so no missing,
//! wrong or doubled tap can hide in it. Convolutions by Winograd's tiles (`ConvShape::by_tiles`) have
//! 16 times that, of the largest sum.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/sums.rs"]
mod sums;

use inscon_model::op::kernel::{ConvShape, Cpu};
use proptest::prelude::*;
use sums::{Sums, lengths, nan, noise, on_all, products};

fn check_conv(shape: &ConvShape, seed: u64) {
    let [len_x, len_weight, len_y] = lengths(shape);
    let (x, weight) = (noise(len_x, seed), noise(len_weight, seed ^ 1));
    let (dy, bias) = (noise(len_y, seed ^ 2), noise(shape.output, seed ^ 3));
    let mut exact = [len_y, len_y, len_x, len_weight].map(Sums::new);
    let [y, with_bias, dx, dweight] = &mut exact;
    products(shape, |at_x, at_weight, at_y| {
        let (x, weight, dy) = (x[at_x], weight[at_weight], dy[at_y]);
        y.add(at_y, x, weight);
        with_bias.add(at_y, x, weight);
        dx.add(at_x, weight, dy);
        dweight.add(at_weight, x, dy);
    });
    let plane = len_y / (shape.images * shape.output).max(1);
    for at in 0..len_y {
        with_bias.add(at, bias[at / plane % shape.output], 1.0);
    }
    let run = |cpu: Cpu| {
        let [mut y, mut with_bias, mut dx, mut dweight] =
            [len_y, len_y, len_x, len_weight].map(nan);
        cpu.conv2d_forward(shape, &x, &weight, None, &mut y);
        cpu.conv2d_forward(shape, &x, &weight, Some(&bias), &mut with_bias);
        cpu.conv2d_input_gradient(shape, &weight, &dy, &mut dx);
        cpu.conv2d_weight_gradient(shape, &x, &dy, &mut dweight);
        vec![y, with_bias, dx, dweight]
    };
    on_all(run, |cpu, got| {
        let names = ["forward", "bias", "input gradient", "weight gradient"];
        let [forward, input, weight] = shape.by_tiles();
        let tiles = [forward, forward, input, weight];
        for (((exact, got), name), tiles) in exact.iter().zip(got).zip(names).zip(tiles) {
            let what = format!("{cpu}, {shape:?}: {name}");
            if tiles {
                exact.check_tiles(&what, got);
            } else {
                exact.check(&what, got);
            }
        }
    });
}

prop_compose! {
    /// At most two million products.
    fn conv_shapes()(
        images in 1usize..=9,
        channels in [1usize..=37, 1..=37],
        groups in 1usize..=4,
        size in prop_oneof![[1usize..=6, 1..=6], [1usize..=40, 1..=40]],
        kernel in prop_oneof![Just([1, 1]), Just([3, 3]), [1usize..=7, 1..=7]],
        stride in [1usize..=3, 1..=3],
        padding in [0usize..=3, 0..=3],
        dilation in [1usize..=2, 1..=2],
    ) -> ConvShape {
        let size = [0, 1].map(|axis| {
            let span = dilation[axis] * (kernel[axis] - 1) + 1;
            size[axis].max(span.saturating_sub(2 * padding[axis]))
        });
        let [input, output] = channels.map(|channels| channels.div_ceil(groups) * groups);
        let mut shape =
            ConvShape { images, input, output, size, kernel, stride, padding, dilation, groups };
        while shape.operations() > 4_000_000 {
            if shape.images > 1 {
                shape.images -= 1;
            } else if shape.output > groups {
                shape.output -= groups;
            } else {
                shape.input -= groups;
            }
        }
        shape
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_are_their_formula(shape in conv_shapes(), seed: u64) {
        check_conv(&shape, seed);
    }
}

/// 3×3 kernels with tiles enough for Winograd's, cut at both edges, of every padding, in groups.
#[test]
fn convolutions_by_tiles_are_their_formula() {
    let shape = |images, [input, output]: [usize; 2], size, padding| ConvShape {
        input,
        output,
        size,
        padding,
        ..ConvShape::new(images, [3; 2])
    };
    for (seed, shape) in [
        shape(5, [20, 35], [19, 18], [1, 1]),
        shape(4, [17, 16], [23, 22], [0, 2]),
        shape(30, [24, 33], [8, 7], [1, 1]),
        shape(1, [16, 16], [43, 44], [2, 0]),
        ConvShape {
            groups: 2,
            ..shape(2, [40, 34], [30, 29], [1, 1])
        },
        // With channels enough for the weight's gradient.
        shape(6, [130, 137], [13, 14], [1, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(shape.by_tiles()[..2] == [true, true], "{shape:?}");
        check_conv(&shape, seed as u64);
    }
    let wide = shape(6, [130, 137], [13, 14], [1, 1]);
    assert_eq!(wide.by_tiles(), [true; 3]);
}

/// Sums longer than a panel, planes larger than one, every way of the weight's gradient.
#[test]
fn large_convolutions_are_their_formula() {
    let shape = |images, [input, output]: [usize; 2], size, kernel, padding| ConvShape {
        input,
        output,
        size: [size, size + 1],
        padding: [padding; 2],
        ..ConvShape::new(images, [kernel; 2])
    };
    let strided = |shape| ConvShape {
        stride: [2, 2],
        ..shape
    };
    for (seed, shape) in [
        shape(2, [300, 37], 7, 3, 1),
        shape(1, [65, 13], 9, 7, 3),
        shape(3, [2501, 19], 3, 1, 0),
        strided(shape(1, [301, 21], 11, 3, 1)),
        strided(shape(5, [3, 64], 31, 7, 3)),
        // The input's gradient has the long sum.
        shape(1, [11, 290], 6, 3, 1),
        // Long sums over pixels, with few and with many rows.
        shape(9, [20, 17], 29, 3, 1),
        shape(9, [140, 131], 12, 1, 0),
        shape(9, [16, 130], 12, 3, 1),
        ConvShape {
            groups: 2,
            ..shape(1, [520, 26], 6, 3, 1)
        },
        ConvShape {
            dilation: [2, 2],
            ..shape(2, [33, 35], 24, 3, 2)
        },
        // Rows wider and planes larger than any panel.
        ConvShape {
            size: [3, 700],
            ..shape(1, [5, 7], 1, 3, 1)
        },
        ConvShape {
            size: [90, 91],
            ..strided(shape(1, [3, 9], 1, 3, 1))
        },
    ]
    .into_iter()
    .enumerate()
    {
        check_conv(&shape, seed as u64);
    }
}

#[test]
fn no_images_have_no_gradient() {
    let shape = ConvShape {
        input: 2,
        output: 3,
        size: [4, 4],
        ..ConvShape::new(0, [3, 3])
    };
    check_conv(&shape, 0);
}

/// NaN and ∞ reach the outputs that read them and no other, in this call and in the next.
#[test]
fn not_a_number_reaches_what_reads_it() {
    for (stride, kernel, padding) in [(1, 3, 1), (2, 3, 1), (1, 1, 0), (2, 7, 3)] {
        let shape = ConvShape {
            input: 5,
            output: 7,
            size: [13, 11],
            stride: [stride; 2],
            padding: [padding; 2],
            ..ConvShape::new(3, [kernel; 2])
        };
        let [len_x, len_weight, len_y] = lengths(&shape);
        let [mut x, weight] = [noise(len_x, 1), noise(len_weight, 2)];
        // An infinite gradient times the zeros of the padding is NaN, so the weight's is of these.
        let finite = noise(len_y, 3);
        let mut dy = finite.clone();
        // Last pixel of an image, first of a plane, and one in the middle.
        for at in [5 * 143 - 1, 6 * 143, len_x - 70] {
            x[at] = f32::NAN;
        }
        for at in [0, len_y / 2, len_y - 1] {
            dy[at] = f32::INFINITY;
        }
        let [mut bad_y, mut bad_dx, mut bad_dweight] =
            [len_y, len_x, len_weight].map(|n| vec![false; n]);
        products(&shape, |at_x, at_weight, at_y| {
            bad_y[at_y] |= x[at_x].is_nan();
            bad_dx[at_x] |= dy[at_y].is_infinite();
            bad_dweight[at_weight] |= x[at_x].is_nan();
        });
        let run = |cpu: Cpu| {
            let [mut y, mut dx, mut dweight] = [len_y, len_x, len_weight].map(nan);
            cpu.conv2d_forward(&shape, &x, &weight, None, &mut y);
            cpu.conv2d_input_gradient(&shape, &weight, &dy, &mut dx);
            cpu.conv2d_weight_gradient(&shape, &x, &finite, &mut dweight);
            vec![y, dx, dweight]
        };
        on_all(run, |cpu, got| {
            for (got, bad) in got.iter().zip([&bad_y, &bad_dx, &bad_dweight]) {
                for (at, (got, &bad)) in got.iter().zip(bad).enumerate() {
                    assert_eq!(!got.is_finite(), bad, "{cpu}, {shape:?}, {at}: {got}");
                }
            }
        });
        check_conv(&shape, 4);
    }
}

// Lengths that are not those of the shape.

const CONV: ConvShape = ConvShape {
    images: 2,
    input: 4,
    output: 6,
    size: [5, 5],
    kernel: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
    groups: 2,
};

#[test]
#[should_panic(expected = "input")]
fn a_short_input_panics() {
    let y = &mut [0.0; 300];
    Cpu::detect().conv2d_forward(&CONV, &[0.0; 199], &[0.0; 108], None, y);
}

#[test]
#[should_panic(expected = "output")]
fn a_long_output_panics() {
    let y = &mut [0.0; 301];
    Cpu::detect().conv2d_forward(&CONV, &[0.0; 200], &[0.0; 108], None, y);
}

#[test]
#[should_panic(expected = "weight")]
fn a_short_weight_panics() {
    let dx = &mut [0.0; 200];
    Cpu::detect().conv2d_input_gradient(&CONV, &[0.0; 107], &[0.0; 300], dx);
}

#[test]
#[should_panic(expected = "weight")]
fn a_long_gradient_of_the_weight_panics() {
    let dweight = &mut [0.0; 109];
    Cpu::detect().conv2d_weight_gradient(&CONV, &[0.0; 200], &[0.0; 300], dweight);
}

#[test]
#[should_panic(expected = "the groups do not divide the channels")]
fn groups_that_do_not_divide_the_channels_panic() {
    let (shape, y) = (ConvShape { groups: 4, ..CONV }, &mut [0.0; 300]);
    Cpu::detect().conv2d_forward(&shape, &[0.0; 200], &[0.0; 54], None, y);
}
