//! One pretraining step of the networks (query forward and backward, key forward), and batch norm.
#![allow(missing_docs, clippy::unwrap_used)] // the macros of criterion

use burn::tensor::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_model::{BatchNorm2d, Encoder, EncoderConfig, NormMode, ResNetConfig, Split, normal};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

fn embed(encoder: &Encoder, canvases: Tensor<4>, grid: usize, groups: usize) -> Tensor<1> {
    let out = encoder.forward(canvases, grid, Split::Slice, NormMode::Train, groups);
    out.instance.sum() + out.cells.unwrap().sum()
}

/// Images per second of a step, half-width ResNet-18.
fn pretrain_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("pretrain step, ResNet-18 ×0.5");
    group.sample_size(10);
    for (canvases, side, grid) in [(8, 128, 2), (32, 64, 1)] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let resnet = ResNetConfig {
            depth: 18,
            width: 0.5,
            output_stride: 32,
        };
        let config = EncoderConfig {
            resnet,
            hidden: 0,
            dim: 128,
            cell_head: true,
        };
        let query = config.init(&mut rng, &Device::flex().autodiff()).unwrap();
        let key = query.to_key();
        let x: Tensor<4> = normal(1.0, [canvases, 3, side, side], &mut rng, &Device::flex());
        group.throughput(Throughput::Elements((canvases * grid * grid) as u64));
        let id = BenchmarkId::from_parameter(format!("{canvases}x3x{side}x{side}"));
        group.bench_function(id, |b| {
            b.iter(|| {
                let _ = embed(&query, x.clone().autodiff(), grid, 1).backward();
                embed(&key, x.clone(), grid, 4)
            });
        });
    }
}

fn batch_norm(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch norm");
    for shape in [[32, 32, 32, 32], [32, 128, 4, 4]] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let device = Device::flex().autodiff();
        let norm = BatchNorm2d::new(shape[1], &device);
        let x: Tensor<4> = normal(1.0, shape, &mut rng, &device);
        let x = x.require_grad();
        let id = BenchmarkId::new("forward and backward", format!("{shape:?}"));
        group.bench_function(id, |b| {
            b.iter(|| norm.forward(x.clone(), NormMode::Train, 1).sum().backward());
        });
    }
}

criterion_group!(benches, pretrain_step, batch_norm);
criterion_main!(benches);
