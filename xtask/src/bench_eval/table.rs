//! Medians, ratios and whether the numbers agree, as markdown and JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::measure::Run;
use super::tools::Tool;
use crate::measured::{machine, median};

/// How far the numbers of two tools may be apart.
const TOLERANCE: f64 = 1e-9;

#[derive(Serialize)]
pub(super) struct Report {
    /// Processor, cores, load when it began.
    machine: String,
    notes: Vec<String>,
    pub(super) sections: Vec<Section>,
}

/// All tools on one workload with one number of threads.
#[derive(Serialize)]
pub(super) struct Section {
    pub(super) workload: String,
    pub(super) described: String,
    pub(super) threads: usize,
    pub(super) rows: Vec<Row>,
}

/// One tool's runs.
#[derive(Serialize)]
pub(super) struct Row {
    tool: String,
    version: String,
    pub(super) runs: Vec<Run>,
}

impl Row {
    pub(super) fn of(tool: &Tool) -> Self {
        Self {
            tool: tool.name.clone(),
            version: tool.version.clone(),
            runs: Vec::new(),
        }
    }

    /// It did not work: it is not run again.
    pub(super) fn failed(&self) -> bool {
        self.runs.iter().any(|run| run.error.is_some())
    }

    fn median(&self, value: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(value))
    }

    fn numbers(&self) -> Option<&[f64]> {
        let run = self.runs.iter().find(|run| run.error.is_none())?;
        Some(&run.stats)
    }
}

impl Section {
    /// The tool whose numbers the others are held to: pycocotools if it ran, else the first.
    fn judge(&self) -> Option<&Row> {
        let ran = || self.rows.iter().filter(|row| row.numbers().is_some());
        ran()
            .find(|row| row.tool == "pycocotools")
            .or_else(|| ran().next())
    }

    /// The largest difference of a row's numbers, in any run, from the judge's.
    fn difference(&self, row: &Row) -> f64 {
        let Some(expected) = self.judge().and_then(Row::numbers) else {
            return f64::NAN;
        };
        let runs = row.runs.iter().filter(|run| run.error.is_none());
        runs.flat_map(|run| {
            let differences = run.stats.iter().zip(expected);
            let lengths = if run.stats.len() == expected.len() {
                0.0
            } else {
                f64::INFINITY
            };
            differences
                .map(|(a, b)| (a - b).abs())
                .chain(std::iter::once(lengths))
        })
        .fold(0.0, f64::max)
    }

    fn disagree(&self) -> bool {
        self.rows.iter().any(|row| self.difference(row) > TOLERANCE)
    }

    pub(super) fn markdown(&self) -> String {
        let working = || self.rows.iter().filter(|row| !row.failed());
        let wall = |row: &Row| row.median(|run| run.wall);
        let base = working()
            .find(|row| row.tool == "inscon-eval")
            .or_else(|| working().min_by(|a, b| wall(a).total_cmp(&wall(b))));
        let (base, name) = base.map_or((f64::NAN, "nothing"), |row| (wall(row), row.tool.as_str()));
        let judge = self.judge().map_or("nothing", |row| row.tool.as_str());
        let mut text = format!(
            "\n### {}, {} thread{}\n\n{}.\n\n",
            self.workload,
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.described
        );
        let _ = writeln!(
            text,
            "| tool | version | runs | wall, median s | least s | processor s | peak MiB | \
             wall ÷ {name} | off {judge} |\n|---|---|---|---|---|---|---|---|---|"
        );
        for row in &self.rows {
            let (tool, version, runs) = (&row.tool, &row.version, row.runs.len());
            if let Some(error) = row.runs.iter().find_map(|run| run.error.as_ref()) {
                let _ = writeln!(text, "| {tool} | {version} | failed: {error} | | | | | | |");
                continue;
            }
            let least = row
                .runs
                .iter()
                .map(|run| run.wall)
                .fold(f64::INFINITY, f64::min);
            let _ = writeln!(
                text,
                "| {tool} | {version} | {runs} | {:.3} | {least:.3} | {:.3} | {:.0} | {:.2} | {:.0e} |",
                wall(row),
                row.median(|run| run.cpu),
                row.median(|run| run.peak),
                wall(row) / base,
                self.difference(row),
            );
        }
        text
    }
}

impl Report {
    pub(super) fn new(notes: Vec<String>) -> Self {
        Self {
            machine: machine(),
            notes,
            sections: Vec::new(),
        }
    }

    pub(super) fn disagree(&self) -> bool {
        self.sections.iter().any(Section::disagree)
    }

    pub(super) fn write(&self, out: &Path) -> Result<()> {
        let mut text = format!("# Evaluators, whole process\n\n{}.\n", self.machine);
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        for section in &self.sections {
            text += "\n";
            text += &section.markdown();
        }
        fs::write(out.join("results.md"), text)?;
        fs::write(out.join("results.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tool: &str, walls: &[f64], number: f64) -> Row {
        let run = |&wall| Run {
            wall,
            cpu: wall,
            peak: 10.0,
            stats: vec![number, -1.0],
            error: None,
        };
        Row {
            tool: tool.into(),
            version: "1".into(),
            runs: walls.iter().map(run).collect(),
        }
    }

    #[test]
    fn ratios_are_to_ours_and_numbers_to_pycocotools() {
        let mut section = Section {
            workload: "bbox".into(),
            described: "few".into(),
            threads: 1,
            rows: vec![
                row("inscon-eval", &[2.0, 1.0, 4.0], 0.5),
                row("pycocotools", &[60.0], 0.5),
                row("another", &[1.0, 2.0], 0.5 + 1e-12),
            ],
        };
        let text = section.markdown();
        assert!(
            text.contains("| inscon-eval | 1 | 3 | 2.000 | 1.000 |"),
            "{text}"
        );
        assert!(
            text.contains("wall ÷ inscon-eval | off pycocotools"),
            "{text}"
        );
        assert!(text.contains("| 30.00 | 0e0 |"), "{text}");
        assert!(
            text.contains("| 1.500 | 1.000 | 1.500 | 10 | 0.75 | 1e-12 |"),
            "{text}"
        );
        assert!(!section.disagree());
        section.rows.push(row("wrong", &[1.0], 0.6));
        assert!(section.disagree());
    }
}
