//! The evaluators: which are there, how each is called, and where it writes its numbers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::Value;

use super::workload::Workload;
use crate::shell;

/// The Python packages: name, how to get `COCO` and `COCOeval`, slow.
const PACKAGES: [(&str, &str, bool); 4] = [
    (
        "pycocotools",
        "from pycocotools.coco import COCO; from pycocotools.cocoeval import COCOeval",
        true,
    ),
    (
        "faster-coco-eval",
        "from faster_coco_eval import COCO, COCOeval_faster as COCOeval",
        true,
    ),
    ("hotcoco", "from hotcoco import COCO, COCOeval", false),
    (
        "ultrafast-pycocotools",
        "from ultrafast_pycocotools import COCO, COCOeval",
        false,
    ),
];

/// What every one of them is told to do, as its documentation does it.
const SCRIPT: &str = "
import sys, json
truth = COCO(sys.argv[1])
load = getattr(truth, 'loadRes', None) or truth.load_res
e = COCOeval(truth, load(sys.argv[2]), sys.argv[3])
e.evaluate()
e.accumulate()
e.summarize()
print()
print('stats: ' + json.dumps([float(v) for v in e.stats]))
";

/// One evaluator.
#[derive(Serialize)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) version: String,
    /// Takes many seconds: only on demand, and once.
    pub(super) slow: bool,
    #[serde(skip)]
    program: PathBuf,
    #[serde(skip)]
    kind: Kind,
}

enum Kind {
    Ours,
    /// With this import.
    Python(&'static str),
    Vernier,
    Hotcoco,
}

impl Tool {
    /// A whole evaluation.
    pub(super) fn command(&self, w: &Workload, threads: usize) -> Command {
        let mut command = Command::new(&self.program);
        let (truth, found) = (&w.truth, &w.found);
        match self.kind {
            Kind::Ours => command
                .arg("coco")
                .args([truth, found])
                .args(["--iou", w.iou, "--format", "json"]),
            Kind::Python(import) => command
                .arg("-c")
                .arg(format!("{import}{SCRIPT}"))
                .args([truth, found])
                .arg(w.iou),
            Kind::Vernier => command
                .args(["eval", "--quiet", "--emit", "json", "--iou-type", w.iou])
                .args(["--threads", &threads.to_string()])
                .arg("--gt")
                .arg(truth)
                .arg("--dt")
                .arg(found),
            Kind::Hotcoco => command
                .args(["--iou-type", w.iou, "--gt"])
                .arg(truth)
                .arg("--dt")
                .arg(found),
        };
        for variable in [
            "RAYON_NUM_THREADS",
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
        ] {
            command.env(variable, threads.to_string());
        }
        command
    }
}

/// The numbers in what a tool printed.
pub(super) fn stats(printed: &str) -> Option<Vec<f64>> {
    let numbers = |value: &Value| -> Option<Vec<f64>> {
        value.as_array()?.iter().map(Value::as_f64).collect()
    };
    if let Some(list) = printed
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("stats: "))
    {
        return numbers(&serde_json::from_str(list).ok()?);
    }
    let document: Value = serde_json::from_str(printed).ok()?;
    if let Some(stats) = document.get("stats") {
        return numbers(stats);
    }
    let lines = document.get("lines")?.as_array()?;
    lines.iter().map(|line| line["value"].as_f64()).collect()
}

/// Those that run here, ours first, and a line on each that does not.
pub(super) fn detect(python: &Path, folder: Option<&Path>) -> (Vec<Tool>, Vec<String>) {
    let (mut tools, mut missing) = (Vec::new(), Vec::new());
    match ours() {
        Ok(program) => tools.push(Tool {
            name: "inscon-eval".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            slow: false,
            program,
            kind: Kind::Ours,
        }),
        Err(reason) => missing.push(format!("inscon-eval: not built: {reason}")),
    }
    for (name, kind) in [("vernier", Kind::Vernier), ("coco-eval", Kind::Hotcoco)] {
        let program = folder.map_or_else(|| name.into(), |folder| folder.join(name));
        let shown = match kind {
            Kind::Vernier => "vernier-cli",
            _ => "hotcoco-cli",
        };
        match output(Command::new(&program).arg("--version")) {
            Some(text) => tools.push(Tool {
                name: shown.into(),
                version: text.split_whitespace().last().unwrap_or("?").into(),
                slow: false,
                program,
                kind,
            }),
            None => missing.push(format!(
                "{shown}: `{}` is not there (`cargo install {shown}`, --bin-dir)",
                program.display()
            )),
        }
    }
    for (name, import, slow) in PACKAGES {
        let ask =
            format!("{import}\nfrom importlib.metadata import version\nprint(version('{name}'))");
        match output(Command::new(python).arg("-c").arg(ask)) {
            Some(version) => tools.push(Tool {
                name: name.into(),
                version: version.trim().into(),
                slow,
                program: python.into(),
                kind: Kind::Python(import),
            }),
            None => missing.push(format!(
                "{name}: not installed for {} (`pip install {name}`, --python)",
                python.display()
            )),
        }
    }
    (tools, missing)
}

/// Builds our binary and says where it is.
fn ours() -> Result<PathBuf, String> {
    let built = shell::cargo()
        .args(["build", "--release", "-p", "inscon-eval", "--bin"])
        .args(["inscon-eval", "--message-format", "json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !built.status.success() {
        let text = String::from_utf8_lossy(&built.stderr);
        let line = text.lines().find(|line| line.starts_with("error"));
        return Err(line.unwrap_or("cargo failed").into());
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| "cargo names no executable".into())
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::stats;

    #[test]
    fn three_ways_to_print_numbers() {
        let expected = Some(vec![0.5, -1.0]);
        assert_eq!(stats("DONE\n\nstats: [0.5, -1.0]\n"), expected);
        assert_eq!(stats("{\"stats\": [0.5, -1]}"), expected);
        let lines = "{\"lines\": [{\"value\": 0.5}, {\"value\": -1.0}]}";
        assert_eq!(stats(lines), expected);
        assert_eq!(stats("nothing"), None);
    }
}
