//! The command line. A subcommand is a file here, a variant of [`Command`] and an arm in [`run`].

mod check;
mod coco;
mod coco_report;
mod compare;
mod compare_report;
mod heat_map;
mod lvis;
mod place;
mod plots;
mod text;
mod tide;
mod voc;
mod voc_report;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use inscon_eval::IouType;

/// Anything that ends a command early; one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// COCO and PASCAL VOC detection evaluation, equal to the Python reference tools bit for bit.
///
/// The threads are all of the machine's, or RAYON_NUM_THREADS; the output does not depend on them.
/// Exit codes: 0 fine, 1 `check` found errors, 2 the input or the arguments are malformed.
#[derive(Debug, Parser)]
#[command(name = "inscon-eval", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// COCO's AP and AR, as pycocotools computes them
    Coco(coco::CocoArgs),
    /// PASCAL VOC's AP, 2007 or 2010 style, as the devkit and detectron2 compute it
    Voc(voc::VocArgs),
    /// LVIS's AP and AR, as lvis-api computes them
    Lvis(lvis::LvisArgs),
    /// What each kind of error costs, as TIDE has it
    Tide(tide::TideArgs),
    /// Whether one result is better than another, or chance may have made the difference
    Compare(compare::CompareArgs),
    /// Find what is malformed in ground truth and results
    Check(check::CheckArgs),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// To be read
    Table,
    /// Everything, unrounded, on one line
    Json,
    /// One row for each class
    Csv,
}

/// What overlaps, where only boxes and masks can.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    /// Boxes
    Bbox,
    /// Masks
    Segm,
}

impl Shape {
    fn kind(self) -> IouType {
        match self {
            Self::Bbox => IouType::Bbox,
            Self::Segm => IouType::Segm,
        }
    }
}

/// Does what the arguments ask for.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Coco(args) => coco::run(&args),
        Command::Voc(args) => voc::run(&args),
        Command::Lvis(args) => lvis::run(&args),
        Command::Tide(args) => tide::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Check(args) => check::run(&args),
    };
    match done {
        Ok(code) => code,
        // Whoever reads has had enough (`| head`).
        Err(failure) if is_broken_pipe(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("inscon-eval: {failure}"));
            ExitCode::from(2)
        }
    }
}

/// A line beside the results.
fn say(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

fn is_broken_pipe(failure: &Failure) -> bool {
    failure
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
