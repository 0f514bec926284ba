//! `[data]`: where images and labels come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::scenes::ScenesConfig;

/// Folders and files of an experiment. `cargo xtask reproduce` fills in the paths.
///
/// With `source = "scenes"` the paths are not read: the generated set is looked for in
/// `scenes_dir`, made there if it is missing, and the paths are filled in from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Where the data comes from.
    pub source: DataSource,
    /// The generator's settings, for `source = "scenes"`.
    pub scenes: ScenesConfig,
    /// Seed of the generated data; all runs of an experiment see the same images, whatever their
    /// own seed.
    pub scenes_seed: u64,
    /// Where the generated data is, or will be; empty is the folder `scenes` two levels above the
    /// run, which all arms and seeds of `runs/NAME/ARM/SEED` share.
    pub scenes_dir: PathBuf,
    /// Folder of unlabelled images, searched recursively.
    pub pretrain_images: PathBuf,
    /// At most so many of them (the first by path); 0 is all.
    pub max_pretrain_images: usize,
    /// COCO instances JSON to fine-tune on.
    pub train_json: PathBuf,
    /// Folder its `file_name`s are relative to.
    pub train_images: PathBuf,
    /// COCO instances JSON to evaluate on.
    pub val_json: PathBuf,
    /// Folder its `file_name`s are relative to.
    pub val_images: PathBuf,
    /// Threads that decode and augment.
    pub workers: usize,
    /// Batches prepared ahead of the step.
    pub prefetch: usize,
    /// Keep decoded images in memory.
    pub cache: bool,
    /// Stop when more than this share of the images turned out unreadable.
    pub max_bad_share: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: DataSource::Folders,
            scenes: ScenesConfig::default(),
            scenes_seed: 0,
            scenes_dir: PathBuf::new(),
            pretrain_images: PathBuf::new(),
            max_pretrain_images: 0,
            train_json: PathBuf::new(),
            train_images: PathBuf::new(),
            val_json: PathBuf::new(),
            val_images: PathBuf::new(),
            workers: 2,
            prefetch: 4,
            cache: false,
            max_bad_share: 0.1,
        }
    }
}

/// Where the data comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSource {
    /// The generator of this crate ([`scenes`](crate::scenes)).
    Scenes,
    /// The user's own folders.
    Folders,
}
