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
    place: String,
    max_bytes: u64,
}

impl FolderSource {
    /// The files of a folder or list, as one group; files of more than `max_bytes` are unreadable.
    #[must_use]
    pub fn new(folder: ImageFolder, max_bytes: u64) -> Self {
        Self {
            groups: vec![folder.len()],
            place: folder.root().display().to_string(),
            folder,
            max_bytes,
        }
    }
}

impl SampleSource for FolderSource {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn groups(&self) -> &[usize] {
        &self.groups
    }

    fn name(&self, index: usize) -> String {
        self.folder.name(index).to_owned()
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), SampleError> {
        bytes.clear();
        let path = self.folder.path(index);
        let unreadable = |error: std::io::Error| SampleError::Unreadable(error.to_string());
        // Before it is opened, which may wait for ever: a link may lead to a pipe.
        let about = std::fs::metadata(&path).map_err(unreadable)?;
        if !about.is_file() {
            return Err(SampleError::Unreadable("it is no regular file".to_owned()));
        }
        let too_long = |length: u64| {
            SampleError::Unreadable(format!(
                "{length} bytes or more, above {} (data.max_image_mib)",
                self.max_bytes
            ))
        };
        if about.len() > self.max_bytes {
            return Err(too_long(about.len()));
        }
        bytes.reserve(usize::try_from(about.len()).unwrap_or(0));
        // Files may grow.
        let mut file = File::open(&path)
            .map_err(unreadable)?
            .take(self.max_bytes.saturating_add(1));
        let length = file.read_to_end(bytes).map_err(unreadable)? as u64;
        if length > self.max_bytes {
            return Err(too_long(length));
        }
        Ok(())
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
            max_sample: data.decode_limits().max_bytes,
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
    warn_of_names(&folder);
    let mut source = FolderSource::new(folder, data.decode_limits().max_bytes);
    if !data.pretrain_voc.is_empty() && data.pretrain_json.as_os_str().is_empty() {
        let splits: Vec<String> = data.pretrain_voc.iter().map(ToString::to_string).collect();
        source.place = splits.join(", ");
    }
    Ok(Arc::new(source))
}

fn warn_of_names(folder: &ImageFolder) {
    if let Some(first) = folder.unreadable().first() {
        say(&format!(
            "warning: {} images under {} are left out, since their names are not UTF-8 (the first: \
             {first}); rename them",
            folder.unreadable().len(),
            folder.root().display()
        ));
    }
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
        // Absolute, so that no root is put before it.
        let pictures = split.root.join("JPEGImages");
        let pictures = std::path::absolute(&pictures).unwrap_or(pictures);
        let names: Vec<String> = if split.split.is_empty() {
            let folder = ImageFolder::open(&pictures, 0)?;
            warn_of_names(&folder);
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

        // From elsewhere, by a path that is not absolute.
        let cwd = std::env::current_dir().unwrap();
        let up: std::path::PathBuf = cwd.ancestors().skip(1).map(|_| "..").collect();
        let relative = VocSplit {
            root: up.join(root.strip_prefix("/").unwrap()),
            split: "".into(),
        };
        assert!(relative.root.is_relative());
        let data = DataConfig {
            pretrain_voc: vec![relative],
            ..DataConfig::default()
        };
        let source = open_source(&data).unwrap();
        source.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, b"x");
        assert!(source.place().ends_with("VOC2007"), "{}", source.place());

        let wrong = DataConfig {
            pretrain_voc: vec![split("val")],
            ..DataConfig::default()
        };
        let error = open_source(&wrong).unwrap_err().to_string();
        assert!(error.contains("ImageSets/Main/val.txt"), "{error}");
    }

    #[test]
    fn what_is_no_file_or_too_long_is_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.jpg"), [0; 100]).unwrap();
        let sparse = File::create(dir.path().join("b.jpg")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        std::fs::create_dir(dir.path().join("c.jpg")).unwrap();
        let names = ["a.jpg", "b.jpg", "c.jpg"];
        let folder = ImageFolder::of_names(dir.path(), names, 0).unwrap();
        let source = FolderSource::new(folder, 100);
        let mut bytes = Vec::new();
        source.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 100]);
        for (index, said) in [(1, "data.max_image_mib"), (2, "no regular file")] {
            let error = source.read(index, &mut bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(bytes.capacity() < 1 << 20);
        }
    }
}
