//! Clipping, the norms' statistics, the best checkpoint, and resuming with all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use burn::tensor::{Device, TensorData};
use inscon_model::{StateDict, is_buffer, state_dict};
use inscon_train::config::ExperimentConfig;
use inscon_train::evaluate::{Ap, Scores};
use inscon_train::finetune::{
    BEST, BEST_JSON, Best, FinetuneState, open_data, precise_bn, precise_bn_batches, train_batches,
};
use inscon_train::{
    Checkpoint, CheckpointHeader, Interrupt, RunDir, evaluate, finetune, read_metrics,
};
use serde_json::{Value, json};

use crate::fixture::Toy;

fn run(config: &ExperimentConfig, dir: &Path, interrupt: &Interrupt) {
    finetune::run(config, dir, &Device::flex(), interrupt).unwrap_or_else(|e| panic!("{e:#}"));
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// One step without momentum and decay moves the weights by lr times the bound, for the first
/// gradient is far above it.
#[test]
fn a_recipe_bounds_its_gradients() {
    let toy = Toy::new(2);
    let (lr, bound) = (0.1, 0.5);
    let sets = [
        "finetune.iterations=1",
        "finetune.lr=0.1",
        "finetune.warmup_steps=0",
        "finetune.weight_decay=0",
        "finetune.momentum=0",
    ];
    let moved = |more: &[&str]| -> f64 {
        let config = toy.recipe(&[&sets[..], more].concat());
        let dir = tempfile::tempdir().unwrap();
        let before = FinetuneState::new(&config, dir.path(), 3, &Device::flex()).unwrap();
        let before = state_dict(&before.model);
        run(&config, dir.path(), &Interrupt::manual());
        let path = dir.path().join("finetune/checkpoint.safetensors");
        let (after, _) = inscon_model::read_safetensors(&path).unwrap();
        let of = |(name, data): (&String, &TensorData)| -> f64 {
            let after = &after[&format!("model.{name}")];
            let pairs = data.iter::<f32>().zip(after.iter::<f32>());
            pairs
                .map(|(a, b)| (f64::from(b) - f64::from(a)).powi(2))
                .sum()
        };
        let weights = before.iter().filter(|(name, _)| !is_buffer(name));
        weights.map(of).sum::<f64>().sqrt()
    };
    let free = moved(&[]);
    assert!(free > 4.0 * lr * bound, "{free}");
    let clipped = moved(&["finetune.clip_gradients={ kind = \"full-model\", value = 0.5 }"]);
    assert!((clipped / (lr * bound) - 1.0).abs() < 1e-3, "{clipped}");

    let refused = |value: &str| {
        let text = toy.recipe(&[]).to_toml();
        let set = format!("finetune.clip_gradients={value}");
        ExperimentConfig::from_toml(&text, "t.toml", None, &[set])
            .unwrap_err()
            .to_string()
    };
    assert!(refused("{ kind = \"norm\", value = 0 }").contains("must be above 0"));
    assert!(refused("{ kind = \"full_model\", value = 1 }").contains("did you mean `full-model`?"));
}

/// The stem's statistics against those of its own inputs, batch by batch.
#[test]
fn precise_statistics_of_the_stem() {
    let toy = Toy::new(4);
    let config = toy.recipe(&["finetune.detector.fpn_norm=\"batch\""]);
    let device = Device::flex();
    let (train, _) = open_data(&config).unwrap();
    let batches = train_batches(&config, train);
    let model = FinetuneState::new(&config, toy.path(), 3, &device)
        .unwrap()
        .model;
    let free = Interrupt::manual();
    let precise = |model, config: &ExperimentConfig| {
        let batches = train_batches(config, batches.data.clone());
        precise_bn(model, &batches, 3, 2, &device, &free)
            .unwrap()
            .unwrap()
    };
    let once = precise(&model, &config);

    let channels = model.backbone.bn1.running_mean.value().dims()[0];
    let (mut means, mut variances) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    let own = precise_bn_batches(&batches);
    assert_ne!(own.seed, batches.seed);
    for (i, images) in (0..).zip(&own.plan(3).unwrap()) {
        let batch = own.make(i, images).unwrap();
        let x = batch.tensor(&device.clone().autodiff());
        let y = model.backbone.conv1.forward(x).inner();
        let [n, _, h, w] = y.dims();
        let values: Vec<f32> = y.into_data().iter::<f32>().collect();
        let count = (n * h * w) as f64;
        for channel in 0..channels {
            let of_image = |image: usize| &values[(image * channels + channel) * h * w..][..h * w];
            let of_channel = || (0..n).flat_map(of_image).map(|v| f64::from(*v));
            let mean = of_channel().sum::<f64>() / count;
            let squares: f64 = of_channel().map(|v| (v - mean).powi(2)).sum();
            means[channel] += mean / 3.0;
            variances[channel] += squares / (count - 1.0) / 3.0;
        }
    }
    let close = |found: burn::tensor::Tensor<1>, expected: &[f64]| {
        let found: Vec<f32> = found.into_data().iter::<f32>().collect();
        let scale = expected.iter().fold(0.0, |max: f64, v| max.max(v.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-4 * scale,
                "{found} {expected}"
            );
        }
    };
    close(once.backbone.bn1.running_mean.value(), &means);
    close(once.backbone.bn1.running_var.value(), &variances);

    // Every norm was reached, no weight was, and again gives the same bits.
    let (before, after) = (state_dict(&model), state_dict(&once));
    for (name, data) in &before {
        assert_eq!(*data != after[name], is_buffer(name), "{name}");
    }
    assert_eq!(after, state_dict(&precise(&once, &config)));

    // Frozen norms keep what they have.
    let frozen = toy.recipe(&[
        "finetune.detector.fpn_norm=\"batch\"",
        "finetune.detector.norm=\"frozen\"",
    ]);
    let model = FinetuneState::new(&frozen, toy.path(), 3, &device)
        .unwrap()
        .model;
    let (before, after) = (state_dict(&model), state_dict(&precise(&model, &frozen)));
    for (name, data) in &before {
        let of_fpn = is_buffer(name) && !name.starts_with("backbone.");
        assert_eq!(*data != after[name], of_fpn, "{name}");
    }

    let stopped = Interrupt::manual();
    stopped.raise();
    assert!(
        precise_bn(&model, &batches, 3, 1, &device, &stopped)
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_best_is_kept_and_of_equal_ones_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let dir = RunDir::create(dir.path().join("finetune")).unwrap();
    let checkpoint = |step: u64| Checkpoint {
        header: CheckpointHeader {
            phase: "finetune".into(),
            architecture: json!({}),
            step,
            epoch: 0,
            counters: BTreeMap::new(),
            detector: Value::Null,
        },
        tensors: StateDict::from([
            ("model.w".to_owned(), TensorData::from([step as f32])),
            ("sgd.w".to_owned(), TensorData::from([9.0f32])),
        ]),
    };
    let ap = |ap: f64| Ap {
        ap,
        ap50: 0.9,
        ap75: 0.1,
    };
    let offer = |step: u64, value: f64, voc: Option<f64>| {
        let scores = Scores {
            bbox: ap(value),
            segm: None,
            voc07: voc.map(ap),
        };
        Best::offer(&dir, &scores, &checkpoint(step)).unwrap();
        let best = Best::read(&dir).unwrap().unwrap();
        let kept = Checkpoint::read(&dir.file(BEST), "finetune", &json!({})).unwrap();
        assert_eq!(kept.header.step, best.iteration);
        assert_eq!(
            kept.tensors.keys().collect::<Vec<_>>(),
            ["model.w"],
            "no optimizer"
        );
        assert_eq!(
            kept.tensors["model.w"],
            TensorData::from([best.iteration as f32])
        );
        best.iteration
    };
    assert!(Best::read(&dir).unwrap().is_none());
    // Even a score of -1, nothing to find, is the best so far.
    assert_eq!(offer(1, -1.0, None), 1);
    assert_eq!(offer(2, 0.3, None), 2);
    assert_eq!(offer(3, 0.2, None), 2);
    assert_eq!(offer(4, 0.3, None), 2);
    assert_eq!(offer(5, 0.4, None), 5);
    // VOC's score decides where there is one.
    assert_eq!(offer(6, 0.1, Some(0.5)), 6);
    assert_eq!(Best::read(&dir).unwrap().unwrap().metric, "voc07.ap");

    // Weights without their score are offered again.
    fs::remove_file(dir.file(BEST_JSON)).unwrap();
    assert_eq!(offer(7, 0.0, None), 7);
    fs::write(dir.file(BEST_JSON), "{").unwrap();
    let error = format!("{:#}", Best::read(&dir).unwrap_err());
    assert!(
        error.contains("best.json is not what fine-tuning writes"),
        "{error}"
    );
}

const EVERYTHING: [&str; 7] = [
    "finetune.eval_every=2",
    "finetune.precise_bn_iterations=2",
    "finetune.clip_gradients={ kind = \"full-model\", value = 1.0 }",
    "finetune.detector.frozen_stages=2",
    "finetune.detector.fpn_norm=\"batch\"",
    "finetune.min_size_sampling=\"range\"",
    "finetune.lr=0.02",
];

/// The lines of the log without what depends on the clock.
fn log(run: &Path) -> Vec<Value> {
    let mut lines = read_metrics(&RunDir::create(run.join("finetune")).unwrap());
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        line.remove("ms");
        line.remove("images_per_second");
    }
    lines
}

/// Stopped between and within evaluations, with other numbers of threads.
#[test]
fn resuming_changes_no_byte_with_everything_on() {
    let toy = Toy::new(5);
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let config = |workers: &str| {
        let mut sets = EVERYTHING.to_vec();
        sets.push(workers);
        toy.recipe(&sets)
    };
    run(&config("data.workers=1"), &whole, &Interrupt::manual());
    let curve: Vec<u64> = log(&whole)
        .iter()
        .filter(|line| !line["eval"].is_null())
        .filter_map(|line| line["iteration"].as_u64())
        .collect();
    assert_eq!(curve, [2, 4, 6]);

    // After the first iteration; then in the middle of the evaluation after the second, twice.
    let stopped = Interrupt::manual();
    stopped.raise();
    for (workers, evaluations) in [
        ("data.workers=2", 0),
        ("data.workers=3", 0),
        ("data.workers=1", 0),
    ] {
        run(&config(workers), &parts, &stopped);
        let lines = log(&parts);
        assert_eq!(
            lines.iter().filter(|l| !l["eval"].is_null()).count(),
            evaluations
        );
    }
    assert_eq!(log(&parts).len(), 2, "two iterations are done");

    // That evaluation is made up for; somewhere after it comes the next stop.
    let later = Interrupt::manual();
    let best = parts.join("finetune").join(BEST_JSON);
    let watcher = std::thread::spawn({
        let (later, best) = (later.clone(), best.clone());
        move || {
            for _ in 0..60_000 {
                if best.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            later.raise();
        }
    });
    run(&config("data.workers=2"), &parts, &later);
    watcher.join().unwrap();
    assert!(best.exists());
    run(&config("data.workers=1"), &parts, &Interrupt::manual());

    for file in [
        "checkpoint.safetensors",
        BEST,
        BEST_JSON,
        "results.bbox.json",
        "results.segm.json",
    ] {
        let read = |run: &Path| fs::read(run.join("finetune").join(file)).unwrap();
        assert!(read(&whole) == read(&parts), "{file} differs");
    }
    assert_eq!(log(&whole), log(&parts));

    // The best is the best of the curve, and evaluates to its own score.
    let found = read(&best);
    let scores: Vec<Value> = log(&whole).iter().map(|l| l["eval"].clone()).collect();
    let of = |scores: &Value| scores["bbox"]["ap"].as_f64();
    let highest = scores.iter().filter_map(of).fold(f64::MIN, f64::max);
    assert_eq!(found["score"], highest);
    evaluate::run_best(
        &config("data.workers=1"),
        &parts,
        &Device::flex(),
        &Interrupt::manual(),
    )
    .unwrap();
    let eval = read(&parts.join("finetune/best/eval.json"));
    assert_eq!(eval["scores"], found["scores"]);
    assert_eq!(eval["iteration"], found["iteration"]);
    assert_eq!(read(&parts.join("finetune/done.json"))["best"], found);
}

/// Frozen stages do not move, whatever the decay; detectron2's `FREEZE_AT` counts the stem.
#[test]
fn frozen_stages_keep_every_byte() {
    let toy = Toy::new(3);
    let config = toy.recipe(&["finetune.iterations=2", "finetune.detector.frozen_stages=2"]);
    let dir = tempfile::tempdir().unwrap();
    let before = FinetuneState::new(&config, dir.path(), 3, &Device::flex()).unwrap();
    let before = state_dict(&before.model);
    run(&config, dir.path(), &Interrupt::manual());
    let path = dir.path().join("finetune/checkpoint.safetensors");
    let (after, _) = inscon_model::read_safetensors(&path).unwrap();
    for (name, data) in &before {
        let inside = ["backbone.conv1", "backbone.bn1", "backbone.layer1"];
        let frozen = inside.iter().any(|stage| name.starts_with(stage));
        let moved = *data != after[&format!("model.{name}")];
        // Deeper ones may stand still by chance only where a whole tensor gets no gradient.
        assert!(!(frozen && moved), "{name}");
        assert!(
            frozen || moved || name.contains("mask") || name.contains("bias"),
            "{name}"
        );
    }
}
