//! What is said when the input is wrong: the name, the fault, the mend.

use std::fs;

use crate::fixture::{TINY, failure, pretrain_to_the_end, tiny, write_images};
use inscon_train::config::ExperimentConfig;

fn check(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn refused(sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    ExperimentConfig::from_toml(TINY, "tiny.toml", None, &sets)
        .unwrap_err()
        .to_string()
}

#[test]
fn recipes() {
    check(
        &refused(&["pretrain.tempreature=0.1"]),
        &["tempreature", "did you mean `temperature`?"],
    );
    check(
        &refused(&["pretrain.batch=10"]),
        &["10", "grid² = 4", "8 or 12"],
    );
    check(
        &refused(&["pretrain.tile=40"]),
        &["pretrain.tile = 40", "stride 16", "32 or 48", "roi_align"],
    );
    check(
        &refused(&["pretrain.temperature=0.0"]),
        &["pretrain.temperature", "greater than 0"],
    );
    check(
        &refused(&["model.depth=20"]),
        &["model.depth = 20", "18, 34, 50 or 101"],
    );
    check(
        &refused(&["pretrain.augmentation={flip_p=2.0}"]),
        &["augmentation", "flip_p"],
    );
}

#[test]
fn folders_of_images() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    fs::create_dir(&images).unwrap();
    let name = images.display().to_string();
    check(
        &failure(&tiny(&images, &[]), &run),
        &[&name, "holds no image", "data.pretrain_images"],
    );
    write_images(&images, 6);
    check(
        &failure(&tiny(&images, &[]), &run),
        &[&name, "6 images", "pretrain.batch = 4"],
    );
    let missing = dir.path().join("nowhere");
    check(
        &failure(&tiny(&missing, &[]), &run),
        &["nowhere", "cannot read"],
    );
}

#[test]
fn a_checkpoint_of_another_architecture() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 8);
    pretrain_to_the_end(&tiny(&images, &["pretrain.epochs=1"]), &run).unwrap();
    fs::remove_file(run.join("pretrain/done.json")).unwrap();
    let other = |sets: &[&str]| failure(&tiny(&images, sets), &run);
    let name = run
        .join("pretrain/checkpoint.safetensors")
        .display()
        .to_string();
    let width = other(&["model.width=0.25"]);
    check(
        &width,
        &[
            &name,
            "another architecture",
            "model.width is 0.125 there and 0.25 in this",
        ],
    );
    check(
        &other(&["pretrain.lambda=0.0"]),
        &["cell_head is true there and false"],
    );
    check(
        &other(&["pretrain.queue=32"]),
        &["queue is 64 there and 32"],
    );

    let checkpoint = fs::read(&name).unwrap();
    fs::write(&name, &checkpoint[..checkpoint.len() / 2]).unwrap();
    check(&other(&[]), &[&name, "safetensors"]);
}

#[test]
fn a_run_folder_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    write_images(&images, 8);
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = failure(&tiny(&images, &[]), &dir.path().join("file/run"));
    check(&error, &["file/run", "--run"]);
}

#[test]
fn a_loss_that_is_not_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 8);
    let wild = [
        "pretrain.lr=1e30",
        "pretrain.epochs=9",
        "pretrain.checkpoint_every=1",
    ];
    let error = failure(&tiny(&images, &wild), &run);
    let checkpoint = run
        .join("pretrain/checkpoint.safetensors")
        .display()
        .to_string();
    check(
        &error,
        &[
            "not a number at step 1",
            "instance",
            "cell",
            &checkpoint,
            "pretrain.lr",
        ],
    );
    assert!(!run.join("pretrain/done.json").exists());
}
