//! Every kind of finding, each planted alone into a data set without any.
#![allow(clippy::unwrap_used)]

use inscon_eval::{CocoDataset, Detection, FindingKind, Severity, Subject, check, read_detections};

const TRUTH: &str = r#"{
    "images": [{"id": 1, "width": 100, "height": 80}, {"id": 2, "width": 100, "height": 80}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
      {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400,
       "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
      {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 100, 80], "area": 8000,
       "iscrowd": 1, "segmentation": {"size": [80, 100], "counts": [0, 8000]}},
      {"id": 3, "image_id": 2, "category_id": 2, "bbox": [0, 0, 50, 80], "area": 4000}]}"#;

const FOUND: &str = r#"[
    {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [10, 10, 20, 20]},
    {"image_id": 2, "category_id": 2, "score": 1, "bbox": [0, 0, 50, 80]}]"#;

fn read(truth: &str, found: &str) -> (CocoDataset, Vec<Detection>) {
    (
        CocoDataset::read_unlinked(truth.as_bytes(), "truth").unwrap(),
        read_detections(found.as_bytes(), "found").unwrap(),
    )
}

/// What is found once `from` is replaced by `to` in the truth.
fn planted(from: &str, to: &str) -> Vec<(FindingKind, Subject)> {
    assert!(TRUTH.contains(from), "{from}");
    let (truth, found) = read(&TRUTH.replacen(from, to, 1), FOUND);
    let findings = check(&truth, Some(&found));
    for finding in &findings {
        assert_eq!(finding.severity, finding.kind.severity());
        assert!(!finding.message.is_empty() && !finding.message.contains('\n'));
    }
    findings.iter().map(|f| (f.kind, f.subject)).collect()
}

#[test]
fn nothing_is_wrong_with_good_files() {
    let (truth, found) = read(TRUTH, FOUND);
    assert_eq!(check(&truth, Some(&found)), []);
    assert_eq!(check(&truth, None), []);
    assert_eq!(check(&CocoDataset::default(), Some(&[])), []);
}

#[test]
fn each_kind_alone() {
    use FindingKind::*;
    use Subject::{Annotation, Category, Image};
    for (from, to, expected) in [
        (
            r#"{"id": 2, "width""#,
            r#"{"id": 1, "width": 100, "height": 80}, {"id": 2, "width""#,
            vec![(DuplicateImage, Image(1))],
        ),
        (
            r#"{"id": 3, "image"#,
            r#"{"id": 1, "image"#,
            vec![(DuplicateAnnotation, Annotation(1))],
        ),
        (
            r#""categories": ["#,
            r#""categories": [{"id": 1},"#,
            vec![(DuplicateCategory, Category(1))],
        ),
        (
            r#"{"id": 3, "image"#,
            r#"{"id": 0, "image"#,
            vec![(AnnotationIdZero, Annotation(0))],
        ),
        (
            r#"3, "image_id": 2"#,
            r#"3, "image_id": 9"#,
            vec![(AnnotationOnUnknownImage, Annotation(3))],
        ),
        (
            r#"{"id": 3, "image_id": 2, "category_id": 2"#,
            r#"{"id": 3, "image_id": 2, "category_id": 9"#,
            vec![
                (AnnotationOfUnknownCategory, Annotation(3)),
                (ClassWithoutTruth, Category(2)),
            ],
        ),
        (
            r#"[0, 0, 50, 80], "area""#,
            r#"[50, 80, -50, -80], "area""#,
            vec![(InvalidBox, Annotation(3))],
        ),
        (
            r#"[0, 0, 50, 80], "area""#,
            r#"[NaN, 0, 50, 80], "area""#,
            vec![(InvalidBox, Annotation(3))],
        ),
        (
            r#"[0, 0, 50, 80], "area""#,
            r#"[0, 0, 50, 0], "area""#,
            vec![(EmptyBox, Annotation(3))],
        ),
        (
            r#"[0, 0, 50, 80], "area""#,
            r#"[60, 0, 50, 80], "area""#,
            vec![(BoxOutsideImage, Annotation(3))],
        ),
        (
            r#"[0, 0, 50, 80], "area""#,
            r#"[-2, 0, 50, 80], "area""#,
            vec![(BoxOutsideImage, Annotation(3))],
        ),
        (
            r#""area": 4000"#,
            r#""area": -1"#,
            vec![(InvalidArea, Annotation(3))],
        ),
        (
            r#""area": 4000"#,
            r#""area": 0"#,
            vec![(ZeroArea, Annotation(3))],
        ),
        (
            r#""area": 4000"#,
            r#""area": 4100"#,
            vec![(AreaOverBox, Annotation(3))],
        ),
        (
            r#""area": 400,"#,
            r#""area": 150,"#,
            vec![(AreaUnlikeMask, Annotation(1))],
        ),
        (
            r#""size": [80, 100]"#,
            r#""size": [100, 80]"#,
            vec![(MaskSize, Annotation(2))],
        ),
        (
            "[0, 8000]",
            "[0, 7999]",
            vec![(MalformedMask, Annotation(2))],
        ),
        ("[0, 8000]", r#""0~""#, vec![(MalformedMask, Annotation(2))]),
        (
            "[[10, 10, 30, 10, 30, 30, 10, 30]]",
            "[[10, 10, 30, 10]]",
            vec![(MalformedMask, Annotation(1))],
        ),
        (
            "10, 30]]",
            "10, 30], [1, 1, 2, 2]]",
            vec![(DegeneratePolygon, Annotation(1))],
        ),
        (
            "10, 30]]",
            "10, 30], [1, 1, 2, 2, 3, 3]]",
            vec![(DegeneratePolygon, Annotation(1))],
        ),
        (
            "10, 30]]",
            "10, 30, 9]]",
            vec![(DegeneratePolygon, Annotation(1))],
        ),
        (
            "[[10, 10, 30, 10, 30, 30, 10, 30]]",
            "[]",
            vec![(EmptySegmentation, Annotation(1))],
        ),
        (
            r#""images": [{"id": 1, "width": 100"#,
            r#""images": [{"id": 1, "width": 0"#,
            vec![(ImageWithoutSize, Image(1))],
        ),
        (
            r#"{"size": [80, 100], "counts": [0, 8000]}"#,
            "[[0, 0, 100, 0, 100, 80, 0, 80]]",
            vec![(CrowdWithoutRle, Annotation(2))],
        ),
        (
            r#""area": 4000"#,
            r#""area": 4000, "keypoints": [1, 2]"#,
            vec![(MalformedKeypoints, Annotation(3))],
        ),
        (
            r#""area": 4000"#,
            r#""area": 4000, "num_keypoints": 2, "keypoints": [1, 2, 2, 0, 0, 0]"#,
            vec![(MalformedKeypoints, Annotation(3))],
        ),
    ] {
        assert_eq!(planted(from, to), expected, "{from} -> {to}");
    }
}

#[test]
fn each_kind_of_results_alone() {
    use FindingKind::*;
    use Subject::{Category, Detection, Image, Results};
    for (from, to, expected) in [
        (
            r#""image_id": 2, "category_id": 2, "score": 1"#,
            r#""image_id": 9, "category_id": 2, "score": 1"#,
            vec![(DetectionOnUnknownImage, Detection(1))],
        ),
        (
            r#""score": 1, "bbox": [0, 0, 50, 80]"#,
            r#""score": 1"#,
            vec![(IncompleteDetection, Detection(1))],
        ),
        (
            r#""score": 1"#,
            r#""score": NaN"#,
            vec![(ScoreNan, Detection(1))],
        ),
        (
            r#""score": 1"#,
            r#""score": 1.5"#,
            vec![(ScoreRange, Detection(1))],
        ),
        (
            r#""score": 1, "bbox": [0, 0, 50"#,
            r#""score": 1, "bbox": [0, 0, -5"#,
            vec![(InvalidBox, Detection(1))],
        ),
        (
            r#""score": 1, "bbox": [0, 0, 50"#,
            r#""score": 1, "bbox": [0, 0, 500"#,
            vec![(BoxOutsideImage, Detection(1))],
        ),
        (
            r#""score": 1"#,
            r#""score": 1, "segmentation": {"size": [80, 100], "counts": [1]}"#,
            vec![(MalformedMask, Detection(1))],
        ),
        (
            r#""score": 1"#,
            r#""score": 1, "segmentation": {"size": [1, 8000], "counts": [8000]}"#,
            vec![(MaskSize, Detection(1))],
        ),
        (
            r#""category_id": 2, "score": 1"#,
            r#""category_id": 7, "score": 1"#,
            vec![
                (DetectionOfUnknownCategory, Category(7)),
                (ClassWithoutDetections, Category(2)),
            ],
        ),
    ] {
        assert!(FOUND.contains(from), "{from}");
        let (truth, found) = read(TRUTH, &FOUND.replacen(from, to, 1));
        let findings = check(&truth, Some(&found));
        let kinds: Vec<_> = findings.iter().map(|f| (f.kind, f.subject)).collect();
        assert_eq!(kinds, expected, "{from} -> {to}");
    }
    let (truth, found) = read(TRUTH, FOUND);
    let many: Vec<_> = found.iter().cycle().take(202).cloned().collect();
    let kinds: Vec<_> = check(&truth, Some(&many))
        .iter()
        .map(|f| (f.kind, f.subject))
        .collect();
    assert_eq!(
        kinds,
        [(ManyDetections, Image(1)), (ManyDetections, Image(2))]
    );
    assert_eq!(ManyDetections.severity(), Severity::Note);

    let shifted: Vec<_> = found
        .into_iter()
        .map(|d| inscon_eval::Detection {
            category_id: d.category_id + 10,
            ..d
        })
        .collect();
    let first = check(&truth, Some(&shifted)).remove(0);
    assert_eq!((first.kind, first.subject), (NoKnownClass, Results));
    let text = serde_json::to_string(&first).unwrap();
    assert!(
        text.starts_with(r#"{"severity":"error","kind":"no_known_class","subject":"results""#),
        "{text}"
    );
}
