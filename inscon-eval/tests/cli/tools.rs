//! LVIS, TIDE, comparison, confusion matrix.

use std::fs;

use crate::files::{Files, TRUTH};

/// The truth as LVIS has it: no `dog` on image 1, not all `cow`s on image 2.
fn lvis_truth() -> String {
    let known = |negative: &str, open: &str| {
        format!(r#""neg_category_ids": [{negative}], "not_exhaustive_category_ids": [{open}]}}"#)
    };
    let mut truth = TRUTH.to_owned();
    for (file, lists) in [
        ("a.jpg", known("9", "")),
        ("b.jpg", known("", "11")),
        ("c.jpg", known("", "")),
    ] {
        truth = truth.replace(&format!("\"{file}\"}}"), &format!("\"{file}\", {lists}"));
    }
    for (name, group) in [("cat, small", "f"), ("dog", "r"), ("cow", "c")] {
        truth = truth.replace(
            &format!("\"{name}\"}}"),
            &format!("\"{name}\", \"frequency\": \"{group}\"}}"),
        );
    }
    truth
}

#[test]
fn lvis_in_every_format() {
    let files = Files::new();
    fs::write(files.path("lvis.json"), lvis_truth()).unwrap();
    let table = files.stdout("lvis lvis.json dt.json --per-class");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 13 + 1 + 4, "{table}");
    // The cat found on image 3, of which nothing is known, does not count: cat is 1, dog 0.
    assert_eq!(
        lines[1],
        " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=300 catIds=all] = 0.500"
    );
    assert_eq!(lines[14], "class       group     AP     AR");
    assert_eq!(lines[16], "dog             r  0.000  0.000");
    assert_eq!(lines[17], "cow             c      -      -");
    let all = files.json("lvis lvis.json dt.json --format json");
    assert_eq!(all["stats"].as_array().unwrap().len(), 13);
    assert_eq!(all["stats"][1], all["ap50"]);
    assert_eq!(all["stats"][6], all["ap_rare"]);
    assert_eq!(
        (&all["ap_rare"], &all["ap_common"]),
        (&0.0.into(), &(-1.0).into())
    );
    assert_eq!(all["per_class"][0]["frequency"], "f");
    let csv = files.stdout("lvis lvis.json dt.json --format csv");
    assert!(
        csv.starts_with("category_id,name,frequency,ap,ar\n7,\"cat, small\",f,0."),
        "{csv}"
    );
    assert!(csv.ends_with("\n9,dog,r,0,0\n11,cow,c,-1,-1\n"), "{csv}");
    let message = files.failure("lvis gt.json dt.json");
    assert!(message.contains("neg_category_ids"), "{message}");
}

#[test]
fn tide_names_the_errors() {
    let files = Files::new();
    let table = files.stdout("tide gt.json dt.json");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "AP at IoU 0.50: 41.75");
    assert!(lines[2].starts_with("error"), "{table}");
    // A cat and a dog on nothing; the dog was never found.
    let line = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).take(2).collect::<Vec<_>>()
    };
    assert_eq!(line("Bkg"), ["8.25", "2"]);
    assert_eq!(line("Miss")[1], "1");
    assert_eq!(line("Cls"), ["0.00", "0"]);
    let all = files.json("tide gt.json dt.json --format json");
    assert_eq!(
        (&all["counts"]["bkg"], &all["counts"]["miss"]),
        (&2.into(), &1.into())
    );
    assert_eq!(all["params"]["positive"], 0.5);
    let csv = files.stdout("tide gt.json dt.json --format csv --plots charts");
    assert_eq!(csv.lines().count(), 1 + 1 + 8);
    let svg = fs::read_to_string(files.path("charts/tide.svg")).unwrap();
    assert!(svg.contains("FalseNeg") && svg.contains("n = 2"), "{svg}");
}

#[test]
fn compare_says_which_is_ahead() {
    let files = Files::new();
    // Many images of one cat, which A finds on all and B on every other.
    let (mut images, mut truths, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for i in 1..=40 {
        let place = format!(r#""image_id": {i}, "category_id": 7, "bbox": [0, 0, 9, 9]"#);
        images.push(format!(r#"{{"id": {i}, "width": 20, "height": 20}}"#));
        truths.push(format!(r#"{{"id": {i}, "area": 81, {place}}}"#));
        found.push(format!(r#"{{"score": 0.5, {place}}}"#));
    }
    let truth = format!(
        r#"{{"images": [{}], "categories": [{{"id": 7, "name": "cat"}}], "annotations": [{}]}}"#,
        images.join(","),
        truths.join(",")
    );
    let half: Vec<String> = found.iter().step_by(2).cloned().collect();
    fs::write(files.path("many.json"), truth).unwrap();
    fs::write(files.path("a.json"), format!("[{}]", found.join(","))).unwrap();
    fs::write(files.path("b.json"), format!("[{}]", half.join(","))).unwrap();
    let last = |arguments: &str| files.stdout(arguments).lines().last().unwrap().to_owned();
    let ahead = last("compare many.json a.json b.json --resamples 200");
    assert!(
        ahead.starts_with("A is ahead of B by 49.50 AP (95 % interval "),
        "{ahead}"
    );
    let behind = last("compare many.json b.json a.json --resamples 200");
    assert_eq!(behind, ahead.replace("A is ahead of B", "B is ahead of A"));
    let same = last("compare many.json a.json a.json --resamples 200");
    assert_eq!(
        same,
        "No difference can be seen: A - B is 0.00 AP (95 % interval 0.00 to 0.00)."
    );
    let command = "compare many.json a.json b.json --resamples 200 --per-class --format json";
    let all = files.json(command);
    assert_eq!(
        (&all["ap"]["a"], &all["a"]["ap"]["value"]),
        (&1.0.into(), &1.0.into())
    );
    assert_eq!(all["ap"]["a_better"], 1.0);
    assert_eq!(all["ap"]["p_value"].as_f64().unwrap(), 2.0 / 201.0);
    assert_eq!(all["per_class"][0]["ap"]["b"], all["b"]["ap"]["value"]);
    assert_ne!(
        all["b"]["ap"]["low"],
        files.json(&format!("{command} --seed 1"))["b"]["ap"]["low"]
    );
    let [one, four] = ["1", "4"].map(|threads| files.feed(command, "", threads).stdout);
    assert!(one == four && !one.is_empty());
    let csv = files.stdout("compare many.json a.json b.json --resamples 200 --format csv");
    assert!(csv.contains("\n7,cat,1,0.504"), "{csv}");
    let message = files.failure("compare many.json a.json dt.json --iou segm");
    assert!(
        message.contains(".json: ") && message.contains("has no `segmentation`"),
        "{message}"
    );
    assert!(
        files
            .failure("compare gt.json - -")
            .contains("only one of GT, A and B")
    );
    // One file alone has the intervals that it has beside another.
    let alone = files.json("coco many.json b.json --bootstrap 200 --format json");
    assert_eq!(alone["bootstrap"]["ap"], all["b"]["ap"]);
    let table = files.stdout("coco many.json b.json --bootstrap 200 --per-class");
    assert!(
        table.contains("95 % interval") && table.ends_with("seed 0\n"),
        "{table}"
    );
    assert!(
        files
            .failure("coco gt.json dt.json --bootstrap 0")
            .contains("resamples")
    );
}

#[test]
fn confusion_is_drawn() {
    let files = Files::new();
    files.stdout("coco gt.json dt.json --plots charts");
    let svg = fs::read_to_string(files.path("charts/confusion_matrix.svg")).unwrap();
    assert!(svg.contains("score &gt;= 0.25, IoU &gt;= 0.50"), "{svg}");
    // Both cats are found, the dog is not; on nothing lie a cat and a dog.
    let count = |number: &str| svg.lines().filter(|line| line.trim() == number).count();
    assert_eq!((count("1.00"), count(".50")), (2, 2), "{svg}");
    assert_eq!(
        (count("dog"), count("background"), count("not found")),
        (2, 1, 1)
    );
    files.stdout("coco gt.json dt.json --iou keypoints --sigmas 0.1,0.1 --plots points");
    assert!(!files.path("points/confusion_matrix.svg").exists());
}
