//! Checkpoints: one safetensors file that holds all of a run's state, whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use inscon_model::{ModelError, StateDict, read_safetensors, write_safetensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{RunDirError, write_whole};

/// The state of a run at a step: tensors by name, and what is not a tensor.
///
/// The file is a pure function of this value: the same state gives the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What is not a tensor.
    pub header: CheckpointHeader,
    /// Tensors, by part and path: `query.backbone.conv1.weight`, `sgd.backbone.conv1.weight`.
    pub tensors: StateDict,
}

/// The part of a checkpoint that is not tensors, kept as JSON in the file's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    /// `pretrain` or `finetune`.
    pub phase: String,
    /// Whatever decides the tensors' shapes: a checkpoint fits a recipe if this is equal.
    pub architecture: Value,
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Further whole numbers, such as the queues' write positions.
    #[serde(default)]
    pub counters: std::collections::BTreeMap<String, u64>,
    /// What a fine-tuned detector is used by ([`DetectorDescription`](crate::detect)); null in
    /// pretraining.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detector: Value,
}

/// Why a checkpoint could not be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file is not a whole safetensors file, or its tensors do not fit.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ModelError,
    },
    /// A safetensors file without this program's header.
    #[error("{} is no checkpoint of inscon-train ({what}); delete it to start over", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The checkpoint belongs to another architecture or phase.
    #[error(
        "{} is a checkpoint of another architecture: {what}; set the recipe to what the checkpoint \
         was made with, choose another --run, or delete the file to start over",
        path.display()
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// The file could not be written; the former one is intact.
    #[error(transparent)]
    Write(#[from] RunDirError),
}

/// The one metadata key: several would be written in a random order.
pub(crate) const METADATA_KEY: &str = "inscon";

impl Checkpoint {
    /// Writes the file under a temporary name and renames it.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let header = serde_json::to_string(&self.header).expect("a header is serializable");
        Ok(write_weights(path, &self.tensors, &header)?)
    }

    /// Reads a checkpoint of `phase` whose architecture is `expected`.
    ///
    /// # Errors
    /// [`CheckpointError`]; a checkpoint of another architecture names the first difference.
    pub fn read(path: &Path, phase: &str, expected: &Value) -> Result<Self, CheckpointError> {
        let path = || path.to_owned();
        let (tensors, metadata) =
            read_safetensors(&path()).map_err(|source| CheckpointError::Weights {
                path: path(),
                source,
            })?;
        let header = |what: String| CheckpointError::Header { path: path(), what };
        let text = metadata
            .get(METADATA_KEY)
            .ok_or_else(|| header("it has no header".into()))?;
        let found: CheckpointHeader =
            serde_json::from_str(text).map_err(|e| header(format!("bad header: {e}")))?;
        let difference = match found.phase == phase {
            true => first_difference("", &found.architecture, expected),
            false => Some(format!("it is of phase `{}`, not `{phase}`", found.phase)),
        };
        match difference {
            Some(what) => Err(CheckpointError::Architecture { path: path(), what }),
            None => Ok(Self {
                header: found,
                tensors,
            }),
        }
    }

    /// The tensors below `prefix`, without it.
    #[must_use]
    pub fn part(&self, prefix: &str) -> StateDict {
        let below = |name: &String| name.strip_prefix(prefix).map(str::to_owned);
        self.tensors
            .iter()
            .filter_map(|(k, v)| below(k).map(|k| (k, v.clone())))
            .collect()
    }
}

/// `part` with `prefix` before every name.
#[must_use]
pub fn prefixed(prefix: &str, part: StateDict) -> StateDict {
    part.into_iter()
        .map(|(name, data)| (format!("{prefix}{name}"), data))
        .collect()
}

/// Writes tensors with one line of metadata, whole or not at all.
///
/// # Errors
/// [`RunDirError::Write`].
pub fn write_weights(path: &Path, tensors: &StateDict, about: &str) -> Result<(), RunDirError> {
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), about.to_owned())]);
    write_whole(path, |file| {
        write_safetensors(file, tensors, &metadata).map_err(|error| match error {
            ModelError::Io(error) => error,
            error => std::io::Error::other(error),
        })
    })
}

fn first_difference(at: &str, found: &Value, expected: &Value) -> Option<String> {
    if let (Value::Object(a), Value::Object(b)) = (found, expected) {
        let keys = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k)));
        for key in keys {
            let at = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            let of =
                |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            if let Some(difference) = first_difference(&at, &of(a), &of(b)) {
                return Some(difference);
            }
        }
        return None;
    }
    (found != expected).then(|| format!("{at} is {found} there and {expected} in this recipe"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_the_first_difference() {
        let a = json!({"model": {"depth": 18, "width": 0.5}, "dim": 16});
        let b = json!({"model": {"depth": 50, "width": 0.5}, "dim": 16});
        assert_eq!(first_difference("", &a, &a), None);
        assert_eq!(
            first_difference("", &a, &b).unwrap(),
            "model.depth is 18 there and 50 in this recipe"
        );
        let c = json!({"model": {"depth": 18, "width": 0.5}});
        assert_eq!(
            first_difference("", &a, &c).unwrap(),
            "dim is 16 there and null in this recipe"
        );
    }
}
