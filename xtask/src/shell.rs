//! Running commands, and lines for the person at the terminal.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap_or_else(|_| ".".into())
}

/// Prints one line.
#[expect(clippy::print_stdout, reason = "the tool's own output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs `command`, showing it and its time.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let shown = words.join(" ");
    say(&format!("$ {shown}"));
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    say(&format!("  {:.1} s", started.elapsed().as_secs_f64()));
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}
