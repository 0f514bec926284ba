//! A run over hundreds of damaged, disguised and monstrous files: inscon-aug's zoo of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use inscon_train::data::BadImage;

use crate::corrupt_variants::{Expected, variants};
use crate::fixture::{failure, picture, pretrain_to_the_end, tiny};

/// Each file that cannot be read is counted once and named, each that can is not, and the run goes
/// on to its end; with the usual limit it stops with advice.
#[test]
fn every_broken_file_is_counted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    fs::create_dir(&images).unwrap();
    let variants = variants();
    assert!(variants.len() >= 500, "only {}", variants.len());
    for (name, bytes, _) in &variants {
        fs::write(images.join(name), bytes).unwrap();
    }
    // Whole batches: every image is in the epoch.
    let batch = 32;
    let good = batch + (batch - variants.len() % batch) % batch;
    for i in 0..good {
        picture(i)
            .save(images.join(format!("good{i}.png")))
            .unwrap();
    }
    let sets = [
        "pretrain.batch=32",
        "pretrain.epochs=1",
        "data.max_image_mib=12",
    ];
    let config = tiny(&images, &[&sets[..], &["data.max_bad_share=1.0"]].concat());
    pretrain_to_the_end(&config, &run).unwrap();

    let text = fs::read_to_string(run.join("pretrain/bad_images.jsonl")).unwrap();
    let listed: Vec<BadImage> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let errors: BTreeMap<&str, &str> = listed
        .iter()
        .map(|bad| (bad.file.as_str(), bad.error.as_str()))
        .collect();
    assert_eq!(errors.len(), listed.len(), "a file is listed once");
    let named = |expected: Expected| -> BTreeSet<&str> {
        let files = variants.iter().filter(|variant| variant.2 == expected);
        files.map(|variant| variant.0.as_str()).collect()
    };
    for file in named(Expected::Broken) {
        let error = errors
            .get(file)
            .unwrap_or_else(|| panic!("{file} is not listed"));
        assert!(error.len() > 8, "{file}: {error}");
    }
    let partly = named(Expected::Partly);
    for file in errors.keys() {
        let broken = named(Expected::Broken).contains(file) || partly.contains(file);
        assert!(broken, "{file} is listed: {}", errors[file]);
    }
    let done: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("pretrain/done.json")).unwrap()).unwrap();
    assert_eq!(done["bad_images"], listed.len());

    let error = failure(&tiny(&images, &sets), &dir.path().join("run2"));
    assert!(error.contains("raise data.max_bad_share"), "{error}");
}
