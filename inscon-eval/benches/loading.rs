//! Reading truth and results, in bytes of the file a second.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

mod scenes;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_eval::{GroundTruth, IouType, Results};
use scenes::{SIZES, json, scenes, settings};

fn truth(c: &mut Criterion) {
    for iou_type in [IouType::Bbox, IouType::Segm, IouType::Keypoints] {
        let mut group = c.benchmark_group(format!("load_truth_{iou_type:?}"));
        for images in SIZES {
            let text = json(&scenes(images, iou_type).0);
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new("images", images), |b| {
                b.iter(|| GroundTruth::read(black_box(&text[..]), "bench", iou_type).unwrap());
            });
        }
        group.finish();
    }
}

fn results(c: &mut Criterion) {
    for iou_type in [IouType::Bbox, IouType::Segm, IouType::Keypoints] {
        let mut group = c.benchmark_group(format!("load_results_{iou_type:?}"));
        for images in SIZES {
            let text = json(&scenes(images, iou_type).1);
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new("images", images), |b| {
                b.iter(|| Results::read(black_box(&text[..]), "bench", iou_type).unwrap());
            });
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = settings(); targets = truth, results }
criterion_main!(benches);
