//! `cargo xtask bench aug`: MoCo v2 views a second, beside Python's peers, process against process.
//!
//! ```text
//! OUT/images/474x392/       JPEGs of photographs (or generated ones), what all of them read
//! OUT/images/128/
//! OUT/peers.py              what the peers are told to do
//! OUT/aug.json              every run
//! OUT/aug.md                medians and ratios
//! ```
//!
//! The processes take turns, so that a noisy machine is noisy to all of them. A figure is views
//! per second of *processor* time, which is what one core makes, whoever else computes here;
//! `aug.json` has the clock's as well. Each process has one thread; how two threads compare with
//! one is measured by the clock, the processes pinned to two cores and to one.

mod pictures;
mod programs;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::measured::machine;
use crate::shell;
use programs::{Ours, Program};
use table::Report;

#[derive(Args)]
pub(crate) struct AugArgs {
    /// Pythons with torchvision, albumentations, kornia-rs or augrs; without one, only ours is
    /// measured. Pillow-SIMD stands in for Pillow where it is installed.
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    peers: Vec<PathBuf>,
    /// Processes of each kind.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Least seconds that each process spends on each workload and mode.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// The folder with facade320 and imagenette128; without it, or without a Python that has
    /// Pillow, pictures are generated.
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    shared: PathBuf,
    /// A `view_rate` built before; without one, it is built.
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Of 474-224, 128-64, 474-64 and 474-448; the first two if not given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the pictures and results go.
    #[arg(long, value_name = "DIR", default_value = "target/bench-aug")]
    out: PathBuf,
    /// No rates: the resident memory over 100,000 views.
    #[arg(long)]
    rss: bool,
}

/// Pictures and the side of the views made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Workload {
    name: &'static str,
    /// The folder of the pictures.
    source: &'static str,
    size: u32,
}

const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "474-224",
        source: "474x392",
        size: 224,
    },
    Workload {
        name: "128-64",
        source: "128",
        size: 64,
    },
    Workload {
        name: "474-64",
        source: "474x392",
        size: 64,
    },
    Workload {
        name: "474-448",
        source: "474x392",
        size: 448,
    },
];

/// MiB by which the resident memory may grow after the first tenth of the views.
const GROWTH: f64 = 1.0;

pub(crate) fn run(args: &AugArgs) -> Result<()> {
    if args.repeat == 0 {
        bail!("--repeat must be at least 1");
    }
    let workloads = chosen(&args.only)?;
    let out = shell::root().join(&args.out);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let ours = Ours::new(args.bin.as_deref())?;
    let images = out.join("images");
    let shared = shell::root().join(&args.shared);
    let mut notes = pictures::prepare(&images, &shared, &args.peers, &ours)?;
    if args.rss {
        return resident(&ours, &workloads, &images, &notes);
    }
    let (peers, missing) = programs::detect(&args.peers, &out)?;
    notes.extend(missing);
    let unpinned = programs::unpinned();
    let can_pin = unpinned.is_none();
    notes.extend(unpinned);
    for note in &notes {
        shell::say(note);
    }
    let programs: Vec<Program> = ours.programs().into_iter().chain(peers).collect();
    let mut report = Report::new(machine(), notes, &workloads, &programs);
    for round in 0..args.repeat {
        for turn in 0..programs.len() {
            let at = (round + turn) % programs.len();
            match programs[at].rates(&workloads, &images, args.seconds) {
                Ok(rates) => report.rows[at].runs.push(rates),
                Err(error) => report.rows[at].error = Some(format!("{error:#}")),
            }
        }
        // Threads: one on a core, two on two, by turns.
        for workload in workloads.iter().filter(|_| can_pin) {
            let pair = ours.one_and_two_threads(workload, &images, args.seconds)?;
            report.threads_mut(workload.name).push(pair);
        }
        shell::say(&format!("round {} of {}", round + 1, args.repeat));
        // After each: a long benchmark that is cut short leaves what it has.
        report.write(&out)?;
    }
    shell::say(&report.markdown());
    shell::say(&format!("{} and aug.json", out.join("aug.md").display()));
    match report.failure() {
        Some(failure) => bail!("{failure}"),
        None => Ok(()),
    }
}

fn chosen(only: &[String]) -> Result<Vec<Workload>> {
    let named = |name: &String| {
        let found = WORKLOADS.into_iter().find(|workload| workload.name == name);
        found.with_context(|| {
            let names = WORKLOADS.map(|workload| workload.name).join(", ");
            format!("no workload `{name}`; there are {names}")
        })
    };
    match only {
        [] => Ok(WORKLOADS[..2].to_vec()),
        names => names.iter().map(named).collect(),
    }
}

/// The resident memory on the way to 100,000 views of each workload.
fn resident(
    ours: &Ours,
    workloads: &[Workload],
    images: &std::path::Path,
    notes: &[String],
) -> Result<()> {
    for note in notes {
        shell::say(note);
    }
    for workload in workloads {
        let samples = ours.memory(workload, images)?;
        shell::say(&format!(
            "\n{}: views, resident MiB, peak MiB",
            workload.name
        ));
        for sample in &samples {
            shell::say(&format!(
                "{:>7} {:8.2} {:8.2}",
                sample.views, sample.resident_mib, sample.peak_mib
            ));
        }
        let growth = programs::growth(&samples).context("view_rate printed too few samples")?;
        shell::say(&format!("grown by {growth:.2} MiB after the first tenth"));
        if growth > GROWTH {
            bail!("the resident memory grows: {growth:.2} MiB, more than {GROWTH}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), 2);
        assert_eq!(chosen(&["474-448".to_owned()]).unwrap(), [WORKLOADS[3]]);
        let error = chosen(&["96".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("there are 474-224"), "{error}");
    }
}
