//! Every recipe in `configs/` is valid for every arm, and the papers' recipes have their values.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use inscon_train::config::ExperimentConfig;

fn presets() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn load(name: &str, arm: &str) -> ExperimentConfig {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("configs")
        .join(format!("{name}.toml"));
    ExperimentConfig::load(&file, Some(arm), &[]).unwrap()
}

#[test]
fn every_recipe_is_valid_for_every_arm() {
    let files = presets();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let plain = ExperimentConfig::load(&file, None, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            Some(plain.name.as_str()),
            file.file_stem().and_then(|s| s.to_str())
        );
        assert!(
            !plain.about.is_empty() && !plain.seeds.is_empty(),
            "{}",
            file.display()
        );
        let names: Vec<&str> = plain.arms.iter().map(|a| a.name.as_str()).collect();
        assert!(
            names.starts_with(&["random", "moco-v2", "inscon"]),
            "{}: {names:?}",
            file.display()
        );
        for arm in &plain.arms {
            ExperimentConfig::load(&file, Some(&arm.name), &[]).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// The arms under comparison differ in the method alone: same images, epochs, batch, view size,
/// optimizer, detector.
#[test]
fn arms_have_the_same_budget() {
    for file in presets() {
        let [moco, inscon] =
            ["moco-v2", "inscon"].map(|arm| ExperimentConfig::load(&file, Some(arm), &[]).unwrap());
        assert_eq!((moco.pretrain.grid, moco.pretrain.lambda), (1, 0.0));
        assert_eq!((inscon.pretrain.grid, inscon.pretrain.lambda), (2, 0.5));
        let mut same = inscon.clone();
        same.pretrain.grid = moco.pretrain.grid;
        same.pretrain.lambda = moco.pretrain.lambda;
        same.pretrain.negatives = moco.pretrain.negatives;
        assert_eq!(same.pretrain, moco.pretrain, "{}", file.display());
        assert_eq!(
            (&inscon.finetune, &inscon.data, &inscon.model, &inscon.probe),
            (&moco.finetune, &moco.data, &moco.model, &moco.probe)
        );
    }
}

#[test]
fn the_papers_values() {
    for name in ["paper-coco", "paper-voc"] {
        let c = load(name, "moco-v2");
        let p = &c.pretrain;
        assert_eq!(
            (c.model.depth, c.model.width, c.model.output_stride),
            (50, 1.0, 32)
        );
        assert_eq!(
            (p.epochs, p.batch, p.tile, p.queue),
            (200, 256, 224, 65_536)
        );
        assert_eq!(
            (p.lr, p.temperature, p.ema, p.bn_groups),
            (0.03, 0.2, 0.999, 8)
        );
    }
    let coco = load("paper-coco", "inscon").finetune;
    assert_eq!(
        (coco.iterations, coco.batch, coco.lr, coco.warmup_steps),
        (90_000, 16, 0.02, 1000)
    );
    assert!(coco.detector.mask);
    let voc = load("paper-voc", "inscon").finetune;
    assert_eq!(
        (voc.iterations, voc.batch, voc.lr, voc.warmup_steps),
        (24_000, 16, 0.02, 100)
    );
    assert_eq!(
        (voc.min_sizes.len(), voc.min_sizes[0], voc.test_min_size),
        (11, 480, 800)
    );
}
