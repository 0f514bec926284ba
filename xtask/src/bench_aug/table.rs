//! Medians, ratios and the floor, as markdown and JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::Workload;
use super::programs::{OURS, Program, Rate, SCALED};
use crate::measured::median;

/// What is measured of every program: the name in the lines, and in the tables.
const MODES: [(&str, &str); 4] = [
    ("a", "decode each"),
    ("b", "decode for two"),
    ("c", "no decoding"),
    ("decode", "decode alone"),
];

/// Everything that was measured.
#[derive(Serialize)]
pub(super) struct Report {
    machine: String,
    notes: Vec<String>,
    workloads: Vec<Workload>,
    pub(super) rows: Vec<Row>,
    /// Of each workload, by the clock: one thread and two.
    threads: Vec<(String, Vec<[f64; 2]>)>,
}

/// A program's runs.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    versions: String,
    pub(super) runs: Vec<Vec<Rate>>,
    pub(super) error: Option<String>,
}

impl Row {
    fn is_peer(&self) -> bool {
        self.name != OURS && self.name != SCALED
    }

    /// Median results per second of processor time; not a number if there is none.
    fn rate(&self, workload: &str, mode: &str) -> f64 {
        let of_mode = |rate: &&Rate| rate.workload == workload && rate.mode == mode;
        let all = self.runs.iter().flatten();
        median(all.filter(of_mode).map(|rate| rate.rate))
    }
}

impl Report {
    pub(super) fn new(
        machine: String,
        notes: Vec<String>,
        workloads: &[Workload],
        programs: &[Program],
    ) -> Self {
        let row = |program: &Program| Row {
            name: program.name.clone(),
            versions: program.versions.clone(),
            runs: Vec::new(),
            error: None,
        };
        let threads = workloads
            .iter()
            .map(|workload| (workload.name.to_owned(), Vec::new()));
        Self {
            machine,
            notes,
            workloads: workloads.to_vec(),
            rows: programs.iter().map(row).collect(),
            threads: threads.collect(),
        }
    }

    /// One thread and two, on this workload.
    pub(super) fn threads_mut(&mut self, workload: &str) -> &mut Vec<[f64; 2]> {
        let at = self.threads.iter().position(|(name, _)| name == workload);
        let at = at.unwrap_or_else(|| {
            self.threads.push((workload.to_owned(), Vec::new()));
            self.threads.len() - 1
        });
        &mut self.threads[at].1
    }

    /// Why the whole is to be called failed: ours did not run.
    pub(super) fn failure(&self) -> Option<String> {
        let ours = self.rows.iter().filter(|row| !row.is_peer());
        let error = |row: &Row| Some(format!("{}: {}", row.name, row.error.as_ref()?));
        ours.filter_map(error).next()
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# MoCo v2 views\n\n{}. Views (or images) per second of one core's time, medians.\n",
            self.machine
        );
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        for row in &self.rows {
            match &row.error {
                Some(error) => {
                    let _ = write!(text, "\n- {}: FAILED: {error}", row.name);
                }
                None if row.is_peer() => {
                    let _ = write!(text, "\n- {}: {}", row.name, row.versions);
                }
                None => {}
            }
        }
        for workload in &self.workloads {
            text += &self.section(workload);
        }
        text
    }

    fn section(&self, workload: &Workload) -> String {
        let mut text = format!(
            "\n\n## {} to {} px\n\n| |{}\n|---|{}\n",
            workload.source,
            workload.size,
            MODES.map(|(_, title)| format!(" {title} |")).concat(),
            "---|".repeat(MODES.len()),
        );
        for row in &self.rows {
            let cells = MODES.map(|(mode, _)| cell(row.rate(workload.name, mode), 0));
            let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
        }
        for ours in self.rows.iter().filter(|row| !row.is_peer()) {
            text += &self.ratios(workload, ours);
        }
        let of_workload = |(name, _): &&(String, _)| name == workload.name;
        match self.threads.iter().find(of_workload) {
            // Not measured: a note says why.
            Some((_, pairs)) if !pairs.is_empty() => text += &threads(pairs),
            _ => {}
        }
        text
    }

    /// Ours ÷ each peer, the fastest one, and the way to the floor.
    fn ratios(&self, workload: &Workload, ours: &Row) -> String {
        let rate = |row: &Row, mode: &str| row.rate(workload.name, mode);
        let mut text = String::new();
        let peers = || self.rows.iter().filter(|row| row.is_peer());
        if peers().next().is_some() {
            let _ = write!(
                text,
                "\n| {} ÷ |{}\n|---|{}\n",
                ours.name,
                MODES.map(|(_, title)| format!(" {title} |")).concat(),
                "---|".repeat(MODES.len()),
            );
        }
        for peer in peers() {
            let cells = MODES.map(|(mode, _)| cell(rate(ours, mode) / rate(peer, mode), 2));
            let _ = writeln!(text, "| {} | {} |", peer.name, cells.join(" | "));
        }
        let fastest = peers()
            .filter(|peer| rate(peer, "a").is_finite())
            .max_by(|x, y| rate(x, "a").total_cmp(&rate(y, "a")));
        if let Some(fastest) = fastest {
            let _ = writeln!(
                text,
                "\n- decode each, {} ÷ the fastest peer ({}): {:.2}",
                ours.name,
                fastest.name,
                rate(ours, "a") / rate(fastest, "a")
            );
        }
        let view = 1e3 / rate(ours, "a");
        let mut floors = vec![
            ("a whole decoding by our decoder", rate(ours, "decode")),
            ("what its crop needs, by our decoder", rate(ours, "crop")),
        ];
        if let Some(pil) = self.rows.iter().find(|row| row.name == "torchvision-pil") {
            floors.push(("a whole decoding by Pillow", rate(pil, "decode")));
        }
        for (decoder, images) in floors.into_iter().filter(|(_, images)| images.is_finite()) {
            let floor = 1e3 / images;
            let _ = writeln!(
                text,
                "- the floor, {decoder}: {floor:.3} ms; a view with its decoding: {view:.3} ms, \
                 {:.2} times",
                view / floor
            );
        }
        text
    }

    pub(super) fn write(&self, out: &Path) -> Result<()> {
        fs::write(out.join("aug.md"), self.markdown())?;
        fs::write(out.join("aug.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

/// The best of each: what disturbs a run only makes it slower.
fn threads(pairs: &[[f64; 2]]) -> String {
    let best = |at: usize| pairs.iter().map(|pair| pair[at]).fold(f64::NAN, f64::max);
    let [one, two] = [best(0), best(1)];
    format!(
        "- two threads on two cores ÷ one on one, best of {}: {two:.0} ÷ {one:.0} = {:.2}\n",
        pairs.len(),
        two / one
    )
}

fn cell(value: f64, digits: usize) -> String {
    match value.is_finite() {
        true => format!("{value:.digits$}"),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::WORKLOADS;
    use super::*;
    use crate::bench_step::processes::parsed;

    fn row(name: &str, rates: &[f64]) -> Row {
        let run = |rate: &f64| {
            let line = |(mode, share): (&str, f64)| {
                format!(
                    r#"{{"workload":"474-224","mode":"{mode}","rate":{},"wall_rate":1,"made":9}}"#,
                    rate * share
                )
            };
            let modes = [
                ("a", 1.0),
                ("b", 1.5),
                ("c", 2.0),
                ("crop", 5.0),
                ("decode", 4.0),
            ];
            let lines = modes.map(line);
            parsed(&lines.join("\n")).unwrap()
        };
        Row {
            name: name.to_owned(),
            versions: "1.0".to_owned(),
            runs: rates.iter().map(run).collect(),
            error: None,
        }
    }

    #[test]
    fn medians_ratios_and_the_floor() {
        let mut report = Report::new("a machine".to_owned(), Vec::new(), &WORKLOADS[..1], &[]);
        report.rows = vec![
            row(OURS, &[1000.0, 3000.0, 2000.0]),
            row("torchvision-pil", &[200.0, 220.0]),
            row("fast", &[800.0]),
        ];
        let before = report.markdown();
        assert!(!before.contains("two threads"), "{before}");
        report
            .threads_mut("474-224")
            .extend([[100.0, 150.0], [90.0, 195.0]]);
        let text = report.markdown();
        for line in [
            "| inscon-aug | 2000 | 3000 | 4000 | 8000 |",
            "| torchvision-pil | 210 | 315 | 420 | 840 |",
            "| torchvision-pil | 9.52 | 9.52 | 9.52 | 9.52 |",
            "- decode each, inscon-aug ÷ the fastest peer (fast): 2.50",
            "our decoder: 0.125 ms; a view with its decoding: 0.500 ms, 4.00 times",
            "needs, by our decoder: 0.100 ms; a view with its decoding: 0.500 ms, 5.00 times",
            "by Pillow: 1.190 ms; a view with its decoding: 0.500 ms, 0.42 times",
            "best of 2: 195 ÷ 100 = 1.95",
            "- fast: 1.0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(report.failure(), None);
        report.rows[2].error = Some("gone".to_owned());
        assert_eq!(report.failure(), None);
        assert!(report.markdown().contains("- fast: FAILED: gone"));
        report.rows[0].error = Some("gone".to_owned());
        assert_eq!(report.failure().unwrap(), "inscon-aug: gone");
    }
}
