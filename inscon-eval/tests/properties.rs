//! Masks survive their encodings, and nothing a file can say makes the crate panic.

use inscon_eval::{
    Annotation, Category, CocoDataset, CocoParams, Detection, EvalError, GroundTruth, Image,
    IouType, Mode, Results, Rle, Segmentation, evaluate, evaluate_coco, load_detections,
    save_detections,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn picture() -> impl Strategy<Value = (u32, u32, Vec<u8>)> {
    (0_u32..24, 0_u32..24).prop_flat_map(|(height, width)| {
        let pixels = vec(
            prop_oneof![4 => 0..=0_u8, 3 => 1..=1_u8],
            (height * width) as usize,
        );
        (Just(height), Just(width), pixels)
    })
}

/// Two pictures of one size.
fn pictures() -> impl Strategy<Value = (u32, u32, Vec<u8>, Vec<u8>)> {
    picture().prop_flat_map(|(height, width, first)| {
        let second = vec(0..=1_u8, first.len());
        (Just(height), Just(width), Just(first), second)
    })
}

proptest! {
    #[test]
    fn encoding_round_trips((height, width, mask) in picture()) {
        let rle = Rle::encode(&mask, height, width);
        prop_assert_eq!(rle.decode(), mask.clone());
        prop_assert_eq!(rle.area() as usize, mask.iter().filter(|&&v| v != 0).count());
        prop_assert_eq!(&Rle::from_string(&rle.to_string(), height, width).unwrap(), &rle);
        prop_assert_eq!(Rle::new(height, width, rle.counts().to_vec()).unwrap(), rle);
    }

    #[test]
    fn any_runs_survive_their_text(mut counts in vec(any::<u32>().prop_map(|c| c >> 7), 0..12)) {
        // A mask one pixel wide, as high as the runs are long.
        counts.push(3);
        let rle = Rle::new(counts.iter().sum(), 1, counts.clone()).unwrap();
        prop_assert_eq!(Rle::from_string(&rle.to_string(), rle.height(), 1).unwrap(), rle);
    }

    #[test]
    fn the_box_is_the_smallest((height, width, mask) in picture()) {
        let bbox = Rle::encode(&mask, height, width).bbox();
        let set = || (0..mask.len()).filter(|&i| mask[i] != 0).map(|i| {
            (i % width as usize, i / width as usize)
        });
        let range = |axis: fn((usize, usize)) -> usize| {
            let low = set().map(axis).min().unwrap();
            (low as f64, (set().map(axis).max().unwrap() - low + 1) as f64)
        };
        if set().next().is_none() {
            prop_assert_eq!(bbox, [0.0; 4]);
        } else {
            let ((x, w), (y, h)) = (range(|p| p.0), range(|p| p.1));
            prop_assert_eq!(bbox, [x, y, w, h]);
        }
    }

    #[test]
    fn merging_and_iou_count_pixels((height, width, a, b) in pictures(), crowd: bool) {
        let (left, right) = (Rle::encode(&a, height, width), Rle::encode(&b, height, width));
        let both: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a & b).collect();
        let either: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a | b).collect();
        let masks = [left.clone(), right.clone()];
        prop_assert_eq!(Rle::merge(&masks, true).unwrap(), Rle::encode(&both, height, width));
        prop_assert_eq!(Rle::merge(&masks, false).unwrap(), Rle::encode(&either, height, width));
        let count = |mask: &[u8]| mask.iter().map(|&v| f64::from(v)).sum::<f64>();
        let over = if crowd { count(&a) } else { count(&either) };
        let expected = if count(&both) == 0.0 { 0.0 } else { count(&both) / over };
        prop_assert_eq!(left.iou(&right, crowd), expected);
    }

    #[test]
    fn malformed_text_is_an_error_or_a_mask(
        text in prop_oneof![".{0,20}", "[0-o]{0,20}"],
        height in prop_oneof![0..40_u32, Just(u32::MAX)],
        width in 0..40_u32,
    ) {
        if let Ok(rle) = Rle::from_string(&text, height, width) {
            let total: u64 = rle.counts().iter().map(|&c| u64::from(c)).sum();
            prop_assert_eq!(total, u64::from(height) * u64::from(width));
            _ = rle.bbox();
        }
    }

    #[test]
    fn any_polygon_is_an_error_or_a_mask(
        polygons in vec(vec(prop_oneof![
            8 => -30.0..60.0,
            1 => any::<f64>(),
            1 => prop::sample::select(vec![0.0, 5.0, -1e4, 1e4, f64::NAN]),
        ], 0..14), 0..3),
        height in 0..30_u32,
        width in 0..30_u32,
    ) {
        if let Ok(rle) = Rle::from_polygons(&polygons, height, width) {
            prop_assert_eq!(rle.decode().len(), (height * width) as usize);
        }
    }

    #[test]
    fn malformed_json_is_an_error(text in "[\\[\\]{}:,\"0-9a-zN .-]{0,60}") {
        _ = serde_json::from_str::<CocoDataset>(&text);
        _ = serde_json::from_str::<Vec<Detection>>(&text);
        _ = serde_json::from_str::<Segmentation>(&text);
    }

    #[test]
    fn broken_json_is_an_error(
        at in any::<prop::sample::Index>(),
        what in prop::sample::select(vec!["", "[", "}", "\"", "null", "-1", "1e999", "{}", ",", "NaN"]),
        length in 0..6_usize,
    ) {
        let text = serde_json::to_string(&dataset()).unwrap();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        let broken = format!("{}{what}{}", &text[..start], &text[end..]);
        if let Ok(data) = serde_json::from_str::<CocoDataset>(&broken) {
            for iou_type in [IouType::Bbox, IouType::Segm] {
                let found = [Detection::of_box(1, 1, 0.5, [0.0, 0.0, 3.0, 3.0])];
                _ = evaluate_coco(&data, &found, &CocoParams::new(iou_type)).map(|e| e.summary());
            }
        }
    }
}

fn dataset() -> CocoDataset {
    let rle = Rle::encode(&[0, 1, 1, 0, 1, 1], 2, 3);
    let object = |id, segmentation| Annotation {
        id,
        image_id: 1,
        category_id: 1,
        bbox: [1.0, 0.0, 2.0, 2.5],
        area: 4.0,
        segmentation: Some(segmentation),
        ..Annotation::default()
    };
    CocoDataset {
        images: vec![Image {
            id: 1,
            file_name: "a".into(),
            width: 3,
            height: 2,
        }],
        annotations: vec![
            object(1, Segmentation::from(&rle)),
            object(
                2,
                Segmentation::Polygons(vec![vec![0.0, 0.0, 2.0, 0.0, 2.0, 2.0]]),
            ),
        ],
        categories: vec![Category {
            id: 1,
            name: "x".into(),
            supercategory: None,
        }],
    }
}

#[test]
fn files_round_trip_and_errors_name_the_culprit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.json");
    let data = dataset();
    data.save(&path).unwrap();
    assert_eq!(CocoDataset::load(&path).unwrap(), data);

    let mut lost = data.clone();
    lost.annotations[1].image_id = 9;
    lost.save(&path).unwrap();
    let message = CocoDataset::load(&path).unwrap_err().to_string();
    for part in ["truth.json", "annotation 2", "image 9"] {
        assert!(message.contains(part), "{message}");
    }
    let mut lost = data.clone();
    lost.annotations[0].category_id = 5;
    lost.save(&path).unwrap();
    let message = CocoDataset::load(&path).unwrap_err().to_string();
    for part in ["truth.json", "annotation 1", "category 5"] {
        assert!(message.contains(part), "{message}");
    }

    let found = vec![Detection::of_box(
        1,
        1,
        0.1 + 0.2,
        [0.1, 0.7, 1.0 / 3.0, 5e-324],
    )];
    let path = folder.path().join("found.json");
    save_detections(&path, &found).unwrap();
    assert_eq!(load_detections(&path).unwrap(), found);
    std::fs::write(
        &path,
        r#"[{"image_id": 1, "category_id": 1, "score": NaN}]"#,
    )
    .unwrap();
    assert!(load_detections(&path).unwrap()[0].score.is_nan());
    std::fs::write(
        &path,
        "[{\n\"image_id\": 1, \"category_id\": 1, \"score\": \"high\"}]",
    )
    .unwrap();
    let message = load_detections(&path).unwrap_err().to_string();
    assert!(
        message.contains("found.json, byte 45: `score`"),
        "{message}"
    );
}

#[test]
fn evaluation_errors_name_the_detection() {
    let data = dataset();
    let good = Detection::of_box(1, 1, 0.5, [0.0, 0.0, 2.0, 2.0]);
    let evaluate = |found: &[Detection], iou_type| {
        evaluate_coco(&data, found, &CocoParams::new(iou_type)).map(|_| ())
    };
    let lost = Detection {
        image_id: 4,
        ..good.clone()
    };
    assert!(matches!(
        evaluate(&[good.clone(), lost], IouType::Bbox),
        Err(EvalError::DetectionImage { index: 1, image: 4 })
    ));
    let boxless = Detection {
        bbox: None,
        ..good.clone()
    };
    assert!(matches!(
        evaluate(&[good.clone(), boxless.clone()], IouType::Bbox),
        Err(EvalError::MissingBox { index: 1 })
    ));
    assert!(matches!(
        evaluate(&[boxless], IouType::Segm),
        Err(EvalError::MissingMask { .. })
    ));
    // No detection at all: nothing is found.
    let none = evaluate_coco(&data, &[], &CocoParams::new(IouType::Bbox))
        .unwrap()
        .summary();
    assert_eq!((none.ap, none.ar100, none.ap_large), (0.0, 0.0, -1.0));
}

#[test]
fn corrected_mode_mends_what_strict_mode_copies() {
    let evaluate = |ids: [u64; 2], limits: [usize; 3], mode| {
        let mut data = dataset();
        for (a, id) in data.annotations.iter_mut().zip(ids) {
            a.id = id;
        }
        data.annotations[1].bbox = [10.0, 10.0, 4.0, 4.0];
        let found: Vec<Detection> = data
            .annotations
            .iter()
            .map(|a| Detection::of_box(1, 1, 0.5, a.bbox))
            .collect();
        let mut params = CocoParams::new(IouType::Bbox);
        params.mode = mode;
        params.max_detections = limits.to_vec();
        evaluate_coco(&data, &found, &params).unwrap().summary()
    };
    let coco = [1, 10, 100];
    for ids in [[3, 3], [0, 1]] {
        // Half of the truth cannot be found.
        assert_eq!(evaluate(ids, coco, Mode::Strict).ar100, 0.5, "{ids:?}");
        assert_eq!(evaluate(ids, coco, Mode::Corrected).ar100, 1.0, "{ids:?}");
    }
    assert_eq!(evaluate([1, 2], [1, 10, 50], Mode::Strict).ap, -1.0);
    assert!(evaluate([1, 2], [1, 10, 50], Mode::Corrected).ap > 0.99);
}

#[test]
fn limits_that_occur_twice_are_paired_as_numpy_does() {
    // Two ranges called `all`, of which only the first holds the object, and two limits of 100:
    // numpy pairs range 0 with limit 0 and range 1 with limit 1.
    let data = dataset();
    let found = [Detection::of_box(1, 1, 0.5, [1.0, 0.0, 2.0, 2.5])];
    let mut params = CocoParams::new(IouType::Bbox);
    params.area_ranges.truncate(2);
    params.area_ranges[1].label = "all".into();
    params.area_ranges[1].max = 4.0;
    params.max_detections = vec![100, 100];
    let evaluation = evaluate_coco(&data, &found, &params).unwrap();
    let pair = |a: usize, m: usize| -> Vec<f64> {
        let view = evaluation.precision.view();
        let (t, r, k) = (10, 101, 1);
        (0..t * r * k)
            .map(|i| view[[i / (r * k), i / k % r, i % k, a, m]])
            .filter(|&v| v > -1.0)
            .collect()
    };
    let both: Vec<f64> = [pair(0, 0), pair(1, 1)].concat();
    let mean = both.iter().sum::<f64>() / both.len() as f64;
    assert!((evaluation.summary().ap - mean).abs() < 1e-12);
}

#[test]
fn keypoints_without_a_number_have_no_extent() {
    let mut data = dataset();
    data.annotations.truncate(1);
    data.annotations[0].keypoints = Some(vec![1.0, 1.0, 2.0, 3.0, 2.0, 2.0]);
    data.annotations[0].num_keypoints = Some(2);
    // An image with nothing to find: there, NaN overlaps nothing.
    data.images.push(Image {
        id: 2,
        ..data.images[0].clone()
    });
    let mut params = CocoParams::new(IouType::Keypoints);
    params.keypoint_sigmas = vec![0.1, 0.1];
    params.area_ranges[0].min = 0.5;
    // An area of 0 is out of the range, one that is NaN is out of none.
    for (x, missed) in [(900.0, false), (f64::NAN, true)] {
        let detection = |image_id, score, at| Detection {
            image_id,
            category_id: 1,
            score,
            keypoints: Some(vec![at, 900.0, 2.0, 900.0, 900.0, 2.0]),
            ..Detection::default()
        };
        let hit = Detection {
            keypoints: data.annotations[0].keypoints.clone(),
            ..detection(1, 0.1, 0.0)
        };
        let ap = evaluate_coco(&data, &[detection(2, 0.9, x), hit], &params)
            .unwrap()
            .summary()
            .ap;
        assert_eq!(ap < 0.9, missed, "{x}: {ap}");
    }
}

#[test]
fn a_short_file_cannot_claim_the_memory() {
    let refusal = |data: &CocoDataset, found: &[Detection], params: &CocoParams| {
        evaluate_coco(data, found, params).unwrap_err().to_string()
    };
    // Classes without end.
    let mut many = dataset();
    many.categories = (0..100_000)
        .map(|id| Category {
            id,
            ..Category::default()
        })
        .collect();
    let message = refusal(&many, &[], &CocoParams::new(IouType::Bbox));
    assert!(
        message.contains("category_ids") && message.contains("2^28"),
        "{message}"
    );
    // A class so often that its records are billions.
    let mut params = CocoParams::new(IouType::Bbox);
    params.use_categories = false;
    params.category_ids = Some(vec![1; 1 << 22]);
    let found = vec![Detection::of_box(1, 1, 0.5, [0.0, 0.0, 1.0, 1.0]); 2000];
    assert!(refusal(&dataset(), &found, &params).contains("list it once"));
    // An outline on an image of absurd width.
    let mut wide = dataset();
    (wide.images[0].width, wide.images[0].height) = (100_000_000, 2);
    let outline = vec![0.0, 0.0, 1e8, 0.0, 1e8, 0.9, 0.0, 0.9];
    wide.annotations[0].segmentation = Some(Segmentation::Polygons(vec![outline]));
    let found = [Detection {
        segmentation: Some(Segmentation::from(&Rle::encode(&[1], 1, 1))),
        ..Detection::of_box(1, 1, 0.5, [0.0, 0.0, 1.0, 1.0])
    }];
    let message = refusal(&wide, &found, &CocoParams::new(IouType::Segm));
    assert!(
        message.contains("annotation 1") && message.contains("`width`"),
        "{message}"
    );
    // The boundary of a mask that claims four billion pixels.
    let mut large = dataset();
    let rle = Rle::new(65_535, 65_535, vec![0, 65_535 * 65_535]).unwrap();
    large.annotations.truncate(1);
    large.annotations[0].segmentation = Some(Segmentation::from(&rle));
    let found = [Detection {
        segmentation: Some(Segmentation::from(&rle)),
        ..Detection::of_box(1, 1, 0.5, [0.0, 0.0, 1.0, 1.0])
    }];
    let message = refusal(&large, &found, &CocoParams::new(IouType::Boundary));
    assert!(
        message.contains("65535x65535") && message.contains("`size`"),
        "{message}"
    );
}

#[test]
fn labelled_keypoints_are_counted_if_the_file_does_not() {
    let text = |count: &str| {
        format!(
            r#"{{"images": [{{"id": 1}}], "categories": [{{"id": 1}}], "annotations": [{{"id": 1,
            "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, {count}
            "keypoints": [1, 1, 2, 3, 3, 1, 0, 0, 0]}}]}}"#
        )
    };
    let found = r#"[{"image_id": 1, "category_id": 1, "score": 1, "keypoints": [1, 1, 1, 3, 3, 1, 0, 0, 1]}]"#;
    let mut params = CocoParams::new(IouType::Keypoints);
    params.keypoint_sigmas = vec![0.1; 3];
    let ap = |count: &str| {
        let truth = GroundTruth::read(text(count).as_bytes(), "gt", IouType::Keypoints).unwrap();
        let results = Results::read(found.as_bytes(), "dt", IouType::Keypoints).unwrap();
        evaluate(&truth, &results, &params).unwrap().summary().ap
    };
    assert!(ap("") > 0.99 && ap(r#""num_keypoints": 2,"#) > 0.99);
    // Said to have none, it need not be found.
    assert_eq!(ap(r#""num_keypoints": 0,"#), -1.0);
}
