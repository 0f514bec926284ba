//! An interrupted run, other threads and other arms against a run in one go.

use std::fs;
use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use inscon_model::state_dict;
use inscon_train::pack::{PackArgs, ShardSize, pack};
use inscon_train::pretrain::PretrainState;
use inscon_train::{Interrupt, RunDir, pretrain, read_metrics};

use crate::fixture::{failure, pretrain_to_the_end, tiny, write_images};

fn bytes(run: &Path) -> [Vec<u8>; 2] {
    ["checkpoint.safetensors", "backbone.safetensors"]
        .map(|name| fs::read(run.join("pretrain").join(name)).unwrap())
}

fn steps(run: &Path) -> Vec<(u64, f64)> {
    let lines = read_metrics(&RunDir::create(run.join("pretrain")).unwrap());
    lines
        .iter()
        .map(|l| (l["step"].as_u64().unwrap(), l["loss"].as_f64().unwrap()))
        .collect()
}

/// Nine steps over three epochs, once in one go and once interrupted after every step.
#[test]
fn a_run_interrupted_after_every_step_ends_the_same_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    write_images(&dir.path().join("images"), 26);
    for (arm, sets) in [
        ("inscon", &[][..]),
        (
            "moco",
            &[
                "pretrain.grid=1",
                "pretrain.lambda=0.0",
                "pretrain.negatives=\"queue\"",
            ],
        ),
    ] {
        let config = tiny(&dir.path().join("images"), sets);
        let (whole, pieces) = (
            dir.path().join(arm),
            dir.path().join(format!("{arm}-pieces")),
        );
        pretrain_to_the_end(&config, &whole).unwrap();

        let mut calls = 0;
        while !pieces.join("pretrain/done.json").exists() {
            let interrupt = Interrupt::manual();
            interrupt.raise();
            pretrain::run(&config, &pieces, &Device::flex(), &interrupt).unwrap();
            calls += 1;
            assert!(calls <= 9, "each call makes one step");
        }
        assert_eq!(calls, 9);
        assert!(bytes(&whole) == bytes(&pieces), "{arm}: weights differ");
        assert_eq!(steps(&whole), steps(&pieces), "{arm}: metrics differ");
        assert_eq!(steps(&whole).len(), 9);
    }
}

/// A process that dies leaves its last checkpoint and lines of metrics that it has not seen.
#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 26);
    let config = tiny(&images, &[]);
    pretrain_to_the_end(&config, &run).unwrap();
    let reference = (bytes(&run), steps(&run));

    // Step 4's checkpoint in the folder of a run that logged nine steps.
    let early = dir.path().join("early");
    let mut calls = 0;
    while calls < 4 {
        let interrupt = Interrupt::manual();
        interrupt.raise();
        pretrain::run(&config, &early, &Device::flex(), &interrupt).unwrap();
        calls += 1;
    }
    let checkpoint = "pretrain/checkpoint.safetensors";
    fs::copy(early.join(checkpoint), run.join(checkpoint)).unwrap();
    fs::remove_file(run.join("pretrain/done.json")).unwrap();
    pretrain_to_the_end(&config, &run).unwrap();
    assert!(reference == (bytes(&run), steps(&run)));
}

/// Shards that are damaged while they are read end the run, which goes on when they are whole.
#[test]
fn a_run_that_loses_its_shards_keeps_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let (images, shards) = (dir.path().join("images"), dir.path().join("shards"));
    write_images(&images, 16);
    let args = PackArgs {
        images,
        out: shards.clone(),
        name: "train".into(),
        shard_size: ShardSize::Images(16),
        shuffle: None,
    };
    pack(&args, &Interrupt::manual()).unwrap();
    let packed = format!("data.pretrain_shards={:?}", shards.display().to_string());
    let sets = [
        &packed[..],
        "pretrain.epochs=200",
        "pretrain.checkpoint_every=0",
    ];
    let config = tiny(Path::new(""), &sets);
    let run = dir.path().join("run");
    let error = std::thread::scope(|scope| {
        let training = scope.spawn(|| failure(&config, &run));
        while !training.is_finished() && steps_of(&run) < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let shard = shards.join("train-000000.tar");
        let file = fs::OpenOptions::new().write(true).open(shard).unwrap();
        file.set_len(100).unwrap();
        training.join().unwrap()
    });
    assert!(error.contains("train-000000.tar"), "{error}");
    assert!(run.join("pretrain/checkpoint.safetensors").exists());
    let reached = steps_of(&run);
    assert!((3..400).contains(&reached), "{reached}");

    fs::remove_dir_all(&shards).unwrap();
    pack(&args, &Interrupt::manual()).unwrap();
    let interrupt = Interrupt::manual();
    interrupt.raise();
    pretrain::run(&config, &run, &Device::flex(), &interrupt).unwrap();
    assert_eq!(steps_of(&run), reached + 1);
}

/// Lines of metrics.
fn steps_of(run: &Path) -> usize {
    let text = fs::read_to_string(run.join("pretrain/metrics.jsonl"));
    text.map_or(0, |text| text.lines().count())
}

#[test]
fn the_number_of_loader_threads_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    write_images(&images, 26);
    let run = |name: &str, sets: &[&str]| {
        let run = dir.path().join(name);
        pretrain_to_the_end(&tiny(&images, sets), &run).unwrap();
        bytes(&run)
    };
    let one = run("one", &["data.workers=1", "data.prefetch=1"]);
    assert!(one == run("two", &["data.workers=2", "data.prefetch=5"]));
    assert!(one == run("cached", &["data.workers=2", "data.cache=true"]));
    assert!(one != run("seed", &["seed=4"]), "the seed must matter");
}

#[test]
fn every_arm_of_a_seed_starts_from_the_same_backbone() {
    let dir = tempfile::tempdir().unwrap();
    let start = |sets: &[&str]| {
        let config = tiny(dir.path(), sets);
        let state = PretrainState::new(&config, 3, &Device::flex()).unwrap();
        (state.backbone(), state_dict(&state.key.backbone))
    };
    let (inscon, key) = start(&[]);
    assert_eq!(inscon, key, "the key encoder starts as a copy");
    let (moco, _) = start(&["pretrain.grid=1", "pretrain.lambda=0.0", "pretrain.dim=8"]);
    assert_eq!(inscon, moco);
    assert_ne!(inscon, start(&["seed=4"]).0);
    assert!(
        inscon.contains_key("layer1.0.conv1.weight"),
        "{:?}",
        inscon.keys().next()
    );
}
