//! Values, statistics and gradients against the f64 reference of `reference/mod.rs`.

mod reference;
mod support;

use burn::tensor::Device;
use inscon_loss::{
    CellLossConfig, InsConLoss, InsConLossConfig, InsConOutput, Matching, Negatives,
};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use reference::{Batch, Sizes, random_batch};
use support::{assert_close, input, number, numbers};

/// Every combination of the switches.
fn switches() -> Vec<InsConLossConfig> {
    let mut configs = Vec::new();
    for negatives in [Negatives::Queue, Negatives::QueueAndBatch, Negatives::Batch] {
        for matching in [Matching::Distance, Matching::Densecl] {
            for bits in 0..8 {
                configs.push(InsConLossConfig {
                    negatives,
                    cell: CellLossConfig {
                        matching,
                        far_cells: bits & 1 != 0,
                        other_tiles: bits & 2 != 0,
                        queue: bits & 4 != 0,
                        ..CellLossConfig::default()
                    },
                    ..InsConLossConfig::default()
                });
            }
        }
    }
    configs
}

/// Shapes: grid 1, 2 and 3, one to nine cells.
fn sizes() -> Vec<Sizes> {
    let of = |canvases, tiles_per_canvas, side, dim, queue| Sizes {
        canvases,
        tiles_per_canvas,
        side,
        dim,
        queue,
    };
    vec![
        of(3, 1, 2, 4, 5),
        of(2, 4, 2, 3, 6),
        of(1, 4, 3, 5, 9),
        of(1, 9, 1, 4, 3),
    ]
}

#[track_caller]
fn check_values(out: &InsConOutput, want: reference::Loss, tolerance: f64) {
    let stats = &out.stats;
    for (name, got, want) in [
        ("total", Some(&out.total), want.total),
        ("instance", Some(&out.instance), want.instance),
        ("cell", out.cell.as_ref(), want.cell),
        ("pull", out.pull.as_ref(), want.pull),
        ("push", out.push.as_ref(), want.push),
        ("top1", Some(&stats.top1), want.top1),
        ("top5", Some(&stats.top5), want.top5),
        ("logit_mean", Some(&stats.logit_mean), want.logit_mean),
        ("feature_std", Some(&stats.feature_std), want.feature_std),
        (
            "cell_feature_std",
            stats.cell_feature_std.as_ref(),
            want.cell_feature_std,
        ),
        (
            "unmatched_tiles",
            stats.unmatched_tiles.as_ref(),
            want.unmatched_tiles,
        ),
        (
            "matched_cells",
            stats.matched_cells.as_ref(),
            want.matched_cells,
        ),
    ] {
        assert_close(name, number(got.expect(name)), want, tolerance);
    }
}

#[test]
fn every_switch_on_every_shape_agrees() {
    let device = Device::flex();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut partly_matched = 0;
    for sizes in sizes() {
        for config in switches() {
            let batch = random_batch(&mut rng, sizes);
            let want = reference::loss(&batch, &config, 0.3);
            partly_matched += usize::from(want.matched_cells > 0.0 && want.matched_cells < 1.0);
            let out = InsConLoss::new(config).forward(input(&batch, &device), 0.3);
            check_values(&out, want, 2e-6);
        }
    }
    assert!(
        partly_matched > 30,
        "only {partly_matched} batches exercise the mean's mask"
    );
}

#[test]
fn weights_thresholds_and_temperatures_agree() {
    let device = Device::flex();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    for (temperature, pull, push, positive_below, negative_from, lambda) in [
        (0.2, 1.0, 0.0, 0.7, 1.0, 0.5),
        (0.2, 0.0, 1.0, 0.7, 1.0, 1.0),
        (1.0, 0.25, 2.0, 1.3, 1.3, 0.0),
        (0.07, 1.0, 1.0, 0.4, 2.0, 0.9),
        // Logits up to ±200: exp would overflow f32.
        (0.005, 1.0, 1.0, 0.7, 1.0, 0.5),
    ] {
        for sizes in sizes() {
            let config = InsConLossConfig {
                temperature,
                lambda,
                cell: CellLossConfig {
                    pull,
                    push,
                    positive_below,
                    negative_from,
                    ..CellLossConfig::default()
                },
                ..InsConLossConfig::default()
            };
            let batch = loop {
                let batch = random_batch(&mut rng, sizes);
                if thresholds_are_clear(&batch, positive_below, negative_from) {
                    break batch;
                }
            };
            let want = reference::loss(&batch, &config, lambda);
            let out = InsConLoss::new(config).forward(input(&batch, &device), lambda);
            check_values(&out, want, 5e-6);
        }
    }
}

fn thresholds_are_clear(batch: &Batch, positive_below: f64, negative_from: f64) -> bool {
    let cells = batch.side * batch.side;
    batch
        .query_views
        .iter()
        .zip(&batch.key_views)
        .all(|(&query, &key)| {
            (0..cells * cells).all(|i| {
                let d = reference::distance(query, key, batch.side, i / cells, i % cells);
                (d - positive_below).abs() > 1e-4 && (d - negative_from).abs() > 1e-4
            })
        })
}

#[test]
fn gradients_agree_with_finite_differences_of_the_reference() {
    let device = Device::flex().autodiff();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    for sizes in sizes() {
        for config in switches().into_iter().step_by(3) {
            let batch = random_batch(&mut rng, sizes);
            let mut tensors = input(&batch, &device);
            tensors.query = tensors.query.require_grad();
            tensors.key = tensors.key.require_grad();
            let cells = tensors.cells.as_mut().unwrap();
            cells.query = cells.query.clone().require_grad();
            cells.key = cells.key.clone().require_grad();
            let (query, key) = (tensors.query.clone(), tensors.key.clone());
            let (query_cells, key_cells) = (cells.query.clone(), cells.key.clone());

            let grads = InsConLoss::new(config.clone())
                .forward(tensors, 0.4)
                .total
                .backward();

            assert!(key.grad(&grads).is_none() && key_cells.grad(&grads).is_none());
            let loss = |batch: &Batch| reference::loss(batch, &config, 0.4).total;
            let got = numbers(&query.grad(&grads).unwrap());
            let want = slopes(&batch, loss, |batch, i| {
                let dim = batch.query[0].len();
                &mut batch.query[i / dim][i % dim]
            });
            check_slopes(&got, &want);
            let got = numbers(&query_cells.grad(&grads).unwrap());
            let want = slopes(&batch, loss, |batch, i| {
                let (cells, dim) = (batch.query_cells[0].len(), batch.query_cells[0][0].len());
                &mut batch.query_cells[i / dim / cells][i / dim % cells][i % dim]
            });
            check_slopes(&got, &want);
        }
    }
}

/// Central differences with respect to each number that `at` reaches.
fn slopes(
    batch: &Batch,
    loss: impl Fn(&Batch) -> f64,
    at: impl Fn(&mut Batch, usize) -> &mut f64,
) -> impl Fn(usize) -> f64 {
    const STEP: f64 = 1e-5;
    let batch = batch.clone();
    move |i| {
        let mut moved = batch.clone();
        *at(&mut moved, i) += STEP;
        let above = loss(&moved);
        *at(&mut moved, i) -= 2.0 * STEP;
        (above - loss(&moved)) / (2.0 * STEP)
    }
}

#[track_caller]
fn check_slopes(got: &[f32], want: &impl Fn(usize) -> f64) {
    for (i, &got) in got.iter().enumerate() {
        assert_close(&format!("slope {i}"), f64::from(got), want(i), 2e-6);
    }
}

#[test]
fn a_long_queue_is_gathered_in_blocks() {
    // 9 tiles of 9 cells: 81 rows; 2²⁰ / 81 = 12,945 rows a block, so 40,000 take four.
    let device = Device::flex().autodiff();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
    let sizes = Sizes {
        canvases: 1,
        tiles_per_canvas: 9,
        side: 3,
        dim: 4,
        queue: 40_000,
    };
    let batch = random_batch(&mut rng, sizes);
    let config = InsConLossConfig::default();
    let mut tensors = input(&batch, &device);
    let cells = tensors.cells.as_mut().unwrap();
    cells.query = cells.query.clone().require_grad();
    let query_cells = cells.query.clone();
    let out = InsConLoss::new(config.clone()).forward(tensors, 1.0);
    check_values(&out, reference::loss(&batch, &config, 1.0), 5e-6);

    let got = numbers(&query_cells.grad(&out.total.backward()).unwrap());
    let loss = |batch: &Batch| reference::loss(batch, &config, 1.0).total;
    let want = slopes(&batch, loss, |batch, i| {
        &mut batch.query_cells[i / 36][i / 4 % 9][i % 4]
    });
    for i in [0, 101, 202, 323] {
        assert_close("slope", f64::from(got[i]), want(i), 2e-6);
    }
}
