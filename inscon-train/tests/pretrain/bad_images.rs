//! Images that cannot be read, and images of every kind that can.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use inscon_train::data::{BadImage, PretrainBatches, PretrainLoader};
use inscon_train::{Interrupt, pretrain};

use crate::fixture::{failure, picture, pretrain_to_the_end, tiny, write_images};

/// A JPEG whose second half is missing.
fn truncated_jpeg(path: &Path) {
    picture(7).save(path).unwrap();
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn list(run: &Path) -> Vec<BadImage> {
    let text = fs::read_to_string(run.join("pretrain/bad_images.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_truncated_jpeg_is_counted_logged_once_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 14);
    truncated_jpeg(&images.join("005x.jpg"));
    fs::write(images.join("zz-none.jpg"), b"").unwrap();
    // 16 images, batch 8: every image is in every epoch. Interrupted once, it must not be logged
    // again.
    let config = tiny(&images, &[]);
    let interrupt = Interrupt::manual();
    interrupt.raise();
    pretrain::run(&config, &run, &Device::flex(), &interrupt).unwrap();
    pretrain_to_the_end(&config, &run).unwrap();

    let bad = list(&run);
    let names: BTreeSet<&str> = bad.iter().map(|b| b.file.as_str()).collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert_eq!(names, BTreeSet::from(["005x.jpg", "zz-none.jpg"]));
    let cut = bad.iter().find(|b| b.file == "005x.jpg").unwrap();
    assert_eq!(
        cut.replaced_by.as_deref(),
        Some("006.png"),
        "the next by path"
    );
    assert!(cut.error.contains("truncated JPEG"), "{}", cut.error);
    let none = bad.iter().find(|b| b.file == "zz-none.jpg").unwrap();
    assert_eq!(
        none.replaced_by.as_deref(),
        Some("000.png"),
        "after the last comes the first"
    );
    let done: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("pretrain/done.json")).unwrap()).unwrap();
    assert_eq!(done["bad_images"], 2);
}

#[test]
fn too_many_bad_images_stop_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 8);
    for i in 0..3 {
        truncated_jpeg(&images.join(format!("cut{i}.jpg")));
    }
    let error = failure(&tiny(&images, &[]), &run);
    assert!(error.contains("3 of the 11 images"), "{error}");
    assert!(error.contains("data.max_bad_share = 0.2"), "{error}");
    assert!(error.contains("bad_images.jsonl"), "{error}");
    assert_eq!(list(&run).len(), 3);

    let none = dir.path().join("none");
    fs::create_dir(&none).unwrap();
    for i in 0..8 {
        fs::write(none.join(format!("{i}.png")), b"no image").unwrap();
    }
    let error = failure(&tiny(&none, &[]), &dir.path().join("run2"));
    assert!(error.contains("none of 8 images in a row"), "{error}");
}

/// Grey, 16-bit, with alpha, palettes, CMYK, turned by EXIF: inscon-aug's decoding fixtures.
#[test]
fn images_of_every_kind_go_through() {
    let dir = tempfile::tempdir().unwrap();
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inscon-aug/tests/fixtures/decode");
    let mut kinds = 0;
    for entry in fs::read_dir(&fixtures).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.contains("expected") && !name.contains("truncated") {
            fs::copy(fixtures.join(&name), dir.path().join(&name)).unwrap();
            kinds += 1;
        }
    }
    for name in [
        "grey.jpg",
        "cmyk.jpg",
        "grey16.png",
        "rgb16.png",
        "rgba.png",
        "palette.png",
    ] {
        assert!(dir.path().join(name).exists(), "no fixture {name}");
    }
    picture(0).save(dir.path().join("zz.png")).unwrap();
    image::RgbImage::from_pixel(1, 1, image::Rgb([9, 80, 200]))
        .save(dir.path().join("one.png"))
        .unwrap();
    image::RgbImage::from_pixel(300, 2, image::Rgb([9, 80, 200]))
        .save(dir.path().join("wide.tif"))
        .unwrap();

    let images = kinds + 3;
    let batch = format!("pretrain.batch={}", images / 4 * 4);
    let batches =
        PretrainBatches::open(&tiny(dir.path(), &[&batch, "pretrain.bn_groups=1"])).unwrap();
    assert_eq!(batches.images().source().len(), images);
    // Batches drop the rest of an epoch, which differs from epoch to epoch.
    let mut loader = PretrainLoader::start(Arc::new(batches), 0..6, 2, 2, BTreeSet::new()).unwrap();
    let mut seen = BTreeSet::new();
    while let Some(next) = loader.next_batch() {
        let (batch, bad) = next.unwrap();
        assert_eq!(bad, []);
        seen.extend(batch.files);
    }
    assert_eq!(seen.len(), images);
}
