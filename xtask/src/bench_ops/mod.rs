//! `cargo xtask bench ops`: RoIAlign and NMS against torchvision's, process against process.
//!
//! ```text
//! OUT/torch_ops.py          what torchvision is told to do
//! OUT/input.json            the boxes that both read
//! OUT/ops.json              every run
//! OUT/ops.md                medians and ratios
//! ```
//!
//! The processes take turns, so that a noisy machine is noisy to both. Results that differ are a
//! failure.

mod input;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::bench_step::processes::{build, output, parsed};
use crate::measured::{machine, median};
use crate::shell;
use input::Input;

const SCRIPT: &str = include_str!("torch_ops.py");

#[derive(Args)]
pub(crate) struct OpsArgs {
    /// A Python with torch and torchvision; without one, only ours is measured.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// An `inscon-train` built before; without one, it is built.
    #[arg(long, value_name = "PATH")]
    bin: Option<PathBuf>,
    /// Processes of each kind.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Times each process runs an operation; its median counts.
    #[arg(long, default_value_t = 7)]
    repeat: usize,
    /// Images that the RoIs are spread over.
    #[arg(long, default_value_t = 2)]
    images: usize,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/bench-ops")]
    out: PathBuf,
}

/// A line of either program.
#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum OpTimes {
    RoiAlign {
        output: usize,
        forward_ms: f64,
        backward_ms: f64,
        output_sum: f64,
        gradient_sum: f64,
    },
    Nms {
        ms: f64,
        kept: usize,
        checksum: u64,
    },
}

impl OpTimes {
    /// Names and milliseconds of what the line holds.
    fn times(&self) -> Vec<(String, f64)> {
        match *self {
            Self::RoiAlign {
                output,
                forward_ms,
                backward_ms,
                ..
            } => {
                let name = |way| format!("RoIAlign {output}×{output}, {way}");
                vec![
                    (name("forward"), forward_ms),
                    (name("backward"), backward_ms),
                    (name("both"), forward_ms + backward_ms),
                ]
            }
            Self::Nms { ms, .. } => vec![("NMS".to_owned(), ms)],
        }
    }

    /// Why `other`'s results are not those of this line.
    fn difference(&self, other: &Self) -> Option<String> {
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * a.abs().max(b.abs());
        match (self, other) {
            (
                Self::RoiAlign {
                    output,
                    output_sum,
                    gradient_sum,
                    ..
                },
                Self::RoiAlign {
                    output: other,
                    output_sum: other_output,
                    gradient_sum: other_gradient,
                    ..
                },
            ) if output == other => {
                let pairs = [
                    ("Σ |y|", output_sum, other_output),
                    ("Σ dx²", gradient_sum, other_gradient),
                ];
                let far = pairs.into_iter().find(|(_, a, b)| !close(**a, **b));
                far.map(|(what, a, b)| format!("RoIAlign {output}×{output}: {what} is {a} and {b}"))
            }
            (
                Self::Nms { kept, checksum, .. },
                Self::Nms {
                    kept: other_kept,
                    checksum: other_checksum,
                    ..
                },
            ) => ((kept, checksum) != (other_kept, other_checksum)).then(|| {
                format!("NMS: {kept} boxes ({checksum}) and {other_kept} ({other_checksum})")
            }),
            _ => Some("the lines are of different operations".to_owned()),
        }
    }
}

/// Everything that was measured.
#[derive(Serialize)]
struct Report {
    machine: String,
    what: String,
    notes: Vec<String>,
    /// The lines of each run.
    ours: Vec<Vec<OpTimes>>,
    torchvision: Vec<Vec<OpTimes>>,
}

pub(crate) fn run(args: &OpsArgs) -> Result<()> {
    if args.runs == 0 || args.repeat == 0 || args.images == 0 {
        bail!("--runs, --repeat and --images must be at least 1");
    }
    let out = shell::root().join(&args.out);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let ours = match &args.bin {
        Some(bin) if !bin.is_file() => bail!("no file {} (--bin)", bin.display()),
        Some(bin) => bin.clone(),
        None => build().map_err(|reason| anyhow!("not built: {reason}"))?,
    };
    let input = Input::new(args.images);
    let path = out.join("input.json");
    fs::write(&path, serde_json::to_vec(&input)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut report = Report {
        machine: machine(),
        what: described(&input),
        notes: Vec::new(),
        ours: Vec::new(),
        torchvision: Vec::new(),
    };
    let peer = match &args.python {
        None => Err("torchvision: left out (--python)".to_owned()),
        Some(python) => Peer::detect(python, &out)?,
    };
    report.notes.push(match &peer {
        Ok(peer) => peer.version.clone(),
        Err(note) => note.clone(),
    });
    let asked = |command: &mut Command| {
        command.arg("--input").arg(&path);
        command.args(["--repeat", &args.repeat.to_string()]);
    };
    for round in 0..args.runs {
        let mut command = Command::new(&ours);
        command.args(["bench", "ops"]);
        asked(&mut command);
        report.ours.push(lines(command).context("ours")?);
        if let Ok(peer) = &peer {
            let mut command = Command::new(&peer.python);
            command.arg(&peer.script);
            // Threads that spin while they wait slow each other down where others compute too.
            command.env("OMP_WAIT_POLICY", "passive");
            asked(&mut command);
            let lines = lines(command).context("torchvision")?;
            report.torchvision.push(lines);
        }
        shell::say(&format!("round {} of {}", round + 1, args.runs));
        report.write(&out)?;
    }
    shell::say(&report.markdown());
    shell::say(&format!("{} and ops.json", out.join("ops.md").display()));
    match report.difference() {
        Some(difference) => bail!("the results differ: {difference}"),
        None => Ok(()),
    }
}

fn described(input: &Input) -> String {
    let [n, c, height, width] = input.features;
    format!(
        "RoIAlign of {} RoIs on {n}×{c}×{height}×{width}, adaptive sampling, aligned; NMS of {} \
         boxes at {}",
        input.rois.len(),
        input.boxes.len(),
        input.threshold,
    )
}

/// A Python with torchvision.
struct Peer {
    version: String,
    python: PathBuf,
    script: PathBuf,
}

impl Peer {
    /// Writes the script to `out` if `python` has the packages; else a line on what is missing.
    fn detect(python: &Path, out: &Path) -> Result<Result<Self, String>> {
        let mut ask = Command::new(python);
        let versions = "f'torchvision {torchvision.__version__}, PyTorch {torch.__version__}'";
        ask.args([
            "-c",
            &format!("import torch, torchvision; print({versions})"),
        ]);
        let Ok(version) = output(ask, "") else {
            return Ok(Err(format!(
                "torchvision: not installed for {} (`pip install torch torchvision`, --python)",
                python.display()
            )));
        };
        let script = out.join("torch_ops.py");
        fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Ok(Self {
            version: version.trim().to_owned(),
            python: python.to_owned(),
            script,
        }))
    }
}

fn lines(command: Command) -> Result<Vec<OpTimes>> {
    let printed = output(command, "").map_err(|error| anyhow!("{error}"))?;
    parsed(&printed).map_err(|error| anyhow!("{error}"))
}

impl Report {
    fn markdown(&self) -> String {
        let mut text = format!(
            "# Operations of a detector\n\n{}. {}.\n",
            self.machine, self.what
        );
        for note in &self.notes {
            let _ = write!(text, "\n- {note}");
        }
        text += "\n\n| operation | ours, ms | torchvision, ms | torchvision ÷ ours |\n\
                 |---|---|---|---|\n";
        let peers = medians(&self.torchvision);
        for (index, (name, ours)) in medians(&self.ours).into_iter().enumerate() {
            let peer = peers.get(index).map_or(f64::NAN, |(_, ms)| *ms);
            let cell = |value: f64, digits: usize| match value.is_finite() {
                true => format!("{value:.digits$}"),
                false => String::new(),
            };
            let (ratio, ours, peer) = (cell(peer / ours, 1), cell(ours, 2), cell(peer, 2));
            let _ = writeln!(text, "| {name} | {ours} | {peer} | {ratio} |");
        }
        if let Some(difference) = self.difference() {
            let _ = writeln!(text, "\n- the results differ: {difference}");
        }
        text
    }

    fn difference(&self) -> Option<String> {
        let ours = self.ours.first()?;
        let others = self.ours[1..].iter().chain(&self.torchvision);
        others
            .flat_map(|lines| {
                let missing = (lines.len() != ours.len()).then(|| "a line is missing".to_owned());
                let pairs = ours.iter().zip(lines);
                missing.or_else(|| pairs.filter_map(|(a, b)| a.difference(b)).next())
            })
            .next()
    }

    fn write(&self, out: &Path) -> Result<()> {
        fs::write(out.join("ops.md"), self.markdown())?;
        fs::write(out.join("ops.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

/// The median over the runs of each time, in the order of the lines.
fn medians(runs: &[Vec<OpTimes>]) -> Vec<(String, f64)> {
    let times: Vec<Vec<(String, f64)>> = runs
        .iter()
        .map(|lines| lines.iter().flat_map(OpTimes::times).collect())
        .collect();
    let Some(first) = times.first() else {
        return Vec::new();
    };
    let of_all = |index: usize| {
        let values = times.iter().filter_map(|times| times.get(index));
        median(values.map(|(_, ms)| *ms))
    };
    let names = first.iter().enumerate();
    names
        .map(|(index, (name, _))| (name.clone(), of_all(index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ms: f64, checksum: u64, sum: f64) -> Vec<OpTimes> {
        parsed(&format!(
            r#"{{"op":"roi_align","output":7,"forward_ms":{ms},"backward_ms":{},"output_sum":{sum},"gradient_sum":2.0}}
{{"op":"nms","ms":{ms},"kept":3,"checksum":{checksum}}}
"#,
            2.0 * ms
        ))
        .unwrap()
    }

    fn report(torchvision: Vec<Vec<OpTimes>>) -> Report {
        Report {
            machine: "a machine".to_owned(),
            what: described(&Input::new(1)),
            notes: Vec::new(),
            ours: vec![run(1.0, 5, 10.0), run(4.0, 5, 10.0), run(2.0, 5, 10.0)],
            torchvision,
        }
    }

    #[test]
    fn medians_and_ratios() {
        let text = report(vec![run(9.0, 5, 10.0), run(11.0, 5, 10.0004)]).markdown();
        for line in [
            "| RoIAlign 7×7, forward | 2.00 | 10.00 | 5.0 |",
            "| RoIAlign 7×7, backward | 4.00 | 20.00 | 5.0 |",
            "| RoIAlign 7×7, both | 6.00 | 30.00 | 5.0 |",
            "| NMS | 2.00 | 10.00 | 5.0 |",
            "RoIAlign of 512 RoIs on 1×256×50×84",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let alone = report(Vec::new()).markdown();
        assert!(alone.contains("| NMS | 2.00 |  |  |"), "{alone}");
    }

    #[test]
    fn other_results_are_a_failure() {
        assert_eq!(report(vec![run(1.0, 5, 10.0)]).difference(), None);
        let order = report(vec![run(1.0, 6, 10.0)]).difference().unwrap();
        assert_eq!(order, "NMS: 3 boxes (5) and 3 (6)");
        let sum = report(vec![run(1.0, 5, 11.0)]).difference().unwrap();
        assert!(sum.contains("Σ |y| is 10 and 11"), "{sum}");
        let short = report(vec![run(1.0, 5, 10.0)[..1].to_vec()]).difference();
        assert_eq!(short.as_deref(), Some("a line is missing"));
    }
}
