//! What must hold for any batch: order does not matter, no match is harmless, constants are
//! constants.

mod reference;
mod support;

use burn::tensor::Device;
use inscon_loss::{CellInstanceLoss, CellLossConfig, InsConLoss, InsConLossConfig};
use proptest::prelude::*;
use rand::{SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;
use reference::{Batch, Sizes, View, random_batch};
use support::{assert_close, cell_input, input, number, numbers};

const SIZES: Sizes = Sizes {
    canvases: 3,
    tiles_per_canvas: 4,
    side: 2,
    dim: 6,
    queue: 8,
};

/// The batch with tile `order[i]` in place i.
fn reorder(batch: &Batch, order: &[usize]) -> Batch {
    fn pick<T: Clone>(items: &[T], order: &[usize]) -> Vec<T> {
        order.iter().map(|&i| items[i].clone()).collect()
    }
    Batch {
        query: pick(&batch.query, order),
        key: pick(&batch.key, order),
        query_cells: pick(&batch.query_cells, order),
        key_cells: pick(&batch.key_cells, order),
        query_maps: pick(&batch.query_maps, order),
        key_maps: pick(&batch.key_maps, order),
        query_views: pick(&batch.query_views, order),
        key_views: pick(&batch.key_views, order),
        ..batch.clone()
    }
}

fn total(batch: &Batch, config: &InsConLossConfig) -> f64 {
    number(
        &InsConLoss::new(config.clone())
            .forward(input(batch, &Device::flex()), 0.5)
            .total,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn order_of_canvases_slots_and_queue_does_not_matter(seed in any::<u64>()) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let batch = random_batch(&mut rng, SIZES);
        let mut canvases = [0, 1, 2];
        canvases.shuffle(&mut rng);
        let order: Vec<usize> = canvases
            .into_iter()
            .flat_map(|canvas| {
                let mut slots = [0, 1, 2, 3];
                slots.shuffle(&mut rng);
                slots.map(|slot| canvas * 4 + slot)
            })
            .collect();
        let mut shuffled = reorder(&batch, &order);
        shuffled.queue.shuffle(&mut rng);
        shuffled.cell_queue.shuffle(&mut rng);
        let config = InsConLossConfig::default();
        assert_close("total", total(&shuffled, &config), total(&batch, &config), 1e-6);
    }
}

#[test]
fn moving_a_tile_to_another_canvas_matters_only_with_other_tiles() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
    let batch = random_batch(&mut rng, SIZES);
    let moved = reorder(&batch, &[0, 4, 2, 3, 1, 5, 6, 7, 8, 9, 10, 11]);
    let mut config = InsConLossConfig::default();
    assert!((total(&moved, &config) - total(&batch, &config)).abs() > 1e-4);
    config.cell.other_tiles = false;
    assert_close(
        "total",
        total(&moved, &config),
        total(&batch, &config),
        1e-6,
    );
}

/// Every key view moved far from its query view.
fn apart(mut batch: Batch, tiles: std::ops::Range<usize>) -> Batch {
    for view in &mut batch.key_views[tiles] {
        *view = View {
            x0: view.x0 + 5000.0,
            x1: view.x1 + 5000.0,
            ..*view
        };
    }
    batch
}

#[test]
fn no_match_at_all_is_zero_with_zero_gradient() {
    let device = Device::flex().autodiff();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let batch = apart(random_batch(&mut rng, SIZES), 0..12);
    // With and without negatives: without any, both sums run over nothing.
    for on in [true, false] {
        let config = CellLossConfig {
            far_cells: on,
            other_tiles: on,
            queue: on,
            ..CellLossConfig::default()
        };
        let mut tensors = cell_input(&batch, &device);
        tensors.query = tensors.query.require_grad();
        let query = tensors.query.clone();
        let out = CellInstanceLoss {
            temperature: 0.2,
            config,
        }
        .forward(tensors);
        for term in [&out.loss, &out.pull, &out.push, &out.matched_cells] {
            assert_eq!(number(term), 0.0);
        }
        assert_eq!(number(&out.unmatched_tiles), 1.0);
        let grads = out.loss.backward();
        assert!(
            numbers(&query.grad(&grads).unwrap())
                .iter()
                .all(|&slope| slope == 0.0)
        );
    }
}

#[test]
fn unmatched_tiles_take_no_gradient_and_leave_the_mean() {
    let device = Device::flex().autodiff();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(8);
    let batch = apart(random_batch(&mut rng, SIZES), 0..5);
    let config = CellLossConfig {
        positive_below: 0.99,
        ..CellLossConfig::default()
    };
    let mut tensors = cell_input(&batch, &device);
    tensors.query = tensors.query.require_grad();
    let query = tensors.query.clone();
    let out = CellInstanceLoss {
        temperature: 0.2,
        config: config.clone(),
    }
    .forward(tensors);
    let want = reference::loss(
        &batch,
        &InsConLossConfig {
            cell: config,
            ..InsConLossConfig::default()
        },
        1.0,
    );
    assert_close("cell", number(&out.loss), want.cell, 2e-6);
    let slopes = numbers(&query.grad(&out.loss.backward()).unwrap());
    let (unmatched, matched) = slopes.split_at(5 * 4 * 6);
    assert!(unmatched.iter().all(|&slope| slope == 0.0));
    assert!(matched.iter().any(|&slope| slope != 0.0));
    assert!(matched.iter().all(|slope| slope.is_finite()));
}

#[test]
fn keys_on_the_plain_device_and_keys_on_autodiff_give_the_same() {
    let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(9);
    let batch = random_batch(&mut rng, SIZES);
    let loss = InsConLoss::new(InsConLossConfig::default());
    let run = |keys: &Device| {
        let mut tensors = input(&batch, keys);
        let own = input(&batch, &autodiff);
        tensors.query = own.query.require_grad();
        let query = tensors.query.clone();
        let cells = tensors.cells.as_mut().unwrap();
        cells.query = own.cells.unwrap().query.require_grad();
        let query_cells = cells.query.clone();
        let out = loss.forward(tensors, 0.5);
        let grads = out.total.backward();
        let slopes = [
            numbers(&query.grad(&grads).unwrap()),
            numbers(&query_cells.grad(&grads).unwrap()),
        ];
        (number(&out.total), slopes)
    };
    assert_eq!(run(&plain), run(&autodiff));
}

#[test]
fn statistics_are_off_autodiff() {
    let device = Device::flex().autodiff();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(10);
    let stats = InsConLoss::new(InsConLossConfig::default())
        .forward(input(&random_batch(&mut rng, SIZES), &device), 0.5)
        .stats;
    let cell = [
        stats.cell_feature_std,
        stats.unmatched_tiles,
        stats.matched_cells,
    ];
    for stat in [stats.top1, stats.top5, stats.logit_mean, stats.feature_std]
        .into_iter()
        .chain(cell.map(|stat| stat.expect("cells were given")))
    {
        assert!(!stat.is_autodiff());
    }
}

#[test]
fn types_are_send_and_sync() {
    fn check<T: Send + Sync + Unpin>() {}
    check::<InsConLoss>();
    check::<InsConLossConfig>();
    check::<inscon_loss::InsConInput>();
    check::<inscon_loss::InsConOutput>();
    check::<inscon_loss::LossConfigError>();
}
