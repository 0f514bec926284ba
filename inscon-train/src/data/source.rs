//! Where an experiment's images and labels are: the user's folders, or generated scenes.

use std::path::{Path, PathBuf};

use super::DataError;
use crate::config::{DataConfig, DataSource};
use crate::scenes::{ScenesPaths, generate};

/// `data` with every path filled in. For `source = "folders"` that is `data` itself; for
/// `source = "scenes"` the set is generated first, unless it is there already.
///
/// # Errors
/// [`DataError::Scenes`].
pub fn resolve_data(data: &DataConfig, run: &Path) -> Result<DataConfig, DataError> {
    match data.source {
        DataSource::Folders => Ok(data.clone()),
        DataSource::Scenes => {
            let paths = generate(&data.scenes, data.scenes_seed, &scenes_dir(data, run))?;
            Ok(with_scenes(data, &paths))
        }
    }
}

/// The folder of the generated set: `data.scenes_dir`, or `scenes` two levels above the run.
#[must_use]
pub fn scenes_dir(data: &DataConfig, run: &Path) -> PathBuf {
    if !data.scenes_dir.as_os_str().is_empty() {
        return data.scenes_dir.clone();
    }
    let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    run.ancestors()
        .nth(2)
        .unwrap_or(Path::new("/"))
        .join("scenes")
}

fn with_scenes(data: &DataConfig, paths: &ScenesPaths) -> DataConfig {
    DataConfig {
        pretrain_images: paths.unlabelled.clone(),
        pretrain_json: PathBuf::new(),
        pretrain_voc: Vec::new(),
        pretrain_shards: String::new(),
        train_json: paths.train_json.clone(),
        train_images: paths.train_images.clone(),
        val_json: paths.test_json.clone(),
        val_images: paths.test_images.clone(),
        train_voc: Vec::new(),
        val_voc: Vec::new(),
        ..data.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_shared_by_arms_and_seeds() {
        let data = DataConfig::default();
        let dir = scenes_dir(&data, Path::new("/r/smoke/inscon/seed0"));
        assert_eq!(dir, Path::new("/r/smoke/scenes"));
        assert_eq!(dir, scenes_dir(&data, Path::new("/r/smoke/moco-v2/seed1")));
        let named = DataConfig {
            scenes_dir: "/s".into(),
            ..data
        };
        assert_eq!(scenes_dir(&named, Path::new("/r/a/b")), Path::new("/s"));
    }
}
