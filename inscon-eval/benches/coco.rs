//! COCO box evaluation on synthetic scenes, and the mask operations.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_eval::{
    Annotation, Category, CocoDataset, CocoParams, Detection, Image, IouType, Rle, evaluate_coco,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Scenes of about 7 objects and 40 detections each, over 20 classes.
fn scenes(images: u64) -> (CocoDataset, Vec<Detection>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(images);
    let (mut truth, mut found) = (CocoDataset::default(), Vec::new());
    truth.categories = (1..=20)
        .map(|id| Category {
            id,
            name: format!("c{id}"),
            supercategory: None,
        })
        .collect();
    for image_id in 1..=images {
        truth.images.push(Image {
            id: image_id,
            file_name: String::new(),
            width: 640,
            height: 480,
        });
        for _ in 0..rng.random_range(0..15) {
            let side = [rng.random_range(8.0..200.0), rng.random_range(8.0..200.0)];
            let bbox = [
                rng.random_range(0.0..440.0),
                rng.random_range(0.0..280.0),
                side[0],
                side[1],
            ];
            let category_id = rng.random_range(1..=20);
            truth.annotations.push(Annotation {
                id: truth.annotations.len() as u64 + 1,
                image_id,
                category_id,
                bbox,
                area: side[0] * side[1],
                iscrowd: rng.random_bool(0.01),
                ..Annotation::default()
            });
            for _ in 0..3 {
                let moved = bbox.map(|v| v + rng.random_range(-8.0..8.0));
                found.push(Detection::of_box(
                    image_id,
                    category_id,
                    rng.random(),
                    moved,
                ));
            }
        }
        for _ in 0..20 {
            let side = [rng.random_range(8.0..200.0), rng.random_range(8.0..200.0)];
            let bbox = [
                rng.random_range(0.0..440.0),
                rng.random_range(0.0..280.0),
                side[0],
                side[1],
            ];
            let category_id = rng.random_range(1..=20);
            found.push(Detection::of_box(image_id, category_id, rng.random(), bbox));
        }
    }
    (truth, found)
}

fn boxes(c: &mut Criterion) {
    let mut group = c.benchmark_group("evaluate_bbox");
    group.sample_size(10);
    for images in [100, 1000] {
        let (truth, found) = scenes(images);
        let params = CocoParams::new(IouType::Bbox);
        group.throughput(Throughput::Elements(found.len() as u64));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{images} images")),
            |b| {
                b.iter(|| {
                    evaluate_coco(black_box(&truth), &found, &params)
                        .unwrap()
                        .summary()
                });
            },
        );
    }
    group.finish();
}

fn masks(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask_480x640");
    let circle = |x: f64, y: f64, radius: f64| -> Vec<f64> {
        (0..40)
            .flat_map(|i| {
                let (sin, cos) = (f64::from(i) * std::f64::consts::TAU / 40.0).sin_cos();
                [x + radius * cos, y + radius * sin]
            })
            .collect()
    };
    let polygons = [circle(300.0, 200.0, 120.0)];
    let rle = Rle::from_polygons(&polygons, 480, 640).unwrap();
    let other = Rle::from_polygons(&[circle(340.0, 220.0, 130.0)], 480, 640).unwrap();
    let mask = rle.decode();
    group.bench_function("from_polygons", |b| {
        b.iter(|| Rle::from_polygons(black_box(&polygons), 480, 640).unwrap());
    });
    group.bench_function("encode", |b| {
        b.iter(|| Rle::encode(black_box(&mask), 480, 640))
    });
    group.bench_function("iou", |b| b.iter(|| black_box(&rle).iou(&other, false)));
    group.finish();
}

criterion_group!(benches, boxes, masks);
criterion_main!(benches);
