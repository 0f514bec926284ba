//! Equality with pycocotools on files: every element of every array, through the public loaders.
//!
//! The committed cases always run. More of them come from `oracle/cases.py`:
//! `INSCON_EVAL_CASES=DIR cargo test --release -p inscon-eval --test oracle -- --ignored --nocapture`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use common::digest;
use inscon_eval::{CocoEvaluation, CocoParams, EvalError, GroundTruth, Results, evaluate};
use ndarray::{ArrayD, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What is compared; cases of other kinds are skipped.
const KINDS: &[&str] = &["bbox", "segm", "keypoints"];

/// The field of [`CocoParams`] that a case's `sigmas` go to.
const SIGMAS: &str = "keypoint_sigmas";

/// Traits of cases that pycocotools evaluates and `CocoDataset::load` refuses on purpose.
const REFUSED: &[&str] = &[];

/// Traits of cases that are known to differ: those that do are only counted.
const PENDING: &[&str] = &[];

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

/// A case as `oracle/cases.py` writes it.
#[derive(Deserialize)]
struct Case {
    name: String,
    kind: String,
    traits: Vec<String>,
    /// The text of the ground truth's file.
    truth: String,
    /// The text of the results file.
    found: String,
    params: Value,
    sigmas: Option<Vec<f64>>,
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    /// pycocotools raises.
    Error {
        #[serde(rename = "error")]
        _error: String,
    },
    Arrays {
        /// T, R, K, A, M.
        shape: [usize; 5],
        precision: Elements,
        recall: Elements,
        scores: Elements,
        /// None where `summarize()` raises.
        stats: Option<Vec<Number>>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Elements {
    /// `digest` of all of them in C order.
    Digest(String),
    /// Value, count, value, count, .. in the order K, A, M, T, R.
    Runs(Vec<Number>),
}

/// A number; NaN and infinities are texts.
#[derive(Clone, Copy)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Finite(f64),
            Text(String),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Finite(value) => value,
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom)?,
        }))
    }
}

/// What came of a case.
enum Verdict {
    Equal,
    /// pycocotools raises, and this crate returns an error.
    BothRefuse,
    /// pycocotools raises, and this crate returns numbers.
    OnlyPycocotoolsRefuses,
    /// Of [`REFUSED`].
    RefusedOnPurpose,
    /// Of [`PENDING`].
    Pending,
    Different(String),
}

/// Writes the two files, reads them as a user would and evaluates them.
fn evaluation(case: &Case, folder: &Path) -> Result<CocoEvaluation, EvalError> {
    let (truth, found) = (folder.join("truth.json"), folder.join("found.json"));
    fs::write(&truth, &case.truth).unwrap();
    fs::write(&found, &case.found).unwrap();
    let mut params = case.params.clone();
    if let Some(sigmas) = &case.sigmas {
        params[SIGMAS] = sigmas.clone().into();
    }
    let params: CocoParams = serde_json::from_value(params).unwrap();
    evaluate(
        &GroundTruth::load(truth, params.iou_type)?,
        &Results::load(found, params.iou_type)?,
        &params,
    )
}

/// Equal in every bit; any two NaN are equal.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Appends how `array` (T, R, K, A, M) differs from `expected`.
fn compare(name: &str, array: &ArrayD<f64>, expected: &Elements, out: &mut String) {
    let runs = match expected {
        Elements::Digest(expected) => {
            let found = digest(array);
            if &found != expected {
                let _ = write!(
                    out,
                    "{name}: digest {found}, not {expected}: run cases.py for the elements; "
                );
            }
            return;
        }
        Elements::Runs(runs) => runs,
    };
    let expected = runs
        .chunks_exact(2)
        .flat_map(|run| std::iter::repeat_n(run[0].0, run[1].0 as usize));
    let expected: Vec<f64> = expected.collect();
    if expected.len() != array.len() {
        let _ = write!(
            out,
            "{name}: {} elements, not {}; ",
            array.len(),
            expected.len()
        );
        return;
    }
    let array = array.view().permuted_axes(vec![2, 3, 4, 0, 1]);
    let wrong: Vec<_> = array
        .indexed_iter()
        .zip(&expected)
        .filter(|((_, found), expected)| !same(**found, **expected))
        .collect();
    if !wrong.is_empty() {
        let _ = write!(
            out,
            "{name}: {} of {} elements: ",
            wrong.len(),
            expected.len()
        );
    }
    for ((place, found), expected) in wrong.iter().take(3) {
        let [k, a, m, t, r] = [0, 1, 2, 3, 4].map(|axis| place[axis]);
        let _ = write!(
            out,
            "[t {t}, r {r}, k {k}, a {a}, m {m}] {found:?}, not {expected:?}; "
        );
    }
}

fn judge(case: &Case, folder: &Path) -> Verdict {
    match difference(case, folder) {
        Verdict::Different(_) if has(case, PENDING) => Verdict::Pending,
        verdict => verdict,
    }
}

fn has(case: &Case, traits: &[&str]) -> bool {
    case.traits.iter().any(|t| traits.contains(&t.as_str()))
}

fn difference(case: &Case, folder: &Path) -> Verdict {
    let ours = evaluation(case, folder);
    let Expected::Arrays {
        shape,
        precision,
        recall,
        scores,
        stats,
    } = &case.expected
    else {
        return match ours {
            Ok(_) => Verdict::OnlyPycocotoolsRefuses,
            Err(_) => Verdict::BothRefuse,
        };
    };
    let ours = match ours {
        Ok(ours) => ours,
        Err(_) if has(case, REFUSED) => {
            return Verdict::RefusedOnPurpose;
        }
        Err(error) => return Verdict::Different(format!("refused: {error}")),
    };
    if ours.precision.shape() != shape {
        return Verdict::Different(format!("shape {:?}, not {shape:?}", ours.precision.shape()));
    }
    let mut out = String::new();
    let recalls = match recall {
        // `digest` has no axis R.
        Elements::Digest(_) => ours.recall.clone().into_dyn(),
        Elements::Runs(_) => ours.recall.clone().insert_axis(Axis(1)).into_dyn(),
    };
    compare(
        "precision",
        &ours.precision.clone().into_dyn(),
        precision,
        &mut out,
    );
    compare("recall", &recalls, recall, &mut out);
    compare("scores", &ours.scores.clone().into_dyn(), scores, &mut out);
    if let Some(stats) = stats {
        let summary = ours.summary();
        let found: &[f64] = &summary.stats();
        let equal =
            found.len() == stats.len() && found.iter().zip(stats).all(|(a, b)| same(*a, b.0));
        if !equal {
            let stats: Vec<f64> = stats.iter().map(|number| number.0).collect();
            let _ = write!(out, "stats: {found:?}, not {stats:?}");
        }
    }
    if out.is_empty() {
        Verdict::Equal
    } else {
        Verdict::Different(out)
    }
}

/// Counts, and the first differences.
#[derive(Default)]
struct Report {
    counts: BTreeMap<&'static str, usize>,
    /// Differences by trait: what the cases that differ have in common.
    traits: BTreeMap<String, usize>,
    messages: Vec<String>,
}

impl Report {
    fn add(&mut self, case: &Case, verdict: Verdict) {
        let key = match verdict {
            Verdict::Equal => "equal",
            Verdict::BothRefuse => "refused by both",
            Verdict::OnlyPycocotoolsRefuses => "refused by pycocotools only",
            Verdict::RefusedOnPurpose => "refused on purpose",
            Verdict::Pending => "different, pending",
            Verdict::Different(message) => {
                for name in &case.traits {
                    *self.traits.entry(name.clone()).or_default() += 1;
                }
                let (name, params) = (&case.name, &case.params);
                self.messages
                    .push(format!("{name} {:?} {params}\n    {message}", case.traits));
                "different"
            }
        };
        *self.counts.entry(key).or_default() += 1;
    }

    fn merge(mut self, other: Self) -> Self {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        for (key, count) in other.traits {
            *self.traits.entry(key).or_default() += count;
        }
        self.messages.extend(other.messages);
        self
    }

    fn finish(&self) {
        println!("{:?}", self.counts);
        assert!(self.counts.contains_key("equal"), "nothing was compared");
        let first: Vec<&str> = self.messages.iter().take(12).map(String::as_str).collect();
        assert!(
            first.is_empty(),
            "{} cases differ; traits of those: {:?}; the first:\n{}",
            self.messages.len(),
            self.traits,
            first.join("\n")
        );
    }
}

#[test]
fn the_committed_cases() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle.json");
    let Golden { cases } = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut report = Report::default();
    for case in cases.iter().filter(|c| KINDS.contains(&c.kind.as_str())) {
        report.add(case, judge(case, folder.path()));
    }
    report.finish();
}

#[test]
#[ignore = "needs a folder of cases.py in INSCON_EVAL_CASES"]
fn the_cases_of_a_folder() {
    let folder = std::env::var_os("INSCON_EVAL_CASES").map(PathBuf::from);
    let folder = folder.expect("set INSCON_EVAL_CASES to a folder that oracle/cases.py wrote");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    let reports: Vec<Report> = files
        .par_iter()
        .map(|file| {
            let temporary = tempfile::tempdir().unwrap();
            let mut report = Report::default();
            for line in fs::read_to_string(file).unwrap().lines() {
                let case: Case = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                if KINDS.contains(&case.kind.as_str()) {
                    report.add(&case, judge(&case, temporary.path()));
                }
            }
            report
        })
        .collect();
    reports
        .into_iter()
        .fold(Report::default(), Report::merge)
        .finish();
}
