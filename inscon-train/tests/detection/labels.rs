//! Annotations that are broken: counted, named, left out of training; refused by the judge.

use std::fs;

use inscon_eval::{Counts, Segmentation};
use inscon_train::detection_data::{DetectionDataset, Fault, Subset};
use inscon_train::finetune::{open_data, open_val, train_batches};

use crate::fixture::Toy;

fn open(toy: &Toy) -> DetectionDataset {
    let (json, images) = (toy.json(), toy.path());
    DetectionDataset::open("data.train_json", &json, images, Subset::All, false).unwrap()
}

#[test]
fn broken_boxes_are_counted_and_the_first_is_named() {
    let mut toy = Toy::new(5);
    let boxes = [
        (0, [3.0, 4.0, 0.0, 7.0]),
        (1, [3.0, 4.0, 5.0, -7.0]),
        (2, [70.0, 4.0, 5.0, 7.0]),
        (3, [60.0, 40.0, 9.5, 7.0]),
        (4, [-0.5, 2.0, 10.0, 10.0]),
        (5, [777.25, 2.0, 10.0, 10.0]),
        // 1e300 is no f32.
        (6, [1e300, 2.0, 10.0, 10.0]),
    ];
    for (at, bbox) in boxes {
        toy.truth.annotations[at].bbox = bbox;
    }
    toy.save();
    let text = fs::read_to_string(toy.json()).unwrap();
    fs::write(toy.json(), text.replace("777.25", "NaN")).unwrap();

    let data = open(&toy);
    let report = data.report();
    let counts: Vec<(Fault, usize)> = report.faults.iter().map(|(f, v)| (*f, v.count)).collect();
    assert_eq!(
        counts,
        [
            (Fault::NotANumber, 2),
            (Fault::NoArea, 2),
            (Fault::Outside, 1),
            (Fault::Cut, 1)
        ]
    );
    assert_eq!((report.left_out(), report.without_objects), (5, 1));
    let text = report.to_string();
    for part in [
        "instances.json: 5 images, 10 objects of 3 classes",
        "5 objects are left out of training",
        "2 with a box without area (the first: annotation 10 of ",
        "001.png, [3.0, 4.0, 0.0, 7.0])",
        "1 with a box outside the image (the first: annotation 20 of ",
        "annotation 31 of ",
        "1 with a box over the edge of the image, cut there (the first: annotation 21 of ",
        "repair these annotations",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A clean set has one line.
    assert_eq!(open(&Toy::new(2)).report().to_string().lines().count(), 1);

    // Whatever is trained on has an area inside the image.
    let batches = train_batches(&toy.recipe(&["finetune.detector.mask=false"]), data.into());
    for (i, images) in (0..).zip(&batches.plan(12).unwrap()) {
        let batch = batches.make(i, images).unwrap();
        for (target, [height, width]) in batch.targets.iter().zip(&batch.sizes) {
            assert!(!target.boxes.is_empty());
            for [x0, y0, x1, y1] in &target.boxes {
                assert!(0.0 <= *x0 && x0 < x1 && *x1 <= *width as f32, "{target:?}");
                assert!(0.0 <= *y0 && y0 < y1 && *y1 <= *height as f32, "{target:?}");
            }
        }
    }
}

#[test]
fn masks_that_cannot_be_drawn_are_left_out() {
    let mut toy = Toy::new(4);
    let polygons = |polygons: &[&[f64]]| {
        let owned = polygons.iter().map(|p| p.to_vec()).collect();
        Some(Segmentation::Polygons(owned))
    };
    let square: &[f64] = &[4.0, 6.0, 14.0, 6.0, 14.0, 16.0, 4.0, 16.0];
    let two_points: &[f64] = &[4.0, 6.0, 14.0, 16.0];
    let of = |size, counts| Some(Segmentation::Rle { size, counts });
    let masks = [
        polygons(&[two_points]),
        polygons(&[two_points, square]),
        polygons(&[]),
        of([48, 64], Counts::List(vec![10, 5])),
        of([10, 10], Counts::List(vec![50, 50])),
        of([64, 48], Counts::Text("~~".into())),
        of([48, 64], Counts::List(vec![48, 48, 48 * 62])),
    ];
    for (annotation, mask) in toy.truth.annotations.iter_mut().zip(masks) {
        annotation.segmentation = mask;
    }
    toy.save();
    let mut data = open(&toy);
    data.require_masks().unwrap();
    data.leave_out_bad_masks();
    let trained: Vec<usize> = data
        .samples()
        .iter()
        .flat_map(|s| &s.objects)
        .filter(|o| o.trainable)
        .map(|o| o.annotation)
        .collect();
    assert_eq!(trained, [1, 6, 7]);
    let faulty = &data.report().faults[&Fault::Mask];
    assert_eq!(faulty.count, 5);
    assert!(
        faulty.first.contains("annotation 10 of "),
        "{}",
        faulty.first
    );
    assert!(
        faulty.first.contains("the first has 4 numbers"),
        "{}",
        faulty.first
    );

    // The good polygon of the second object is what is trained on.
    let sample = &data.samples()[0];
    assert_eq!(data.mask(0, &sample.objects[1]).unwrap().area(), 100);
    let error = data.mask(0, &sample.objects[0]).unwrap_err().to_string();
    assert!(
        error.contains("annotation 10 of ") && error.contains("instances.json"),
        "{error}"
    );

    // The judge may not leave anything out: it says so before the training, not after it.
    let error = open_val(&toy.recipe(&[])).unwrap_err().to_string();
    for part in [
        "annotation 10 of ",
        "cannot be drawn",
        "finetune.detector.mask = false",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    open_data(&toy.recipe(&["finetune.detector.mask=false"])).unwrap();
    let good = Toy::new(4);
    let mut config = toy.recipe(&[]);
    config.data.val_json = good.json();
    config.data.val_images = good.path().into();
    let (train, _) = open_data(&config).unwrap();
    assert_eq!(train.report().left_out(), 5);
    let batches = train_batches(&config, train);
    for (i, images) in (0..).zip(&batches.plan(8).unwrap()) {
        let batch = batches.make(i, images).unwrap();
        let masks = batch.targets.iter().map(|t| t.masks.as_ref().unwrap());
        assert!(masks.flatten().all(|mask| mask.area() > 0));
    }
}

/// Numbers between two bounds, or out of a list.
#[test]
fn shortest_sides_are_drawn_from_a_list_or_from_a_range() {
    let toy = Toy::new(6);
    let sides = |more: &[&str]| {
        let mut sets = vec!["finetune.detector.mask=false", "finetune.max_size=400"];
        sets.extend(more);
        let config = toy.recipe(&sets);
        let batches = train_batches(&config, open_data(&config).unwrap().0);
        let plan = batches.plan(60).unwrap();
        let made = (0..)
            .zip(&plan)
            .map(|(i, images)| batches.make(i, images).unwrap());
        let sides = made.flat_map(|b| b.sizes.into_iter().map(|[h, w]| h.min(w)));
        sides.collect::<Vec<usize>>()
    };
    let choice = sides(&["finetune.min_sizes=[40, 44]"]);
    assert!(
        choice.iter().all(|s| [40, 44].contains(s)) && choice.contains(&40) && choice.contains(&44)
    );
    let mut range = sides(&[
        "finetune.min_sizes=[40, 44]",
        "finetune.min_size_sampling=\"range\"",
    ]);
    range.sort_unstable();
    range.dedup();
    assert_eq!(range, [40, 41, 42, 43, 44]);
}
