//! Batches made from shards: what the loader asks of a source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use inscon_train::Interrupt;
use inscon_train::config::ExperimentConfig;
use inscon_train::data::{PretrainBatches, PretrainLoader, Shuffle, epoch_order};
use inscon_train::pack::{PackArgs, ShardSize, pack};
use inscon_train::pretrain::{ProfileOptions, profile_data};

use crate::fixture::{bytes_of, text};
use crate::server::{Fault, Server};

/// Pictures of about 12 kB, which nothing compresses.
fn write(folder: &Path, count: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        let picture = image::RgbImage::from_raw(64, 64, bytes_of(i, 64 * 64 * 3)).unwrap();
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

fn packed(dir: &Path) -> PathBuf {
    let args = PackArgs {
        images: dir.join("images"),
        out: dir.join("shards"),
        name: "train".into(),
        shard_size: ShardSize::Images(100),
        shuffle: None,
    };
    assert!(pack(&args, &Interrupt::manual()).unwrap().is_complete);
    args.out
}

/// Batches of eight from `shards`, with 1 MiB read ahead.
fn config(shards: &str, more: &str) -> ExperimentConfig {
    let recipe = format!(
        "name = \"shards\"\nseed = 5\n[pretrain]\nbatch = 8\ntile = 32\nqueue = 64\nbn_groups = 2\n\
         [data]\nworkers = 2\nprefetch = 2\nread_ahead_mib = 1\npretrain_shards = {shards:?}\n{more}\n"
    );
    ExperimentConfig::from_toml(&recipe, "shards.toml", None, &[]).unwrap()
}

/// The image that takes the place of a broken one is planned for much later: it is read by itself,
/// and nothing that was read ahead is dropped for it.
#[test]
fn a_broken_image_costs_a_request() {
    let (dir, count) = (tempfile::tempdir().unwrap(), 800);
    write(&dir.path().join("images"), count);
    let order = epoch_order(5, 0, &[100; 8], Shuffle::Full);
    let place = |image: u32| order.iter().position(|&i| i == image);
    let broken = order[30..60]
        .iter()
        .find(|&&image| place(image + 1).is_some_and(|place| place > 500))
        .unwrap();
    let broken = dir.path().join(format!("images/{broken:03}.png"));
    std::fs::write(&broken, b"no picture").unwrap();
    let server = Server::start(packed(dir.path()), |_, _| Fault::None);
    let config = config(&server.url("train-{000000..000007}.tar"), "");
    let batches = Arc::new(PretrainBatches::open(&config).unwrap());
    let asked = server.asked().len();
    let mut loader = PretrainLoader::start(batches.clone(), 0..100, 2, 2, BTreeSet::new()).unwrap();
    let mut bad = Vec::new();
    while let Some(batch) = loader.next_batch() {
        bad.extend(batch.unwrap().1);
    }
    assert_eq!(bad.len(), 1);
    let statistics = batches.images().source().statistics();
    assert_eq!(statistics.dropped, 0, "{statistics:?}");
    assert_eq!(statistics.samples, count as u64 + 1);
    assert_eq!(server.asked().len() - asked, count + 1);
}

/// Each number of threads is measured on batches of its own: what was planned for the one before
/// stands in nobody's way.
#[test]
fn every_number_of_workers_is_measured_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("images"), 400);
    let config = config(
        &text(&packed(dir.path())),
        "shuffle = { buffer = { size = 20 } }",
    );
    let options = ProfileOptions {
        workers: vec![1, 2, 1],
        time: Duration::from_millis(150),
        device_rate: None,
    };
    let profile = profile_data(&config, &options, &Interrupt::manual()).unwrap();
    let workers: Vec<_> = profile.workers.iter().map(|w| w.workers).collect();
    assert_eq!(workers, [1, 2, 1]);
    assert!(profile.workers.iter().all(|w| w.images_per_second > 0.0));
    assert_eq!(profile.samples.dropped, 0, "{:?}", profile.samples);
    assert!(
        (10e3..16e3).contains(&profile.bytes_per_image),
        "{}",
        profile.bytes_per_image
    );
    let none = ProfileOptions {
        workers: Vec::new(),
        ..options
    };
    let error = profile_data(&config, &none, &Interrupt::manual()).unwrap_err();
    assert!(error.to_string().contains("loader threads"), "{error}");
}

#[test]
fn rates_of_a_device_are_numbers() {
    for rate in ["0", "-3", "nan", "inf", "fast"] {
        let rate = format!("--device-rate={rate}");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_inscon-train"))
            .args(["profile-data", "--config", "none.toml", &rate])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--device-rate"), "{said}");
    }
}
