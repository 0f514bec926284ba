//! The probes on a set whose classes are colours, which random features tell apart.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use inscon_aug::{below, stream};
use inscon_train::probe::ProbeReport;
use inscon_train::{Interrupt, export, finetune, probe};

use crate::fixture::Toy;

fn report(toy: &Toy, val: &Toy, dir: &Path) -> ProbeReport {
    let mut config = toy.recipe(&["finetune.test_min_size=96"]);
    config.data.val_json = val.json();
    config.data.val_images = val.path().into();
    probe::run(&config, dir, &Device::flex(), &Interrupt::manual()).unwrap();
    assert!(dir.join("probe/done.json").exists());
    serde_json::from_slice(&fs::read(dir.join("probe/probe.json")).unwrap()).unwrap()
}

#[test]
fn colours_are_told_apart() {
    let (toy, val) = (Toy::new(24), Toy::of_ids(31..=42));
    let dir = tempfile::tempdir().unwrap();
    let report = report(&toy, &val, dir.path());
    let boxes = report.boxes.unwrap();
    assert_eq!((boxes.train_samples, boxes.val_samples), (48, 24));
    assert!(boxes.accuracy > 0.95 && boxes.mean_ap > 0.95, "{boxes:?}");
    let cells = report.cells.unwrap();
    assert_eq!(cells.per_class.len(), 4, "three classes and background");
    assert!(
        cells.accuracy > 0.9 && cells.accuracy > cells.guess + 0.1,
        "{cells:?}"
    );
}

/// The same pictures under labels that have nothing to do with them.
#[test]
fn random_labels_stay_at_chance() {
    let (mut toy, mut val) = (Toy::new(100), Toy::of_ids(101..=200));
    let mut rng = stream(9, &[]);
    for set in [&mut toy, &mut val] {
        for annotation in &mut set.truth.annotations {
            annotation.category_id = 3 + 2 * below(&mut rng, 3) as u64;
        }
        set.save();
    }
    let dir = tempfile::tempdir().unwrap();
    let boxes = report(&toy, &val, dir.path()).boxes.unwrap();
    // 200 draws of a third: the standard deviation is .033.
    assert!((boxes.accuracy - 1.0 / 3.0).abs() < 0.1, "{boxes:?}");
    assert!((boxes.mean_ap - 1.0 / 3.0).abs() < 0.1, "{boxes:?}");
}

#[test]
fn sets_without_masks_are_probed_by_boxes_alone() {
    let mut toy = Toy::new(6);
    for annotation in &mut toy.truth.annotations {
        annotation.segmentation = None;
    }
    toy.save();
    let dir = tempfile::tempdir().unwrap();
    let report = report(&toy, &toy, dir.path());
    assert!(report.boxes.is_some() && report.cells.is_none());
}

#[test]
fn weights_are_exported_under_torchvisions_names() {
    let toy = Toy::new(2);
    let dir = tempfile::tempdir().unwrap();
    let config = toy.recipe(&["finetune.iterations=1"]);
    let export = || export::run(&config, dir.path(), None);
    let error = export().unwrap_err().to_string();
    assert!(error.contains("holds no weights yet"), "{error}");

    finetune::run(&config, dir.path(), &Device::flex(), &Interrupt::manual()).unwrap();
    export().unwrap();
    let path = dir.path().join("export/detector.safetensors");
    let (weights, _) = inscon_model::read_safetensors(&path).unwrap();
    assert!(weights.contains_key("backbone.layer2.0.downsample.0.weight"));
    assert!(weights.contains_key("backbone.bn1.running_mean"));
    assert!(weights.keys().all(|name| !name.starts_with("sgd.")));
}
