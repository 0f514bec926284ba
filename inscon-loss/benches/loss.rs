//! Forward, and forward with backward, of the whole loss: batch × grid against a queue of 4,096.
#![allow(missing_docs)]

use std::{hint::black_box, time::Duration};

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_loss::{CellInput, InsConInput, InsConLoss, InsConLossConfig, Views};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const DIM: usize = 128;
const QUEUE: usize = 4096;
/// Cells along a side of a tile of 224 pixels.
const SIDE: usize = 7;

fn unit_rows(rng: &mut Xoshiro256PlusPlus, rows: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..rows * DIM)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    let x = Tensor::<2>::from_data(TensorData::new(values, [rows, DIM]), device);
    x.clone() / x.square().sum_dim(1).sqrt()
}

fn views(rng: &mut Xoshiro256PlusPlus, tiles: usize, device: &Device) -> Views {
    let boxes: Vec<f32> = (0..tiles)
        .flat_map(|_| {
            let (x, y) = (rng.random_range(0.0..100.0), rng.random_range(0.0..100.0));
            [
                x,
                y,
                x + rng.random_range(100.0..300.0),
                y + rng.random_range(100.0..300.0),
            ]
        })
        .collect();
    let flips: Vec<f32> = (0..tiles)
        .map(|_| f32::from(rng.random_bool(0.5) as u8))
        .collect();
    Views {
        boxes: Tensor::from_data(TensorData::new(boxes, [tiles, 4]), device),
        flips: Tensor::from_data(TensorData::new(flips, [tiles]), device),
    }
}

fn input(tiles: usize, grid: usize, device: &Device) -> InsConInput {
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(0);
    let mut cells =
        || unit_rows(rng, tiles * SIDE * SIDE, device).reshape([tiles, SIDE * SIDE, DIM]);
    let (query, key) = (cells(), cells());
    let cells = CellInput {
        query: query.detach(),
        key: key.detach(),
        queue: Some(unit_rows(rng, QUEUE, device)),
        query_views: views(rng, tiles, device),
        key_views: views(rng, tiles, device),
        tiles_per_canvas: grid * grid,
        maps: None,
    };
    InsConInput {
        query: unit_rows(rng, tiles, device),
        key: unit_rows(rng, tiles, device),
        queue: Some(unit_rows(rng, QUEUE, device)),
        cells: Some(cells),
    }
}

fn bench(c: &mut Criterion) {
    let loss = InsConLoss::new(InsConLossConfig::default());
    let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
    let mut group = c.benchmark_group("inscon_queue_4096");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    for batch in [32, 64] {
        for grid in [1, 2, 4] {
            group.throughput(Throughput::Elements(batch as u64));
            let name = format!("batch_{batch}_grid_{grid}");
            let tensors = input(batch, grid, &plain);
            group.bench_function(BenchmarkId::new("forward", &name), |b| {
                b.iter(|| black_box(loss.forward(tensors.clone(), 0.5).total.into_data()));
            });
            let mut tensors = input(batch, grid, &autodiff);
            tensors.query = tensors.query.require_grad();
            if let Some(cells) = &mut tensors.cells {
                cells.query = cells.query.clone().require_grad();
            }
            group.bench_function(BenchmarkId::new("forward_backward", &name), |b| {
                b.iter(|| {
                    let grads = loss.forward(tensors.clone(), 0.5).total.backward();
                    black_box(tensors.query.grad(&grads).map(Tensor::into_data))
                });
            });
        }
    }
    // The instance term alone, with the recipe's queue.
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    let tensors = InsConInput {
        query: unit_rows(rng, 64, &plain),
        key: unit_rows(rng, 64, &plain),
        queue: Some(unit_rows(rng, 65_536, &plain)),
        cells: None,
    };
    group.bench_function(
        BenchmarkId::new("forward", "instance_64_queue_65536"),
        |b| {
            b.iter(|| black_box(loss.forward(tensors.clone(), 0.0).total.into_data()));
        },
    );
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
