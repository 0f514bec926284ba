//! Query and key tiles of a batch show the same images where the bookkeeping says so.

use ndarray::{Array4, ArrayView3, Axis, Slice};

use inscon_aug::TileRecord;
use inscon_train::data::PretrainBatches;

use crate::fixture::{tiny, write_images};

/// A tile's pixels, cut out of its canvas by its own record.
fn tile<'a>(canvases: &'a Array4<u8>, record: &TileRecord) -> ArrayView3<'a, u8> {
    let range = |from: f32, to: f32| Slice::from(from as usize..to as usize);
    let mut canvas = canvases.index_axis(Axis(0), record.canvas);
    let at = record.canvas_box;
    canvas.slice_axis_inplace(Axis(0), range(at.y0, at.y1));
    canvas.slice_axis_inplace(Axis(1), range(at.x0, at.x1));
    canvas
}

/// With an augmentation that changes nothing both tiles of an image have the same pixels.
#[test]
fn query_of_key_finds_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path(), 20);
    // Squares: the place of a square crop of the whole area does not vary.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        image::open(&path)
            .unwrap()
            .crop_imm(0, 0, 48, 48)
            .save(&path)
            .unwrap();
    }
    let plain = "pretrain.augmentation={scale=[1.0,1.0],ratio=[1.0,1.0],grayscale_p=0.0,\
                 flip_p=0.0,jitter={p=0.0},blur={p=0.0}}";
    for sets in [
        &[][..],
        &["pretrain.key_view=\"single\""],
        &["pretrain.grid=1"],
    ] {
        let mut all = vec![plain];
        all.extend(sets);
        let batches = PretrainBatches::open(&tiny(dir.path(), &all)).unwrap();
        for step in 0..4 {
            let batch = batches.make(step).unwrap();
            assert_eq!(batch.epoch, step / 2);
            let mut moved = 0;
            for (t, key) in batch.key_tiles.iter().enumerate() {
                let query = &batch.query_tiles[batch.query_of_key[t]];
                assert_eq!(query.image, key.image);
                assert_eq!(
                    tile(&batch.query, query),
                    tile(&batch.key, key),
                    "{sets:?} tile {t}"
                );
                moved += usize::from((query.canvas, query.slot) != (key.canvas, key.slot));
            }
            assert!(moved > 2, "{sets:?}: query and key are stitched alike");
        }
    }
}

/// An epoch shows each image at most once, in another order than the epoch before.
#[test]
fn epochs_are_shuffled() {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path(), 20);
    let batches = PretrainBatches::open(&tiny(dir.path(), &[])).unwrap();
    assert_eq!(batches.steps_per_epoch(), 2);
    let epoch = |e: u64| -> Vec<String> {
        (2 * e..2 * e + 2)
            .flat_map(|step| batches.make(step).unwrap().files)
            .collect()
    };
    let (first, second) = (epoch(0), epoch(1));
    let distinct: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(distinct.len(), 16);
    assert_ne!(first, second);
    assert_eq!(first, epoch(0), "a batch is a function of its step");
}
