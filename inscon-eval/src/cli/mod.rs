//! The command line: one file a subcommand.

mod coco;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// COCO and PASCAL VOC detection evaluation, equal to the Python reference tools bit for bit.
#[derive(Debug, Parser)]
#[command(name = "inscon-eval", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// AP and AR as pycocotools has them
    Coco(coco::CocoArgs),
}

/// Runs what the arguments ask for. 0: fine; 2: the input or the arguments are not.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Coco(args) => coco::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            _ = writeln!(std::io::stderr(), "inscon-eval: {failure}");
            ExitCode::from(2)
        }
    }
}
