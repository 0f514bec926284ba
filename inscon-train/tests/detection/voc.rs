//! PASCAL VOC's folders: the same set as its JSON, and what is said of broken ones.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use inscon_train::config::{ExperimentConfig, VocSplit};
use inscon_train::detection_data::{DetectionDataset, Part, Subset, TrainBatches, voc_classes};
use inscon_train::finetune::{open_data, train_batches};
use inscon_train::{Interrupt, finetune};

use crate::fixture::{CLASSES, Toy};

/// A VOC root with the images of a toy whose `keep` is true, called by `name`.
fn write_voc(
    toy: &Toy,
    root: &Path,
    split: &str,
    names: &[&str; 3],
    name: impl Fn(u64) -> Option<String>,
) -> VocSplit {
    for folder in ["Annotations", "JPEGImages", "ImageSets/Main"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut list = String::new();
    for image in &toy.truth.images {
        let Some(name) = name(image.id) else { continue };
        writeln!(list, "{name}").unwrap();
        let source = toy.path().join(&image.file_name);
        fs::copy(source, root.join(format!("JPEGImages/{name}.png"))).unwrap();
        let mut xml = format!(
            "<annotation><filename>{name}.png</filename><size><width>{}</width>\
             <height>{}</height><depth>3</depth></size>\n",
            image.width, image.height
        );
        for a in toy
            .truth
            .annotations
            .iter()
            .filter(|a| a.image_id == image.id)
        {
            let [x, y, w, h] = a.bbox;
            let class = names[(a.category_id as usize - 3) / 2];
            writeln!(
                xml,
                "<object><name>{class}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin>\
                 <ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>",
                u8::from(a.difficult),
                x + 1.0,
                y + 1.0,
                x + w,
                y + h
            )
            .unwrap();
        }
        xml.push_str("</annotation>\n");
        fs::write(root.join(format!("Annotations/{name}.xml")), xml).unwrap();
    }
    fs::write(root.join(format!("ImageSets/Main/{split}.txt")), list).unwrap();
    VocSplit {
        root: root.to_owned(),
        split: split.to_owned(),
    }
}

/// All images of the toy as one image set.
fn voc(toy: &Toy, names: &[&str; 3]) -> (tempfile::TempDir, VocSplit) {
    let dir = tempfile::tempdir().unwrap();
    let split = write_voc(toy, dir.path(), "trainval", names, |id| {
        Some(format!("{id:06}"))
    });
    (dir, split)
}

/// The toy's recipe with VOC sets instead of the JSON, through `--set`.
fn recipe(toy: &Toy, splits: &[&VocSplit], more: &[&str]) -> ExperimentConfig {
    let list: Vec<String> = splits
        .iter()
        .map(|s| format!("{{ root = {:?}, split = {:?} }}", s.root, s.split))
        .collect();
    let list = list.join(", ");
    let (train, val) = (
        format!("data.train_voc=[{list}]"),
        format!("data.val_voc=[{list}]"),
    );
    let mut sets = vec![
        "data.train_json=\"\"",
        "data.val_json=\"\"",
        "finetune.detector.mask=false",
        &train,
        &val,
    ];
    sets.extend(more);
    toy.recipe(&sets)
}

fn error(toy: &Toy, split: &VocSplit, more: &[&str]) -> String {
    let error = open_data(&recipe(toy, &[split], more)).unwrap_err();
    error.to_string()
}

const OURS: &str = r#"data.voc_classes=["red", "green", "blue"]"#;

#[test]
fn xml_and_json_of_one_set_train_alike() {
    let mut toy = Toy::new(6);
    toy.truth.annotations[0].difficult = true;
    toy.truth.annotations[2].difficult = true;
    toy.truth.annotations[3].difficult = true;
    toy.save();
    let (_dir, split) = voc(&toy, &CLASSES);
    let with_xml = recipe(&toy, &[&split], &[OURS]);
    let with_json = toy.recipe(&["finetune.detector.mask=false"]);
    let of = |config: &ExperimentConfig| open_data(config).unwrap().0;
    let (xml, json) = (of(&with_xml), of(&with_json));

    assert_eq!(xml.class_names(), CLASSES);
    assert_eq!(
        xml.trainable(),
        [0, 2, 3, 4, 5],
        "image 1 has difficult objects only"
    );
    for (a, b) in xml.samples().iter().zip(json.samples()) {
        assert_eq!((a.id, a.width, a.height), (b.id, b.width, b.height));
        assert_eq!(a.objects.len(), b.objects.len());
        for (a, b) in a.objects.iter().zip(&b.objects) {
            assert_eq!(
                (a.label, a.bbox, a.trainable),
                (b.label, b.bbox, b.trainable)
            );
        }
    }
    assert_eq!(xml.report().difficult, 3);
    let text = xml.report().to_string();
    assert!(
        text.contains("(trainval): 6 images, 12 objects of 3 classes"),
        "{text}"
    );
    assert!(
        text.contains("3 difficult ones are judged but not trained on"),
        "{text}"
    );
    assert!(text.contains("1 images have nothing to train on"), "{text}");

    let batches = |config, data: &Arc<DetectionDataset>| -> TrainBatches {
        train_batches(config, data.clone())
    };
    let (of_xml, of_json) = (batches(&with_xml, &xml), batches(&with_json, &json));
    let plan = of_xml.plan(8).unwrap();
    assert_eq!(plan, of_json.plan(8).unwrap());
    for (i, images) in (0..).zip(&plan) {
        let (a, b) = (
            of_xml.make(i, images).unwrap(),
            of_json.make(i, images).unwrap(),
        );
        assert_eq!((&a.targets, &a.sizes), (&b.targets, &b.sizes));
        assert_eq!(a.pixels, b.pixels);
    }

    // The judge sees the same truth too.
    let found: Vec<inscon_eval::Detection> = json
        .ground_truth()
        .annotations
        .iter()
        .enumerate()
        .map(|(i, a)| {
            let [x, y, w, h] = a.bbox;
            let bbox = [x + (i % 3) as f64, y, w, h];
            inscon_eval::Detection::of_box(a.image_id, a.category_id, 1.0 / (i + 2) as f64, bbox)
        })
        .collect();
    let renumbered: Vec<inscon_eval::Detection> = found
        .iter()
        .map(|d| inscon_eval::Detection {
            category_id: xml.category_id(json.label_of(d.category_id).unwrap()),
            ..d.clone()
        })
        .collect();
    let scores = |data: &DetectionDataset, found: &[inscon_eval::Detection]| {
        let measures = inscon_train::evaluate::Measures::of(data.ground_truth(), found, None);
        measures.unwrap().scores()
    };
    let scores_of_xml = scores(&xml, &renumbered);
    assert!(scores_of_xml.voc07.is_some());
    assert_eq!(scores_of_xml, scores(&json, &found));
}

#[test]
fn several_sets_are_one() {
    let toy = Toy::new(6);
    let dir = tempfile::tempdir().unwrap();
    let names = ["cat", "dog", "person"];
    let first = write_voc(
        &toy,
        &dir.path().join("VOC2007"),
        "trainval",
        &names,
        |id| (id <= 2).then(|| format!("{id:06}")),
    );
    let second = write_voc(
        &toy,
        &dir.path().join("VOC2012"),
        "trainval",
        &names,
        |id| (id > 2).then(|| format!("2008_{id:06}")),
    );
    let config = recipe(&toy, &[&second, &first], &[]);
    let (data, _) = open_data(&config).unwrap();
    let ids: Vec<u64> = data.samples().iter().map(|s| s.id).collect();
    assert_eq!(ids, [1, 2, 2008000003, 2008000004, 2008000005, 2008000006]);
    assert_eq!(data.class_names().len(), 20);
    assert_eq!(data.class_names()[..3], ["aeroplane", "bicycle", "bird"]);
    let labels: Vec<usize> = data.samples()[0].objects.iter().map(|o| o.label).collect();
    assert_eq!(
        labels,
        [11, 7],
        "image 1 has a green and a red rectangle: dog and cat"
    );
    assert!(
        data.samples()[3]
            .path
            .ends_with("VOC2012/JPEGImages/2008_000004.png")
    );
    assert!(
        data.origin().contains("VOC2012 (trainval) + "),
        "{}",
        data.origin()
    );
    let annotations: Vec<u64> = data
        .ground_truth()
        .annotations
        .iter()
        .map(|a| a.id)
        .collect();
    assert_eq!(annotations, (1..=12).collect::<Vec<_>>());

    // Of equal names in two folders, ids count on.
    let third = write_voc(&toy, &dir.path().join("VOC2010"), "train", &names, |id| {
        Some(format!("{id:06}"))
    });
    let (data, _) = open_data(&recipe(&toy, &[&first, &third], &[])).unwrap();
    let ids: Vec<u64> = data.samples().iter().map(|s| s.id).collect();
    assert_eq!(ids, (1..=8).collect::<Vec<_>>());
    assert_eq!(
        data.samples()[2].objects[0].bbox,
        data.samples()[0].objects[0].bbox
    );

    let error = open_data(&recipe(&toy, &[&first, &first], &[]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("JPEGImages/000001.png is in"), "{error}");
    assert!(error.contains("drop it from one of them"), "{error}");
}

/// Names found in the data: those of both parts, for a label must mean the same in each.
#[test]
fn classes_are_found_in_both_parts() {
    let toy = Toy::new(4);
    let (_dir, split) = voc(&toy, &["window", "door", "shop"]);
    let config = recipe(&toy, &[&split], &[]);
    assert_eq!(
        voc_classes(&config.data).unwrap(),
        ["door", "shop", "window"]
    );

    let (_other, without_shop) = voc(&toy, &["window", "door", "door"]);
    let mut config = config;
    config.data.val_voc = vec![without_shop];
    let (train, val) = open_data(&config).unwrap();
    assert_eq!(train.class_names(), ["door", "shop", "window"]);
    assert_eq!(val.class_names(), ["door", "shop", "window"]);

    let error = error(&toy, &split, &[r#"data.voc_classes=["door", "window"]"#]);
    assert!(
        error.contains("class `shop`") && error.contains("data.voc_classes"),
        "{error}"
    );
}

#[test]
fn what_is_not_there_is_named() {
    let toy = Toy::new(3);
    let (dir, split) = voc(&toy, &CLASSES);
    let missing = VocSplit {
        split: "test".into(),
        ..split.clone()
    };
    let text = error(&toy, &missing, &[]);
    for part in [
        "ImageSets/Main/test.txt does not exist",
        "there are trainval",
        "`split`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let both = recipe(&toy, &[&split], &[]).to_toml();
    let both = both.replace("train_json = \"\"", "train_json = \"a.json\"");
    let refused = ExperimentConfig::from_toml(&both, "t.toml", None, &[])
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("data.train_json and data.train_voc are both set"),
        "{refused}"
    );

    let xml = dir.path().join("Annotations/000002.xml");
    let good = fs::read_to_string(&xml).unwrap();
    fs::write(&xml, good.replace("<xmin>", "<xmin>x")).unwrap();
    let text = error(&toy, &split, &[]);
    assert!(text.contains("000002.xml, line 2: `xmin`"), "{text}");
    fs::write(&xml, &good).unwrap();

    fs::remove_file(dir.path().join("JPEGImages/000003.png")).unwrap();
    let text = error(&toy, &split, &[]);
    assert!(
        text.contains("JPEGImages/000003.png does not exist"),
        "{text}"
    );
    assert!(text.contains("1 of 3"), "{text}");
}

#[test]
fn sizes_are_read_where_they_are_missing_and_compared_where_not() {
    let toy = Toy::new(3);
    let (dir, split) = voc(&toy, &CLASSES);
    let open = |split: &VocSplit| -> DetectionDataset {
        let data = recipe(&toy, &[split], &[]).data;
        DetectionDataset::of_part(&data, Part::Train, Subset::All, false).unwrap()
    };
    let edit = |name: &str, from: &str, to: &str| {
        let path: PathBuf = dir.path().join(format!("Annotations/{name}.xml"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    edit("000001", "<width>64</width><height>48</height>", "");
    edit("000002", "<width>64<", "<width>46<");
    let data = open(&split);
    assert_eq!(
        (data.samples()[0].width, data.samples()[0].height),
        (64, 48)
    );
    data.decode(0).unwrap();
    let error = data.decode(1).unwrap_err();
    assert!(
        error.contains("the file is 64×48 pixels, the labels say 46×48"),
        "{error}"
    );
    // One of its boxes is cut by the wrong size, and named by its number.
    let report = data.report().to_string();
    assert!(report.contains("000002.png"), "{report}");

    // Every XML file, without a list.
    let all = VocSplit {
        split: String::new(),
        ..split
    };
    assert_eq!(open(&all).samples().len(), 3);
}

/// Fine-tuning and evaluation on XML files, VOC's measure deciding.
#[test]
fn a_detector_trains_on_voc() {
    let mut toy = Toy::new(4);
    toy.truth.annotations[1].difficult = true;
    let (_dir, split) = voc(&toy, &CLASSES);
    let config = recipe(&toy, &[&split], &["finetune.iterations=2"]);
    let run = tempfile::tempdir().unwrap();
    finetune::run(&config, run.path(), &Device::flex(), &Interrupt::manual()).unwrap();
    let read = |name: &str| -> serde_json::Value {
        let path = run.path().join("finetune").join(name);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    assert!(read("eval.json")["scores"]["voc07"]["ap"].is_number());
    assert_eq!(read("best.json")["metric"], "voc07.ap");
    assert_eq!(read("done.json")["train_images"], 4);
}
