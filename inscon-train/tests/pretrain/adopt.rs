//! One pretraining for several runs.

use std::fs;

use inscon_train::RunDir;
use inscon_train::pretrain::adopt;

use crate::fixture::{pretrain_to_the_end, tiny, write_images};

#[test]
fn a_finished_pretraining_serves_another_run() {
    let dir = tempfile::tempdir().unwrap();
    let (images, first, second) = (
        dir.path().join("images"),
        dir.path().join("first"),
        dir.path().join("second"),
    );
    write_images(&images, 8);
    let config = tiny(&images, &["pretrain.epochs=1"]);
    let unfinished = adopt(&config, &first, &second).unwrap_err().to_string();
    assert!(
        unfinished.contains("no finished pretraining"),
        "{unfinished}"
    );

    RunDir::create(&first)
        .unwrap()
        .claim(&config.to_toml())
        .unwrap();
    pretrain_to_the_end(&config, &first).unwrap();
    // What comes after pretraining may differ.
    let other_detector = tiny(&images, &["pretrain.epochs=1", "finetune.iterations=7"]);
    adopt(&other_detector, &first, &second).unwrap();
    for name in ["backbone.safetensors", "done.json", "metrics.jsonl"] {
        let read = |run: &std::path::Path| fs::read(run.join("pretrain").join(name)).unwrap();
        assert_eq!(read(&first), read(&second), "{name}");
    }

    let third = dir.path().join("third");
    let other = tiny(&images, &["pretrain.epochs=1", "pretrain.lr=0.5"]);
    let error = adopt(&other, &first, &third).unwrap_err().to_string();
    assert!(
        error.contains("another [pretrain]") && error.contains("--from"),
        "{error}"
    );
    assert!(!third.join("pretrain/done.json").exists());
    for other in ["data.pretrain_shards=\"a.tar\"", "data.jpeg_scaling=false"] {
        let other = tiny(&images, &["pretrain.epochs=1", other]);
        let error = adopt(&other, &first, &third).unwrap_err().to_string();
        assert!(error.contains("another data."), "{error}");
    }
}
