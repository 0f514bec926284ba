//! Equality with pycocotools, bit for bit, on random cases and on the COCO API's own example.
//!
//! The goldens are made by `fixtures/generate.py`, which also makes more of them:
//! `INSCON_EVAL_CASES=DIR cargo test -p inscon-eval --test pycocotools`.

mod common;

use std::path::{Path, PathBuf};

use common::{digest, fixture, read};
use inscon_eval::{
    CocoDataset, CocoEvaluation, CocoParams, Detection, IouType, Rle, evaluate_coco,
    load_detections,
};
use ndarray::Axis;
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    truth: CocoDataset,
    detections: Vec<Detection>,
    params: CocoParams,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    stats: [f64; 12],
    table: String,
    shape: Vec<usize>,
    precision: String,
    recall: String,
    scores: String,
    precision_by_iou: Vec<f64>,
    class_ap: Vec<f64>,
}

/// Every element of every array, the twelve numbers, the printed table, the classes' AP.
fn check(name: &str, evaluation: &CocoEvaluation, expected: &Expected) {
    assert_eq!(evaluation.precision.shape(), expected.shape, "{name}");
    let by_iou: Vec<f64> = evaluation
        .precision
        .axis_iter(Axis(0))
        .map(|t| t.iter().sum::<f64>() / t.len().max(1) as f64)
        .collect();
    let difference = format!(
        "{name}: by IoU {by_iou:?}, expected {:?}",
        expected.precision_by_iou
    );
    assert_eq!(
        digest(&evaluation.precision),
        expected.precision,
        "precision, {difference}"
    );
    assert_eq!(
        digest(&evaluation.recall),
        expected.recall,
        "recall, {difference}"
    );
    assert_eq!(
        digest(&evaluation.scores),
        expected.scores,
        "scores, {difference}"
    );
    let summary = evaluation.summary();
    assert_eq!(digest(&summary.stats()), digest(&expected.stats), "{name}");
    assert_eq!(summary.to_string(), expected.table, "{name}");
    // Without a limit of 100, pycocotools has no `ap`.
    if summary.max_detections[2] == 100 {
        let aps: Vec<f64> = summary.per_class.iter().map(|class| class.ap).collect();
        assert_eq!(aps, expected.class_ap, "{name}");
    }
}

#[test]
fn random_cases() {
    let Cases { cases } = fixture("coco.json");
    for case in &cases {
        let evaluation = evaluate_coco(&case.truth, &case.detections, &case.params)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        check(&case.name, &evaluation, &case.expected);
    }
    println!("{} cases equal to pycocotools", cases.len());
}

#[test]
fn threads_do_not_matter() {
    let Cases { cases } = fixture("coco.json");
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    for case in cases.iter().take(8) {
        let run = || evaluate_coco(&case.truth, &case.detections, &case.params).unwrap();
        let (one, four) = (pool(1).install(run), pool(4).install(run));
        assert_eq!(
            digest(&one.precision),
            digest(&four.precision),
            "{}",
            case.name
        );
        assert_eq!(digest(&one.scores), digest(&four.scores), "{}", case.name);
    }
}

/// `instances_val2014_100.json` of the COCO API. Its data is not part of this repository.
#[test]
fn the_coco_apis_example() {
    let shared = std::env::var_os("INSCON_SHARED").map(PathBuf::from);
    let shared =
        shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let folder = shared.join("data/cocoeval");
    if !folder.is_dir() {
        println!(
            "skipped: {} is not there (set INSCON_SHARED)",
            folder.display()
        );
        return;
    }
    #[derive(Deserialize)]
    struct Real {
        bbox: Expected,
        segm: Expected,
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cocoeval.json");
    let expected: Real = read(&golden);
    let truth = CocoDataset::load(folder.join("instances_val2014_100.json")).unwrap();
    for (iou_type, name, expected, printed) in [
        (IouType::Bbox, "bbox", &expected.bbox, "0.505"),
        (IouType::Segm, "segm", &expected.segm, "0.320"),
    ] {
        let file = folder.join(format!("instances_val2014_fake{name}100_results.json"));
        let detections = load_detections(file).unwrap();
        let evaluation = evaluate_coco(&truth, &detections, &CocoParams::new(iou_type)).unwrap();
        check(name, &evaluation, expected);
        assert!(
            evaluation
                .summary()
                .to_string()
                .lines()
                .next()
                .unwrap()
                .ends_with(printed)
        );
    }
}

#[derive(Deserialize)]
struct Masks {
    polygons: Vec<Polygons>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Polygons {
    height: u32,
    width: u32,
    polygons: Vec<Vec<f64>>,
    text: String,
    area: u32,
    bbox: [f64; 4],
}

#[derive(Deserialize)]
struct Pair {
    height: u32,
    width: u32,
    counts: [Vec<u32>; 2],
    text: [String; 2],
    area: [u32; 2],
    bbox: [[f64; 4]; 2],
    iou: f64,
    crowd_iou: f64,
    union: String,
    intersection: String,
}

#[test]
fn polygons_are_rasterised_alike() {
    let Masks { polygons, .. } = fixture("masks.json");
    for p in &polygons {
        let rle = Rle::from_polygons(&p.polygons, p.height, p.width).unwrap();
        assert_eq!(
            rle.to_string(),
            p.text,
            "{:?} on {}x{}",
            p.polygons,
            p.height,
            p.width
        );
        assert_eq!(
            (rle.area(), rle.bbox()),
            (p.area, p.bbox),
            "{:?}",
            p.polygons
        );
    }
}

#[test]
fn masks_are_compared_and_merged_alike() {
    let Masks { pairs, .. } = fixture("masks.json");
    for p in &pairs {
        let rles = p
            .counts
            .clone()
            .map(|counts| Rle::new(p.height, p.width, counts).unwrap());
        for (i, rle) in rles.iter().enumerate() {
            assert_eq!(rle.to_string(), p.text[i], "{:?}", p.counts);
            assert_eq!(
                (rle.area(), rle.bbox()),
                (p.area[i], p.bbox[i]),
                "{:?}",
                p.counts
            );
        }
        assert_eq!(rles[0].iou(&rles[1], false), p.iou, "{:?}", p.counts);
        assert_eq!(rles[0].iou(&rles[1], true), p.crowd_iou, "{:?}", p.counts);
        let canonical = rles.map(|rle| Rle::encode(&rle.decode(), p.height, p.width));
        let merged = |intersect| Rle::merge(&canonical, intersect).unwrap().to_string();
        assert_eq!(merged(false), p.union, "{:?}", p.counts);
        assert_eq!(merged(true), p.intersection, "{:?}", p.counts);
    }
}
