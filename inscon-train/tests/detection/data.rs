//! The labelled set: what is refused, what is left out, what a batch holds.

use std::fs;
use std::sync::Arc;

use inscon_aug::DetectionAugmentation;
use inscon_train::detection_data::{Ahead, DetectionBatch, DetectionDataset, Subset, TrainBatches};
use inscon_train::finetune::{open_data, pixel_format};

use crate::fixture::Toy;

fn open(toy: &Toy) -> Result<DetectionDataset, String> {
    DetectionDataset::open(
        "data.train_json",
        &toy.json(),
        toy.path(),
        Subset::All,
        false,
    )
    .map_err(|e| e.to_string())
}

fn batches(toy: &Toy) -> TrainBatches {
    TrainBatches {
        data: Arc::new(open(toy).unwrap()),
        seed: 1,
        batch: 3,
        augmentation: DetectionAugmentation {
            short_edge_length: vec![48, 56, 64],
            max_size: 100,
            ..DetectionAugmentation::default()
        },
        format: pixel_format(&toy.recipe(&[])),
        masks: true,
    }
}

#[test]
fn ids_that_do_not_exist_are_named_with_the_file() {
    let mut toy = Toy::new(2);
    toy.truth.annotations[1].category_id = 99;
    toy.save();
    let error = open(&toy).unwrap_err();
    assert!(
        error.contains("instances.json") && error.contains("99"),
        "{error}"
    );
    assert!(error.contains("annotation 11"), "{error}");

    toy.truth.annotations[1].category_id = 3;
    toy.truth.annotations[2].image_id = 77;
    toy.save();
    let error = open(&toy).unwrap_err();
    assert!(
        error.contains("instances.json") && error.contains("image 77"),
        "{error}"
    );
}

#[test]
fn an_image_that_is_not_on_disk_is_named() {
    let toy = Toy::new(3);
    fs::remove_file(toy.path().join("002.png")).unwrap();
    let error = open(&toy).unwrap_err();
    for part in ["instances.json", "image 2", "002.png", "1 of 3"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn an_unset_path_names_its_key() {
    let toy = Toy::new(1);
    let error = open_data(&toy.recipe(&["data.val_json=\"\""]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("--set data.val_json=FILE"), "{error}");
}

#[test]
fn masks_are_asked_for_by_annotation() {
    let mut toy = Toy::new(2);
    toy.truth.annotations[3].segmentation = None;
    toy.save();
    let error = open_data(&toy.recipe(&[])).unwrap_err().to_string();
    assert!(error.contains("annotation 21"), "{error}");
    assert!(error.contains("finetune.detector.mask = false"), "{error}");
    open_data(&toy.recipe(&["finetune.detector.mask=false"])).unwrap();
}

#[test]
fn splits_of_different_classes_are_refused() {
    let (train, mut val) = (Toy::new(2), Toy::new(2));
    val.truth.categories[1].name = "jade".into();
    val.save();
    let mut config = train.recipe(&[]);
    config.data.val_json = val.json();
    config.data.val_images = val.path().into();
    let error = open_data(&config).unwrap_err().to_string();
    assert!(error.contains("5 `green` there, 5 `jade` here"), "{error}");
}

#[test]
fn difficult_objects_and_crowds_are_judged_but_not_trained_on() {
    let mut toy = Toy::new(3);
    toy.truth.annotations[0].difficult = true;
    toy.truth.annotations[2].iscrowd = true;
    toy.truth.annotations[3].bbox[2] = 0.0;
    toy.save();
    let data = open(&toy).unwrap();
    assert_eq!(
        data.ground_truth().annotations.len(),
        6,
        "all are kept for the judge"
    );
    let trained: Vec<usize> = data
        .samples()
        .iter()
        .map(|s| s.objects.iter().filter(|o| o.trainable).count())
        .collect();
    assert_eq!(trained, [1, 0, 2]);
    assert_eq!(data.trainable(), [0, 2]);

    let batches = batches(&toy);
    for (iteration, images) in batches.plan(6).unwrap().iter().enumerate() {
        let batch = batches.make(iteration as u64, images).unwrap();
        for (image, target) in batch.images.iter().zip(&batch.targets) {
            assert_ne!(*image, 1, "an image with nothing to train on");
            assert_eq!(target.boxes.len(), if *image == 0 { 1 } else { 2 });
        }
    }
}

#[test]
fn masks_and_boxes_move_together() {
    let toy = Toy::new(6);
    let batches = batches(&toy);
    let mut flipped = 0;
    for (iteration, images) in batches.plan(8).unwrap().iter().enumerate() {
        let batch = batches.make(iteration as u64, images).unwrap();
        for ((image, target), [height, width]) in
            batch.images.iter().zip(&batch.targets).zip(&batch.sizes)
        {
            let sample = &batches.data.samples()[*image];
            let masks = target.masks.as_ref().unwrap();
            for ((object, bbox), mask) in sample.objects.iter().zip(&target.boxes).zip(masks) {
                assert_eq!((mask.height, mask.width), (*height, *width));
                let set = |i: &usize| mask.data[*i] == 1;
                let pixels: Vec<usize> = (0..mask.data.len()).filter(set).collect();
                let x = |f: fn(usize, usize) -> usize, start| {
                    pixels.iter().map(|i| i % width).fold(start, f) as f32
                };
                let (left, right) = (x(usize::min, *width), x(usize::max, 0) + 1.0);
                assert!((left - bbox[0]).abs() <= 1.0, "{left} {right} {bbox:?}");
                assert!((right - bbox[2]).abs() <= 1.0, "{left} {right} {bbox:?}");
                let scale = *width as f32 / sample.width as f32;
                flipped += usize::from((bbox[0] - object.bbox.x0 * scale).abs() > 0.5);
            }
        }
    }
    assert!(
        (8..40).contains(&flipped),
        "{flipped} of 48 objects are mirrored"
    );
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let toy = Toy::new(7);
    let made = |workers: usize| -> Vec<DetectionBatch> {
        let batches = batches(&toy);
        let plan = batches.plan(9).unwrap();
        Ahead::new(4..9, workers, 3, move |i| {
            batches.make(i, &plan[i as usize]).unwrap()
        })
        .collect()
    };
    let (one, three) = (made(1), made(3));
    assert_eq!(one.len(), 5);
    for (a, b) in one.iter().zip(&three) {
        assert_eq!(
            (&a.images, &a.sizes, &a.targets),
            (&b.images, &b.sizes, &b.targets)
        );
        assert_eq!(a.pixels, b.pixels);
        assert_eq!(a.pixels.dim().2 % 16, 0, "padded to whole cells");
    }
}

#[test]
fn unreadable_images_are_counted_and_replaced() {
    let toy = Toy::new(4);
    fs::write(toy.path().join("002.png"), b"no image").unwrap();
    // Of another size than the JSON says, so its boxes are not on it.
    image::RgbImage::new(10, 10)
        .save(toy.path().join("004.png"))
        .unwrap();
    let batches = batches(&toy);
    for (iteration, images) in batches.plan(6).unwrap().iter().enumerate() {
        let batch = batches.make(iteration as u64, images).unwrap();
        assert_eq!(batch.images.len(), 3);
        assert!(
            batch.images.iter().all(|i| *i == 0 || *i == 2),
            "{:?}",
            batch.images
        );
    }
    assert_eq!(batches.data.bad_images(), 2);
    batches.data.check_bad(0.5).unwrap();
    let error = batches.data.check_bad(0.4).unwrap_err().to_string();
    for part in ["2 of 4", "data.max_bad_share = 0.4", "002.png"] {
        assert!(error.contains(part), "{part}: {error}");
    }

    for file in ["001.png", "003.png"] {
        fs::write(toy.path().join(file), b"").unwrap();
    }
    let error = batches.make(0, &[0, 1, 2]).unwrap_err().to_string();
    assert!(error.contains("4 of 4"), "{error}");
}

#[test]
fn subsets_are_by_id_or_by_seed() {
    let toy = Toy::new(9);
    let ids = |subset| {
        let data = DetectionDataset::open("k", &toy.json(), toy.path(), subset, false).unwrap();
        assert_eq!(
            data.ground_truth().annotations.len(),
            2 * data.samples().len()
        );
        data.samples().iter().map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Subset::First(3)), [1, 2, 3]);
    assert_eq!(ids(Subset::First(0)).len(), 9);
    let drawn = ids(Subset::Drawn(4, 1));
    assert_eq!(drawn.len(), 4);
    assert!(drawn.is_sorted());
    assert_eq!(drawn, ids(Subset::Drawn(4, 1)));
    assert!((2..8).any(|seed| ids(Subset::Drawn(4, seed)) != drawn));
}
