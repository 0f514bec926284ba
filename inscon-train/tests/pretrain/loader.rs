//! The loader's batches depend on the seed and the step alone.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use inscon_train::Interrupt;
use inscon_train::config::ExperimentConfig;
use inscon_train::data::{PretrainBatch, PretrainBatches, PretrainLoader};
use inscon_train::pack::{PackArgs, ShardSize, pack};

use crate::fixture::{picture, tiny};

/// JPEGs large enough that some crops are decoded at half their size, PNGs and a broken file.
fn write(folder: &Path) {
    std::fs::create_dir_all(folder.join("more")).unwrap();
    for i in 0..24 {
        let small = picture(i);
        let (width, height) = (110 + 7 * i as u32, 90 + 5 * i as u32);
        let large =
            image::imageops::resize(&small, width, height, image::imageops::FilterType::Triangle);
        let name = match i % 3 {
            0 => format!("{i:03}.jpg"),
            1 => format!("more/{i:03}.jpeg"),
            _ => format!("{i:03}.png"),
        };
        large.save(folder.join(name)).unwrap();
    }
    std::fs::write(
        folder.join("more/broken.jpg"),
        b"\xff\xd8\xff\xe0 no picture",
    )
    .unwrap();
}

/// What a batch holds, to compare: step, files, query, key, geometry.
type Content = (u64, Vec<String>, Vec<u8>, Vec<u8>, String);

fn content(batch: &PretrainBatch) -> Content {
    (
        batch.step,
        batch.files.clone(),
        batch.query.iter().copied().collect(),
        batch.key.iter().copied().collect(),
        serde_json::to_string(&(&batch.query_tiles, &batch.key_tiles, &batch.query_of_key))
            .unwrap(),
    )
}

fn load(
    config: &ExperimentConfig,
    steps: Range<u64>,
    workers: usize,
    prefetch: usize,
) -> Vec<Content> {
    let batches = Arc::new(PretrainBatches::open(config).unwrap());
    let mut loader =
        PretrainLoader::start(batches, steps, workers, prefetch, BTreeSet::new()).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = loader.next_batch() {
        all.push(content(&batch.unwrap().0));
    }
    all
}

#[test]
fn workers_prefetch_and_resuming_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    for order in ["data.shuffle=\"full\"", "data.shuffle={buffer={size=6}}"] {
        let config = tiny(dir.path(), &[order, "data.shard_size=5"]);
        let all = load(&config, 0..9, 1, 1);
        assert_eq!(all.len(), 9);
        let steps: Vec<u64> = all.iter().map(|batch| batch.0).collect();
        assert_eq!(steps, (0..9).collect::<Vec<_>>());
        for (workers, prefetch) in [(2, 3), (8, 2), (3, 16)] {
            assert!(
                load(&config, 0..9, workers, prefetch) == all,
                "{order} {workers}"
            );
        }
        for first in [1, 4, 8] {
            let rest = load(&config, first..9, 2, 2);
            assert!(rest[..] == all[first as usize..], "{order} from {first}");
        }
    }
}

/// The shards packed from a folder give its batches, also from the middle of an epoch on.
#[test]
fn shards_give_the_folders_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (images, shards) = (dir.path().join("images"), dir.path().join("shards"));
    write(&images);
    let args = PackArgs {
        images: images.clone(),
        out: shards.clone(),
        name: "train".into(),
        shard_size: ShardSize::Images(5),
        shuffle: None,
    };
    assert_eq!(pack(&args, &Interrupt::manual()).unwrap().shards, 5);
    let packed = format!("data.pretrain_shards={:?}", shards.display().to_string());
    for order in ["data.shuffle=\"full\"", "data.shuffle={buffer={size=6}}"] {
        let folder = load(&tiny(&images, &[order, "data.shard_size=5"]), 0..7, 2, 2);
        let config = tiny(&images, &[order, &packed]);
        for (first, workers) in [(0, 1), (0, 8), (2, 2)] {
            let read = load(&config, first..7, workers, 2);
            assert_eq!(read.len(), 7 - first as usize);
            for (a, b) in read.iter().zip(&folder[first as usize..]) {
                assert!(
                    (a.0, &a.2, &a.3, &a.4) == (b.0, &b.2, &b.3, &b.4),
                    "{order} {first}"
                );
                for (a, b) in a.1.iter().zip(&b.1) {
                    assert!(a.ends_with(b.as_str()), "{a} and {b}");
                }
            }
        }
    }
}

#[test]
fn scaling_while_decoding_is_used_and_close() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let sets = ["pretrain.tile=16"];
    let scaled = load(&tiny(dir.path(), &sets), 0..3, 2, 2);
    let with_off = [&sets[..], &["data.jpeg_scaling=false"]].concat();
    let exact = load(&tiny(dir.path(), &with_off), 0..3, 2, 2);
    let kept = load(
        &tiny(dir.path(), &[&sets[..], &["data.cache=true"]].concat()),
        0..3,
        2,
        2,
    );
    assert!(kept == exact, "kept images are whole");
    let (mut sum, mut count) = (0.0, 0.0);
    for (a, b) in scaled.iter().zip(&exact) {
        assert_eq!(
            (&a.1, &a.4),
            (&b.1, &b.4),
            "the same crops of the same files"
        );
        for (a, b) in a.2.iter().chain(&a.3).zip(b.2.iter().chain(&b.3)) {
            sum += f64::from(a.abs_diff(*b));
            count += 1.0;
        }
    }
    let mean = sum / count;
    assert!(mean > 0.0, "nothing was scaled");
    assert!(mean < 4.0, "scaled views are {mean} levels off");
}

/// Parts of several processes are disjoint and together what one would read.
#[test]
fn ranks_share_the_images() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let two = tiny(dir.path(), &["pretrain.batch=4", "pretrain.bn_groups=1"]);
    let one = tiny(dir.path(), &[]);
    let whole = PretrainBatches::open(&one).unwrap();
    let parts = [0, 1].map(|rank| PretrainBatches::open_rank(&two, rank, 2).unwrap());
    assert_eq!(parts[0].steps_per_epoch(), whole.steps_per_epoch());
    for step in 0..4 {
        let files = whole.make(step).unwrap().files;
        let made = parts.each_ref().map(|part| part.make(step).unwrap());
        assert_eq!([&made[0].files[..], &made[1].files[..]].concat(), files);
    }
}
