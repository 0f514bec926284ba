//! Overlaps of boxes, in pairs a second, and every operation on masks, in masks a second.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

mod scenes;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_eval::{Rle, box_iou};
use scenes::{boxes, ellipse, settings};

fn box_overlaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("box_iou");
    for count in [10, 100, 1000] {
        let (found, truth) = (boxes(count, 1), boxes(count, 2));
        group.throughput(Throughput::Elements((count * count) as u64));
        group.bench_function(BenchmarkId::new("square", count), |b| {
            b.iter(|| {
                let mut sum = 0.0;
                for found in black_box(&found) {
                    for truth in &truth {
                        sum += box_iou(found, truth, false);
                    }
                }
                sum
            });
        });
    }
    group.finish();
}

fn masks(c: &mut Criterion) {
    for (height, width) in [(120, 160), (480, 640), (1080, 1920)] {
        let mut group = c.benchmark_group(format!("mask_{height}x{width}"));
        group.throughput(Throughput::Elements(1));
        let (h, w) = (f64::from(height), f64::from(width));
        let polygon = [ellipse([0.2 * w, 0.2 * h, 0.5 * w, 0.5 * h])];
        let other = [ellipse([0.3 * w, 0.25 * h, 0.5 * w, 0.5 * h])];
        let rle = Rle::from_polygons(&polygon, height, width).unwrap();
        let other = Rle::from_polygons(&other, height, width).unwrap();
        let (picture, text) = (rle.decode(), rle.to_string());
        group.bench_function("from_polygons", |b| {
            b.iter(|| Rle::from_polygons(black_box(&polygon), height, width).unwrap());
        });
        group.bench_function("from_string", |b| {
            b.iter(|| Rle::from_string(black_box(&text), height, width).unwrap());
        });
        group.bench_function("to_string", |b| b.iter(|| black_box(&rle).to_string()));
        group.bench_function("encode", |b| {
            b.iter(|| Rle::encode(black_box(&picture), height, width));
        });
        group.bench_function("decode", |b| b.iter(|| black_box(&rle).decode()));
        group.bench_function("iou", |b| b.iter(|| black_box(&rle).iou(&other, false)));
        group.bench_function("boundary", |b| b.iter(|| black_box(&rle).boundary(0.02)));
        group.finish();
    }
}

criterion_group! { name = benches; config = settings(); targets = box_overlaps, masks }
criterion_main!(benches);
