//! Equality with rbgirshick's `voc_eval` on a stable sort (`fixtures/generate.py` holds the port).

mod common;

use std::collections::BTreeMap;

use common::fixture;
use inscon_eval::{CocoDataset, Detection, VocMetric, evaluate_voc, sweep_voc};
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
    /// By metric, `voc07` or `voc10`, with ` rounded` behind it or not.
    expected: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    /// `[threshold][class]`
    ap: Vec<Vec<Option<f64>>>,
    mean: Vec<Option<f64>>,
    sweep: Option<f64>,
}

#[test]
fn random_cases() {
    let Cases { cases } = fixture("voc.json");
    for case in &cases {
        assert_eq!(case.expected.len(), 4);
        for (kind, expected) in &case.expected {
            let metric = if kind.starts_with("voc07") {
                VocMetric::Voc07
            } else {
                VocMetric::Voc10
            };
            let round = kind.ends_with("rounded");
            let sweep = sweep_voc(&case.truth, &case.detections, metric, round).unwrap();
            let name = format!("{} {kind}", case.name);
            assert_eq!(sweep.ap, expected.sweep, "{name}");
            assert_eq!(
                (sweep.ap50, sweep.ap75),
                (expected.mean[0], expected.mean[5]),
                "{name}"
            );
            for (t, summary) in sweep.thresholds.iter().enumerate() {
                let aps: Vec<Option<f64>> = summary.per_class.iter().map(|c| c.ap).collect();
                assert_eq!(aps, expected.ap[t], "{name} at {}", summary.iou);
                assert_eq!(
                    summary.mean_ap, expected.mean[t],
                    "{name} at {}",
                    summary.iou
                );
            }
            if !round {
                let single = evaluate_voc(&case.truth, &case.detections, metric, 0.5).unwrap();
                assert_eq!(single, sweep.thresholds[0], "{name}");
            }
        }
    }
    println!("{} cases equal to voc_eval", cases.len());
}
