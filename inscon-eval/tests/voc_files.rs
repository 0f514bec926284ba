//! VOC's files against rbgirshick's `voc_eval` on the same files (`fixtures/voc_files/generate.py`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use inscon_eval::{
    CocoDataset, EvalError, Image, VocMetric, load_voc_detections, load_voc_truth, sweep_voc,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Judged {
    aps: BTreeMap<String, Option<f64>>,
    mean: f64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/voc_files")
}

fn truth() -> CocoDataset {
    let set = folder().join("VOC2007/ImageSets/Main/test.txt");
    load_voc_truth(folder().join("VOC2007"), Some(&set)).unwrap()
}

fn expected() -> BTreeMap<String, Vec<Judged>> {
    let text = fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn equal_to_voc_eval_bit_for_bit() {
    let truth = truth();
    let found = load_voc_detections(folder().join("results"), &truth).unwrap();
    assert!(found.unknown_files.is_empty());
    assert!(truth.annotations.iter().any(|a| a.difficult));
    for (name, judged) in expected() {
        let metric = match name.as_str() {
            "voc07" => VocMetric::Voc07,
            _ => VocMetric::Voc10,
        };
        let sweep = sweep_voc(&truth, &found.detections, metric, false).unwrap();
        assert_eq!(sweep.thresholds.len(), judged.len());
        for (ours, theirs) in sweep.thresholds.iter().zip(judged) {
            assert_eq!(ours.mean_ap, Some(theirs.mean), "{name} {}", ours.iou);
            let counted = ours.per_class.iter().filter(|class| class.positives > 0);
            let ours: BTreeMap<String, Option<f64>> = counted
                .map(|class| (class.name.clone(), class.ap))
                .collect();
            assert_eq!(ours, theirs.aps, "{name}");
        }
    }
}

#[test]
fn ids_and_boxes_are_those_of_the_files() {
    let truth = truth();
    assert_eq!(truth.categories.len(), 20, "all of VOC's classes");
    assert_eq!(
        (truth.categories[11].id, truth.categories[11].name.as_str()),
        (12, "dog")
    );
    for image in &truth.images {
        assert_eq!(image.file_name, format!("{:06}.jpg", image.id));
        assert_eq!((image.width, image.height), (500, 375));
    }
    let all = load_voc_truth(folder().join("VOC2007"), None).unwrap();
    assert_eq!((truth.images.len(), all.images.len()), (12, 16));
    assert!(all.images.is_sorted_by_key(|image| image.id));
    let annotations = folder().join("VOC2007/Annotations");
    assert_eq!(load_voc_truth(annotations, None).unwrap(), all);
}

fn error<T: std::fmt::Debug>(result: Result<T, EvalError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn errors_name_file_line_and_field() {
    let truth = truth();
    let dir = tempfile::tempdir().unwrap();
    let name = truth.images[0].file_name.trim_end_matches(".jpg");
    let good = format!("{name} 0.5 1 2 3 4\n");
    let file = dir.path().join("comp4_det_val_cat.txt");
    for (line, message) in [
        (
            format!("{name} 0.5 1 2 3\n"),
            "line 3: expected `image score xmin ymin xmax ymax`, found 5",
        ),
        (
            format!("{name} 0.5 1 two 3 4\n"),
            "line 3: `ymin`: `two` is not a number",
        ),
        (
            "999999 0.5 1 2 3 4\n".into(),
            "line 3: `image`: `999999` is no image",
        ),
    ] {
        fs::write(&file, format!("{good}\n{line}")).unwrap();
        let error = error(load_voc_detections(dir.path(), &truth));
        assert!(error.contains(message), "{error}");
        assert!(error.contains("comp4_det_val_cat.txt"), "{error}");
    }
    fs::write(&file, &good).unwrap();
    fs::write(dir.path().join("unicorn.txt"), "?").unwrap();
    let read = load_voc_detections(dir.path(), &truth).unwrap();
    assert_eq!(read.unknown_files, [dir.path().join("unicorn.txt")]);
    assert_eq!(read.detections[0].bbox, Some([0.0, 1.0, 3.0, 3.0]));
    fs::write(dir.path().join("cat.txt"), &good).unwrap();
    let two = error(load_voc_detections(dir.path(), &truth));
    assert!(two.contains("of the same class as"), "{two}");

    let empty = tempfile::tempdir().unwrap();
    assert!(error(load_voc_detections(empty.path(), &truth)).contains("has no file `<class>.txt`"));
    assert!(error(load_voc_truth(empty.path(), None)).contains("has no `Annotations/*.xml`"));
    let set = empty.path().join("set.txt");
    fs::write(&set, format!("{name} 1\n\nnothing\n")).unwrap();
    let missing = error(load_voc_truth(folder().join("VOC2007"), Some(&set)));
    assert!(
        missing.contains("set.txt, line 3: `nothing` is listed, but"),
        "{missing}"
    );
    fs::write(&set, format!("{name}\n{name}\n")).unwrap();
    let twice = error(load_voc_truth(folder().join("VOC2007"), Some(&set)));
    assert!(
        twice.contains("line 2") && twice.contains("listed twice"),
        "{twice}"
    );
}

#[test]
fn a_name_of_two_images_is_refused() {
    let mut truth = truth();
    let first = truth.images[0].file_name.clone();
    truth.images.push(Image {
        id: 77,
        file_name: format!("other/{first}"),
        ..Image::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let name = first.trim_end_matches(".jpg");
    fs::write(dir.path().join("dog.txt"), format!("{name} 1 1 1 2 2\n")).unwrap();
    assert!(error(load_voc_detections(dir.path(), &truth)).contains("several images"));
}
