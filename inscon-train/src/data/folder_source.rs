//! Where a recipe's unlabelled images are, as a source of samples.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    DataError, ImageFolder, SampleError, SampleSource, ShardOptions, ShardSource, coco_images,
};
use crate::config::{DataConfig, VocSplit};
use crate::say;

/// Image files on this machine.
#[derive(Debug)]
pub struct FolderSource {
    folder: ImageFolder,
    groups: Vec<usize>,
}

impl FolderSource {
    /// The files of a folder or list, as one group.
    #[must_use]
    pub fn new(folder: ImageFolder) -> Self {
        let groups = vec![folder.len()];
        Self { folder, groups }
    }
}

impl SampleSource for FolderSource {
    fn place(&self) -> String {
        self.folder.root().display().to_string()
    }

    fn groups(&self) -> &[usize] {
        &self.groups
    }

    fn name(&self, index: usize) -> String {
        self.folder.name(index).to_owned()
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), SampleError> {
        bytes.clear();
        let read = File::open(self.folder.path(index)).and_then(|mut file| {
            let length = file.metadata()?.len();
            bytes.reserve(usize::try_from(length).unwrap_or(0));
            file.read_to_end(bytes)
        });
        match read {
            Ok(_) => Ok(()),
            Err(error) => Err(SampleError::Unreadable(error.to_string())),
        }
    }
}

/// The unlabelled images of a recipe: `pretrain_shards`, or `pretrain_json` with its folder, or
/// `pretrain_voc`, or all of `pretrain_images`.
///
/// # Errors
/// [`DataError`] for a folder, a list or shards that cannot be read.
pub fn open_source(data: &DataConfig) -> Result<Arc<dyn SampleSource>, DataError> {
    if !data.pretrain_shards.is_empty() {
        let options = ShardOptions {
            read_ahead: (data.read_ahead_mib as u64) << 20,
            cache: cache_dir(data),
            ..ShardOptions::default()
        };
        let shards = ShardSource::open(&data.pretrain_shards, &options)?;
        return Ok(Arc::new(shards));
    }
    let limit = data.max_pretrain_images;
    let folder = if !data.pretrain_json.as_os_str().is_empty() {
        coco_images(&data.pretrain_json, &data.pretrain_images, limit)?
    } else if !data.pretrain_voc.is_empty() {
        voc_images(&data.pretrain_voc, limit)?
    } else {
        let cache = cache_dir(data);
        ImageFolder::open_cached(&data.pretrain_images, limit, cache.as_deref())?
    };
    if let Some(first) = folder.unreadable().first() {
        say(&format!(
            "warning: {} images under {} are left out, since their names are not UTF-8 (the first: \
             {first}); rename them",
            folder.unreadable().len(),
            folder.root().display()
        ));
    }
    Ok(Arc::new(FolderSource::new(folder)))
}

/// `data.cache_dir`, or the user's cache folder as the XDG base directories name it.
#[must_use]
pub fn cache_dir(data: &DataConfig) -> Option<PathBuf> {
    if !data.cache_dir.as_os_str().is_empty() {
        return Some(data.cache_dir.clone());
    }
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = of("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| of("HOME").map(|home| Path::new(&home).join(".cache")));
    base.map(|base| base.join("inscon"))
}

/// The images of VOC's image sets, one after another; those in two sets once.
fn voc_images(splits: &[VocSplit], limit: usize) -> Result<ImageFolder, DataError> {
    let mut files: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for split in splits {
        let pictures = split.root.join("JPEGImages");
        let names: Vec<String> = if split.split.is_empty() {
            let folder = ImageFolder::open(&pictures, 0)?;
            (0..folder.len())
                .map(|i| folder.name(i).to_owned())
                .collect()
        } else {
            let list = split
                .root
                .join(format!("ImageSets/Main/{}.txt", split.split));
            let text = std::fs::read_to_string(&list).map_err(|error| DataError::List {
                path: list,
                message: format!("{error}; check data.pretrain_voc"),
            })?;
            let first = text
                .lines()
                .filter_map(|line| line.split_whitespace().next());
            first.map(|name| format!("{name}.jpg")).collect()
        };
        for name in names {
            let path = pictures.join(name).display().to_string();
            if seen.insert(path.clone()) {
                files.push(path);
            }
        }
    }
    let root = splits.first().map(|split| split.root.as_path());
    ImageFolder::of_names(root.unwrap_or(Path::new("")), files, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voc_lists_name_images() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("VOC2007");
        std::fs::create_dir_all(root.join("ImageSets/Main")).unwrap();
        std::fs::create_dir_all(root.join("JPEGImages")).unwrap();
        std::fs::write(
            root.join("ImageSets/Main/train.txt"),
            "000002  1\n000001 -1\n",
        )
        .unwrap();
        std::fs::write(root.join("JPEGImages/000003.jpg"), b"x").unwrap();
        let split = |split: &str| VocSplit {
            root: root.clone(),
            split: split.into(),
        };
        let data = DataConfig {
            pretrain_voc: vec![split("train"), split("")],
            ..DataConfig::default()
        };
        let source = open_source(&data).unwrap();
        assert_eq!(source.len(), 3);
        assert!(source.name(0).ends_with("JPEGImages/000002.jpg"));
        let mut bytes = Vec::new();
        source.read(2, &mut bytes).unwrap();
        assert_eq!(bytes, b"x");
        let missing = source.read(0, &mut bytes);
        assert!(
            matches!(missing, Err(SampleError::Unreadable(_))),
            "{missing:?}"
        );

        let wrong = DataConfig {
            pretrain_voc: vec![split("val")],
            ..DataConfig::default()
        };
        let error = open_source(&wrong).unwrap_err().to_string();
        assert!(error.contains("ImageSets/Main/val.txt"), "{error}");
    }
}
