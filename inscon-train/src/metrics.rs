//! `metrics.jsonl`: one JSON object a line, for machines to read.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};

use serde::Serialize;
use serde_json::Value;

use crate::{RunDir, RunDirError, write_whole};

/// The open log of a run.
#[derive(Debug)]
pub struct MetricsLog {
    path: std::path::PathBuf,
    file: BufWriter<File>,
}

impl MetricsLog {
    /// Opens `metrics.jsonl` to continue at `step`: lines of that step and later ones, left by an
    /// interrupted process, are dropped, so that a resumed run logs what an uninterrupted one does.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(run: &RunDir, step: u64) -> Result<Self, RunDirError> {
        let path = run.file("metrics.jsonl");
        if let Ok(file) = File::open(&path) {
            let kept: Vec<String> = BufReader::new(file)
                .lines()
                .map_while(Result::ok)
                .filter(|line| step_of(line).is_some_and(|s| s < step))
                .collect();
            write_whole(&path, |file| {
                kept.iter().try_for_each(|line| writeln!(file, "{line}"))
            })?;
        }
        let open = OpenOptions::new().create(true).append(true).open(&path);
        match open {
            Ok(file) => Ok(Self {
                path,
                file: BufWriter::new(file),
            }),
            Err(source) => Err(failed(path, source)),
        }
    }

    /// Appends one line and flushes it.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn write(&mut self, record: &impl Serialize) -> Result<(), RunDirError> {
        let line = serde_json::to_string(record).map_err(std::io::Error::from);
        line.and_then(|line| writeln!(self.file, "{line}").and_then(|()| self.file.flush()))
            .map_err(|source| failed(self.path.clone(), source))
    }
}

fn failed(path: std::path::PathBuf, source: std::io::Error) -> RunDirError {
    RunDirError::Write {
        path,
        source,
        kept: "the lines written before are intact",
    }
}

fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line)
        .ok()?
        .get("step")?
        .as_u64()
}

/// Reads every line of a run's log that is a JSON object with a step.
#[must_use]
pub fn read_metrics(run: &RunDir) -> Vec<Value> {
    let text = fs::read_to_string(run.file("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reopening_drops_what_the_checkpoint_has_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let mut log = MetricsLog::open(&run, 0).unwrap();
        for step in 0..5 {
            log.write(&json!({"step": step, "loss": 1.5})).unwrap();
        }
        drop(log);
        fs::OpenOptions::new()
            .append(true)
            .open(run.file("metrics.jsonl"))
            .and_then(|mut f| f.write_all(b"{\"step\": 5, \"lo"))
            .unwrap();
        let mut log = MetricsLog::open(&run, 3).unwrap();
        log.write(&json!({"step": 3, "loss": 2.5})).unwrap();
        let lines = read_metrics(&run);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[3]["loss"], 2.5);
    }
}
