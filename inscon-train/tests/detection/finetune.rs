//! The detector learns, resumes exactly, and stops when it diverges.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use inscon_aug::stream;
use inscon_model::state_dict;
use inscon_train::config::ExperimentConfig;
use inscon_train::finetune::FinetuneState;
use inscon_train::scenes::{ScenesConfig, generate};
use inscon_train::{
    Interrupt, RunDir, backbone_path, evaluate, finetune, read_metrics, write_weights,
};
use serde_json::Value;

use crate::fixture::{Toy, recipe};

fn run(config: &ExperimentConfig, dir: &Path, interrupt: &Interrupt) -> Result<(), String> {
    finetune::run(config, dir, &Device::flex(), interrupt).map_err(|e| format!("{e:#}"))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The images are of 80 pixels, the detector sees them at 96: boxes and masks come back scaled.
#[test]
fn overfits_four_scenes() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = ScenesConfig {
        size: 80,
        unlabelled: 0,
        labelled: 4,
        test: 0,
        min_objects: 2,
        max_objects: 3,
        min_scale: 0.3,
        ..ScenesConfig::default()
    };
    let paths = generate(&scenes, 5, &dir.path().join("scenes")).unwrap();
    let config = recipe(
        &paths.train_json,
        &paths.train_images,
        &[
            "finetune.iterations=120",
            "finetune.batch=4",
            "finetune.min_sizes=[96]",
            "finetune.test_min_size=96",
            "finetune.lr=0.02",
            "finetune.warmup_steps=20",
            "finetune.eval_every=60",
            "finetune.log_every=10",
        ],
    );
    run(&config, dir.path(), &Interrupt::manual()).unwrap();

    let folder = dir.path().join("finetune");
    let eval = json(&folder.join("eval.json"));
    assert!(
        eval["scores"]["bbox"]["ap50"].as_f64().unwrap() > 0.9,
        "{}",
        eval["scores"]
    );
    assert!(
        eval["scores"]["segm"]["ap50"].as_f64().unwrap() > 0.5,
        "{}",
        eval["scores"]
    );
    assert_eq!(json(&folder.join("done.json"))["iterations"], 120);
    for file in [
        "results.bbox.json",
        "results.segm.json",
        "detections/detections.json",
    ] {
        assert!(folder.join(file).exists(), "{file}");
    }
    let lines = read_metrics(&RunDir::create(&folder).unwrap());
    let point = |line: &Value| line.get("eval").and(line["iteration"].as_u64());
    let curve: Vec<u64> = lines.iter().filter_map(point).collect();
    assert_eq!(curve, [60, 120]);
    for term in [
        "loss",
        "loss_rpn_cls",
        "loss_rpn_loc",
        "loss_cls",
        "loss_box_reg",
        "loss_mask",
    ] {
        let of = |line: &Value| line[term].as_f64();
        let terms: Vec<f64> = lines.iter().filter_map(of).collect();
        assert_eq!(terms.len(), 12, "{term}");
        // Box and proposal terms begin near 0, while nothing is foreground yet: from the peak.
        let peak = terms.iter().copied().fold(0.0, f64::max);
        assert!(terms[11] < 0.9 * peak, "{term}: {terms:?}");
    }

    // The evaluation command finds the work done, and does it again from the checkpoint if not.
    evaluate::run(&config, dir.path(), &Device::flex(), &Interrupt::manual()).unwrap();
    let first = json(&dir.path().join("evaluate/done.json"));
    assert_eq!(first["seconds"], eval["seconds"]);
    fs::remove_file(folder.join("eval.json")).unwrap();
    fs::remove_file(dir.path().join("evaluate/done.json")).unwrap();
    evaluate::run(&config, dir.path(), &Device::flex(), &Interrupt::manual()).unwrap();
    assert_eq!(json(&folder.join("eval.json"))["scores"], eval["scores"]);
}

/// Interrupted after every single iteration, with other numbers of loader threads.
#[test]
fn resuming_changes_no_byte() {
    let toy = Toy::new(5);
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    run(
        &toy.recipe(&["data.workers=1"]),
        &whole,
        &Interrupt::manual(),
    )
    .unwrap();

    let stopped = Interrupt::manual();
    stopped.raise();
    for workers in [2, 3, 1, 2, 1, 2] {
        assert!(!parts.join("finetune/done.json").exists());
        let workers = format!("data.workers={workers}");
        run(&toy.recipe(&[&workers]), &parts, &stopped).unwrap();
    }
    run(&toy.recipe(&[]), &parts, &Interrupt::manual()).unwrap();
    for file in [
        "checkpoint.safetensors",
        "results.bbox.json",
        "results.segm.json",
    ] {
        let read = |run: &Path| fs::read(run.join("finetune").join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file} differs");
    }
    let losses = |run: &Path| -> Vec<Value> {
        let lines = read_metrics(&RunDir::create(run.join("finetune")).unwrap());
        lines.iter().map(|line| line["loss"].clone()).collect()
    };
    assert_eq!(losses(&whole), losses(&parts));
}

#[test]
fn a_finished_run_is_left_alone_and_another_architecture_is_refused() {
    let toy = Toy::new(3);
    let dir = tempfile::tempdir().unwrap();
    let config = toy.recipe(&["finetune.iterations=1", "finetune.detector.mask=false"]);
    run(&config, dir.path(), &Interrupt::manual()).unwrap();
    let done = dir.path().join("finetune/done.json");
    let before = fs::metadata(&done).unwrap().modified().unwrap();
    run(&config, dir.path(), &Interrupt::manual()).unwrap();
    assert_eq!(fs::metadata(&done).unwrap().modified().unwrap(), before);

    fs::remove_file(&done).unwrap();
    let other = toy.recipe(&[
        "finetune.iterations=1",
        "finetune.detector.mask=false",
        "finetune.detector.fc_dim=48",
    ]);
    let error = run(&other, dir.path(), &Interrupt::manual()).unwrap_err();
    assert!(
        error.contains("fc_dim is 64 there and 48 in this recipe"),
        "{error}"
    );
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run() {
    let toy = Toy::new(3);
    let dir = tempfile::tempdir().unwrap();
    let config = toy.recipe(&[
        "finetune.iterations=20",
        "finetune.lr=1e30",
        "finetune.warmup_steps=0",
        "finetune.checkpoint_every=1",
    ]);
    let error = run(&config, dir.path(), &Interrupt::manual()).unwrap_err();
    for part in [
        "not a number at iteration",
        "loss_cls",
        "checkpoint.safetensors",
        "finetune.lr",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_pretrained_run_needs_its_backbone() {
    let toy = Toy::new(2);
    let dir = tempfile::tempdir().unwrap();
    let error = run(
        &toy.recipe(&["pretrained=true"]),
        dir.path(),
        &Interrupt::manual(),
    );
    let error = error.unwrap_err();
    assert!(
        error.contains("pretrain/backbone.safetensors does not exist"),
        "{error}"
    );
    assert!(error.contains("inscon-train pretrain"), "{error}");
}

#[test]
fn arms_differ_in_the_backbone_alone() {
    let dir = tempfile::tempdir().unwrap();
    let toy = Toy::new(1);
    let state = |config: &ExperimentConfig| {
        let state = FinetuneState::new(config, dir.path(), 3, &Device::flex()).unwrap();
        state_dict(&state.model)
    };
    let config = toy.recipe(&["pretrained=true"]);
    let other = config
        .model
        .init(&mut stream(99, &[]), &Device::flex())
        .unwrap();
    let weights = state_dict(&other);
    let path = backbone_path(dir.path());
    RunDir::create(path.parent().unwrap()).unwrap();
    write_weights(&path, &weights, "{}").unwrap();

    let (pretrained, random) = (state(&config), state(&toy.recipe(&[])));
    let mut changed = 0;
    for (name, tensor) in &pretrained {
        match name.strip_prefix("backbone.") {
            Some(inner) => {
                assert_eq!(*tensor, weights[inner], "{name} is not the file's");
                changed += usize::from(*tensor != random[name]);
            }
            None => assert_eq!(*tensor, random[name], "{name} differs between arms"),
        }
    }
    assert!(changed >= 20, "{changed} tensors of the backbone differ");

    let wide = toy.recipe(&["pretrained=true", "model.width=0.5"]);
    let error = FinetuneState::new(&wide, dir.path(), 3, &Device::flex()).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("backbone.safetensors") && error.contains("shape"),
        "{error}"
    );
}
