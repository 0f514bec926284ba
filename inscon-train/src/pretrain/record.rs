//! What a step reports, and its average over the steps between two lines of `metrics.jsonl`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use inscon_loss::InsConOutput;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::data::LoadStats;

/// Every term and statistic of a step, on the host, by its name in `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Terms(pub BTreeMap<&'static str, f64>);

impl Terms {
    /// Reads all scalars of `output` in one transfer.
    #[must_use]
    pub fn read(output: &InsConOutput) -> Self {
        let stats = &output.stats;
        let scalars = [
            ("loss", Some(&output.total)),
            ("instance", Some(&output.instance)),
            ("cell", output.cell.as_ref()),
            ("pull", output.pull.as_ref()),
            ("push", output.push.as_ref()),
            ("top1", Some(&stats.top1)),
            ("top5", Some(&stats.top5)),
            ("logit_mean", Some(&stats.logit_mean)),
            ("feature_std", Some(&stats.feature_std)),
            ("cell_feature_std", stats.cell_feature_std.as_ref()),
            ("unmatched_tiles", stats.unmatched_tiles.as_ref()),
            ("matched_cells", stats.matched_cells.as_ref()),
        ];
        let present: Vec<_> = scalars
            .into_iter()
            .filter_map(|(k, v)| Some((k, v?)))
            .collect();
        let scalars: Vec<Tensor<1>> = present.iter().map(|(_, v)| (*v).clone().inner()).collect();
        let values: Vec<f32> = Tensor::cat(scalars, 0).into_data().iter::<f32>().collect();
        Self(
            present
                .into_iter()
                .map(|(k, _)| k)
                .zip(values.into_iter().map(f64::from))
                .collect(),
        )
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Whether the objective is a number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.get("loss").is_some_and(f64::is_finite)
    }
}

impl std::fmt::Display for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let terms: Vec<String> = self.0.iter().map(|(k, v)| format!("{k} {v:.4}")).collect();
        f.write_str(&terms.join(", "))
    }
}

/// Where the time of the steps went. A device that computes asynchronously shows its time in the
/// phase that waits for it.
#[derive(Debug, Clone, Default)]
pub struct Phases {
    spent: BTreeMap<&'static str, Duration>,
}

impl Phases {
    /// Runs `work` and adds its time to `phase`.
    pub fn time<T>(&mut self, phase: &'static str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let out = work();
        self.add(phase, started.elapsed());
        out
    }

    /// Adds to a phase.
    pub fn add(&mut self, phase: &'static str, time: Duration) {
        *self.spent.entry(phase).or_default() += time;
    }

    /// Milliseconds a step, by phase.
    #[must_use]
    pub fn per_step(&self, steps: u64) -> BTreeMap<&'static str, f64> {
        let ms = |d: &Duration| (d.as_secs_f64() * 1e6 / steps.max(1) as f64).round() / 1e3;
        self.spent
            .iter()
            .map(|(phase, spent)| (*phase, ms(spent)))
            .collect()
    }
}

/// The steps since the last line of `metrics.jsonl`.
#[derive(Debug)]
pub struct Window {
    /// Time by phase.
    pub phases: Phases,
    sums: BTreeMap<&'static str, f64>,
    steps: u64,
    started: Instant,
}

impl Window {
    /// An empty one that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            phases: Phases::default(),
            sums: BTreeMap::new(),
            steps: 0,
            started: Instant::now(),
        }
    }

    /// Adds a step.
    pub fn add(&mut self, terms: &Terms) {
        self.steps += 1;
        for (name, value) in &terms.0 {
            *self.sums.entry(name).or_default() += value;
        }
    }

    /// The line: terms as means over the window, `images_per_second`, `ms` a step by phase, and,
    /// of a loader, `data`: milliseconds of one thread an image by part of loading, and MB of files a second.
    #[must_use]
    pub fn line(&self, position: Value, batch: usize, data: Option<&LoadStats>) -> Value {
        let steps = self.steps.max(1) as f64;
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let mut line: Map<String, Value> = position.as_object().cloned().unwrap_or_default();
        for (name, sum) in &self.sums {
            line.insert((*name).to_owned(), json!(sum / steps));
        }
        let rate = self.steps as f64 * batch as f64 / seconds;
        line.insert(
            "images_per_second".to_owned(),
            json!((rate * 100.0).round() / 100.0),
        );
        line.insert("ms".to_owned(), json!(self.phases.per_step(self.steps)));
        if let Some(data) = data {
            line.insert("data".to_owned(), loading(data, seconds));
        }
        Value::Object(line)
    }
}

/// `data` of a line.
fn loading(data: &LoadStats, seconds: f64) -> Value {
    let [read, decode, augment] = data.ms_per_image().map(|ms| (ms * 1e3).round() / 1e3);
    let mb = data.bytes as f64 / 1e6 / seconds;
    json!({
        "read_ms": read,
        "decode_ms": decode,
        "augment_ms": augment,
        "mb_per_second": (mb * 100.0).round() / 100.0,
        "bad": data.bad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_means_and_times() {
        let mut window = Window::start();
        window.add(&Terms(BTreeMap::from([("loss", 2.0), ("top1", 0.0)])));
        window.add(&Terms(BTreeMap::from([("loss", 4.0), ("top1", 1.0)])));
        window.phases.add("backward", Duration::from_millis(30));
        let loaded = LoadStats {
            images: 32,
            decode: 0.064,
            ..LoadStats::default()
        };
        let line = window.line(json!({"step": 7}), 16, Some(&loaded));
        assert_eq!(
            (&line["step"], &line["loss"], &line["top1"]),
            (&json!(7), &json!(3.0), &json!(0.5))
        );
        assert_eq!(line["ms"]["backward"], 15.0);
        assert_eq!(line["data"]["decode_ms"], 2.0);
        assert!(line["images_per_second"].as_f64().unwrap() > 0.0);
    }

    #[test]
    fn a_loss_that_is_no_number_is_seen() {
        assert!(!Terms(BTreeMap::from([("loss", f64::NAN)])).is_finite());
        assert!(!Terms(BTreeMap::from([("loss", f64::INFINITY)])).is_finite());
        assert!(Terms(BTreeMap::from([("loss", 1.0)])).is_finite());
    }
}
