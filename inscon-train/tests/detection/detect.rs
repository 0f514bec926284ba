//! The detector as a library call and as a command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use image::RgbImage;
use inscon_eval::{CocoDataset, load_detections};
use inscon_model::{Naming, export_detector, read_safetensors, state_dict, strip_prefix};
use inscon_train::config::ExperimentConfig;
use inscon_train::detect::{
    DetectError, DetectSummary, Detector, DetectorDescription, find_images, weights_of_run,
    write_detector,
};
use inscon_train::finetune::{BEST, FinetuneState};
use inscon_train::{Interrupt, export, finetune, write_weights};

use crate::fixture::Toy;

/// A run of two iterations whose evaluation takes one image at a time, as `detect` does.
struct Trained {
    toy: Toy,
    config: ExperimentConfig,
    dir: tempfile::TempDir,
}

impl Trained {
    fn new(more: &[&str]) -> Self {
        let toy = Toy::new(5);
        let mut sets = vec!["finetune.iterations=2", "finetune.batch=1"];
        sets.extend(more);
        let config = toy.recipe(&sets);
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        finetune::run(&config, &run, &Device::flex(), &Interrupt::manual()).unwrap();
        Self { toy, config, dir }
    }

    fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn finetune(&self, name: &str) -> PathBuf {
        self.run().join("finetune").join(name)
    }

    fn detect(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inscon-train"));
        command
            .current_dir(self.dir.path())
            .arg("detect")
            .args(arguments);
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn summary(out: &Path) -> DetectSummary {
    serde_json::from_slice(&fs::read(out.join("detect.json")).unwrap()).unwrap()
}

/// The command finds what the evaluation found, to the bit, and writes it for COCO's tools.
#[test]
fn the_command_writes_what_the_evaluation_found() {
    let trained = Trained::new(&[]);
    let images = trained.toy.path().join("*.png").display().to_string();
    let out = trained.dir.path().join("out");
    let output = trained.detect(&["--run", "run", "--score", "0.05", "--out", "out", &images]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("images/s"), "{}", said(&output));

    let found = load_detections(out.join("results.json")).unwrap();
    let boxes = load_detections(trained.finetune("results.bbox.json")).unwrap();
    let masks = load_detections(trained.finetune("results.segm.json")).unwrap();
    assert!(!found.is_empty());
    assert_eq!((found.len(), found.len()), (boxes.len(), masks.len()));
    for ((found, bbox), mask) in found.iter().zip(&boxes).zip(&masks) {
        // 001.png … 005.png are the images 1 … 5 of the set too.
        assert_eq!(found.image_id, bbox.image_id);
        assert_eq!(
            (found.category_id, found.score),
            (bbox.category_id, bbox.score)
        );
        assert_eq!(found.bbox, bbox.bbox);
        assert_eq!(found.segmentation, mask.segmentation);
    }
    let index = CocoDataset::load(out.join("images.json")).unwrap();
    assert_eq!(index.categories, trained.toy.truth.categories);
    for (image, of_set) in index.images.iter().zip(&trained.toy.truth.images) {
        assert!(
            image.file_name.ends_with(&of_set.file_name),
            "{}",
            image.file_name
        );
        assert_eq!(
            (image.id, image.width, image.height),
            (of_set.id, of_set.width, of_set.height)
        );
        let name = format!("pictures/{:05}_{:03}.png", image.id, image.id);
        let picture = image::open(out.join(name)).unwrap().into_rgb8();
        // 48 pixels are enlarged until there are 640.
        assert_eq!(picture.dimensions(), (image.width * 14, image.height * 14));
    }
    let summary = summary(&out);
    assert_eq!(
        (summary.inputs, summary.images, summary.detections),
        (5, 5, found.len())
    );

    // A score that nothing reaches, and no pictures.
    let output = trained.detect(&["--run", "run", "--score", "1", "--no-pictures", &images]);
    assert!(output.status.success(), "{}", said(&output));
    let out = trained.dir.path().join("detections");
    assert_eq!(load_detections(out.join("results.json")).unwrap(), []);
    assert!(!out.join("pictures").exists());
}

#[test]
fn unreadable_images_are_named_and_the_others_are_done() {
    let trained = Trained::new(&["finetune.detector.mask=false"]);
    let folder = trained.toy.path();
    fs::write(folder.join("003.png"), b"no image").unwrap();
    let at = folder.display().to_string();
    let output = trained.detect(&[
        "--run", "run", "--last", "--score", "0", "--out", "out", &at,
    ]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("unreadable image"),
        "{}",
        said(&output)
    );
    assert!(
        said(&output).contains("on 4 of 5 images, 1 unreadable"),
        "{}",
        said(&output)
    );
    let out = trained.dir.path().join("out");
    let summary = summary(&out);
    assert_eq!(summary.unreadable.len(), 1);
    assert!(summary.unreadable[0].file.ends_with("003.png"));
    let ids: Vec<u64> = CocoDataset::load(out.join("images.json"))
        .unwrap()
        .images
        .iter()
        .map(|image| image.id)
        .collect();
    assert_eq!(ids, [1, 2, 4, 5], "an id is the file's number");
    let found = load_detections(out.join("results.json")).unwrap();
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|d| d.image_id != 3 && d.segmentation.is_none())
    );

    let broken = folder.join("003.png").display().to_string();
    let output = trained.detect(&["--run", "run", &broken]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("none of the 1 images can be read"),
        "{}",
        said(&output)
    );
}

#[test]
fn arguments_that_stand_for_nothing_are_named() {
    let trained = Trained::new(&["finetune.detector.mask=false"]);
    fs::write(trained.dir.path().join("a.png"), b"").unwrap();
    for (arguments, message) in [
        (
            vec!["--run", "run", "no.png"],
            "no.png: there is no such file or folder",
        ),
        (
            vec!["--run", "run", "*.gif"],
            "*.gif: nothing matches this pattern",
        ),
        (
            vec!["--run", "other", "a.png"],
            "other holds no detector yet",
        ),
        (
            vec!["--weights", "no.safetensors", "a.png"],
            "cannot read no.safetensors",
        ),
        (
            vec!["--run", "run", "--score", "2", "a.png"],
            "2 is not from 0 to 1",
        ),
        (vec!["--run", "run", "--classes", "a", "a.png"], "--config"),
        (vec!["a.png"], "--run"),
    ] {
        let output = trained.detect(&arguments);
        assert!(!output.status.success());
        assert!(
            said(&output).contains(message),
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(
            !trained.dir.path().join("detections").exists(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_detector_is_loaded_from_its_file_alone() {
    let trained = Trained::new(&[]);
    let device = Device::flex();
    let best = weights_of_run(&trained.run(), false).unwrap();
    assert_eq!(best, trained.finetune(BEST));
    let last = weights_of_run(&trained.run(), true).unwrap();
    assert_eq!(last, trained.finetune("checkpoint.safetensors"));
    let detector = Detector::load(&best, &device)
        .unwrap()
        .with_score_threshold(0.0);
    let description = detector.description();
    assert_eq!(description.classes, crate::fixture::CLASSES);
    assert_eq!(description.category_ids, [3, 5, 7]);
    assert_eq!((description.min_size, description.max_size), (64, 128));

    // Of any size; the same by itself, in company, and exported.
    let image = image::open(trained.toy.path().join("001.png"))
        .unwrap()
        .into_rgb8();
    let (large, tall) = (RgbImage::new(300, 90), RgbImage::new(31, 77));
    let images = [image.clone(), large, tall];
    let found = detector.detect(&images);
    assert_eq!(found.len(), 3);
    assert_eq!(detector.detect(&[image])[0], found[0]);
    for (found, image) in found.iter().zip(&images) {
        let (width, height) = image.dimensions();
        assert!(!found.is_empty());
        for [x0, y0, x1, y1] in &found.boxes {
            assert!(0.0 <= *x0 && x0 < x1 && *x1 <= width as f32, "{found:?}");
            assert!(0.0 <= *y0 && y0 < y1 && *y1 <= height as f32, "{found:?}");
        }
        assert!(found.scores.is_sorted_by(|a, b| a >= b));
        let masks = detector.masks(found, [height as usize, width as usize]);
        assert_eq!(masks.len(), found.len());
        assert!(
            masks
                .iter()
                .all(|m| (m.height, m.width) == (height as usize, width as usize))
        );
    }
    let exported = trained.dir.path().join("detector.safetensors");
    let weights = strip_prefix(&read_safetensors(&best).unwrap().0, "model.");
    write_detector(
        &exported,
        &weights,
        &DetectorDescription::read(&best).unwrap(),
    )
    .unwrap();
    let again = Detector::load(&exported, &device)
        .unwrap()
        .with_score_threshold(0.0);
    assert_eq!(again.detect(&images), found);
    // Under others' names it is the same detector, once it is said what it is.
    for naming in [Naming::Torchvision, Naming::Detectron2] {
        let path = trained.dir.path().join("renamed.safetensors");
        export_detector(&weights, &path, naming).unwrap();
        let error = Detector::load(&path, &device).unwrap_err();
        assert!(
            matches!(error, DetectError::NoDescription { .. }),
            "{error}"
        );
        let renamed = Detector::load_as(&path, description.clone(), &device).unwrap();
        assert!(renamed.imported().is_some() && again.imported().is_none());
        assert_eq!(renamed.with_score_threshold(0.0).detect(&images), found);
    }
    // What `export` writes says what it is, under any name: the last checkpoint, which need not be the best.
    let last = Detector::load(&last, &device).unwrap();
    let found = last.with_score_threshold(0.0).detect(&images);
    for naming in [None, Some(Naming::Torchvision), Some(Naming::Detectron2)] {
        export::run(&trained.config, &trained.run(), naming).unwrap();
        let path = trained.run().join("export").join("detector.safetensors");
        let exported = Detector::load(&path, &device).unwrap();
        assert_eq!(exported.description(), detector.description());
        assert_eq!(exported.with_score_threshold(0.0).detect(&images), found);
    }
    assert!(detector.with_batch(3).detect(&images).len() == 3);
    assert!(again.detect(&[]).is_empty());
}

#[test]
fn files_that_are_no_detectors_are_refused() {
    let trained = Trained::new(&["finetune.detector.mask=false"]);
    let device = Device::flex();
    let best = trained.finetune(BEST);
    let dir = trained.dir.path();
    let load = |path: &Path| Detector::load(path, &device).unwrap_err();

    let bytes = fs::read(&best).unwrap();
    let cut = dir.join("cut.safetensors");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = load(&cut).to_string();
    assert!(
        error.contains("cut.safetensors is not a whole safetensors file"),
        "{error}"
    );

    let description = DetectorDescription::read(&best).unwrap();
    let weights = strip_prefix(&read_safetensors(&best).unwrap().0, "model.");
    let bare = dir.join("bare.safetensors");
    write_weights(&bare, &weights, "{\"seed\": 3}").unwrap();
    let error = load(&bare);
    assert!(
        matches!(error, DetectError::NoDescription { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--config"), "{error}");
    // With a recipe and names it can be used.
    fs::write(dir.join("recipe.toml"), trained.config.to_toml()).unwrap();
    fs::write(dir.join("names.txt"), "rot\n\ngrün\n blau\n").unwrap();
    let image = trained.toy.path().join("001.png").display().to_string();
    let arguments = [
        "--weights",
        "bare.safetensors",
        "--config",
        "recipe.toml",
        "--score",
        "0",
    ];
    let output = trained.detect(&[&arguments[..], &["--classes", "names.txt", &image]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let index = CocoDataset::load(dir.join("detections/images.json")).unwrap();
    let names: Vec<(u64, &str)> = index
        .categories
        .iter()
        .map(|c| (c.id, c.name.as_str()))
        .collect();
    assert_eq!(names, [(1, "rot"), (2, "grün"), (3, "blau")]);
    let output = trained.detect(&[&arguments[..], &[&image]].concat());
    assert!(said(&output).contains("--classes"), "{}", said(&output));

    let strange = dir.join("strange.safetensors");
    let text = serde_json::json!({ "detector": { "classes": 4 } }).to_string();
    write_weights(&strange, &weights, &text).unwrap();
    assert!(matches!(load(&strange), DetectError::Description { .. }));

    let mut wrong = description.clone();
    wrong.detector.fc_dim = 48;
    write_detector(&strange, &weights, &wrong).unwrap();
    let error = load(&strange).to_string();
    assert!(
        error.contains("strange.safetensors") && error.contains("has shape"),
        "{error}"
    );
    wrong = description.clone();
    wrong.classes.pop();
    write_detector(&strange, &weights, &wrong).unwrap();
    let error = load(&strange).to_string();
    assert!(
        error.contains("2 classes, 3 category ids, num_classes = 3"),
        "{error}"
    );

    let mut broken = weights.clone();
    let name = "backbone.bn1.weight";
    let length = broken[name].shape().num_elements();
    let nan = burn::tensor::TensorData::new(vec![f32::NAN; length], [length]);
    broken.insert(name.to_owned(), nan);
    write_detector(&strange, &broken, &description).unwrap();
    let error = load(&strange).to_string();
    assert!(
        error.contains("tensor `backbone.bn1.weight` is not of numbers"),
        "{error}"
    );
}

/// What a file says is what the recipe says, weights apart.
#[test]
fn a_checkpoint_describes_the_recipes_detector() {
    let toy = Toy::new(1);
    let config = toy.recipe(&["finetune.detector.nms=0.4", "finetune.test_min_size=72"]);
    let dir = tempfile::tempdir().unwrap();
    let state = FinetuneState::new(&config, dir.path(), 3, &Device::flex()).unwrap();
    let classes = crate::fixture::CLASSES.map(str::to_owned);
    let description = DetectorDescription::of(&config, &classes, &[3, 5, 7]);
    let path = dir.path().join("a.safetensors");
    state
        .checkpoint(&config, &description)
        .write(&path)
        .unwrap();
    let read = DetectorDescription::read(&path).unwrap();
    assert_eq!(read, description);
    assert_eq!(
        (read.detector.nms, read.min_size, read.detector.num_classes),
        (0.4, 72, 3)
    );
    assert_eq!(read.format().multiple, 16);
    let weights = state_dict(&state.model);
    write_detector(&path, &weights, &description).unwrap();
    assert_eq!(DetectorDescription::read(&path).unwrap(), description);
}

#[test]
fn images_are_found_in_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b/2.jpg", "b/10.jpg", "a/x.png", "a/[1].png", "notes.txt"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    let at = |name: &str| dir.path().join(name).display().to_string();
    let names = |arguments: &[&str]| -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|a| at(a)).collect();
        let found = find_images(&arguments).unwrap();
        let name = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
        found.iter().map(name).collect()
    };
    assert_eq!(
        names(&["b/2.jpg", "a", "b"]),
        ["b/2.jpg", "a/[1].png", "a/x.png", "b/10.jpg"]
    );
    // A file with a bracket in its name is itself; a file given by name is taken whatever it is.
    assert_eq!(
        names(&["a/[1].png", "notes.txt"]),
        ["a/[1].png", "notes.txt"]
    );
    assert_eq!(names(&["**/*.jpg"]), ["b/10.jpg", "b/2.jpg"]);
    assert_eq!(
        names(&["?"]),
        ["a/[1].png", "a/x.png", "b/10.jpg", "b/2.jpg"]
    );
    let error = find_images(&[at("a/[")]).unwrap_err().to_string();
    assert!(error.contains("not a pattern"), "{error}");
    fs::create_dir(dir.path().join("empty")).unwrap();
    let error = find_images(&[at("empty")]).unwrap_err().to_string();
    assert!(error.contains("no images there"), "{error}");
}
