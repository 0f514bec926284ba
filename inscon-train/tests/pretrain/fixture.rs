//! A tiny recipe and a folder of images for it.

use std::path::Path;

use burn::tensor::Device;
use image::{Rgb, RgbImage};
use inscon_train::config::ExperimentConfig;
use inscon_train::{Interrupt, pretrain};

/// ResNet-18 of eight channels on two canvases of four 32 px tiles, 2×2 cells each.
pub(crate) const TINY: &str = r#"
name = "tiny"
seed = 3

[model]
depth = 18
width = 0.125
output_stride = 16

[pretrain]
epochs = 3
batch = 8
tile = 32
dim = 16
hidden = 32
queue = 64
bn_groups = 2
ema = 0.9
log_every = 1
checkpoint_every = 4

[data]
workers = 1
prefetch = 2
max_bad_share = 0.2
"#;

/// The tiny recipe on `images`, with values laid over it.
pub(crate) fn tiny(images: &Path, sets: &[&str]) -> ExperimentConfig {
    let images = format!("data.pretrain_images={:?}", images.display().to_string());
    let mut all = vec![images];
    all.extend(sets.iter().map(|s| (*s).to_owned()));
    ExperimentConfig::from_toml(TINY, "tiny.toml", None, &all).unwrap()
}

/// Pretrains on the CPU without interruption.
pub(crate) fn pretrain_to_the_end(config: &ExperimentConfig, run: &Path) -> anyhow::Result<()> {
    pretrain::run(config, run, &Device::flex(), &Interrupt::manual())
}

/// The message of a run that must fail.
pub(crate) fn failure(config: &ExperimentConfig, run: &Path) -> String {
    format!(
        "{:#}",
        pretrain_to_the_end(config, run).expect_err("the run should have failed")
    )
}

/// Writes `count` pictures that can be told apart: stripes of their own direction, width and
/// colours.
pub(crate) fn write_images(folder: &Path, count: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for i in 0..count {
        picture(i).save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

/// Picture `i`, 56 × 48 pixels.
pub(crate) fn picture(i: usize) -> RgbImage {
    let angle = i as f32 * 0.7;
    let width = 3.0 + (i % 5) as f32 * 2.0;
    let color = |k: usize| [37, 91, 151].map(|p| ((i * p + k * 97) % 256) as u8);
    RgbImage::from_fn(56, 48, |x, y| {
        let along = x as f32 * angle.cos() + y as f32 * angle.sin();
        Rgb(color((along / width).floor().rem_euclid(2.0) as usize))
    })
}
