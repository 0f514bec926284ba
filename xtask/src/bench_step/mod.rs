//! `cargo xtask bench step`: a pretraining step against PyTorch's, process against process.
//!
//! ```text
//! OUT/torch_step.py         what PyTorch is told to do
//! OUT/step.json             every run: seconds of each step, phases, peak memory
//! OUT/step.md               medians and ratios
//! ```
//!
//! The processes take turns, so that a noisy machine is noisy to all of them. PyTorch runs in both
//! memory layouts; the faster one is its figure.

mod convs;
pub(crate) mod processes;
mod steps;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::measured::machine;
use crate::shell;
use processes::{Peer, Processes};

#[derive(Args)]
pub(crate) struct StepArgs {
    /// A Python with torch and torchvision; without one, only ours is measured.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// An `inscon-train` built before; without one, it is built.
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Processes of each kind.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Steps that each process times.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Steps that each process makes before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/bench-step")]
    out: PathBuf,
    /// Of resnet18-64, resnet18-224 and resnet50-224; all if not given.
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    only: Vec<String>,
    /// Every convolution by itself as well.
    #[arg(long)]
    convs: bool,
}

/// A network, the size of its images, and how many.
#[derive(Clone, Copy, Serialize)]
struct Workload {
    name: &'static str,
    arch: &'static str,
    size: usize,
    batch: usize,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "resnet18-64",
        arch: "resnet18",
        size: 64,
        batch: 32,
    },
    Workload {
        name: "resnet18-224",
        arch: "resnet18",
        size: 224,
        batch: 16,
    },
    Workload {
        name: "resnet50-224",
        arch: "resnet50",
        size: 224,
        batch: 8,
    },
];

impl Workload {
    fn described(&self) -> String {
        let Self {
            arch, size, batch, ..
        } = self;
        format!("{arch} at {size} px, batch {batch}")
    }

    /// As arguments of either program.
    fn arguments(&self) -> [String; 6] {
        let (size, batch) = (self.size.to_string(), self.batch.to_string());
        ["--arch", self.arch, "--size", &size, "--batch", &batch].map(str::to_owned)
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct Report {
    machine: String,
    notes: Vec<String>,
    steps: Vec<steps::Section>,
    convolutions: Vec<convs::Section>,
}

pub(crate) fn run(args: &StepArgs) -> Result<()> {
    let workloads = chosen(&args.only)?;
    if args.runs == 0 || args.steps == 0 {
        bail!("--runs and --steps must be at least 1");
    }
    let out = shell::root().join(&args.out);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let ours = match &args.bin {
        Some(bin) if !bin.is_file() => bail!("no file {} (--bin)", bin.display()),
        Some(bin) => bin.clone(),
        None => processes::build().map_err(|reason| anyhow::anyhow!("not built: {reason}"))?,
    };
    let mut notes = Vec::new();
    let peer = match &args.python {
        None => Err("PyTorch: left out (--python)".to_owned()),
        Some(python) => Peer::detect(python, &out)?,
    };
    match &peer {
        Ok(peer) => notes.push(format!("PyTorch {}", peer.version)),
        Err(note) => notes.push(note.clone()),
    }
    for note in &notes {
        shell::say(note);
    }
    let processes = Processes {
        ours,
        peer: peer.ok(),
    };
    let mut report = Report {
        machine: machine(),
        notes,
        steps: Vec::new(),
        convolutions: Vec::new(),
    };
    for workload in &workloads {
        let section = steps::measure(&processes, workload, args.runs, [args.warmup, args.steps]);
        report.steps.push(section);
        // After each: a long benchmark that is cut short leaves what it has.
        report.write(&out)?;
    }
    for workload in workloads.iter().filter(|_| args.convs) {
        let section = convs::measure(&processes, workload, args.runs);
        report.convolutions.push(section);
        report.write(&out)?;
    }
    shell::say(&report.markdown());
    shell::say(&format!("{} and step.json", out.join("step.md").display()));
    let failures = report.failures();
    if !failures.is_empty() {
        bail!("failed: {}", failures.join(", "));
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<Workload>> {
    let known = || WORKLOADS.iter().map(|workload| workload.name);
    if let Some(unknown) = only.iter().find(|name| !known().any(|k| k == **name)) {
        let known: Vec<&str> = known().collect();
        bail!("no step `{unknown}`; there are {}", known.join(", "));
    }
    let wanted = |workload: &Workload| only.is_empty() || only.iter().any(|o| o == workload.name);
    Ok(WORKLOADS.into_iter().filter(wanted).collect())
}

impl Report {
    fn markdown(&self) -> String {
        let mut text = format!("# A step of MoCo v2\n\n{}.\n", self.machine);
        for note in &self.notes {
            text += &format!("\n- {note}");
        }
        text += "\n\n";
        text += &steps::summary(&self.steps);
        for section in &self.steps {
            text += &section.phases();
        }
        for section in &self.convolutions {
            text += &section.markdown();
        }
        text
    }

    /// What did not work, ours and PyTorch's.
    fn failures(&self) -> Vec<String> {
        let steps = self.steps.iter().flat_map(steps::Section::failures);
        let convolutions = self.convolutions.iter().flat_map(convs::Section::failures);
        steps.chain(convolutions).collect()
    }

    fn write(&self, out: &Path) -> Result<()> {
        fs::write(out.join("step.md"), self.markdown())?;
        fs::write(out.join("step.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

/// A number in a table; nothing where there is none.
fn cell(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_steps_are_named() {
        assert_eq!(chosen(&[]).unwrap().len(), 3);
        assert_eq!(chosen(&["resnet50-224".into()]).unwrap()[0].batch, 8);
        let error = chosen(&["resnet34".into()]).err().unwrap().to_string();
        assert!(error.contains("resnet18-64, resnet18-224"), "{error}");
    }

    #[test]
    fn what_is_not_measured_is_left_empty() {
        assert_eq!(cell(crate::measured::median([1.0, 2.0]), 2), "1.50");
        assert_eq!(cell(crate::measured::median([]), 2), "");
    }
}
