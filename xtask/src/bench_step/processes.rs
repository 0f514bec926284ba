//! The processes that are measured: ours and PyTorch's.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Workload;
use crate::shell;

const SCRIPT: &str = include_str!("torch_step.py");

/// How the values of an image lie in memory.
pub(super) const LAYOUTS: [&str; 2] = ["contiguous", "channels_last"];

/// A way to make a step.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Ours, on all threads.
    Ours,
    /// Ours, on one thread.
    OursOneThread,
    /// PyTorch's, on all threads, in this layout.
    PyTorch(&'static str),
}

/// PyTorch.
pub(super) struct Peer {
    pub(super) version: String,
    python: PathBuf,
    script: PathBuf,
}

impl Peer {
    /// Writes the script to `out` if `python` has the packages; else a line on what is missing.
    pub(super) fn detect(python: &Path, out: &Path) -> Result<Result<Self, String>> {
        let mut ask = Command::new(python);
        ask.args(["-c", "import torch, torchvision; print(torch.__version__)"]);
        let Ok(version) = output(ask, "") else {
            return Ok(Err(format!(
                "PyTorch: not installed for {} (`pip install torch torchvision`, --python)",
                python.display()
            )));
        };
        let script = out.join("torch_step.py");
        fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Ok(Self {
            version: version.trim().to_owned(),
            python: python.to_owned(),
            script,
        }))
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(what);
        // Threads that spin while they wait slow each other down where others compute too.
        command.env("OMP_WAIT_POLICY", "passive");
        command
    }
}

/// What can be run.
pub(super) struct Processes {
    pub(super) ours: PathBuf,
    pub(super) peer: Option<Peer>,
}

impl Processes {
    /// The ways to make a step here.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let peer = self.peer.iter().flat_map(|_| LAYOUTS.map(Kind::PyTorch));
        [Kind::Ours, Kind::OursOneThread]
            .into_iter()
            .chain(peer)
            .collect()
    }

    /// Runs a process that makes `warmup` steps and times `steps` more.
    pub(super) fn step<T: DeserializeOwned>(
        &self,
        kind: Kind,
        workload: &Workload,
        [warmup, steps]: [usize; 2],
    ) -> Result<T, String> {
        let mut command = match kind {
            Kind::Ours => self.ours("step", None),
            Kind::OursOneThread => self.ours("step", Some(1)),
            Kind::PyTorch(layout) => {
                let mut command = self.peer()?.command("step");
                command.args(["--layout", layout]);
                command
            }
        };
        command
            .args(workload.arguments())
            .args(["--warmup", &warmup.to_string()])
            .args(["--steps", &steps.to_string()]);
        let mut lines = parsed(&output(command, "")?)?;
        lines.pop().ok_or_else(|| "it printed nothing".to_owned())
    }

    /// Every convolution by our layer, a line each.
    pub(super) fn our_convolutions(&self, workload: &Workload) -> Result<String, String> {
        let mut command = self.ours("convs", None);
        command.args(workload.arguments());
        output(command, "")
    }

    /// The same convolutions by PyTorch, a line each.
    pub(super) fn peer_convolutions(&self, ours: &str) -> Result<String, String> {
        output(self.peer()?.command("convs"), ours)
    }

    fn peer(&self) -> Result<&Peer, String> {
        self.peer.as_ref().ok_or_else(|| "no PyTorch".to_owned())
    }

    fn ours(&self, what: &str, threads: Option<usize>) -> Command {
        let mut command = Command::new(&self.ours);
        command.args(["bench", what]);
        match threads {
            Some(threads) => command.env("RAYON_NUM_THREADS", threads.to_string()),
            None => command.env_remove("RAYON_NUM_THREADS"),
        };
        command
    }
}

/// Lines of JSON.
pub(crate) fn parsed<T: DeserializeOwned>(printed: &str) -> Result<Vec<T>, String> {
    let parse = |line: &str| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"));
    printed.lines().map(parse).collect()
}

/// Builds our binary and says where it is.
pub(crate) fn build() -> Result<PathBuf, String> {
    shell::say("building inscon-train");
    let mut command = shell::cargo();
    command
        .args(["build", "--release", "-p", "inscon-train", "--bin"])
        .args([
            "inscon-train",
            "--message-format",
            "json-render-diagnostics",
        ]);
    output(command, "")?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| "cargo names no executable".into())
}

/// What a command prints when it is given `input`; if it fails, the last line of its errors.
pub(crate) fn output(mut command: Command, input: &str) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let failed = |error: std::io::Error| format!("cannot run {program}: {error}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let pipe = child.stdin.take();
    let output = thread::scope(|scope| {
        // One that does not read its input closes the pipe.
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(input.as_bytes())));
        child.wait_with_output()
    })
    .map_err(failed)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.trim_end().lines().next_back().unwrap_or_default();
        return Err(format!("{}: {last}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_package_is_a_note() {
        let out = tempfile::tempdir().unwrap();
        let found = Peer::detect(Path::new("/no/python"), out.path()).unwrap();
        let note = found.err().unwrap();
        assert!(note.contains("not installed for /no/python"), "{note}");
    }

    #[test]
    fn input_goes_in_and_output_comes_out() {
        assert_eq!(output(Command::new("cat"), "a\n").unwrap(), "a\n");
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo no >&2; echo why >&2; exit 3"]);
        let error = output(failing, "").unwrap_err();
        assert!(error.ends_with("3: why"), "{error}");
    }
}
