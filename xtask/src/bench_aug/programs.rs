//! The programs: ours and the peers, how each is called and what it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Workload;
use crate::bench_step::processes::{output, parsed};
use crate::shell;

const SCRIPT: &str = include_str!("peers.py");

/// A line of either program: results of one workload and mode.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Rate {
    pub(super) workload: String,
    /// `a`, `b`, `c` or `decode` (see `peers.py`); ours has `crop`, what views need, decoded alone.
    pub(super) mode: String,
    /// A second of processor time.
    pub(super) rate: f64,
    /// A second of the clock.
    pub(super) wall_rate: f64,
    made: u64,
}

/// The resident memory after so many views.
#[derive(Deserialize)]
pub(super) struct Resident {
    pub(super) views: u64,
    pub(super) resident_mib: f64,
    pub(super) peak_mib: f64,
}

/// MiB that the resident memory has grown at the end since the first tenth.
pub(super) fn growth(samples: &[Resident]) -> Option<f64> {
    let [_, warm, rest @ ..] = samples else {
        return None;
    };
    let most = rest.iter().map(|sample| sample.resident_mib);
    rest.first()?;
    Some(most.fold(f64::NEG_INFINITY, f64::max) - warm.resident_mib)
}

/// The name of ours in the tables.
pub(super) const OURS: &str = "inscon-aug";
/// The same with the JPEGs' own scaling.
pub(super) const SCALED: &str = "inscon-aug, JPEG scaling";

/// Something that makes views.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) versions: String,
    kind: Kind,
}

enum Kind {
    Ours {
        program: PathBuf,
        scaling: bool,
    },
    Peer {
        python: PathBuf,
        script: PathBuf,
        peer: String,
    },
}

impl Program {
    /// Runs a process on all workloads.
    pub(super) fn rates(
        &self,
        workloads: &[Workload],
        images: &Path,
        seconds: f64,
    ) -> Result<Vec<Rate>> {
        let mut command = match &self.kind {
            Kind::Ours { program, scaling } => {
                let mut command = Command::new(program);
                command.args(["rates", "--scaling", if *scaling { "on" } else { "off" }]);
                command.args(workloads.iter().map(|workload| workload.argument(images)));
                command
            }
            Kind::Peer {
                python,
                script,
                peer,
            } => {
                let mut command = Command::new(python);
                command.arg(script).args(["run", "--peer", peer]);
                for workload in workloads {
                    command.args(["--workload", &workload.argument(images)]);
                }
                command
            }
        };
        command.args(["--seconds", &seconds.to_string()]);
        lines(command)
    }
}

impl Workload {
    /// As an argument of either program.
    fn argument(&self, images: &Path) -> String {
        let folder = images.join(self.source);
        format!("{}:{}:{}", self.name, self.size, folder.display())
    }
}

/// Our program, `view_rate`.
pub(super) struct Ours {
    program: PathBuf,
}

impl Ours {
    /// The one at `given`; without one, it is built.
    pub(super) fn new(given: Option<&Path>) -> Result<Self> {
        let program = match given {
            Some(path) if !path.is_file() => bail!("no file {} (--bin)", path.display()),
            Some(path) => path.to_owned(),
            None => build()?,
        };
        Ok(Self { program })
    }

    /// Exact, and with the JPEGs' own scaling.
    pub(super) fn programs(&self) -> Vec<Program> {
        [(OURS, false), (SCALED, true)]
            .map(|(name, scaling)| Program {
                name: name.to_owned(),
                versions: format!("inscon-aug {}", env!("CARGO_PKG_VERSION")),
                kind: Kind::Ours {
                    program: self.program.clone(),
                    scaling,
                },
            })
            .into()
    }

    /// The command that writes generated pictures to `folder`.
    pub(super) fn pictures(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("pictures").arg(folder);
        command
    }

    /// Views a second of the clock, a decoding each: one thread on one core, then two on two.
    pub(super) fn one_and_two_threads(
        &self,
        workload: &Workload,
        images: &Path,
        seconds: f64,
    ) -> Result<[f64; 2]> {
        let rate = |threads: usize, cores: &str| -> Result<f64> {
            let mut command = taskset(cores, &self.program);
            command.arg("rates").arg(workload.argument(images));
            command.args(["--modes", "a", "--threads", &threads.to_string()]);
            command.args(["--seconds", &seconds.to_string()]);
            let rates: Vec<Rate> = lines(command)?;
            let rate = rates.first().context("view_rate printed nothing")?;
            Ok(rate.wall_rate)
        };
        Ok([rate(1, "0")?, rate(2, "0,1")?])
    }

    /// The resident memory, ten times on the way to 100,000 views.
    pub(super) fn memory(&self, workload: &Workload, images: &Path) -> Result<Vec<Resident>> {
        let mut command = Command::new(&self.program);
        command.arg("memory").arg(workload.argument(images));
        command.args(["--views", "100000"]);
        lines(command)
    }
}

/// Why a program cannot be kept to one core and to two: no `taskset`, or fewer cores. A program whose
/// threads the system places tells nothing about cores.
pub(super) fn unpinned() -> Option<String> {
    let mut command = taskset("0,1", Path::new("nproc"));
    command
        .env_remove("OMP_NUM_THREADS")
        .env_remove("OMP_THREAD_LIMIT");
    let reason = match output(command, "") {
        Ok(cores) if cores.trim() == "2" => return None,
        Ok(cores) => format!("of the cores 0 and 1, {} may be used", cores.trim()),
        Err(error) => error,
    };
    Some(format!("two threads ÷ one: not measured ({reason})"))
}

fn taskset(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// Builds `view_rate` and says where it is.
fn build() -> Result<PathBuf> {
    shell::say("building view_rate");
    let mut command = shell::cargo();
    command
        .args(["build", "--release", "-p", "inscon-aug", "--example"])
        .args(["view_rate", "--message-format", "json-render-diagnostics"]);
    output(command, "")
        .map_err(|reason| anyhow!("not built: {reason}"))?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo names no executable")
}

/// A line of `peers.py list`.
#[derive(Deserialize)]
struct Listed {
    peer: String,
    name: String,
    versions: String,
    missing: Vec<String>,
}

/// The peers that the Pythons have, and a line on each that none has. Writes the script to `out`.
pub(super) fn detect(pythons: &[PathBuf], out: &Path) -> Result<(Vec<Program>, Vec<String>)> {
    let script = out.join("peers.py");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    let (mut found, mut missing) = (Vec::<Program>::new(), Vec::new());
    if pythons.is_empty() {
        missing.push("peers: left out (--peers PYTHON)".to_owned());
    }
    for python in pythons {
        let mut command = Command::new(python);
        command.arg(&script).arg("list");
        let listed: Vec<Listed> = match lines(command) {
            Ok(listed) => listed,
            Err(error) => {
                missing.push(format!("{}: {error}", python.display()));
                continue;
            }
        };
        for listed in listed {
            if !listed.missing.is_empty() {
                missing.push(format!(
                    "{}: not installed for {} (`pip install {}`)",
                    listed.name,
                    python.display(),
                    listed.missing.join(" ")
                ));
            } else if !found.iter().any(|program| program.name == listed.name) {
                found.push(Program {
                    name: listed.name,
                    versions: listed.versions,
                    kind: Kind::Peer {
                        python: python.clone(),
                        script: script.clone(),
                        peer: listed.peer,
                    },
                });
            }
        }
    }
    Ok((found, missing))
}

fn lines<T: serde::de::DeserializeOwned>(command: Command) -> Result<Vec<T>> {
    let printed = output(command, "").map_err(|error| anyhow!("{error}"))?;
    parsed(&printed).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_python_is_a_note() {
        let out = tempfile::tempdir().unwrap();
        let (found, missing) = detect(&["/no/python".into()], out.path()).unwrap();
        assert!(found.is_empty());
        assert!(
            missing[0].starts_with("/no/python: cannot run"),
            "{missing:?}"
        );
        assert!(out.path().join("peers.py").is_file());
    }

    #[test]
    fn growth_is_counted_after_the_first_tenth() {
        let samples = |values: &[f64]| -> Vec<Resident> {
            let sample = |&resident_mib: &f64| Resident {
                views: 1,
                resident_mib,
                peak_mib: 9.0,
            };
            values.iter().map(sample).collect()
        };
        assert_eq!(growth(&samples(&[1.0, 5.0, 5.5, 5.25])), Some(0.5));
        assert_eq!(growth(&samples(&[1.0, 5.0, 4.0])), Some(-1.0));
        assert_eq!(growth(&samples(&[1.0, 5.0])), None);
    }
}
