//! Matching with accumulation, the summary, and a whole run from the bytes of two files; in
//! detections a second.
#![expect(clippy::unwrap_used, reason = "a bench may stop at a surprise")]

mod scenes;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_eval::{CocoParams, GroundTruth, IouType, Results, evaluate};
use scenes::{SIZES, json, scenes, settings};

const KINDS: [IouType; 3] = [IouType::Bbox, IouType::Segm, IouType::Keypoints];

fn columns(c: &mut Criterion) {
    for iou_type in KINDS {
        let mut group = c.benchmark_group(format!("evaluate_{iou_type:?}"));
        for images in SIZES {
            let (truth, found) = scenes(images, iou_type);
            let params = CocoParams::new(iou_type);
            let truth = GroundTruth::from_dataset(&truth, iou_type);
            let results = Results::from_detections(&found, iou_type);
            group.throughput(Throughput::Elements(found.len() as u64));
            group.bench_function(BenchmarkId::new("images", images), |b| {
                b.iter(|| evaluate(black_box(&truth), &results, &params).unwrap());
            });
        }
        group.finish();
    }
}

fn summary(c: &mut Criterion) {
    let mut group = c.benchmark_group("summary");
    let (truth, found) = scenes(SIZES[0], IouType::Bbox);
    // Its work grows with the classes, not with the images.
    for classes in [5, 20, 80] {
        let mut params = CocoParams::new(IouType::Bbox);
        params.category_ids = Some((1..=classes).collect());
        let evaluation = inscon_eval::evaluate_coco(&truth, &found, &params).unwrap();
        group.bench_function(BenchmarkId::new("classes", classes), |b| {
            b.iter(|| black_box(&evaluation).summary());
        });
    }
    group.finish();
}

fn whole_runs(c: &mut Criterion) {
    for iou_type in KINDS {
        let mut group = c.benchmark_group(format!("bytes_to_summary_{iou_type:?}"));
        for images in SIZES {
            let (truth, found) = scenes(images, iou_type);
            let params = CocoParams::new(iou_type);
            let (truth, results) = (json(&truth), json(&found));
            group.throughput(Throughput::Elements(found.len() as u64));
            group.bench_function(BenchmarkId::new("images", images), |b| {
                b.iter(|| {
                    let truth = GroundTruth::read(black_box(&truth[..]), "truth", iou_type);
                    let results = Results::read(&results[..], "results", iou_type);
                    let evaluation = evaluate(&truth.unwrap(), &results.unwrap(), &params);
                    evaluation.unwrap().summary()
                });
            });
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = settings(); targets = columns, summary, whole_runs }
criterion_main!(benches);
