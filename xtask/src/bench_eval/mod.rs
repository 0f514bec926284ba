//! `cargo xtask bench eval`: the evaluator against its peers, whole process against whole process.
//!
//! ```text
//! OUT/data/…                the workloads, from a fixed seed (random.rs, mask.rs, workload.rs)
//! OUT/logs/…                what each tool printed last
//! OUT/results.json          every run: wall time, processor time, peak memory, numbers
//! OUT/results.md            medians and ratios
//! ```
//!
//! The tools take turns, so that a noisy machine is noisy to all of them.

mod mask;
mod measure;
pub(crate) mod random;
mod table;
mod tools;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::shell;
use measure::{measure, warm};
use table::{Report, Row, Section};
use tools::Tool;
use workload::{Workload, names, workload};

#[derive(Args)]
pub(crate) struct EvalArgs {
    /// Where the workloads lie or are written; `OUT/data` if not given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/bench-eval")]
    out: PathBuf,
    /// A Python that has the packages to compare with.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// A folder with the peers' binaries, if they are not on the PATH.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Runs of each tool.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Of bbox, segm, segm-no-box and bbox-10x; all but the last if not given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these tools.
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// pycocotools and faster-coco-eval as well, once each: they take up to a minute.
    #[arg(long)]
    slow: bool,
    /// Write the workloads and stop.
    #[arg(long)]
    generate: bool,
}

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let out = shell::root().join(&args.out);
    let data = args.data.clone().unwrap_or_else(|| out.join("data"));
    let workloads = chosen(&args.only, &data)?;
    for workload in &workloads {
        workload.prepare()?;
    }
    if args.generate {
        return Ok(());
    }
    let logs = out.join("logs");
    fs::create_dir_all(&logs)?;
    let (mut tools, mut notes) = tools::detect(&args.python, args.bin_dir.as_deref());
    if !args.tools.is_empty() {
        tools.retain(|tool| args.tools.contains(&tool.name));
    }
    if !args.slow {
        let (slow, rest): (Vec<Tool>, Vec<Tool>) = tools.into_iter().partition(|tool| tool.slow);
        notes.extend(
            slow.iter()
                .map(|tool| format!("{}: left out (--slow)", tool.name)),
        );
        tools = rest;
    }
    for note in &notes {
        shell::say(note);
    }
    if tools.is_empty() {
        bail!("no tool to measure");
    }
    let mut report = Report::new(notes);
    for workload in &workloads {
        for (round, &threads) in args.threads.iter().enumerate() {
            let section = section(workload, threads, round == 0, args.runs, &tools, &logs)?;
            shell::say(&section.markdown());
            report.sections.push(section);
            // After each: a long benchmark that is cut short leaves what it has.
            report.write(&out)?;
        }
    }
    shell::say(&format!(
        "{} and results.json",
        out.join("results.md").display()
    ));
    if report.disagree() {
        bail!("the tools' numbers differ by more than 1e-9");
    }
    Ok(())
}

fn chosen(only: &[String], data: &Path) -> Result<Vec<Workload>> {
    if let Some(unknown) = only.iter().find(|name| !names().contains(&name.as_str())) {
        bail!("no workload `{unknown}`; there are {}", names().join(", "));
    }
    let wanted = |name: &&&'static str| {
        let asked = only.iter().any(|only| only == **name);
        asked || only.is_empty() && **name != "bbox-10x"
    };
    Ok(names()
        .iter()
        .filter(wanted)
        .map(|name| workload(name, data))
        .collect())
}

/// All tools on one workload with one number of threads. The quick ones take turns; the slow ones
/// run once, after them and in the first section of a workload only.
fn section(
    workload: &Workload,
    threads: usize,
    first: bool,
    runs: usize,
    tools: &[Tool],
    logs: &Path,
) -> Result<Section> {
    warm(&workload.truth)?;
    warm(&workload.found)?;
    let (slow, quick): (Vec<&Tool>, Vec<&Tool>) = tools.iter().partition(|tool| tool.slow);
    let turns = (0..runs).flat_map(|round| {
        let count = quick.len();
        (0..count).map(move |turn| (round + turn) % count)
    });
    let once = (0..slow.len()).filter(|_| first).map(|i| quick.len() + i);
    let order: Vec<usize> = turns.chain(once).collect();
    let tools: Vec<&Tool> = quick.into_iter().chain(slow).collect();
    let mut rows: Vec<Row> = tools.iter().map(|tool| Row::of(tool)).collect();
    for at in order {
        let tool = tools[at];
        if rows[at].failed() {
            continue;
        }
        let log = logs.join(format!("{}-{}-{threads}.txt", tool.name, workload.name));
        let run = measure(tool.command(workload, threads), &log)?;
        if let Some(error) = &run.error {
            shell::say(&format!("{} on {}: {error}", tool.name, workload.name));
        }
        rows[at].runs.push(run);
    }
    rows.retain(|row| !row.runs.is_empty());
    Ok(Section {
        workload: workload.name.into(),
        described: workload.described(),
        threads,
        rows,
    })
}
