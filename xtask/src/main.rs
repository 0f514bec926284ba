//! Project automation: `cargo xtask ci|tidy|reproduce|report|bench`.
//!
//! Thin on purpose: it runs `cargo` and the binary `inscon-train`, reads the files they write and
//! links no burn, so that it builds in seconds.

mod bench_aug;
mod bench_eval;
mod bench_ops;
mod bench_step;
mod chart;
mod ci;
mod html;
mod measured;
mod pictures;
mod report;
mod reproduce;
mod results;
mod shell;
mod tidy;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks and experiments of the InsCon workspace"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything a landing must pass, cheapest first.
    Ci(ci::CiArgs),
    /// Repository rules: module docs, file sizes, who may import whom.
    Tidy,
    /// Data → pretraining → fine-tuning → probes → evaluation → report, for every arm and seed.
    Reproduce(Box<reproduce::ReproduceArgs>),
    /// Writes results.json and report.html again from the runs in DIR.
    Report {
        /// The folder a `reproduce` wrote.
        dir: PathBuf,
    },
    /// Measures a part of the workspace against its peers.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// The evaluator against pycocotools and its successors, whole process against whole process.
    Eval(bench_eval::EvalArgs),
    /// A pretraining step and its convolutions against PyTorch, process against process.
    Step(bench_step::StepArgs),
    /// RoIAlign and NMS against torchvision, process against process.
    Ops(bench_ops::OpsArgs),
    /// Augmented views a second against torchvision, albumentations and others.
    Aug(bench_aug::AugArgs),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Ci(args) => ci::run(&args),
        Command::Tidy => tidy::run(),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Report { dir } => report::write(&dir),
        Command::Bench(Bench::Eval(args)) => bench_eval::run(&args),
        Command::Bench(Bench::Step(args)) => bench_step::run(&args),
        Command::Bench(Bench::Ops(args)) => bench_ops::run(&args),
        Command::Bench(Bench::Aug(args)) => bench_aug::run(&args),
    }
}
