//! RoIAlign forward and backward, NMS, and a training step of a slim Mask R-CNN.
#![allow(missing_docs, clippy::unwrap_used)] // the macros of criterion

use burn::tensor::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_model::detection::{BitMask, RcnnConfig, Roi, RoiAlign, Target, nms};
use inscon_model::{ResNetConfig, normal};
use rand::{Rng, RngExt};
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

fn boxes(number: usize, side: f32, rng: &mut impl Rng) -> Vec<[f32; 4]> {
    (0..number)
        .map(|_| {
            let mut draw = |low: f32, high: f32| low + rng.random::<f32>() * (high - low);
            let (x, y) = (draw(0.0, 0.8 * side), draw(0.0, 0.8 * side));
            [
                x,
                y,
                (x + draw(4.0, 0.5 * side)).min(side),
                (y + draw(4.0, 0.5 * side)).min(side),
            ]
        })
        .collect()
}

/// RoIs per second, 64 channels.
fn roi_align(c: &mut Criterion) {
    let mut group = c.benchmark_group("RoIAlign, 64 channels, forward and backward");
    for (rois, output, cells) in [(128, 7, 32), (128, 7, 56), (32, 14, 56)] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let device = Device::flex().autodiff();
        let x: Tensor<4> = normal(1.0, [4, 64, cells, cells], &mut rng, &device);
        let x = x.require_grad();
        let align = RoiAlign {
            output,
            spatial_scale: 0.25,
            sampling_ratio: 0,
            aligned: true,
        };
        let rois: Vec<Roi> = boxes(rois, 4.0 * cells as f32, &mut rng)
            .into_iter()
            .enumerate()
            .map(|(i, bbox)| Roi { image: i % 4, bbox })
            .collect();
        group.throughput(Throughput::Elements(rois.len() as u64));
        let id =
            BenchmarkId::from_parameter(format!("{} of {output}, 4x{cells}x{cells}", rois.len()));
        group.bench_function(id, |b| {
            b.iter(|| align.forward(x.clone(), &rois).sum().backward());
        });
    }
}

fn suppression(c: &mut Criterion) {
    let mut group = c.benchmark_group("NMS at .7");
    for number in [300, 2000] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let boxes = boxes(number, 224.0, &mut rng);
        let scores: Vec<f32> = (0..number).map(|_| rng.random()).collect();
        group.throughput(Throughput::Elements(number as u64));
        group.bench_function(BenchmarkId::from_parameter(number), |b| {
            b.iter(|| nms(&boxes, &scores, 0.7, usize::MAX));
        });
    }
}

/// Images per second of forward and backward, ResNet-18 ×0.5 with a 64-channel pyramid.
fn training_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("slim Mask R-CNN step");
    group.sample_size(10);
    for side in [128, 224] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let device = Device::flex().autodiff();
        let resnet = ResNetConfig {
            depth: 18,
            width: 0.5,
            output_stride: 32,
        };
        let config = RcnnConfig {
            num_classes: 10,
            fpn_channels: 64,
            anchor_sizes: [16.0, 32.0, 64.0, 128.0].map(|size| vec![size]).to_vec(),
            rpn_pre_nms_train: 200,
            rpn_post_nms_train: 100,
            roi_batch_per_image: 64,
            pooler_canonical_size: 112.0,
            fc_dim: 256,
            mask_convs: 2,
            mask_channels: 64,
            ..Default::default()
        };
        let model = config.init(&resnet, &mut rng, &device).unwrap();
        let images: Tensor<4> = normal(1.0, [4, 3, side, side], &mut rng, &device);
        let targets: Vec<Target> = (0..4)
            .map(|_| Target {
                boxes: boxes(3, side as f32, &mut rng),
                labels: vec![0, 1, 2],
                masks: Some(vec![
                    BitMask {
                        height: side,
                        width: side,
                        data: vec![1; side * side]
                    };
                    3
                ]),
            })
            .collect();
        group.throughput(Throughput::Elements(4));
        group.bench_function(
            BenchmarkId::from_parameter(format!("4x3x{side}x{side}")),
            |b| {
                b.iter(|| {
                    let sizes = [[side, side]; 4];
                    let losses = model.forward_train(images.clone(), &sizes, &targets, &mut rng);
                    losses.total().backward()
                });
            },
        );
    }
}

criterion_group!(benches, roi_align, suppression, training_step);
criterion_main!(benches);
