//! Multinomial logistic regression: the linear classifier of the probes.

use std::collections::VecDeque;

use ndarray::{Array1, Array2, ArrayView2, Axis, Slice, Zip};
use rayon::prelude::*;

/// Rows handled at once. Fixed, so that sums come out the same on any number of threads.
const CHUNK: usize = 2048;
/// Pairs of steps and gradient changes that L-BFGS remembers.
const MEMORY: usize = 10;
/// Largest entry of the gradient at which the fit is done.
const TOLERANCE: f64 = 1e-5;
/// Share of the predicted decrease that a step must reach (Armijo).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// How the classifier is fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticConfig {
    /// Most iterations of L-BFGS, each one pass over the features and now and then a second.
    pub iterations: u64,
    /// L2 penalty of the weights (not of the biases), added to the mean loss as
    /// `½ · weight_decay · Σ w²`.
    pub weight_decay: f64,
}

/// A linear softmax classifier over standardised features.
///
/// ```text
/// p(class | x) = softmax(((x − mean) / std) · W + b)
/// ```
///
/// It is fitted by full-batch L-BFGS: no learning rate to tune for each arm, no random numbers,
/// and the loss is strictly convex, so that two backbones differ by their features alone.
///
/// # Example
/// ```
/// use inscon_train::probe::{LogisticConfig, LogisticRegression};
/// let features = ndarray::arr2(&[[0.0f32], [0.2], [1.8], [2.0]]);
/// let config = LogisticConfig { iterations: 20, weight_decay: 1e-3 };
/// let fit = LogisticRegression::fit(features.view(), &[0, 0, 1, 1], 2, config);
/// let scores = fit.scores(features.view());
/// assert!(scores[[0, 0]] > scores[[0, 1]] && scores[[3, 1]] > scores[[3, 0]]);
/// ```
#[derive(Debug, Clone)]
pub struct LogisticRegression {
    mean: Array1<f32>,
    scale: Array1<f32>,
    /// `[features + 1, classes]`; the last row is the bias.
    weight: Array2<f64>,
}

impl LogisticRegression {
    /// Fits the classifier to `features` `[N, D]` and one label below `classes` a row.
    ///
    /// # Panics
    /// When there is no row, or the number of labels is not the number of rows.
    #[must_use]
    pub fn fit(
        features: ArrayView2<f32>,
        labels: &[usize],
        classes: usize,
        config: LogisticConfig,
    ) -> Self {
        let (rows, columns) = features.dim();
        assert!(
            rows > 0 && rows == labels.len(),
            "{rows} rows of features, {} labels",
            labels.len()
        );
        let (mean, scale) = standardization(features);
        let mut fit = Self {
            mean,
            scale,
            weight: Array2::zeros((columns + 1, classes)),
        };
        let features = fit.standardize(features);
        fit.weight = minimize(
            Array2::zeros((columns + 1, classes)),
            config.iterations,
            |weight| objective(&features, labels, weight, config.weight_decay),
        );
        fit
    }

    /// Log-probabilities `[N, classes]` of `features` `[N, D]`.
    #[must_use]
    pub fn scores(&self, features: ArrayView2<f32>) -> Array2<f32> {
        let mut scores = logits(&self.standardize(features).view(), &self.weight);
        for mut row in scores.rows_mut() {
            let log_sum = log_sum_exp(row.iter().copied());
            row.mapv_inplace(|v| v - log_sum);
        }
        scores
    }

    fn standardize(&self, features: ArrayView2<f32>) -> Array2<f32> {
        let mut out = features.to_owned();
        for mut row in out.rows_mut() {
            Zip::from(&mut row)
                .and(&self.mean)
                .and(&self.scale)
                .for_each(|v, mean, scale| *v = (*v - mean) * scale);
        }
        out
    }
}

/// Mean and 1/std of each column; a constant column is left at zero.
fn standardization(features: ArrayView2<f32>) -> (Array1<f32>, Array1<f32>) {
    let rows = features.nrows() as f64;
    let mut sum = Array1::<f64>::zeros(features.ncols());
    for row in features.rows() {
        Zip::from(&mut sum)
            .and(row)
            .for_each(|s, v| *s += f64::from(*v));
    }
    let mean = sum / rows;
    let mut square = Array1::<f64>::zeros(features.ncols());
    for row in features.rows() {
        Zip::from(&mut square)
            .and(row)
            .and(&mean)
            .for_each(|s, v, m| *s += (f64::from(*v) - m).powi(2));
    }
    let scale = square.mapv(|s| match (s / rows).sqrt() {
        std if std > 1e-8 => (1.0 / std) as f32,
        _ => 0.0,
    });
    (mean.mapv(|v| v as f32), scale)
}

fn logits(features: &ArrayView2<f32>, weight: &Array2<f64>) -> Array2<f32> {
    let columns = features.ncols();
    let weight = weight.mapv(|v| v as f32);
    features.dot(&weight.slice_axis(Axis(0), Slice::from(..columns))) + weight.row(columns)
}

fn log_sum_exp(values: impl Iterator<Item = f32> + Clone) -> f32 {
    let max = values.clone().fold(f32::NEG_INFINITY, f32::max);
    max + values.map(|v| (v - max).exp()).sum::<f32>().ln()
}

/// Mean cross entropy plus penalty, and its gradient.
fn objective(
    features: &Array2<f32>,
    labels: &[usize],
    weight: &Array2<f64>,
    weight_decay: f64,
) -> (f64, Array2<f64>) {
    let (rows, columns) = features.dim();
    let starts: Vec<usize> = (0..rows).step_by(CHUNK).collect();
    let parts: Vec<(f64, Array2<f32>)> = starts
        .into_par_iter()
        .map(|start| {
            let end = (start + CHUNK).min(rows);
            let x = features.slice_axis(Axis(0), Slice::from(start..end));
            let mut residual = logits(&x, weight);
            let mut loss = 0.0;
            for (mut row, &label) in residual.rows_mut().into_iter().zip(&labels[start..end]) {
                let log_sum = log_sum_exp(row.iter().copied());
                loss += f64::from(log_sum - row[label]);
                row.mapv_inplace(|v| (v - log_sum).exp());
                row[label] -= 1.0;
            }
            let mut gradient = Array2::zeros((columns + 1, weight.ncols()));
            let mut weights = gradient.slice_axis_mut(Axis(0), Slice::from(..columns));
            weights.assign(&x.t().dot(&residual));
            gradient
                .row_mut(columns)
                .assign(&residual.sum_axis(Axis(0)));
            (loss, gradient)
        })
        .collect();
    let mut loss = 0.0;
    let mut gradient = Array2::<f64>::zeros(weight.dim());
    for (part, part_gradient) in parts {
        loss += part;
        Zip::from(&mut gradient)
            .and(&part_gradient)
            .for_each(|g, p| *g += f64::from(*p));
    }
    loss /= rows as f64;
    gradient /= rows as f64;
    let weights = weight.slice_axis(Axis(0), Slice::from(..columns));
    loss += 0.5 * weight_decay * weights.iter().map(|w| w * w).sum::<f64>();
    let mut part = gradient.slice_axis_mut(Axis(0), Slice::from(..columns));
    part.scaled_add(weight_decay, &weights);
    (loss, gradient)
}

/// L-BFGS (Nocedal and Wright, *Numerical Optimization*, algorithm 7.5) with backtracking.
fn minimize(
    mut at: Array2<f64>,
    iterations: u64,
    mut objective: impl FnMut(&Array2<f64>) -> (f64, Array2<f64>),
) -> Array2<f64> {
    let dot = |a: &Array2<f64>, b: &Array2<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (mut value, mut gradient) = objective(&at);
    let mut memory: VecDeque<(Array2<f64>, Array2<f64>, f64)> = VecDeque::new();
    for _ in 0..iterations {
        if gradient.iter().all(|g| g.abs() < TOLERANCE) {
            break;
        }
        let mut direction = gradient.clone();
        let mut alphas = Vec::with_capacity(memory.len());
        for (step, change, rho) in memory.iter().rev() {
            let alpha = rho * dot(step, &direction);
            direction.scaled_add(-alpha, change);
            alphas.push(alpha);
        }
        match memory.back() {
            Some((_, change, rho)) => direction /= rho * dot(change, change),
            // The first step is a tenth of a unit long, whatever the scale of the gradient.
            None => direction *= 0.1 / dot(&gradient, &gradient).sqrt(),
        }
        for ((step, change, rho), alpha) in memory.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * dot(change, &direction);
            direction.scaled_add(alpha - beta, step);
        }
        let slope = -dot(&direction, &gradient);
        let mut length = 1.0;
        let accepted = (0..20).find_map(|_| {
            let step = &direction * -length;
            let next = &at + &step;
            let (next_value, next_gradient) = objective(&next);
            if next_value <= value + SUFFICIENT_DECREASE * length * slope {
                return Some((step, next, next_value, next_gradient));
            }
            length *= 0.5;
            None
        });
        // No further decrease within rounding.
        let Some((step, next, next_value, next_gradient)) = accepted else {
            break;
        };
        let change = &next_gradient - &gradient;
        let curvature = dot(&step, &change);
        if curvature > 1e-12 * dot(&change, &change) {
            memory.push_back((step, change, 1.0 / curvature));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{mean_average_precision, top1};
    use inscon_aug::stream;
    use rand::{Rng, RngExt};

    const CONFIG: LogisticConfig = LogisticConfig {
        iterations: 60,
        weight_decay: 1e-4,
    };

    /// Rows around one centre a class, on very different scales a column.
    fn blobs(
        rows: usize,
        classes: usize,
        spread: f32,
        rng: &mut impl Rng,
    ) -> (Array2<f32>, Vec<usize>) {
        let labels: Vec<usize> = (0..rows).map(|i| i % classes).collect();
        let features = Array2::from_shape_fn((rows, 6), |(i, j)| {
            let centre = if labels[i] % 6 == j { 1.0 } else { 0.0 };
            let noise: f32 = rng.random_range(-1.0..1.0);
            (centre + spread * noise) * 10f32.powi(j as i32 - 3) + 5.0
        });
        (features, labels)
    }

    #[test]
    fn separable_classes_are_separated() {
        let mut rng = stream(1, &[]);
        let (train, train_labels) = blobs(400, 4, 0.4, &mut rng);
        let (val, val_labels) = blobs(200, 4, 0.4, &mut rng);
        let fit = LogisticRegression::fit(train.view(), &train_labels, 4, CONFIG);
        let scores = fit.scores(val.view());
        assert!(top1(&scores, &val_labels) > 0.99);
        assert!(mean_average_precision(&scores, &val_labels).0 > 0.99);
    }

    #[test]
    fn random_labels_stay_at_chance() {
        let mut rng = stream(2, &[]);
        let (train, _) = blobs(600, 4, 0.4, &mut rng);
        let (val, _) = blobs(600, 4, 0.4, &mut rng);
        let mut draw = |n| {
            (0..n)
                .map(|_| rng.random_range(0..4))
                .collect::<Vec<usize>>()
        };
        let (train_labels, val_labels) = (draw(600), draw(600));
        let fit = LogisticRegression::fit(train.view(), &train_labels, 4, CONFIG);
        let scores = fit.scores(val.view());
        // Chance is a quarter; three standard deviations of 600 draws are .053.
        assert!((top1(&scores, &val_labels) - 0.25).abs() < 0.055);
        assert!((mean_average_precision(&scores, &val_labels).0 - 0.25).abs() < 0.06);
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let mut rng = stream(3, &[]);
        let features = Array2::from_shape_fn((40, 3), |_| rng.random_range(-1.0..1.0f32));
        let labels: Vec<usize> = (0..40).map(|_| rng.random_range(0..3)).collect();
        let weight = Array2::from_shape_fn((4, 3), |_| rng.random_range(-1.0..1.0f64));
        let (_, gradient) = objective(&features, &labels, &weight, 0.1);
        for index in [(0, 0), (2, 1), (3, 2)] {
            let at = |delta: f64| {
                let mut moved = weight.clone();
                moved[index] += delta;
                objective(&features, &labels, &moved, 0.1).0
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!(
                (slope - gradient[index]).abs() < 1e-4,
                "{slope} against {}",
                gradient[index]
            );
        }
    }

    #[test]
    fn two_classes_meet_the_optimality_condition() {
        let features = ndarray::arr2(&[[-2.0f32], [-1.0], [0.5], [1.0], [-0.5], [2.0]]);
        let labels = [0, 0, 0, 1, 1, 1];
        let config = LogisticConfig {
            iterations: 200,
            weight_decay: 0.1,
        };
        let fit = LogisticRegression::fit(features.view(), &labels, 2, config);
        let standardized = fit.standardize(features.view());
        let (_, gradient) = objective(&standardized, &labels, &fit.weight, 0.1);
        assert!(gradient.iter().all(|g| g.abs() < 1e-4), "{gradient}");
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut rng = stream(4, &[]);
        let (features, labels) = blobs(5000, 3, 1.0, &mut rng);
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| LogisticRegression::fit(features.view(), &labels, 3, CONFIG).weight)
        };
        assert_eq!(fit(1), fit(3));
    }
}
