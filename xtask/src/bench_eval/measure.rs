//! One run: wall time, processor time, peak memory.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use wait4::Wait4;

use super::tools::stats;

/// What a run took and what came out.
#[derive(Serialize)]
pub(super) struct Run {
    /// Seconds.
    pub(super) wall: f64,
    /// Seconds, user and system, all threads.
    pub(super) cpu: f64,
    /// MiB.
    pub(super) peak: f64,
    pub(super) stats: Vec<f64>,
    pub(super) error: Option<String>,
}

/// Reads a file once, so that no tool is the first to.
pub(super) fn warm(path: &Path) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    io::copy(&mut file, &mut io::sink())?;
    Ok(())
}

/// Runs `command` to its end; its output goes to the file `log`.
pub(super) fn measure(mut command: Command, log: &Path) -> Result<Run> {
    let errors = log.with_extension("err");
    command
        .stdin(Stdio::null())
        .stdout(File::create(log)?)
        .stderr(File::create(&errors)?);
    let started = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let used = child.wait4()?;
    let wall = started.elapsed().as_secs_f64();
    let stats = stats(&fs::read_to_string(log)?);
    let error = match (used.status.success(), &stats) {
        (false, _) => {
            let text = fs::read_to_string(&errors).unwrap_or_default();
            let last = text.lines().next_back().unwrap_or_default();
            Some(format!("{}: {last}", used.status))
        }
        (true, None) => Some(format!("no numbers in {}", log.display())),
        (true, Some(_)) => None,
    };
    Ok(Run {
        wall,
        cpu: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
        peak: used.rusage.maxrss as f64 / f64::from(1 << 20),
        stats: stats.unwrap_or_default(),
        error,
    })
}
