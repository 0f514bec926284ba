//! Time spent on a run over all its processes.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::{RunDir, RunDirError};

/// Seconds and images of a run. It is kept in a file of its own: a checkpoint's bytes depend on the
/// recipe alone.
#[derive(Debug)]
pub struct Clock {
    before: f64,
    started: Instant,
}

const FILE: &str = "clock.json";

impl Clock {
    /// Goes on from what an earlier process left in `dir`, if it left anything.
    #[must_use]
    pub fn resume(dir: &RunDir) -> Self {
        let text = fs::read_to_string(dir.file(FILE)).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        Self {
            before: value["seconds"].as_f64().unwrap_or_default(),
            started: Instant::now(),
        }
    }

    /// Seconds so far.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Leaves the time for a later process.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &RunDir) -> Result<(), RunDirError> {
        dir.write_json(FILE, &json!({ "seconds": self.seconds() }))
    }
}
