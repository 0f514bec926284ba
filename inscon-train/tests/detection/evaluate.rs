//! From detections to results files and back to scores.

use inscon_eval::{Detection, Segmentation, load_detections, save_detections};
use inscon_train::evaluate::Measures;

use crate::fixture::Toy;

#[test]
fn perfect_detections_score_one_after_a_round_trip() {
    let toy = Toy::new(5);
    let of = |mask: bool| -> Vec<Detection> {
        let detection = |a: &inscon_eval::Annotation| {
            let image = toy
                .truth
                .images
                .iter()
                .find(|i| i.id == a.image_id)
                .unwrap();
            let rle = a
                .segmentation
                .as_ref()
                .unwrap()
                .to_rle(image.height, image.width)
                .unwrap();
            Detection {
                image_id: a.image_id,
                category_id: a.category_id,
                score: 0.75,
                bbox: (!mask).then_some(a.bbox),
                segmentation: mask.then(|| Segmentation::from(&rle)),
                ..Detection::default()
            }
        };
        toy.truth.annotations.iter().map(detection).collect()
    };
    let (boxes, masks) = (toy.path().join("b.json"), toy.path().join("s.json"));
    save_detections(&boxes, &of(false)).unwrap();
    save_detections(&masks, &of(true)).unwrap();
    let (boxes, masks) = (
        load_detections(&boxes).unwrap(),
        load_detections(&masks).unwrap(),
    );

    let measures = Measures::of(&toy.truth, &boxes, Some(&masks)).unwrap();
    let scores = measures.scores();
    assert_eq!((scores.bbox.ap, scores.segm.unwrap().ap), (1.0, 1.0));
    assert_eq!(scores.voc07, None, "nothing is marked difficult");

    // One class missed on every image.
    let some: Vec<Detection> = boxes.into_iter().filter(|d| d.category_id != 5).collect();
    let scores = Measures::of(&toy.truth, &some, None).unwrap().scores();
    assert!((scores.bbox.ap - 2.0 / 3.0).abs() < 1e-9, "{scores}");
}

#[test]
fn voc07_forgives_difficult_objects_and_coco_does_not() {
    let mut toy = Toy::new(4);
    let found: Vec<Detection> = toy
        .truth
        .annotations
        .iter()
        .skip(1)
        .map(|a| Detection::of_box(a.image_id, a.category_id, 0.9, a.bbox))
        .collect();
    toy.truth.annotations[0].difficult = true;
    let scores = Measures::of(&toy.truth, &found, None).unwrap().scores();
    assert!(scores.bbox.ap < 0.99, "{scores}");
    assert!((scores.voc07.unwrap().ap - 1.0).abs() < 1e-9, "{scores}");
}
