//! What a landing must pass, cheapest first.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{reproduce, shell, tidy};

#[derive(Args)]
pub(crate) struct CiArgs {
    /// Only the wgpu test on Mesa's software Vulkan; installs the Debian package if it is missing.
    #[arg(long)]
    gpu_software: bool,
}

pub(crate) fn run(args: &CiArgs) -> Result<()> {
    let started = Instant::now();
    if args.gpu_software {
        gpu_software()?;
    } else {
        default()?;
    }
    shell::say(&format!(
        "ci: passed in {:.1} min",
        started.elapsed().as_secs_f64() / 60.0
    ));
    Ok(())
}

fn default() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    shell::run(
        shell::cargo()
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    // The README's test command.
    shell::run(shell::cargo().args(["test", "--workspace"]))?;
    reproduce::smoke()?;
    // A type check links nothing: `DOCS_RS` keeps tracel-llvm-bundler's build script from
    // downloading LLVM, which a machine without the internet cannot do.
    shell::run(
        shell::cargo()
            .args([
                "check",
                "-p",
                "inscon-train",
                "--locked",
                "--features",
                "cuda",
            ])
            .env("DOCS_RS", "1"),
    )
}

const LAVAPIPE: &str = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

/// The pretraining smoke test through WGSL on Mesa's lavapipe.
fn gpu_software() -> Result<()> {
    if !PathBuf::from(LAVAPIPE).exists() {
        shell::run(Command::new("apt-get").arg("update"))?;
        shell::run(Command::new("apt-get").args([
            "install",
            "-y",
            "mesa-vulkan-drivers",
            "libvulkan1",
        ]))
        .context("install the Debian packages mesa-vulkan-drivers and libvulkan1")?;
    }
    if !PathBuf::from(LAVAPIPE).exists() {
        bail!("mesa-vulkan-drivers is installed, yet {LAVAPIPE} is missing");
    }
    let runtime = std::env::temp_dir().join("inscon-xdg");
    std::fs::create_dir_all(&runtime)?;
    shell::run(
        shell::cargo()
            .args([
                "test",
                "-p",
                "inscon-train",
                "--features",
                "wgpu",
                "--test",
                "wgpu",
            ])
            .args(["--", "--test-threads", "1", "--nocapture"])
            .env("VK_ICD_FILENAMES", LAVAPIPE)
            .env("XDG_RUNTIME_DIR", runtime),
    )
}
