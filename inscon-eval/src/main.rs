//! `inscon-eval`: the evaluators behind flags.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
