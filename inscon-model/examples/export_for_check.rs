//! Writes what `tests/fixtures/check_export.py` loads in PyTorch: full-size networks of ours under
//! other projects' names, and the features that ours compute.
//!
//! ```text
//! cargo run -p inscon-model --example export_for_check -- DIR
//! python inscon-model/tests/fixtures/check_export.py DIR
//! ```

use std::path::PathBuf;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use inscon_model::detection::RcnnConfig;
use inscon_model::{
    Metadata, Naming, NormMode, ResNetConfig, StateDict, Strictness, export_backbone,
    export_detector, load_state_dict, state_dict, write_safetensors_file,
};
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

type Error = Box<dyn std::error::Error>;

/// Norms and biases that matter: none is 0 or 1.
fn disturbed(dict: StateDict, rng: &mut Xoshiro256PlusPlus) -> StateDict {
    let mut disturb = |(name, data): (String, TensorData)| {
        let shape = data.shape().to_vec();
        if shape.len() != 1 {
            return (name, data);
        }
        let centre = match name.rsplit('.').next() {
            Some("weight" | "running_var") => 1.0,
            _ => 0.0,
        };
        let values = (0..shape[0]).map(|_| centre + rng.random_range(-0.2..0.2f32));
        (name, TensorData::new(values.collect(), shape))
    };
    dict.into_iter().map(&mut disturb).collect()
}

fn main() -> Result<(), Error> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("give a folder to write to")?);
    std::fs::create_dir_all(&dir)?;
    let device = Device::flex();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(20);
    device.seed(20);

    let image = Tensor::<4>::random([2, 3, 224, 192], Distribution::Normal(0.0, 1.0), &device);
    for depth in [18, 50] {
        let config = ResNetConfig {
            depth,
            ..ResNetConfig::default()
        };
        let resnet = config.init(&mut rng, &device)?;
        let dict = disturbed(state_dict(&resnet), &mut rng);
        let (resnet, _) = load_state_dict(resnet, &dict, "", Strictness::Exact)?;
        for naming in [Naming::Torchvision, Naming::Detectron2, Naming::Timm] {
            export_backbone(
                &resnet,
                &dir.join(format!("resnet{depth}_{naming}.safetensors")),
                naming,
            )?;
        }
        let stages = resnet.forward(image.clone(), NormMode::Eval, 1);
        let mut features = StateDict::from([("image".to_owned(), image.clone().into_data())]);
        for (stage, map) in stages.into_iter().enumerate() {
            features.insert(format!("c{}", stage + 2), map.into_data());
        }
        let path = dir.join(format!("resnet{depth}_features.safetensors"));
        write_safetensors_file(&path, &features, &Metadata::new())?;
    }

    // torchvision's COCO detectors have 91 classes with background.
    for (name, mask) in [("maskrcnn", true), ("fasterrcnn", false)] {
        let config = RcnnConfig {
            num_classes: 90,
            mask,
            ..RcnnConfig::default()
        };
        let detector = config.init(&ResNetConfig::default(), &mut rng, &device)?;
        let dict = disturbed(state_dict(&detector), &mut rng);
        for naming in [Naming::Torchvision, Naming::Detectron2] {
            export_detector(
                &dict,
                &dir.join(format!("{name}_{naming}.safetensors")),
                naming,
            )?;
        }
    }
    Ok(())
}
