//! The binary: flags, messages, exit codes, Ctrl-C.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::fixture::{TINY, write_images};

fn pretrain(dir: &Path, run: &str, sets: &[&str]) -> Command {
    fs::write(dir.join("tiny.toml"), TINY).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_inscon-train"));
    command
        .current_dir(dir)
        .args(["pretrain", "--config", "tiny.toml", "--run", run]);
    for set in sets {
        command.args(["--set", set]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ctrl-C saves and says how to go on; the same command goes on, and ends as a run in one go.
#[cfg(unix)]
#[test]
fn ctrl_c_and_the_same_command_again() {
    let dir = tempfile::tempdir().unwrap();
    write_images(&dir.path().join("images"), 16);
    let sets = ["data.pretrain_images=images", "pretrain.epochs=40"];
    let metrics = dir.path().join("run/pretrain/metrics.jsonl");
    let child = pretrain(dir.path(), "run", &sets).spawn().unwrap();
    let started = Instant::now();
    while fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no step in a minute"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("call the same command again"), "{said}");
    assert!(
        !dir.path().join("run/pretrain/done.json").exists(),
        "stopped before the end"
    );

    let again = pretrain(dir.path(), "run", &sets).output().unwrap();
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("resuming"), "{}", text(&again));
    assert!(
        pretrain(dir.path(), "whole", &sets)
            .output()
            .unwrap()
            .status
            .success()
    );
    let backbone = |run: &str| fs::read(dir.path().join(run).join("pretrain/backbone.safetensors"));
    assert!(backbone("run").unwrap() == backbone("whole").unwrap());

    let done = pretrain(dir.path(), "run", &sets).output().unwrap();
    assert!(
        done.status.success() && text(&done).contains("done already"),
        "{}",
        text(&done)
    );
    let other = pretrain(dir.path(), "run", &[sets[0], "pretrain.lr=0.5"])
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(
        text(&other).contains("run of another recipe"),
        "{}",
        text(&other)
    );
}

#[test]
fn a_wrong_key_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = pretrain(dir.path(), "run", &[]);
    fs::write(
        dir.path().join("tiny.toml"),
        "name = \"t\"\n[pretrain]\nepoch = 3\n",
    )
    .unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    for part in ["tiny.toml", "line 3", "`epoch`", "did you mean `epochs`?"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}
