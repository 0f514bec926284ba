//! RoIAlign forward and backward, NMS, and a training step of a slim Mask R-CNN.
#![allow(missing_docs, clippy::unwrap_used)] // the macros of criterion

use burn::tensor::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_model::detection::{BitMask, MaskRcnnConfig, Roi, RoiAlign, Target, nms};
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

/// Boxes as an RPN proposes them in an image of `[height, width]`: many around each of 40 objects,
/// the rest anywhere.
fn proposals(number: usize, [height, width]: [f32; 2], rng: &mut impl Rng) -> Vec<[f32; 4]> {
    let anywhere = |rng: &mut dyn FnMut() -> f32| {
        let (side, ratio) = (24.0 * 20f32.powf(rng()), 2f32.powf(2.0 * rng() - 1.0));
        [
            rng() * width,
            rng() * height,
            side / ratio.sqrt(),
            side * ratio.sqrt(),
        ]
    };
    let mut unit = || rng.random::<f32>();
    let objects: Vec<[f32; 4]> = (0..40).map(|_| anywhere(&mut unit)).collect();
    (0..number)
        .map(|i| {
            let [x, y, w, h] = if i % 5 < 3 {
                let [x, y, w, h] = objects[(unit() * 40.0) as usize];
                let mut jitter = |by: f32| (2.0 * unit() - 1.0) * by;
                let (x, y) = (x + jitter(0.2) * w, y + jitter(0.2) * h);
                [x, y, w * jitter(0.4).exp(), h * jitter(0.4).exp()]
            } else {
                anywhere(&mut unit)
            };
            let [x0, x1] = [x - w / 2.0, x + w / 2.0].map(|x| x.clamp(0.0, width));
            let [y0, y1] = [y - h / 2.0, y + h / 2.0].map(|y| y.clamp(0.0, height));
            [x0, y0, x1, y1]
        })
        .collect()
}

/// RoIs per second: 512 of two images, 256 channels of stride 16.
fn roi_align(c: &mut Criterion) {
    let mut group = c.benchmark_group("RoIAlign, 512 RoIs, 2x256x50x84");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let device = Device::flex();
    let x: Tensor<4> = normal(1.0, [2, 256, 50, 84], &mut rng, &device);
    let rois: Vec<Roi> = proposals(512, [800.0, 1344.0], &mut rng)
        .into_iter()
        .enumerate()
        .map(|(i, bbox)| Roi { image: i % 2, bbox })
        .collect();
    group.throughput(Throughput::Elements(rois.len() as u64));
    for output in [7, 14] {
        let align = RoiAlign {
            output,
            spatial_scale: 1.0 / 16.0,
            sampling_ratio: 0,
            aligned: true,
        };
        let bins = format!("{output}x{output}");
        group.bench_function(BenchmarkId::new("forward", &bins), |b| {
            b.iter(|| align.forward(x.clone(), &rois));
        });
        let leaf = x.clone().autodiff().require_grad();
        group.bench_function(BenchmarkId::new("forward and backward", &bins), |b| {
            b.iter(|| align.forward(leaf.clone(), &rois).backward());
        });
    }
}

fn suppression(c: &mut Criterion) {
    let mut group = c.benchmark_group("NMS at .7");
    for number in [300, 2000, 12_000] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let boxes = proposals(number, [800.0, 1344.0], &mut rng);
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
        let config = MaskRcnnConfig {
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
