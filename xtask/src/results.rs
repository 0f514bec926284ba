//! What the runs of a folder came to: `results.json` and the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// The arm that differences are taken to.
const BASELINE: &str = "moco-v2";

/// A number of a run: its name in `results.json`, its heading, and where it stands.
struct Metric {
    key: &'static str,
    heading: &'static str,
    file: &'static str,
    pointer: &'static str,
    /// 100 for shares that the literature gives in per cent.
    scale: f64,
}

const fn metric(
    key: &'static str,
    heading: &'static str,
    file: &'static str,
    pointer: &'static str,
    scale: f64,
) -> Metric {
    Metric {
        key,
        heading,
        file,
        pointer,
        scale,
    }
}

const EVAL: &str = "finetune/eval.json";
const PROBE: &str = "probe/probe.json";

/// Every number, in the table's order.
const METRICS: [Metric; 16] = [
    metric("bbox_ap", "AP box", EVAL, "/scores/bbox/ap", 100.0),
    metric("bbox_ap50", "AP50 box", EVAL, "/scores/bbox/ap50", 100.0),
    metric("bbox_ap75", "AP75 box", EVAL, "/scores/bbox/ap75", 100.0),
    metric("segm_ap", "AP mask", EVAL, "/scores/segm/ap", 100.0),
    metric("segm_ap50", "AP50 mask", EVAL, "/scores/segm/ap50", 100.0),
    metric("segm_ap75", "AP75 mask", EVAL, "/scores/segm/ap75", 100.0),
    metric("voc07_ap", "VOC07 AP", EVAL, "/scores/voc07/ap", 100.0),
    metric(
        "voc07_ap50",
        "VOC07 AP50",
        EVAL,
        "/scores/voc07/ap50",
        100.0,
    ),
    metric(
        "voc07_ap75",
        "VOC07 AP75",
        EVAL,
        "/scores/voc07/ap75",
        100.0,
    ),
    metric(
        "probe_boxes_top1",
        "box probe top-1",
        PROBE,
        "/boxes/accuracy",
        100.0,
    ),
    metric(
        "probe_boxes_map",
        "box probe mAP",
        PROBE,
        "/boxes/mean_ap",
        100.0,
    ),
    metric(
        "probe_cells_accuracy",
        "cell probe acc.",
        PROBE,
        "/cells/accuracy",
        100.0,
    ),
    metric(
        "probe_cells_map",
        "cell probe mAP",
        PROBE,
        "/cells/mean_ap",
        100.0,
    ),
    metric(
        "pretrain_seconds",
        "pretraining s",
        "pretrain/done.json",
        "/seconds",
        1.0,
    ),
    metric(
        "finetune_seconds",
        "fine-tuning s",
        "finetune/done.json",
        "/seconds",
        1.0,
    ),
    metric(
        "pretrain_images_per_second",
        "img/s",
        "pretrain/done.json",
        "/images_per_second",
        1.0,
    ),
];

/// One arm with one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    #[serde(skip)]
    pub(crate) path: PathBuf,
    pub(crate) metrics: BTreeMap<&'static str, f64>,
}

/// Mean and spread over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// Sample standard deviation; `None` for one seed.
    pub(crate) std: Option<f64>,
    pub(crate) seeds: usize,
}

/// One arm over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Arm {
    pub(crate) name: String,
    pub(crate) runs: Vec<Run>,
    pub(crate) over_seeds: BTreeMap<&'static str, Spread>,
    /// Difference to MoCo v2 with the same seed, over the seeds that both have.
    pub(crate) minus_moco_v2: BTreeMap<&'static str, Spread>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Results {
    pub(crate) arms: Vec<Arm>,
}

impl Results {
    /// Reads every finished run below `OUT/seed-N/ARM`, arms in the order of `order`.
    pub(crate) fn read(out: &Path, order: &[String]) -> Result<Self> {
        let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
        for (seed, dir) in seeds(out)? {
            for entry in
                fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?
            {
                let path = entry?.path();
                let Some(name) = path.file_name().map(|n| n.to_string_lossy().into_owned()) else {
                    continue;
                };
                let metrics = read_metrics(&path)?;
                if !metrics.is_empty() {
                    runs.entry(name).or_default().push(Run {
                        seed,
                        path,
                        metrics,
                    });
                }
            }
        }
        let place = |name: &String| order.iter().position(|o| o == name).unwrap_or(order.len());
        let baseline = runs.get(BASELINE).cloned().unwrap_or_default();
        let mut arms: Vec<Arm> = runs
            .into_iter()
            .map(|(name, runs)| arm(name, runs, &baseline))
            .collect();
        arms.sort_by_key(|arm| (place(&arm.name), arm.name.clone()));
        Ok(Self { arms })
    }

    /// The metrics that any arm has.
    fn metrics(&self) -> impl Iterator<Item = &'static Metric> + '_ {
        METRICS
            .iter()
            .filter(|m| self.arms.iter().any(|a| a.over_seeds.contains_key(m.key)))
    }

    /// The table, heading first: mean ± standard deviation over seeds, and below them the
    /// differences to MoCo v2.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let metrics: Vec<&Metric> = self.metrics().collect();
        let mut head = vec!["arm".to_owned(), "seeds".to_owned()];
        head.extend(metrics.iter().map(|m| m.heading.to_owned()));
        let row = |name: String, of: &BTreeMap<&'static str, Spread>, signed: bool| {
            let seeds = of.values().map(|s| s.seeds).max().unwrap_or(0);
            let mut row = vec![name, seeds.to_string()];
            row.extend(metrics.iter().map(|m| shown(of.get(m.key), m, signed)));
            row
        };
        let mut rows = vec![head];
        rows.extend(
            self.arms
                .iter()
                .map(|arm| row(arm.name.clone(), &arm.over_seeds, false)),
        );
        let others = |arm: &&Arm| arm.name != BASELINE && !arm.minus_moco_v2.is_empty();
        rows.extend(self.arms.iter().filter(others).map(|arm| {
            row(
                format!("{} − {BASELINE}", arm.name),
                &arm.minus_moco_v2,
                true,
            )
        }));
        rows
    }

    /// The table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut rows = self.rows();
        let rule = vec!["---".to_owned(); rows[0].len()];
        rows.insert(1, rule);
        rows.iter()
            .map(|row| format!("| {} |\n", row.join(" | ")))
            .collect()
    }
}

/// A cell of the table.
fn shown(spread: Option<&Spread>, metric: &Metric, signed: bool) -> String {
    let Some(spread) = spread else {
        return "–".to_owned();
    };
    let digits = if metric.scale == 1.0 { 0 } else { 1 };
    let mean = spread.mean * metric.scale;
    let mean = if signed {
        format!("{mean:+.digits$}")
    } else {
        format!("{mean:.digits$}")
    };
    match spread.std {
        Some(std) => format!("{mean} ± {:.digits$}", std * metric.scale),
        None => mean,
    }
}

fn arm(name: String, mut runs: Vec<Run>, baseline: &[Run]) -> Arm {
    runs.sort_by_key(|run| run.seed);
    let mut over_seeds = BTreeMap::new();
    let mut minus_moco_v2 = BTreeMap::new();
    for metric in &METRICS {
        let values: Vec<f64> = runs
            .iter()
            .filter_map(|r| r.metrics.get(metric.key))
            .copied()
            .collect();
        let pairs = runs.iter().filter_map(|run| {
            let other = baseline.iter().find(|b| b.seed == run.seed)?;
            Some(run.metrics.get(metric.key)? - other.metrics.get(metric.key)?)
        });
        let differences: Vec<f64> = pairs.collect();
        over_seeds.extend(spread(&values).map(|s| (metric.key, s)));
        minus_moco_v2.extend(spread(&differences).map(|s| (metric.key, s)));
    }
    Arm {
        name,
        runs,
        over_seeds,
        minus_moco_v2,
    }
}

fn spread(values: &[f64]) -> Option<Spread> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    let std = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
    Some(Spread {
        mean,
        std,
        seeds: values.len(),
    })
}

/// `OUT/seed-N`, by N.
pub(crate) fn seeds(out: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(out).with_context(|| format!("cannot list {}", out.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if let Some(seed) = name.strip_prefix("seed-").and_then(|n| n.parse().ok()) {
            found.push((seed, path));
        }
    }
    found.sort();
    Ok(found)
}

fn read_metrics(run: &Path) -> Result<BTreeMap<&'static str, f64>> {
    let mut files: BTreeMap<&str, Value> = BTreeMap::new();
    for metric in &METRICS {
        let path = run.join(metric.file);
        if !files.contains_key(metric.file) && path.exists() {
            let text = fs::read_to_string(&path)?;
            let value = serde_json::from_str(&text).with_context(|| {
                format!("{} is not JSON; delete it and run again", path.display())
            })?;
            files.insert(metric.file, value);
        }
    }
    let number = |m: &Metric| files.get(m.file)?.pointer(m.pointer)?.as_f64();
    Ok(METRICS
        .iter()
        .filter_map(|m| Some((m.key, number(m)?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, seed: u64, arm: &str, ap: f64) {
        let run = dir.join(format!("seed-{seed}")).join(arm).join("finetune");
        fs::create_dir_all(&run).unwrap();
        let text = format!("{{\"scores\": {{\"bbox\": {{\"ap\": {ap}, \"ap50\": 0.5}}}}}}");
        fs::write(run.join("eval.json"), text).unwrap();
    }

    #[test]
    fn differences_are_paired_by_seed() {
        let dir = tempfile::tempdir().unwrap();
        for (seed, moco, inscon) in [(0, 0.20, 0.23), (1, 0.30, 0.32)] {
            write(dir.path(), seed, "moco-v2", moco);
            write(dir.path(), seed, "inscon", inscon);
        }
        write(dir.path(), 2, "inscon", 0.9);
        let order = ["moco-v2".to_owned(), "inscon".to_owned()];
        let results = Results::read(dir.path(), &order).unwrap();
        assert_eq!(results.arms[0].name, "moco-v2");
        let inscon = &results.arms[1];
        let difference = inscon.minus_moco_v2["bbox_ap"];
        assert!((difference.mean - 0.025).abs() < 1e-12 && difference.seeds == 2);
        assert!((difference.std.unwrap() - 0.005 * 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(inscon.over_seeds["bbox_ap"].seeds, 3);
        let table = results.markdown();
        assert!(
            table.contains("| inscon − moco-v2 | 2 | +2.5 ± 0.7 |"),
            "{table}"
        );
        assert!(table.contains("| moco-v2 | 2 | 25.0 ± 7.1 |"), "{table}");
        assert!(!table.contains("mask"), "no masks were evaluated: {table}");
    }

    #[test]
    fn one_seed_has_no_spread() {
        assert_eq!(
            spread(&[2.0]),
            Some(Spread {
                mean: 2.0,
                std: None,
                seeds: 1
            })
        );
        assert_eq!(spread(&[]), None);
    }
}
