//! `[data]`: where images and labels come from.

use std::fmt;
use std::path::PathBuf;

use inscon_aug::DecodeLimits;
use serde::{Deserialize, Serialize};

use crate::data::Shuffle;
use crate::scenes::ScenesConfig;

/// Folders and files of an experiment. `cargo xtask reproduce` fills in the paths.
///
/// With `source = "scenes"` the paths are not read: the generated set is looked for in
/// `scenes_dir`, made there if it is missing, and the paths are filled in from it.
///
/// Labels are COCO JSON (`train_json`, `val_json`) or PASCAL VOC's XML files (`train_voc`,
/// `val_voc`), each set in its own way. VOC 07+12:
///
/// ```
/// use inscon_train::config::DataConfig;
/// let data: DataConfig = toml::from_str(
///     r#"
///     train_voc = [
///       { root = "VOCdevkit/VOC2007", split = "trainval" },
///       { root = "VOCdevkit/VOC2012", split = "trainval" },
///     ]
///     val_voc = [{ root = "VOCdevkit/VOC2007", split = "test" }]
///     "#,
/// )?;
/// assert_eq!(data.train_voc[1].to_string(), "VOCdevkit/VOC2012 (trainval)");
/// # Ok::<(), toml::de::Error>(())
/// ```
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
    /// COCO JSON whose `file_name`s, relative to `pretrain_images`, are the unlabelled images;
    /// instead of all under that folder.
    pub pretrain_json: PathBuf,
    /// Image sets in VOC's layout whose images are the unlabelled ones; instead of
    /// `pretrain_images`. An empty split takes all of `JPEGImages`.
    pub pretrain_voc: Vec<VocSplit>,
    /// WebDataset tar shards of unlabelled images, on this machine or in an object store
    /// (`shards/*.tar`, `s3://bucket/train-{000000..000146}.tar`); instead of `pretrain_images`.
    pub pretrain_shards: String,
    /// At most so many of them (the first by path); 0 is all. Not of shards.
    pub max_pretrain_images: usize,
    /// How an epoch mixes the images: `"full"`, or `{ buffer = { size = 10000 } }` as WebDataset
    /// does, which reads shards from end to end as long as `read_ahead_mib` holds so many images.
    pub shuffle: Shuffle,
    /// Images of a shard that a folder is taken to consist of, so that a buffered shuffle reads it
    /// in the order of the shards packed from it; 0 takes it as one.
    pub shard_size: usize,
    /// Most MiB of shards held ahead of the batches.
    pub read_ahead_mib: usize,
    /// Where the lists of large folders and the indices of shards are kept; empty is the user's
    /// cache folder (`$XDG_CACHE_HOME/inscon`).
    pub cache_dir: PathBuf,
    /// COCO instances JSON to fine-tune on.
    pub train_json: PathBuf,
    /// Folder its `file_name`s are relative to.
    pub train_images: PathBuf,
    /// COCO instances JSON to evaluate on.
    pub val_json: PathBuf,
    /// Folder its `file_name`s are relative to.
    pub val_images: PathBuf,
    /// Image sets in VOC's layout to fine-tune on, one after another; instead of `train_json`.
    pub train_voc: Vec<VocSplit>,
    /// Image sets in VOC's layout to evaluate on; instead of `val_json`.
    pub val_voc: Vec<VocSplit>,
    /// The classes of the VOC sets, in the order of their labels; empty is VOC's twenty where
    /// `train_voc` and `val_voc` have no others, else the classes found there, by name.
    pub voc_classes: Vec<String>,
    /// Threads that decode and augment.
    pub workers: usize,
    /// Batches prepared ahead of the step.
    pub prefetch: usize,
    /// Keep decoded images in memory, at their full size: `jpeg_scaling` does nothing then. Images
    /// are decoded whole, so that a file damaged outside of what its views would see is bad here
    /// and may be read without this.
    pub cache: bool,
    /// Decode JPEGs at 1/2, 1/4 or 1/8 of their size where the crops of both views are that much
    /// larger than the views, as PIL's `Image.draft` does. Much faster on large photos; pixels
    /// differ by a few levels.
    pub jpeg_scaling: bool,
    /// Refuse images whose file, or whose decoded pixels, have more MiB than this.
    pub max_image_mib: usize,
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
            pretrain_json: PathBuf::new(),
            pretrain_voc: Vec::new(),
            pretrain_shards: String::new(),
            max_pretrain_images: 0,
            shuffle: Shuffle::Full,
            shard_size: 0,
            read_ahead_mib: 256,
            cache_dir: PathBuf::new(),
            train_json: PathBuf::new(),
            train_images: PathBuf::new(),
            val_json: PathBuf::new(),
            val_images: PathBuf::new(),
            train_voc: Vec::new(),
            val_voc: Vec::new(),
            voc_classes: Vec::new(),
            workers: 2,
            prefetch: 4,
            cache: false,
            jpeg_scaling: true,
            max_image_mib: 512,
            max_bad_share: 0.1,
        }
    }
}

impl DataConfig {
    /// Whether JPEGs are reduced while they are decoded: of images that are kept in memory the whole
    /// is.
    #[must_use]
    pub fn scales_jpegs(&self) -> bool {
        self.jpeg_scaling && !self.cache
    }

    /// What decoding one image may take.
    #[must_use]
    pub fn decode_limits(&self) -> DecodeLimits {
        DecodeLimits {
            max_bytes: (self.max_image_mib as u64) << 20,
        }
    }

    /// Checks the values against each other.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.workers == 0 || self.prefetch == 0 {
            return Err("data.workers and data.prefetch must be at least 1".into());
        }
        if self.source == DataSource::Folders && !(0.0..=1.0).contains(&self.max_bad_share) {
            return Err("data.max_bad_share must lie in [0, 1]".into());
        }
        if self.max_image_mib == 0 || self.read_ahead_mib == 0 {
            return Err("data.max_image_mib and data.read_ahead_mib must be at least 1".into());
        }
        let sources = [
            (
                "data.pretrain_json",
                !self.pretrain_json.as_os_str().is_empty(),
            ),
            ("data.pretrain_voc", !self.pretrain_voc.is_empty()),
            ("data.pretrain_shards", !self.pretrain_shards.is_empty()),
        ];
        let given: Vec<&str> = sources.iter().filter(|s| s.1).map(|s| s.0).collect();
        if let [first, second, ..] = given[..] {
            return Err(format!("{first} and {second} are both set; drop one"));
        }
        if self.max_pretrain_images > 0 && !self.pretrain_shards.is_empty() {
            return Err(
                "data.max_pretrain_images does not apply to data.pretrain_shards; name fewer shards"
                    .into(),
            );
        }
        for (part, json, voc) in [
            ("train", &self.train_json, &self.train_voc),
            ("val", &self.val_json, &self.val_voc),
            ("pretrain", &self.pretrain_json, &self.pretrain_voc),
        ] {
            if !json.as_os_str().is_empty() && !voc.is_empty() {
                return Err(format!(
                    "data.{part}_json and data.{part}_voc are both set; drop one"
                ));
            }
            if let Some(at) = voc
                .iter()
                .position(|split| split.root.as_os_str().is_empty())
            {
                return Err(format!(
                    "data.{part}_voc[{at}].root is empty; give a folder"
                ));
            }
        }
        let mut names = self.voc_classes.clone();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("data.voc_classes has `{}` twice", twice[0]));
        }
        Ok(())
    }
}

/// An image set in PASCAL VOC's layout: `ROOT/Annotations/*.xml`, `ROOT/JPEGImages` and
/// `ROOT/ImageSets/Main/SPLIT.txt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocSplit {
    /// `VOCdevkit/VOC2007` or the like.
    pub root: PathBuf,
    /// Name of the list of images; empty takes every file of `Annotations`.
    #[serde(default)]
    pub split: String,
}

impl fmt::Display for VocSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.split.as_str() {
            "" => write!(f, "{}", self.root.display()),
            split => write!(f, "{} ({split})", self.root.display()),
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
