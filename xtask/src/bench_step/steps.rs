//! Whole steps: medians over the runs, ours and PyTorch's.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::processes::{Kind, Processes};
use super::{Workload, cell};
use crate::measured::median;
use crate::shell;

/// The phases of a step, in order.
const PHASES: [&str; 7] = [
    "ema",
    "key_forward",
    "query_forward",
    "loss",
    "backward",
    "sgd",
    "enqueue",
];

/// What a process printed.
#[derive(Deserialize, Serialize)]
struct Run {
    threads: usize,
    steps: Vec<f64>,
    images_per_s: f64,
    phases_ms: BTreeMap<String, f64>,
    peak_mib: Option<f64>,
    /// The part of the peak that was there before the first step.
    base_mib: Option<f64>,
}

/// The runs of one kind of process.
#[derive(Serialize)]
struct Row {
    kind: Kind,
    runs: Vec<Run>,
    error: Option<String>,
}

impl Row {
    fn median(&self, value: impl Fn(&Run) -> Option<f64>) -> f64 {
        median(self.runs.iter().filter_map(value))
    }

    fn rate(&self) -> f64 {
        self.median(|run| Some(run.images_per_s))
    }
}

/// One step by every kind of process.
#[derive(Serialize)]
pub(super) struct Section {
    workload: Workload,
    rows: Vec<Row>,
}

/// Runs every kind of process `runs` times, in turns.
pub(super) fn measure(
    processes: &Processes,
    workload: &Workload,
    runs: usize,
    counts: [usize; 2],
) -> Section {
    let row = |kind| Row {
        kind,
        runs: Vec::new(),
        error: None,
    };
    let mut rows: Vec<Row> = processes.kinds().into_iter().map(row).collect();
    for round in 0..runs {
        let count = rows.len();
        for turn in 0..count {
            let row = &mut rows[(round + turn) % count];
            if row.error.is_some() {
                continue;
            }
            match processes.step(row.kind, workload, counts) {
                Ok(run) => row.runs.push(run),
                Err(error) => row.error = Some(error),
            }
        }
        shell::say(&format!("{}: round {} of {runs}", workload.name, round + 1));
    }
    Section {
        workload: *workload,
        rows,
    }
}

impl Section {
    fn row(&self, kind: Kind) -> Option<&Row> {
        self.rows.iter().find(|row| row.kind == kind)
    }

    /// PyTorch in its faster layout.
    fn peer(&self) -> Option<(&Row, &'static str)> {
        let layout = |row: &Row| match row.kind {
            Kind::PyTorch(layout) => Some(layout),
            _ => None,
        };
        self.rows
            .iter()
            .filter(|row| !row.runs.is_empty())
            .filter_map(|row| Some((row, layout(row)?)))
            .max_by(|(a, _), (b, _)| a.rate().total_cmp(&b.rate()))
    }

    /// A table of the medians by phase.
    pub(super) fn phases(&self) -> String {
        let layout = self.peer().map_or("not measured", |(_, layout)| layout);
        let mut text = format!(
            "\n### {}\n\n| phase | ours, ms | PyTorch ({layout}), ms | PyTorch ÷ ours |\n\
             |---|---|---|---|\n",
            self.workload.described()
        );
        let median = |row: Option<&Row>, value: &dyn Fn(&Run) -> Option<f64>| {
            row.map_or(f64::NAN, |row| row.median(value))
        };
        let (ours, peer) = (self.row(Kind::Ours), self.peer().map(|(row, _)| row));
        let mut line = |name: &str, value: &dyn Fn(&Run) -> Option<f64>| {
            let (ours, peer) = (median(ours, value), median(peer, value));
            let ratio = cell(peer / ours, 2);
            let (ours, peer) = (cell(ours, 1), cell(peer, 1));
            let _ = writeln!(text, "| {name} | {ours} | {peer} | {ratio} |");
        };
        for phase in PHASES {
            let name = phase.replace('_', " ");
            line(&name, &|run| run.phases_ms.get(phase).copied());
        }
        line("step", &|run| {
            Some(crate::measured::median(run.steps.clone()) * 1e3)
        });
        text
    }

    pub(super) fn failures(&self) -> Vec<String> {
        let name = |kind| match kind {
            Kind::Ours => "ours".to_owned(),
            Kind::OursOneThread => "ours on one thread".to_owned(),
            Kind::PyTorch(layout) => format!("PyTorch {layout}"),
        };
        let failed = |row: &Row| {
            let error = row.error.as_ref()?;
            Some(format!(
                "{} {}: {error}",
                self.workload.name,
                name(row.kind)
            ))
        };
        self.rows.iter().filter_map(failed).collect()
    }
}

/// A line a step.
pub(super) fn summary(sections: &[Section]) -> String {
    let mut text = String::from(
        "| step | ours, images/s | least – most | PyTorch, images/s | layout | least – most | \
         ours ÷ PyTorch | ours on one thread | all threads ÷ one | peak MiB, ours | PyTorch | \
         of it before the step |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for section in sections {
        let rate = |row: Option<&Row>| row.map_or(f64::NAN, Row::rate);
        let range = |row: Option<&Row>| {
            let rates = || row.into_iter().flat_map(|row| &row.runs);
            let rates = || rates().map(|run| run.images_per_s);
            match (
                rates().min_by(f64::total_cmp),
                rates().max_by(f64::total_cmp),
            ) {
                (Some(least), Some(most)) => format!("{least:.1} – {most:.1}"),
                _ => String::new(),
            }
        };
        let peak = |row: Option<&Row>| row.map_or(f64::NAN, |row| row.median(|run| run.peak_mib));
        let (all, one) = (section.row(Kind::Ours), section.row(Kind::OursOneThread));
        let peer = section.peer().map(|(row, _)| row);
        let base = peer.map_or(f64::NAN, |row| row.median(|run| run.base_mib));
        let cells = [
            section.workload.described(),
            cell(rate(all), 1),
            range(all),
            cell(rate(peer), 1),
            section
                .peer()
                .map_or(String::new(), |(_, layout)| layout.to_owned()),
            range(peer),
            cell(rate(all) / rate(peer), 2),
            cell(rate(one), 1),
            cell(rate(all) / rate(one), 2),
            cell(peak(all), 0),
            cell(peak(peer), 0),
            cell(base, 0),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    for failure in sections.iter().flat_map(Section::failures) {
        let _ = writeln!(text, "\n- failed: {failure}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::WORKLOADS;
    use super::*;

    fn row(kind: Kind, rates: &[f64]) -> Row {
        let run = |&rate| Run {
            threads: 2,
            steps: vec![1.0 / rate],
            images_per_s: rate,
            phases_ms: BTreeMap::from([("backward".to_owned(), 100.0 / rate)]),
            peak_mib: Some(rate * 10.0),
            base_mib: None,
        };
        Row {
            kind,
            runs: rates.iter().map(run).collect(),
            error: None,
        }
    }

    #[test]
    fn the_faster_layout_is_the_peer() {
        let rows = vec![
            row(Kind::Ours, &[90.0, 80.0, 100.0]),
            row(Kind::OursOneThread, &[45.0]),
            row(Kind::PyTorch("contiguous"), &[50.0]),
            row(Kind::PyTorch("channels_last"), &[60.0]),
        ];
        let mut section = Section {
            workload: WORKLOADS[0],
            rows,
        };
        let text = section.phases();
        assert!(text.contains("PyTorch (channels_last)"), "{text}");
        assert!(text.contains("| backward | 1.1 | 1.7 | 1.50 |"), "{text}");
        assert!(text.contains("| loss |  |  |  |"), "{text}");
        section.rows[2].error = Some("out of memory".to_owned());
        let text = summary(&[section]);
        let expected = "| 90.0 | 80.0 – 100.0 | 60.0 | channels_last | 60.0 – 60.0 | 1.50 | 45.0 \
                        | 2.00 | 900 | 600 |  |";
        assert!(text.contains(expected), "{text}");
        let failed = "- failed: resnet18-64 PyTorch contiguous: out of memory";
        assert!(text.contains(failed), "{text}");
    }
}
