//! Weights from elsewhere in runs, runs' weights under other names, and the commands.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use inscon_model::{
    ImportOptions, Naming, StateDict, import_state_dict, read_safetensors, rename, state_dict,
};
use inscon_train::config::ExperimentConfig;
use inscon_train::finetune::FinetuneState;
use inscon_train::import::{Conversion, convert};
use inscon_train::pretrain::PretrainState;
use inscon_train::{RunDir, backbone_path, export, load_backbone, prefixed, write_weights};

/// A file that PyTorch wrote, for a ResNet-18 with 8 channels everywhere.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../inscon-model/tests/fixtures/weights")
        .join(name)
}

fn moco() -> StateDict {
    import_state_dict(&fixture("moco.pth"), &ImportOptions::default())
        .unwrap()
        .0
}

fn recipe(more: &[&str]) -> ExperimentConfig {
    let text = r#"
name = "weights"
pretrained = false
[model]
depth = 18
width = 0.01
[pretrain]
queue = 64
[finetune.detector]
mask = false
fpn_channels = 8
fc_dim = 16
"#;
    let sets: Vec<String> = more.iter().map(|s| (*s).to_owned()).collect();
    ExperimentConfig::from_toml(text, "weights.toml", None, &sets).unwrap()
}

fn with_weights(name: &str, more: &[&str]) -> ExperimentConfig {
    let weights = format!("weights={}", fixture(name).display());
    recipe(&[&[weights.as_str()], more].concat())
}

#[test]
fn a_run_begins_with_a_file_of_weights() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let config = with_weights("moco.pth", &[]);

    let backbone = load_backbone(&config, dir.path(), &device).unwrap();
    assert_eq!(state_dict(&backbone), moco());
    let tuned = FinetuneState::new(&config, dir.path(), 3, &device).unwrap();
    assert_eq!(state_dict(&tuned.model.backbone), moco());

    let config = with_weights("moco.pth", &["pretrained=true"]);
    let pretraining = PretrainState::new(&config, 10, &device).unwrap();
    assert_eq!(pretraining.backbone(), moco());
    assert_eq!(state_dict(&pretraining.key.backbone), moco());
    let weight = pretraining.query.backbone.conv1.weight.val();
    assert!(weight.is_require_grad(), "it trains");
    // What the run has pretrained itself comes before what it began with.
    let error = load_backbone(&config, dir.path(), &device).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");

    let random = load_backbone(&recipe(&[]), dir.path(), &device).unwrap();
    assert_ne!(state_dict(&random), moco());
}

#[test]
fn weights_that_do_not_fit_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let error = |config: &ExperimentConfig| {
        let loaded = load_backbone(config, dir.path(), &Device::flex());
        format!("{:#}", loaded.unwrap_err())
    };
    let text = error(&with_weights("moco.pth", &["model.depth=34"]));
    for part in ["moco.pth", "ResNet-18", "ResNet-34"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let text = error(&with_weights("odd.pth", &[]));
    assert!(
        text.contains("none of its") && text.contains("odd.pth"),
        "{text}"
    );
    let text = error(&with_weights("detectron2.pkl", &[]));
    // Nothing follows the command, so that it can be copied.
    assert!(
        text.contains("python -c") && text.ends_with("OUT.pth"),
        "{text}"
    );
}

/// A run folder with a pretrained backbone and a detector in training.
fn run_with_weights(dir: &Path, config: &ExperimentConfig) -> StateDict {
    let path = backbone_path(dir);
    RunDir::create(path.parent().unwrap()).unwrap();
    write_weights(&path, &moco(), "{}").unwrap();
    let state = FinetuneState::new(config, dir, 3, &Device::flex()).unwrap();
    let detector = state_dict(&state.model);
    let tuned = RunDir::create(dir.join("finetune")).unwrap();
    let tensors = prefixed("model.", detector.clone());
    write_weights(&tuned.file("checkpoint.safetensors"), &tensors, "{}").unwrap();
    detector
}

#[test]
fn export_under_every_naming() {
    let dir = tempfile::tempdir().unwrap();
    let config = recipe(&[]);
    let detector = run_with_weights(dir.path(), &config);
    let exported = |name: &str| read_safetensors(&dir.path().join("export").join(name));
    export::run(&config, dir.path(), None).unwrap();
    assert_eq!(exported("backbone.safetensors").unwrap().0, moco());
    assert_eq!(exported("detector.safetensors").unwrap().0, detector);

    for naming in [Naming::Torchvision, Naming::Detectron2] {
        export::run(&config, dir.path(), Some(naming)).unwrap();
        let (backbone, metadata) = exported("backbone.safetensors").unwrap();
        assert_eq!(backbone, rename(&moco(), naming).unwrap());
        assert!(metadata["inscon"].contains(naming.name()), "{metadata:?}");
        let (found, _) = exported("detector.safetensors").unwrap();
        assert_eq!(found, rename(&detector, naming).unwrap());
        assert_ne!(found, detector);
    }
    fs::remove_dir_all(dir.path().join("export")).unwrap();
    export::run(&config, dir.path(), Some(Naming::Timm)).unwrap();
    assert_eq!(exported("backbone.safetensors").unwrap().0, moco());
    assert!(exported("detector.safetensors").is_err(), "timm has none");

    fs::remove_file(backbone_path(dir.path())).unwrap();
    let error = export::run(&config, dir.path(), Some(Naming::Timm)).unwrap_err();
    assert!(error.to_string().contains("only a detector"), "{error}");
}

#[test]
fn conversion_checks_before_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.safetensors");
    let conversion = |depth| Conversion {
        to: Naming::Detectron2,
        depth,
        prefix: None,
    };
    convert(&fixture("moco.pth"), &out, &conversion(Some(18))).unwrap();
    let written = read_safetensors(&out).unwrap().0;
    assert_eq!(written, rename(&moco(), Naming::Detectron2).unwrap());

    let error = |input: &Path, output: &Path, conversion: &Conversion| {
        format!("{:#}", convert(input, output, conversion).unwrap_err())
    };
    let text = error(&fixture("moco.pth"), &out, &conversion(Some(50)));
    assert!(
        text.contains("ResNet-18") && text.contains("not a ResNet-50"),
        "{text}"
    );
    assert!(error(&out, &out, &conversion(None)).contains("overwritten"));
    let text = error(&out, &dir.path().join("out.pth"), &conversion(None));
    assert!(text.contains(".safetensors"), "{text}");
    assert_eq!(
        read_safetensors(&out).unwrap().0,
        written,
        "it is as it was"
    );
}

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inscon-train"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_commands() {
    let dir = tempfile::tempdir().unwrap();
    let moco = fixture("moco.pth");
    let found = command(&["weights", "inspect", moco.to_str().unwrap()]);
    let said = String::from_utf8(found.stdout).unwrap();
    assert!(found.status.success(), "{said}");
    for part in ["encoder_q", "a ResNet-18 of width 0.125", "all finite"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }

    let out = dir.path().join("d2.safetensors");
    let out = out.to_str().unwrap();
    let done = command(&[
        "weights",
        "convert",
        moco.to_str().unwrap(),
        out,
        "--to",
        "detectron2",
    ]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    assert!(
        said.contains("a queue of keys") && said.contains("100 tensors in"),
        "{said}"
    );
    assert!(
        read_safetensors(Path::new(out))
            .unwrap()
            .0
            .contains_key("stem.conv1.norm.weight")
    );

    let wrong = command(&["weights", "convert", out, out, "--to", "caffe"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said.contains("torchvision, detectron2 or timm"), "{said}");

    let recipe_file = dir.path().join("recipe.toml");
    let config = recipe(&[]);
    fs::write(&recipe_file, config.to_toml()).unwrap();
    let run = dir.path().join("run");
    run_with_weights(&run, &config);
    let arguments = [
        "export",
        "--config",
        recipe_file.to_str().unwrap(),
        "--run",
        run.to_str().unwrap(),
        "--naming",
        "detectron2",
    ];
    let done = command(&arguments);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    let written = read_safetensors(&run.join("export/detector.safetensors")).unwrap();
    assert!(
        written
            .0
            .contains_key("backbone.bottom_up.stem.conv1.weight")
    );
}
