//! Small labelled sets on disk, and a recipe for them.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use inscon_eval::{Annotation, Category, CocoDataset, Image, Segmentation};
use inscon_train::config::ExperimentConfig;

pub(crate) const CLASSES: [&str; 3] = ["red", "green", "blue"];

/// Coloured rectangles on grey: class k has colour k.
pub(crate) struct Toy {
    dir: tempfile::TempDir,
    pub(crate) truth: CocoDataset,
}

impl Toy {
    /// `images` images of 64×48 or 48×64 pixels with two objects each; category ids are 3, 5, 7.
    pub(crate) fn new(images: u64) -> Self {
        Self::of_ids(1..=images)
    }

    /// The images of these ids: other ids, other images.
    pub(crate) fn of_ids(ids: std::ops::RangeInclusive<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let category = |(i, name): (usize, &&str)| Category {
            id: 3 + 2 * i as u64,
            name: (*name).into(),
            supercategory: None,
        };
        let categories = CLASSES.iter().enumerate().map(category).collect();
        let mut truth = CocoDataset {
            categories,
            ..CocoDataset::default()
        };
        for id in ids {
            let (width, height) = if id % 3 == 0 { (48, 64) } else { (64, 48) };
            let mut image = RgbImage::from_pixel(width, height, Rgb([110, 110, 110]));
            for slot in 0..2u64 {
                let class = (id + slot * 2) as usize % 3;
                let (x, y) = (
                    4 + (id * 5 + slot * 24) as u32 % (width - 22),
                    6 + (id * 7) as u32 % 16,
                );
                let (w, h) = (18 - slot as u32 * 4, 20 - class as u32 * 2);
                for (dx, dy) in (0..w).flat_map(|dx| (0..h).map(move |dy| (dx, dy))) {
                    let mut color = [40, 40, 40];
                    color[class] = 220;
                    image.put_pixel(x + dx, y + dy, Rgb(color));
                }
                let [x, y, w, h] = [x, y, w, h].map(f64::from);
                truth.annotations.push(Annotation {
                    id: id * 10 + slot,
                    image_id: id,
                    category_id: 3 + 2 * class as u64,
                    bbox: [x, y, w, h],
                    area: w * h,
                    segmentation: Some(Segmentation::Polygons(vec![vec![
                        x,
                        y,
                        x + w,
                        y,
                        x + w,
                        y + h,
                        x,
                        y + h,
                    ]])),
                    ..Annotation::default()
                });
            }
            let file_name = format!("{id:03}.png");
            image.save(dir.path().join(&file_name)).unwrap();
            truth.images.push(Image {
                id,
                file_name,
                width,
                height,
            });
        }
        let toy = Self { dir, truth };
        toy.save();
        toy
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn json(&self) -> PathBuf {
        self.path().join("instances.json")
    }

    /// Writes the present truth over the JSON.
    pub(crate) fn save(&self) {
        self.truth.save(self.json()).unwrap();
    }

    /// A recipe that trains and validates on this set, with `more` after its own values.
    pub(crate) fn recipe(&self, more: &[&str]) -> ExperimentConfig {
        recipe(&self.json(), self.path(), more)
    }
}

/// A slim detector trained and validated on one JSON.
pub(crate) fn recipe(json: &Path, images: &Path, more: &[&str]) -> ExperimentConfig {
    let text = format!(
        r#"
name = "toy"
seed = 3
pretrained = false
[data]
train_json = {json:?}
train_images = {images:?}
val_json = {json:?}
val_images = {images:?}
[model]
depth = 18
width = 0.25
output_stride = 16
[finetune]
iterations = 6
batch = 2
min_sizes = [56, 64]
max_size = 128
test_min_size = 64
lr = 0.01
warmup_steps = 2
log_every = 1
checkpoint_every = 100
[finetune.detector]
fpn_channels = 32
anchor_sizes = [[8.0], [16.0], [32.0], [64.0]]
rpn_pre_nms_train = 100
rpn_post_nms_train = 50
rpn_pre_nms_test = 100
rpn_post_nms_test = 50
rpn_batch_per_image = 64
roi_batch_per_image = 32
pooler_canonical_size = 56.0
box_pooler_size = 5
mask_pooler_size = 7
fc_dim = 64
mask_convs = 1
mask_channels = 16
[probe]
max_samples = 2000
"#
    );
    let sets: Vec<String> = more.iter().map(|s| (*s).to_owned()).collect();
    ExperimentConfig::from_toml(&text, "toy.toml", None, &sets).unwrap()
}
