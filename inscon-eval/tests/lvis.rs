//! Equality with lvis-api, bit for bit, on random cases.
//!
//! The goldens are made by `fixtures/generate_lvis.py`, which also makes more of them.

mod common;

use std::path::{Path, PathBuf};

use common::digest;
use inscon_eval::{IouType, LvisEvaluation, LvisParams, LvisTruth, Results, evaluate_lvis};
use serde::Deserialize;

#[derive(Deserialize)]
struct Verdict {
    name: String,
    params: LvisParams,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    stats: [f64; 13],
    table: Option<String>,
    shape: Vec<usize>,
    precision: String,
    recall: String,
    class_ap: Vec<f64>,
    class_ar: Vec<f64>,
}

struct Case {
    truth: String,
    results: String,
    verdict: Verdict,
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lvis.jsonl")
}

/// After a line that says what made them, three lines a case.
fn cases(path: &Path) -> Vec<Case> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<&str> = text.lines().skip(1).collect();
    let (cases, rest) = lines.as_chunks::<3>();
    assert!(rest.is_empty() && !cases.is_empty(), "{}", path.display());
    cases
        .iter()
        .map(|[truth, results, verdict]| Case {
            truth: (*truth).into(),
            results: (*results).into(),
            verdict: serde_json::from_str(verdict)
                .unwrap_or_else(|error| panic!("{}: {error}: {verdict}", path.display())),
        })
        .collect()
}

fn run(case: &Case) -> LvisEvaluation {
    let Verdict { name, params, .. } = &case.verdict;
    let read = || {
        let truth = LvisTruth::read(case.truth.as_bytes(), "truth", params.iou_type)?;
        let results = Results::read(case.results.as_bytes(), "results", params.iou_type)?;
        evaluate_lvis(&truth, &results, params)
    };
    read().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every element of both arrays, the thirteen numbers, the printed table, the classes.
fn check(case: &Case) {
    let (name, expected) = (&case.verdict.name, &case.verdict.expected);
    let evaluation = run(case);
    let summary = evaluation.summary();
    let numbers = format!(
        "{name}: {:?}, expected {:?}",
        summary.stats(),
        expected.stats
    );
    assert_eq!(evaluation.precision.shape(), expected.shape, "{name}");
    assert_eq!(
        digest(&evaluation.precision),
        expected.precision,
        "precision, {numbers}"
    );
    assert_eq!(
        digest(&evaluation.recall),
        expected.recall,
        "recall, {numbers}"
    );
    assert_eq!(
        digest(&summary.stats()),
        digest(&expected.stats),
        "{numbers}"
    );
    if let Some(table) = &expected.table {
        assert_eq!(summary.to_string(), *table, "{name}");
    }
    let (aps, ars): (Vec<f64>, Vec<f64>) = summary
        .per_class
        .iter()
        .map(|class| (class.ap, class.ar))
        .unzip();
    assert_eq!(
        (&aps, &ars),
        (&expected.class_ap, &expected.class_ar),
        "{name}"
    );
}

#[test]
fn random_cases() {
    let cases = cases(&goldens());
    assert!(cases.len() >= 40);
    cases.iter().for_each(check);
}

/// A folder of more of them: `INSCON_EVAL_LVIS_CASES`.
#[test]
#[ignore = "needs cases that are not committed; see fixtures/generate_lvis.py"]
fn many_random_cases() {
    let folder = std::env::var_os("INSCON_EVAL_LVIS_CASES")
        .expect("set INSCON_EVAL_LVIS_CASES to a folder of .jsonl files");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            let cases = cases(&path);
            cases.iter().for_each(check);
            count += cases.len();
        }
    }
    assert!(count > 0, "no .jsonl file in the folder");
    println!("{count} cases equal to lvis-api");
}

#[test]
fn threads_do_not_matter() {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    for case in cases(&goldens()).iter().take(12) {
        let [one, four] = [1, 4].map(|threads| pool(threads).install(|| run(case)));
        let name = &case.verdict.name;
        assert_eq!(digest(&one.precision), digest(&four.precision), "{name}");
        assert_eq!(digest(&one.recall), digest(&four.recall), "{name}");
        assert_eq!(one.summary().to_string(), four.summary().to_string());
    }
}

const TRUTH: &str = r#"{
    "images": [{"id": 7, "height": 20, "width": 20, "neg_category_ids": [2],
        "not_exhaustive_category_ids": []}],
    "categories": [{"id": 1, "name": "dog", "frequency": "f"},
        {"id": 2, "name": "yak", "frequency": "r"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20,
        "segmentation": [[0, 0, 4, 0, 4, 5, 0, 5]]}]}"#;

fn evaluate(results: &str, params: &LvisParams) -> Result<LvisEvaluation, String> {
    let run = || {
        let truth = LvisTruth::read(TRUTH.as_bytes(), "truth", params.iou_type)?;
        let results = Results::read(results.as_bytes(), "results", params.iou_type)?;
        evaluate_lvis(&truth, &results, params)
    };
    run().map_err(|error: inscon_eval::EvalError| error.to_string())
}

#[test]
fn nothing_found_is_recall_0() {
    let summary = evaluate("[]", &LvisParams::new(IouType::Bbox))
        .unwrap()
        .summary();
    assert_eq!((summary.ap, summary.ar, summary.ap_rare), (0.0, 0.0, -1.0));
}

#[test]
fn what_is_wrong_is_said() {
    let boxes = LvisParams::new(IouType::Bbox);
    let with = |change: &dyn Fn(&mut LvisParams)| {
        let mut params = boxes.clone();
        change(&mut params);
        params
    };
    let elsewhere = r#"[{"image_id": 8, "category_id": 1, "bbox": [0, 0, 4, 5], "score": 1}]"#;
    let keypoints = r#"[{"image_id": 7, "category_id": 1, "keypoints": [0, 0, 2], "score": 1}]"#;
    // The best one decides which kind all are, if its image has too many.
    let mixed = r#"[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "score": 0.5},
        {"image_id": 7, "category_id": 1, "segmentation": {"size": [20, 20], "counts": [400]}, "score": 1}]"#;
    for (results, params, problem) in [
        (
            elsewhere,
            boxes.clone(),
            "detection 0 (from 0) is on image 8",
        ),
        (keypoints, boxes.clone(), "has no `segmentation`"),
        (
            mixed,
            with(&|p| p.max_detections = 1),
            "detection 1 (from 0) has no `bbox`",
        ),
        (mixed, boxes.clone(), "detection 1 (from 0) has no `bbox`"),
        (
            "[]",
            with(&|p| p.image_ids = Some(vec![9])),
            "image_ids: names",
        ),
        (
            "[]",
            with(&|p| p.category_ids = Some(vec![3])),
            "category_ids: names",
        ),
        (
            "[]",
            with(&|p| p.iou_thresholds = vec![f64::NAN]),
            "iou_thresholds: holds NaN",
        ),
        (
            "[]",
            with(&|p| p.recall_thresholds = vec![0.5, 0.0]),
            "not ascending",
        ),
        (
            "[]",
            LvisParams::new(IouType::Keypoints),
            "boxes (bbox) or masks (segm)",
        ),
    ] {
        let error = evaluate(results, &params).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    let masks = LvisParams::new(IouType::Segm);
    let truth = LvisTruth::read(TRUTH.as_bytes(), "truth", IouType::Bbox).unwrap();
    let results = Results::read("[]".as_bytes(), "results", IouType::Segm).unwrap();
    let error = evaluate_lvis(&truth, &results, &masks)
        .unwrap_err()
        .to_string();
    assert!(error.contains("iou_type"), "{error}");
}
