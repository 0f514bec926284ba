//! Batch norm against naive f64 loops, forward and backward, with groups.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::tensor::{Device, Tensor};
use common::{noise, noise_tensor, values};
use inscon_model::{BatchNorm2d, NormMode};

const EPSILON: f64 = 1e-5;

struct Naive {
    y: Vec<f64>,
    mean: Vec<f64>,
    var: Vec<f64>,
}

/// From the formula, one value at a time; `mean` and `var` (unbiased) are averaged over groups.
fn naive(x: &[f64], [n, c, hw]: [usize; 3], groups: usize, weight: &[f64], bias: &[f64]) -> Naive {
    let per = n / groups;
    let mut out = Naive {
        y: vec![0.0; x.len()],
        mean: vec![0.0; c],
        var: vec![0.0; c],
    };
    for group in 0..groups {
        for channel in 0..c {
            let at: Vec<usize> = (group * per..(group + 1) * per)
                .flat_map(|sample| (0..hw).map(move |p| (sample * c + channel) * hw + p))
                .collect();
            let count = at.len() as f64;
            let mean = at.iter().map(|&i| x[i]).sum::<f64>() / count;
            let square = at.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>();
            for &i in &at {
                let normal = (x[i] - mean) / (square / count + EPSILON).sqrt();
                out.y[i] = normal * weight[channel] + bias[channel];
            }
            out.mean[channel] += mean / groups as f64;
            out.var[channel] += square / (count - 1.0) / groups as f64;
        }
    }
    out
}

fn assert_close(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*got) - expected).abs();
        assert!(error < tolerance, "{what}[{i}]: {got} against {expected}");
    }
}

fn layer(c: usize, device: &Device) -> BatchNorm2d {
    let mut norm = BatchNorm2d::new(c, device);
    norm.weight = norm.weight.map(|w| {
        let noise: Tensor<1> = noise_tensor([c], 5, &w.device());
        (noise * 0.5 + 1.0).detach().require_grad()
    });
    norm.bias = norm
        .bias
        .map(|b| noise_tensor([c], 6, &b.device()).detach().require_grad());
    norm
}

/// Shifted by 3 so that a variance taken as E[x²] − E[x]² would have to cancel.
fn input(shape: [usize; 4], device: &Device) -> (Tensor<4>, Vec<f64>) {
    let x = noise_tensor(shape, 1, device) + 3.0;
    let exact = values(x.clone()).into_iter().map(f64::from).collect();
    (x, exact)
}

fn check_forward(shape: [usize; 4], groups: usize, device: &Device) {
    let [n, c, h, w] = shape;
    let norm = layer(c, &device.clone().autodiff());
    let (x, exact) = input(shape, device);
    let weight: Vec<f64> = values(norm.weight.val())
        .into_iter()
        .map(f64::from)
        .collect();
    let bias: Vec<f64> = values(norm.bias.val()).into_iter().map(f64::from).collect();
    let expected = naive(&exact, [n, c, h * w], groups, &weight, &bias);

    let y = norm.forward(x.clone(), NormMode::Train, groups);
    assert_close(&values(y), &expected.y, 2e-5, "y");
    let step = |from: f64, to: &[f64]| to.iter().map(|v| 0.9 * from + 0.1 * v).collect::<Vec<_>>();
    let mean = step(0.0, &expected.mean);
    let var = step(1.0, &expected.var);
    assert_close(
        &values(norm.running_mean.value()),
        &mean,
        1e-6,
        "running mean",
    );
    assert_close(
        &values(norm.running_var.value()),
        &var,
        1e-6,
        "running variance",
    );

    let expected: Vec<f64> = exact
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let channel = i / (h * w) % c;
            (x - mean[channel]) / (var[channel] + EPSILON).sqrt() * weight[channel] + bias[channel]
        })
        .collect();
    for mode in [NormMode::Eval, NormMode::Frozen] {
        let y = norm.forward(x.clone(), mode, groups);
        assert_close(&values(y), &expected, 2e-5, "evaluated");
    }
}

#[test]
fn forward_is_the_formula() {
    for (shape, groups) in [
        ([4, 3, 5, 2], 1),
        ([6, 2, 3, 3], 3),
        ([4, 1, 2, 2], 4),
        ([8, 5, 1, 1], 2),
    ] {
        check_forward(shape, groups, &Device::flex());
        check_forward(shape, groups, &Device::flex().autodiff());
    }
}

/// d/dx, d/dweight and d/dbias of Σ c·y against central differences of the f64 loops.
#[test]
fn gradients_are_finite_differences() {
    for groups in [1, 2] {
        let [n, c, h, w] = [4, 2, 2, 3];
        let device = Device::flex().autodiff();
        let norm = layer(c, &device);
        let (x, exact) = input([n, c, h, w], &device);
        let x = x.require_grad();
        let coefficients = noise(n * c * h * w, 9);
        let weighted: Tensor<4> = noise_tensor([n, c, h, w], 9, &device);
        let loss = (norm.forward(x.clone(), NormMode::Train, groups) * weighted).sum();
        let gradients = loss.backward();

        let weight: Vec<f64> = values(norm.weight.val())
            .into_iter()
            .map(f64::from)
            .collect();
        let bias: Vec<f64> = values(norm.bias.val()).into_iter().map(f64::from).collect();
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
            let y = naive(x, [n, c, h * w], groups, weight, bias).y;
            y.iter().zip(&coefficients).map(|(y, c)| y * c).sum()
        };
        let difference = |values: &[f64], loss: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            (0..values.len())
                .map(|i| {
                    let at = |step: f64| {
                        let mut moved = values.to_vec();
                        moved[i] += step;
                        loss(&moved)
                    };
                    (at(1e-5) - at(-1e-5)) / 2e-5
                })
                .collect()
        };
        let expected = difference(&exact, &|x| loss(x, &weight, &bias));
        assert_close(
            &values(x.grad(&gradients).unwrap()),
            &expected,
            1e-4,
            "d/dx",
        );
        let expected = difference(&weight, &|weight| loss(&exact, weight, &bias));
        let got = norm.weight.val().grad(&gradients).unwrap();
        assert_close(&values(got), &expected, 1e-4, "d/dweight");
        let expected = difference(&bias, &|bias| loss(&exact, &weight, bias));
        let got = norm.bias.val().grad(&gradients).unwrap();
        assert_close(&values(got), &expected, 1e-4, "d/dbias");
    }
}

/// A clone's statistics are its own: a key encoder does not write into the query's.
#[test]
fn clones_do_not_share_statistics() {
    let device = Device::flex();
    let first = BatchNorm2d::new(1, &device);
    let second = first.clone();
    second.forward(
        noise_tensor([2, 1, 2, 2], 3, &device) + 5.0,
        NormMode::Train,
        1,
    );
    assert_eq!(values(first.running_mean.value()), [0.0]);
    assert!(values(second.running_mean.value())[0] > 0.3);
}

#[test]
#[should_panic(expected = "3 batch-norm groups of 4 samples")]
fn groups_must_divide_the_batch() {
    let device = Device::flex();
    BatchNorm2d::new(1, &device).forward(Tensor::zeros([4, 1, 2, 2], &device), NormMode::Train, 3);
}
