//! The binary on small files: formats, standard input, errors, exit codes, threads.
#![allow(clippy::unwrap_used)]

mod files;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use files::{FOUND, Files, TRUTH};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

#[test]
fn the_table_is_pycocotools_and_classes_follow() {
    let files = Files::new();
    let table = files.stdout("coco gt.json dt.json --per-class");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 12 + 1 + 4, "{table}");
    // By hand, at .50: cat finds both (precision 1, then 2/3 at the second, of three), so
    // (51 + 50 * 2/3) / 101; dog finds none.
    assert_eq!(
        lines[1],
        " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.417"
    );
    assert_eq!(lines[13], "class          AP   AP50   AP75     AR  truths");
    assert!(lines[14].starts_with("cat, small  "), "{table}");
    assert!(
        lines[14].contains("  0.835  ") && lines[14].ends_with("  2"),
        "{table}"
    );
    assert_eq!(lines[16], "cow             -      -      -      -       0");
}

#[test]
fn json_is_pycocotools_stats_and_the_rest() {
    let files = Files::new();
    let all = files.json("coco gt.json dt.json --format json");
    let stats = all["stats"].as_array().unwrap();
    assert_eq!(stats.len(), 12);
    let names = [
        "ap",
        "ap50",
        "ap75",
        "ap_small",
        "ap_medium",
        "ap_large",
        "ar1",
        "ar10",
        "ar100",
        "ar_small",
        "ar_medium",
        "ar_large",
    ];
    for (name, value) in names.iter().zip(stats) {
        assert_eq!(&all[name], value, "{name}");
    }
    assert_eq!(all["ap_large"], -1.0);
    // Means of [1, .., 2/3, ..] and 0: nothing rounded.
    let ap50 = ((51.0 + 50.0 * (2.0 / 3.0)) / 101.0) / 2.0;
    assert!((all["ap50"].as_f64().unwrap() - ap50).abs() < 1e-15);
    assert_eq!(all["per_class"][0]["truths"], 2);
    assert_eq!(all["per_area"][0]["ap"], all["ap"]);
    assert_eq!(all["mode"], "strict");
    // Everything is in the file if asked for, and nothing is printed.
    assert_eq!(
        files.stdout("coco gt.json dt.json --format json --out out.json"),
        ""
    );
    let written: Value =
        serde_json::from_slice(&fs::read(files.path("out.json")).unwrap()).unwrap();
    assert_eq!(written, all);
}

#[test]
fn csv_has_a_row_for_each_class() {
    let csv = Files::new().stdout("coco gt.json dt.json --format csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "category_id,name,ap,ap50,ap75,ar,truths");
    assert!(lines[1].starts_with("7,\"cat, small\",0."), "{csv}");
    assert_eq!(lines[2], "9,dog,0,0,0,0,1");
    assert_eq!(lines[3..], ["11,cow,-1,-1,-1,-1,0"]);
}

#[test]
fn the_other_overlaps() {
    let files = Files::new();
    let masks = r#"[{"image_id": 1, "category_id": 7, "score": 0.9,
        "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}]"#;
    fs::write(files.path("masks.json"), masks).unwrap();
    for kind in ["segm", "boundary"] {
        let one = files.json(&format!(
            "coco gt.json masks.json --iou {kind} --format json"
        ));
        assert_eq!(one["iou_type"], kind);
        let ap = one["per_class"][0]["ap"].as_f64().unwrap();
        assert!((ap - 51.0 / 101.0).abs() < 1e-15, "{ap}");
    }
    let points = files.json("coco gt.json dt.json --iou keypoints --sigmas 0.1,0.1 --format json");
    assert_eq!(points["stats"].as_array().unwrap().len(), 10);
    assert!(points["ap50"].as_f64().unwrap() > 0.0);
    let wrong = files.failure("coco gt.json dt.json --iou keypoints");
    assert!(wrong.contains("expected 51"), "{wrong}");
    let unused = files.failure("coco gt.json dt.json --sigmas 0.1");
    assert!(unused.contains("sigmas"), "{unused}");
}

#[test]
fn options_change_what_they_say() {
    let files = Files::new();
    let json = |options: &str| files.json(&format!("coco gt.json dt.json --format json {options}"));
    let dog = json("--categories dog");
    assert_eq!(
        (
            dog["ap"].clone(),
            dog["per_class"].as_array().unwrap().len()
        ),
        (0.0.into(), 1)
    );
    assert_eq!(json("--categories 9"), dog);
    assert_eq!(json("--class-agnostic")["per_class"][0]["truths"], 3);
    let one = json("--iou-thresholds 0.5");
    assert_eq!(one["ap"], one["ap50"]);
    assert_eq!(one["ap75"], -1.0);
    assert_eq!(json("--iou-thresholds 0.5:0.95:0.05"), json(""));
    let areas = json("--area-ranges all:0:1e10,tiny:0:500");
    assert_eq!(areas["per_area"][1]["label"], "tiny");
    assert!(areas["per_area"][1]["ap"].as_f64().unwrap() > 0.0);
    assert_eq!(areas["ap_small"], -1.0);
    // AP is that of 100 detections, or of the largest limit.
    let strict = files.run("coco gt.json dt.json --format json --max-dets 5,1");
    assert!(
        String::from_utf8(strict.stderr)
            .unwrap()
            .contains("AP will be -1")
    );
    let strict: Value = serde_json::from_slice(&strict.stdout).unwrap();
    assert_eq!(strict["ap"], -1.0);
    assert_eq!(
        json("--max-dets 5,1 --mode corrected")["ap"],
        json("")["ap"]
    );
}

#[test]
fn either_input_may_be_standard_input() {
    let files = Files::new();
    let expected = files.stdout("coco gt.json dt.json");
    for (arguments, input) in [("coco - dt.json", TRUTH), ("coco gt.json -", FOUND)] {
        let output = files.feed(arguments, input, "2");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            expected,
            "{arguments}"
        );
    }
    assert!(files.failure("coco - -").contains("only one of GT and DT"));
    let output = files.feed("check -", TRUTH, "2");
    assert!(output.status.success());
    let output = files.feed("voc gt.json - --format json", FOUND, "2");
    assert!(output.status.success());
}

#[test]
fn threads_do_not_change_a_byte() {
    let files = Files::new();
    // Large enough for several blocks, with ties.
    let mut annotations = Vec::new();
    let mut found = Vec::new();
    for i in 0..30_000_u64 {
        let (image, class) = (i % 97 + 1, i % 7 + 1);
        let (x, y) = (i * 31 % 400, i * 17 % 300);
        let side = 5 + i % 90;
        if i % 3 == 0 {
            annotations.push(format!(
                r#"{{"id": {}, "image_id": {image}, "category_id": {class}, "bbox": [{x}, {y}, {side}, {side}], "area": {}}}"#,
                i + 1, side * side
            ));
        }
        found.push(format!(
            r#"{{"image_id": {image}, "category_id": {class}, "score": {}, "bbox": [{x}, {}, {side}, {side}]}}"#,
            (i * 7919 % 100) as f64 / 100.0, y + i % 9
        ));
    }
    let list = |count: u64| {
        let each: Vec<String> = (1..=count).map(|id| format!(r#"{{"id": {id}}}"#)).collect();
        each.join(",")
    };
    let truth = format!(
        r#"{{"images": [{}], "categories": [{}], "annotations": [{}]}}"#,
        list(97),
        list(7),
        annotations.join(",")
    );
    fs::write(files.path("gt.json"), truth).unwrap();
    fs::write(files.path("dt.json"), format!("[{}]", found.join(","))).unwrap();
    for command in [
        "coco gt.json dt.json --format json",
        "voc gt.json dt.json --sweep --format json",
        "check gt.json dt.json --format json",
    ] {
        let [one, four] = ["1", "4"].map(|threads| files.feed(command, "", threads));
        assert!(one.stdout.len() > 500, "{command}");
        assert!(one.stdout == four.stdout, "{command}");
    }
}

#[test]
fn malformed_input_is_named() {
    let files = Files::new();
    let at = FOUND.find("0.85").unwrap();
    fs::write(files.path("text.json"), FOUND.replace("0.85", "\"x\"")).unwrap();
    for command in [
        "coco gt.json text.json",
        "voc gt.json text.json",
        "check gt.json text.json",
    ] {
        let message = files.failure(command);
        let start = format!("inscon-eval: text.json, byte {at}: `score`: ");
        assert!(message.starts_with(&start), "{message}");
    }
    fs::write(files.path("cut.json"), &TRUTH[..TRUTH.len() - 1]).unwrap();
    for command in [
        "coco cut.json dt.json",
        "voc cut.json dt.json",
        "check cut.json",
    ] {
        let message = files.failure(command);
        assert!(
            message.contains("cut.json, byte") && message.contains("too early"),
            "{message}"
        );
    }
    for command in [
        "coco none.json dt.json",
        "voc gt.json none.json",
        "check none.json",
    ] {
        assert!(
            files.failure(command).contains("cannot read none.json"),
            "{command}"
        );
    }
    fs::write(
        files.path("other.json"),
        FOUND.replace("\"image_id\": 3", "\"image_id\": 33"),
    )
    .unwrap();
    for command in ["coco gt.json other.json", "voc gt.json other.json"] {
        let message = files.failure(command);
        assert!(
            message.contains("other.json: detection 2 (from 0) is on image 33"),
            "{message}"
        );
    }
    let message = files.failure("coco gt.json dt.json --iou segm");
    assert!(
        message.contains("dt.json: detection 0 (from 0)"),
        "{message}"
    );
    let message = files.failure("coco gt.json dt.json --categories bird");
    assert!(
        message.contains("no `bird`; it has cat, small, dog, cow"),
        "{message}"
    );
    let message = files.failure("coco gt.json dt.json --out no/such/folder.txt");
    assert!(
        message.contains("cannot write no/such/folder.txt"),
        "{message}"
    );
    assert_eq!(
        files
            .run("coco gt.json dt.json --iou-thresholds x")
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn voc_in_every_format() {
    let files = Files::new();
    let table = files.stdout("voc gt.json dt.json --per-class");
    let lines: Vec<&str> = table.lines().collect();
    // cat: .5 + .5 * 2/3; dog: 0.
    assert_eq!(lines[0], "VOC10 mean AP, IoU > 0.50: 41.7");
    assert_eq!(lines[2], "class       AP50  objects");
    assert_eq!(lines[3], "cat, small  83.3        2");
    assert_eq!(lines[5], "cow            -        0");
    let one = files.json("voc gt.json dt.json --metric voc07 --iou 0.6 --format json");
    assert_eq!(
        (one["metric"].clone(), one["iou"].clone()),
        ("voc07".into(), 0.6.into())
    );
    assert_eq!(one["round"], false);
    let sweep = files.json("voc gt.json dt.json --sweep --round --format json");
    assert_eq!(sweep["thresholds"].as_array().unwrap().len(), 10);
    assert_eq!(sweep["ap50"], sweep["thresholds"][0]["mean_ap"]);
    let csv = files.stdout("voc gt.json dt.json --sweep --format csv");
    assert!(
        csv.starts_with("category_id,name,positives,ap50,ap55,ap60,"),
        "{csv}"
    );
    assert!(csv.ends_with("11,cow,0,,,,,,,,,,\n"), "{csv}");
    let both = files.run("voc gt.json dt.json --sweep --iou 0.6");
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn vocs_own_files() {
    let files = Files::new();
    let folder = fixtures().join("voc_files");
    let (truth, results) = (folder.join("VOC2007"), folder.join("results"));
    let (truth, results) = (truth.display(), results.display());
    let expected: Value =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let named = files.json(&format!(
        "voc {truth} {results} --image-set test --metric voc07 --format json"
    ));
    assert_eq!(named["mean_ap"], expected["voc07"][0]["mean"]);
    let list = files.json(&format!(
        "voc {truth} {results} --image-set {truth}/ImageSets/Main/test.txt --sweep --format json"
    ));
    assert_eq!(list["ap75"], expected["voc10"][5]["mean"]);
    let all = files.run(&format!("voc {truth} {results}"));
    assert!(
        String::from_utf8(all.stderr)
            .unwrap()
            .contains("all 16 images")
    );
    let message = files.failure(&format!("voc gt.json {results}"));
    assert!(message.contains("has no file"), "{message}");
    let message = files.failure("voc gt.json dt.json --image-set test");
    assert!(message.contains("GT is not a folder"), "{message}");
    // Text files against JSON, by the names of its images.
    fs::create_dir(files.path("texts")).unwrap();
    fs::write(files.path("texts/dog.txt"), "b 0.5 61 11 80 30\n").unwrap();
    let dog = files.json("voc gt.json texts --format json");
    assert_eq!(dog["per_class"][1]["ap"], 1.0);
}

#[test]
fn check_counts_caps_and_exits() {
    let files = Files::new();
    let good = files.run("check gt.json");
    assert_eq!(good.status.code(), Some(0));
    let text = String::from_utf8(good.stdout).unwrap();
    assert_eq!(
        text,
        "0 errors, 0 warnings, 0 notes in 3 images, 3 annotations\n"
    );
    let many: Vec<String> = (0..1240)
        .map(|_| r#"{"image_id": 1, "category_id": 7, "score": 2, "bbox": [0, 0, 9, 9]}"#.into())
        .collect();
    fs::write(files.path("many.json"), format!("[{}]", many.join(","))).unwrap();
    let warned = files.run("check gt.json many.json --limit 6");
    assert_eq!(warned.status.code(), Some(0), "warnings are not errors");
    let text = String::from_utf8(warned.stdout).unwrap();
    assert!(
        text.contains("warning: score outside 0..1 (1,240)\n"),
        "{text}"
    );
    assert!(text.contains("  detection 5: score 2"), "{text}");
    assert!(text.contains("\n  ... and 1,234 more\n"), "{text}");
    assert!(
        text.contains("note: more than 100 detections on an image (1)"),
        "{text}"
    );
    fs::write(
        files.path("zero.json"),
        TRUTH.replace("{\"id\": 3, \"image_id\"", "{\"id\": 0, \"image_id\""),
    )
    .unwrap();
    let bad = files.run("check zero.json --format json");
    assert_eq!(bad.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(report["errors"], 1);
    assert_eq!(report["findings"][0]["subject"]["annotation"], 0);
    assert!(
        report["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("false positive")
    );
}

#[test]
fn plots_are_svg_and_deterministic() {
    let files = Files::new();
    let mut texts = Vec::new();
    for folder in ["one", "two"] {
        files.stdout(&format!("coco gt.json dt.json --plots {folder}/coco"));
        files.stdout(&format!("voc gt.json dt.json --plots {folder}/voc"));
        for kind in ["coco", "voc"] {
            for name in ["precision_recall.svg", "precision_recall_classes_1.svg"] {
                let path = files.path(folder).join(kind).join(name);
                let svg = fs::read_to_string(&path).unwrap();
                assert!(
                    svg.starts_with("<svg") && svg.contains("<polyline"),
                    "{name}"
                );
                assert!(!svg.contains("NaN"), "{name}");
                texts.push(svg);
            }
        }
    }
    assert_eq!(texts[..4], texts[4..]);
    assert!(texts[0].contains("IoU .75") && texts[1].contains("cow"));
}

#[test]
fn help_has_examples() {
    let files = Files::new();
    for command in ["coco", "voc", "lvis", "tide", "compare", "check"] {
        assert!(
            files
                .stdout(&format!("{command} --help"))
                .contains("Examples:\n"),
            "{command}"
        );
    }
    assert_eq!(files.run("nonsense").status.code(), Some(2));
}
