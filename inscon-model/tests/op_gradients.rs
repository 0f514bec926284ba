//! Gradients of the operations on flex, against finite differences in f64 of naive formulas and
//! against burn's own operations.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::tensor::activation::relu;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Gradients, Tensor, module};
use common::{noise, noise_tensor, values};
use inscon_model::op::{Epilogue, affine, batch_norm, conv2d, max_pool2d};

/// With and without recomputation of what a backward needs.
fn devices() -> [Device; 2] {
    [
        Device::flex().autodiff(),
        Device::flex().autodiff().gradient_checkpointing(),
    ]
}

fn exact<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    values(tensor.clone()).into_iter().map(f64::from).collect()
}

/// A leaf that gradients are asked of.
fn leaf<const D: usize>(shape: [usize; D], seed: u32, device: &Device) -> Tensor<D> {
    noise_tensor(shape, seed, device).require_grad()
}

/// The same values on the same device as a leaf, of which gradients are asked or not. (`detach`
/// goes on asking.)
fn alone<const D: usize>(tensor: &Tensor<D>, asked: bool) -> Tensor<D> {
    Tensor::from_inner(tensor.clone().inner()).set_require_grad(asked)
}

/// Σ y·r: its gradient to y is the noise r.
fn loss(y: Tensor<4>) -> Tensor<1> {
    let r = noise_tensor(y.dims(), 77, &y.device());
    (y * r).sum()
}

fn loss64(y: &[f64]) -> f64 {
    let r = noise(y.len(), 77);
    y.iter().zip(r).map(|(y, r)| y * f64::from(r as f32)).sum()
}

fn gradient<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    values(leaf.grad(gradients).unwrap())
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(
            error <= 3e-5 * largest,
            "{what}[{i}]: {got} against {expected}"
        );
    }
}

/// Central differences of `f` at a dozen entries of each of `inputs`.
fn differences(
    inputs: &[Vec<f64>],
    got: &[Vec<f32>],
    f: impl Fn(&[Vec<f64>]) -> Vec<f64>,
    what: &str,
) {
    const STEP: f64 = 1e-6;
    for (index, got) in got.iter().enumerate() {
        let len = inputs[index].len();
        assert_eq!(got.len(), len, "{what}: gradient {index}");
        let largest = got.iter().fold(1.0f32, |a, b| a.max(b.abs()));
        for draw in noise(12, index as u32) {
            let at = ((draw + 1.0) / 2.0 * len as f64) as usize % len;
            let beside = |step: f64| {
                let mut inputs = inputs.to_vec();
                inputs[index][at] += step;
                loss64(&f(&inputs))
            };
            let slope = (beside(STEP) - beside(-STEP)) / (2.0 * STEP);
            let error = (f64::from(got[at]) - slope).abs();
            assert!(
                error < 5e-5 * f64::from(largest),
                "{what}: gradient {index} at {at}: {}, by differences {slope}",
                got[at]
            );
        }
    }
}

// Convolution.

type Padding = [(usize, usize); 2];

struct Conv {
    x: [usize; 4],
    weight: [usize; 4],
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    groups: usize,
}

impl Conv {
    fn options(&self) -> ConvOptions<2> {
        let mut options = ConvOptions::new(self.stride, [0, 0], self.dilation, self.groups);
        options.padding = self.padding;
        options
    }

    fn naive(&self, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
        let ([images, channels, height, width], [out, per, kh, kw]) = (self.x, self.weight);
        let size = |axis: usize, size: usize, kernel: usize| {
            let (before, after) = self.padding[axis];
            (size + before + after - self.dilation[axis] * (kernel - 1) - 1) / self.stride[axis] + 1
        };
        let (rows, columns) = (size(0, height, kh), size(1, width, kw));
        let mut y = Vec::new();
        for n in 0..images {
            for m in 0..out {
                for at in 0..rows * columns {
                    let mut sum = bias.map_or(0.0, |bias| bias[m]);
                    for k in 0..per * kh * kw {
                        let (c, ky, kx) = (k / (kh * kw), k / kw % kh, k % kw);
                        let place = |axis: usize, at: usize, tap: usize| {
                            (at * self.stride[axis] + tap * self.dilation[axis])
                                .wrapping_sub(self.padding[axis].0)
                        };
                        let (iy, ix) = (place(0, at / columns, ky), place(1, at % columns, kx));
                        if iy < height && ix < width {
                            let channel = m / (out / self.groups) * per + c;
                            let x = x[((n * channels + channel) * height + iy) * width + ix];
                            sum += x * weight[m * per * kh * kw + k];
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }
}

fn convolutions() -> Vec<Conv> {
    let plain = |x, weight| Conv {
        x,
        weight,
        stride: [1, 1],
        padding: [(1, 1), (1, 1)],
        dilation: [1, 1],
        groups: 1,
    };
    vec![
        plain([2, 3, 7, 5], [4, 3, 3, 3]),
        Conv {
            padding: [(0, 0); 2],
            ..plain([3, 5, 4, 4], [6, 5, 1, 1])
        },
        Conv {
            stride: [2, 2],
            ..plain([2, 3, 9, 8], [5, 3, 3, 3])
        },
        Conv {
            dilation: [2, 1],
            padding: [(2, 2), (0, 0)],
            ..plain([2, 2, 8, 7], [3, 2, 3, 2])
        },
        Conv {
            groups: 3,
            stride: [1, 2],
            ..plain([2, 6, 5, 6], [9, 2, 3, 3])
        },
        // Not the kernels': burn's own, and grouped, which is asked of it too.
        Conv {
            padding: [(0, 1), (2, 1)],
            ..plain([2, 3, 6, 5], [4, 3, 3, 3])
        },
        Conv {
            groups: 2,
            padding: [(1, 0), (0, 2)],
            ..plain([2, 4, 6, 5], [6, 2, 3, 3])
        },
        Conv {
            groups: 2,
            stride: [2, 2],
            padding: [(1, 2), (0, 1)],
            ..plain([2, 4, 7, 6], [6, 2, 3, 3])
        },
    ]
}

#[test]
fn convolutions_match_differences_and_burn() {
    for device in devices() {
        for (index, conv) in convolutions().iter().enumerate() {
            for with_bias in [false, true] {
                let what = format!("convolution {index}, bias {with_bias}");
                let (x, weight) = (leaf(conv.x, 1, &device), leaf(conv.weight, 2, &device));
                let bias = leaf([conv.weight[0]], 3, &device);
                let given = with_bias.then(|| bias.clone());
                let y = conv2d(x.clone(), weight.clone(), given.clone(), conv.options());
                let inputs = [exact(&x), exact(&weight), exact(&bias)];
                let f = |v: &[Vec<f64>]| conv.naive(&v[0], &v[1], with_bias.then_some(&v[2][..]));
                let expected: Vec<f32> = f(&inputs).into_iter().map(|y| y as f32).collect();
                assert_close(&values(y.clone()), &expected, &what);

                let gradients = loss(y).backward();
                let mut got = vec![gradient(&x, &gradients), gradient(&weight, &gradients)];
                if with_bias {
                    got.push(gradient(&bias, &gradients));
                }
                differences(&inputs, &got, f, &what);

                let asymmetric = conv.padding.iter().any(|(before, after)| before != after);
                if !asymmetric {
                    let y = module::conv2d(x.clone(), weight.clone(), given, conv.options());
                    let burn = loss(y).backward();
                    assert_close(&got[0], &gradient(&x, &burn), &what);
                    assert_close(&got[1], &gradient(&weight, &burn), &what);
                    if with_bias {
                        assert_close(&got[2], &gradient(&bias, &burn), &what);
                    }
                }
            }
        }
    }
}

fn three_by_three() -> ConvOptions<2> {
    ConvOptions::new([1, 1], [1, 1], [1, 1], 1)
}

/// Gradients of x, weight and bias where only some are asked for.
#[test]
fn untracked_operands_of_convolutions_change_nothing() {
    for device in devices() {
        let x = leaf([2, 3, 5, 6], 1, &device);
        let weight = leaf([4, 3, 3, 3], 2, &device);
        let bias = leaf([4], 3, &device);
        let all = conv2d(
            x.clone(),
            weight.clone(),
            Some(bias.clone()),
            three_by_three(),
        );
        let all = loss(all).backward();
        for mask in 0..7u8 {
            let given = |bit: u8| mask >> bit & 1 == 1;
            let a = alone(&x, given(0));
            let b = alone(&weight, given(1));
            let c = alone(&bias, given(2));
            let y = conv2d(a.clone(), b.clone(), Some(c.clone()), three_by_three());
            if mask == 0 {
                continue;
            }
            let some = loss(y).backward();
            assert_eq!(a.grad(&some).is_some(), given(0), "{mask}: x");
            assert_eq!(b.grad(&some).is_some(), given(1), "{mask}: weight");
            assert_eq!(c.grad(&some).is_some(), given(2), "{mask}: bias");
            if given(0) {
                assert_eq!(gradient(&a, &some), gradient(&x, &all), "{mask}: x");
            }
            if given(1) {
                assert_eq!(
                    gradient(&b, &some),
                    gradient(&weight, &all),
                    "{mask}: weight"
                );
            }
            if given(2) {
                assert_eq!(gradient(&c, &some), gradient(&bias, &all), "{mask}: bias");
            }
        }
    }
}

/// The input of a network: on the same device, without autodiff.
#[test]
fn an_input_without_autodiff() {
    for device in devices() {
        let weight = leaf([4, 3, 3, 3], 2, &device);
        let plain: Tensor<4> = noise_tensor([2, 3, 5, 6], 1, &Device::flex());
        let tracked = leaf([2, 3, 5, 6], 1, &device);
        let of = |x| loss(conv2d(x, weight.clone(), None, three_by_three())).backward();
        let (got, expected) = (of(plain), of(tracked));
        assert_eq!(gradient(&weight, &got), gradient(&weight, &expected));
    }
}

/// Transposed and sliced operands, and a transposed gradient of the output.
#[test]
fn views_are_read_in_their_order() {
    for device in devices() {
        let x = leaf([2, 6, 7, 5], 1, &device);
        let weight = leaf([3, 5, 2, 3], 2, &device);
        let view = |x: &Tensor<4>| x.clone().swap_dims(2, 3).slice([0..2, 1..4, 0..5, 2..7]);
        let turn = |w: &Tensor<4>| w.clone().swap_dims(2, 3).slice([0..3, 1..4]);
        // `copy` is the same values without the view.
        let copy = |t: Tensor<4>| Tensor::<4>::from_data(t.into_data(), &device).require_grad();
        let (flat_x, flat_weight) = (copy(view(&x)), copy(turn(&weight)));

        let run = |x: Tensor<4>, weight: Tensor<4>| {
            let y = conv2d(x, weight, None, three_by_three());
            let y = max_pool2d(y.swap_dims(2, 3), [3, 2], [2, 1], [1, 0]).swap_dims(1, 3);
            let ones = Tensor::ones([y.dims()[1]], &device);
            let y = affine(y, ones.clone() * 0.7, ones, Epilogue::default()).swap_dims(0, 1);
            let [n, channels, height, width] = y.dims();
            let ones = Tensor::<1>::ones([channels], &device);
            let residual = noise_tensor([n, channels, width, height], 6, &device);
            let residual = Some(residual.swap_dims(2, 3));
            let epilogue = Epilogue {
                residual,
                relu: true,
            };
            let normed = batch_norm(y, ones.clone(), ones, epilogue, 1, 1e-5);
            loss(normed.output.swap_dims(1, 3)).backward()
        };
        let got = run(view(&x), turn(&weight));
        let expected = run(flat_x.clone(), flat_weight.clone());
        let dx = view(&Tensor::from_inner(x.grad(&got).unwrap()));
        assert_eq!(values(dx), gradient(&flat_x, &expected));
        let dweight = turn(&Tensor::from_inner(weight.grad(&got).unwrap()));
        assert_eq!(values(dweight), gradient(&flat_weight, &expected));
    }
}

#[test]
fn gradients_of_a_tensor_used_twice_add_up() {
    for device in devices() {
        let x = leaf([2, 3, 5, 6], 1, &device);
        let weight = leaf([3, 3, 3, 3], 2, &device);
        let of = |x: Tensor<4>, weight: Tensor<4>| conv2d(x, weight, None, three_by_three());
        // x, and the weight, in two convolutions; x as a residual as well.
        let ones = Tensor::<1>::ones([3], &device);
        let deep = |x: &Tensor<4>, weight: &Tensor<4>, by_op: bool| {
            let y =
                of(of(x.clone(), weight.clone()), weight.clone()) + of(x.clone(), weight.clone());
            if by_op {
                let epilogue = Epilogue {
                    residual: Some(x.clone()),
                    relu: true,
                };
                affine(y, ones.clone() * 0.5, ones.clone() * 0.1, epilogue)
            } else {
                relu(y * 0.5 + 0.1 + x.clone())
            }
        };
        let got = loss(deep(&x, &weight, true)).backward();
        let expected = loss(deep(&x, &weight, false)).backward();
        assert_close(&gradient(&x, &got), &gradient(&x, &expected), "x");
        assert_close(
            &gradient(&weight, &got),
            &gradient(&weight, &expected),
            "weight",
        );
        // One tensor as both operands.
        let square = leaf([3, 3, 3, 3], 5, &device);
        let both = loss(of(square.clone(), square.clone())).backward();
        let (a, b) = (
            leaf([3, 3, 3, 3], 5, &device),
            leaf([3, 3, 3, 3], 5, &device),
        );
        let apart = loss(of(a.clone(), b.clone())).backward();
        let sum = a.grad(&apart).unwrap() + b.grad(&apart).unwrap();
        assert_close(&gradient(&square, &both), &values(sum), "both");
    }
}

// Batch norm.

#[derive(Debug, Clone, Copy)]
struct Norm {
    groups: usize,
    residual: bool,
    relu: bool,
}

const SHAPE: [usize; 4] = [6, 3, 3, 5];

fn norms() -> impl Iterator<Item = Norm> {
    (0..8).map(|bits: usize| Norm {
        groups: [1, 3][bits & 1],
        residual: bits & 2 != 0,
        relu: bits & 4 != 0,
    })
}

impl Norm {
    fn finish(self, y: &mut [f64], residual: &[f64]) {
        for (y, residual) in y.iter_mut().zip(residual) {
            *y += if self.residual { *residual } else { 0.0 };
            *y = if self.relu { y.max(0.0) } else { *y };
        }
    }

    /// Of x, weight, bias and residual.
    fn naive(self, v: &[Vec<f64>]) -> Vec<f64> {
        let [n, channels, height, width] = SHAPE;
        let (per, plane) = (n / self.groups, height * width);
        let mut y = v[0].clone();
        for row in 0..self.groups * channels {
            let (group, channel) = (row / channels, row % channels);
            let at: Vec<usize> = (group * per..(group + 1) * per)
                .flat_map(|n| (0..plane).map(move |p| (n * channels + channel) * plane + p))
                .collect();
            let count = at.len() as f64;
            let mean = at.iter().map(|&i| v[0][i]).sum::<f64>() / count;
            let square = at.iter().map(|&i| (v[0][i] - mean).powi(2)).sum::<f64>();
            let deviation = (square / count + 1e-5).sqrt();
            for i in at {
                y[i] = (v[0][i] - mean) / deviation * v[1][channel] + v[2][channel];
            }
        }
        self.finish(&mut y, &v[3]);
        y
    }

    fn epilogue(self, residual: &Tensor<4>) -> Epilogue {
        Epilogue {
            residual: self.residual.then(|| residual.clone()),
            relu: self.relu,
        }
    }
}

#[test]
fn batch_norms_match_differences_and_composed_operations() {
    for device in devices() {
        for norm in norms() {
            let what = format!("{norm:?}");
            let (x, residual) = (leaf(SHAPE, 1, &device), leaf(SHAPE, 4, &device));
            let (weight, bias) = (leaf([3], 2, &device), leaf([3], 3, &device));
            let run = |x: Tensor<4>, weight, bias, residual: &Tensor<4>| {
                batch_norm(x, weight, bias, norm.epilogue(residual), norm.groups, 1e-5).output
            };
            let y = run(x.clone(), weight.clone(), bias.clone(), &residual);
            let inputs = [exact(&x), exact(&weight), exact(&bias), exact(&residual)];
            let expected: Vec<f32> = norm.naive(&inputs).into_iter().map(|y| y as f32).collect();
            assert_close(&values(y.clone()), &expected, &what);
            let gradients = loss(y).backward();
            let [b, c] = [&weight, &bias].map(|leaf| gradient(leaf, &gradients));
            let mut got = vec![gradient(&x, &gradients), b, c];
            if norm.residual {
                got.push(gradient(&residual, &gradients));
            }
            differences(&inputs, &got, |v| norm.naive(v), &what);

            // Composed of burn's operations.
            let [n, channels, height, width] = SHAPE;
            let grouped =
                x.clone()
                    .reshape([norm.groups, n / norm.groups, channels, height * width]);
            let centred = grouped.clone() - grouped.mean_dim(3).mean_dim(1);
            let variance = (centred.clone() * centred.clone()).mean_dim(3).mean_dim(1);
            let per_channel = [1, 1, channels, 1];
            let y = centred / (variance + 1e-5).sqrt() * weight.clone().reshape(per_channel)
                + bias.clone().reshape(per_channel);
            let mut y = y.reshape(SHAPE);
            if norm.residual {
                y = y + residual.clone();
            }
            let burn = loss(if norm.relu { relu(y) } else { y }).backward();
            assert_close(&got[0], &gradient(&x, &burn), &what);
            assert_close(&got[1], &gradient(&weight, &burn), &what);
            assert_close(&got[2], &gradient(&bias, &burn), &what);
            if norm.residual {
                assert_close(&got[3], &gradient(&residual, &burn), &what);
            }

            // Some asked for, the others untracked.
            for mask in 1..15u8 {
                let given = |bit: u8| mask >> bit & 1 == 1;
                if mask == 8 && !norm.residual {
                    continue;
                }
                let (a, d) = (alone(&x, given(0)), alone(&residual, given(3)));
                let (b, c) = (alone(&weight, given(1)), alone(&bias, given(2)));
                let some = loss(run(a.clone(), b.clone(), c.clone(), &d)).backward();
                let what = format!("{what}, {mask:04b}");
                let found = [
                    a.grad(&some).map(values),
                    b.grad(&some).map(values),
                    c.grad(&some).map(values),
                    d.grad(&some).map(values),
                ];
                for (bit, found) in (0u8..).zip(found) {
                    let expected = given(bit)
                        .then(|| got.get(usize::from(bit)).cloned())
                        .flatten();
                    assert_eq!(found, expected, "{what}: {bit}");
                }
            }
        }
    }
}

#[test]
fn affines_match_differences() {
    for device in devices() {
        for norm in norms().filter(|norm| norm.groups == 1) {
            let what = format!("affine {norm:?}");
            let (x, residual) = (leaf(SHAPE, 1, &device), leaf(SHAPE, 4, &device));
            let scale: Tensor<1> = noise_tensor([3], 2, &device);
            let shift: Tensor<1> = noise_tensor([3], 3, &device);
            let (a, b) = (exact(&scale), exact(&shift));
            let y = affine(x.clone(), scale, shift, norm.epilogue(&residual));
            let f = |v: &[Vec<f64>]| {
                let channel = |i: usize| i / 15 % 3;
                let of = |(i, x): (usize, &f64)| x * a[channel(i)] + b[channel(i)];
                let mut y: Vec<f64> = v[0].iter().enumerate().map(of).collect();
                norm.finish(&mut y, &v[1]);
                y
            };
            let inputs = [exact(&x), exact(&residual)];
            let expected: Vec<f32> = f(&inputs).into_iter().map(|y| y as f32).collect();
            assert_close(&values(y.clone()), &expected, &what);
            let gradients = loss(y).backward();
            let mut got = vec![gradient(&x, &gradients)];
            if norm.residual {
                got.push(gradient(&residual, &gradients));
            }
            differences(&inputs, &got, f, &what);
        }
    }
}

#[test]
fn max_pools_match_burn_and_differences() {
    for device in devices() {
        for (kernel, stride, padding) in [
            ([3, 3], [2, 2], [1, 1]),
            ([2, 2], [2, 2], [0, 0]),
            ([3, 2], [1, 3], [1, 0]),
        ] {
            let what = format!("pool {kernel:?} {stride:?} {padding:?}");
            let x = leaf([2, 3, 9, 8], 1, &device);
            let y = max_pool2d(x.clone(), kernel, stride, padding);
            let options = burn::tensor::ops::MaxPoolOptions::new(kernel)
                .with_stride(stride)
                .with_padding(padding);
            let burn = module::max_pool2d(x.clone(), options);
            assert_eq!(values(y.clone()), values(burn.clone()), "{what}");
            let [_, _, rows, columns] = y.dims();
            let got = gradient(&x, &loss(y).backward());
            assert_close(&got, &gradient(&x, &loss(burn).backward()), &what);
            let f = |v: &[Vec<f64>]| {
                let mut y = Vec::new();
                for plane in v[0].chunks(72) {
                    for at in 0..rows * columns {
                        let taps = (0..kernel[0] * kernel[1]).filter_map(|k| {
                            let y = (at / columns * stride[0] + k / kernel[1])
                                .checked_sub(padding[0])?;
                            let x = (at % columns * stride[1] + k % kernel[1])
                                .checked_sub(padding[1])?;
                            (y < 9 && x < 8).then(|| plane[y * 8 + x])
                        });
                        y.push(taps.fold(f64::NEG_INFINITY, f64::max));
                    }
                }
                y
            };
            differences(&[exact(&x)], &[got], f, &what);
        }
    }
}

/// Only the loss is held; buffers given back meanwhile are used by other work.
#[test]
fn backward_outlives_everything_else() {
    for device in devices() {
        let run = |disturb: bool| {
            let x = leaf([4, 3, 8, 8], 1, &device);
            let ends = {
                let weight = leaf([3, 3, 3, 3], 2, &device);
                let (scale, bias) = (leaf([3], 3, &device), leaf([3], 4, &device));
                let y = conv2d(x.clone(), weight.clone(), None, three_by_three());
                let epilogue = Epilogue {
                    residual: Some(x.clone()),
                    relu: true,
                };
                let y = batch_norm(y, scale, bias, epilogue, 2, 1e-5).output;
                let y = conv2d(y, weight, None, three_by_three());
                loss(max_pool2d(y, [3, 3], [2, 2], [1, 1]))
            };
            if disturb {
                for seed in 0..4 {
                    let other: Tensor<4> = noise_tensor([4, 3, 8, 8], seed, &Device::flex());
                    let weight = noise_tensor([3, 3, 3, 3], 9, &Device::flex());
                    let y = conv2d(other * 1e9, weight, None, three_by_three());
                    assert_eq!(max_pool2d(y, [3, 3], [2, 2], [1, 1]).dims(), [4, 3, 4, 4]);
                }
            }
            gradient(&x, &ends.backward())
        };
        assert_eq!(run(true), run(false));
    }
}
