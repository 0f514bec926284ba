//! A file of weights: opened, listed, and read tensor by tensor.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use pytorch_reader::{FileFormat, PickleError, PytorchError, PytorchReader};
use safetensors::SafeTensors;

use super::Metadata;
use crate::ModelError;

/// How a file stores its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `.safetensors`.
    Safetensors,
    /// `torch.save` of PyTorch 1.6 and later.
    PytorchZip,
    /// `torch.save` before that, or with `_use_new_zipfile_serialization=False`.
    PytorchLegacy,
    /// `torch.save` before PyTorch 0.1.10.
    PytorchTar,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::PytorchZip => "PyTorch, zip",
            Self::PytorchLegacy => "PyTorch, legacy pickle",
            Self::PytorchTar => "PyTorch, tar",
        })
    }
}

/// Shape and type of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its type as the file names it: `F32`, `BF16`, `I64`, …
    pub dtype: String,
}

impl TensorInfo {
    /// Number of values; one of a scalar.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the values are floating point of 16, 32 or 64 bits.
    #[must_use]
    pub fn is_float(&self) -> bool {
        burn_dtype(&self.dtype).is_some_and(|dtype| dtype.is_float())
    }
}

/// An open file of weights; names and shapes are known, values are read on demand.
///
/// The format is found from the first bytes, not from the file's name. A nested checkpoint's names
/// are paths: `state_dict.module.encoder_q.conv1.weight`.
///
/// # Example
/// ```
/// use inscon_model::{Container, Metadata, StateDict, WeightFile, write_safetensors_file};
/// use burn::tensor::TensorData;
///
/// # let folder = std::env::temp_dir().join(format!("inscon-weight-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("weights.safetensors");
/// let dict = StateDict::from([("fc.bias".to_owned(), TensorData::new(vec![0.5f32, 1.0], [2]))]);
/// write_safetensors_file(&path, &dict, &Metadata::new())?;
///
/// let file = WeightFile::open(&path)?;
/// assert_eq!(file.container(), Container::Safetensors);
/// assert_eq!(file.tensors()["fc.bias"].shape, [2]);
/// assert_eq!(file.read("fc.bias")?, dict["fc.bias"]);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), inscon_model::ModelError>(())
/// ```
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    container: Container,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorInfo>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The whole file, and where each tensor lies in it.
    Bytes(Vec<u8>, BTreeMap<String, [usize; 2]>),
    Pytorch(PytorchReader),
}

impl WeightFile {
    /// Opens a file and lists its tensors.
    ///
    /// # Errors
    /// [`ModelError::Read`]; [`ModelError::Format`] and [`ModelError::Pytorch`] for a file that is
    /// damaged, cut short or something else; [`ModelError::UnsafePickle`] and
    /// [`ModelError::NoTensors`] with the command that converts it; [`ModelError::TooLarge`].
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let read = |source| ModelError::Read {
            path: path.to_owned(),
            source,
        };
        let mut head = Vec::new();
        let file = File::open(path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        file.take(9).read_to_end(&mut head).map_err(read)?;
        let named = path.extension().is_some_and(|e| e == "safetensors");
        if named || head.get(8) == Some(&b'{') {
            return Self::open_safetensors(path);
        }
        Self::open_pytorch(path, size)
    }

    fn open_safetensors(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Read {
            path: path.to_owned(),
            source,
        })?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|source| ModelError::Format {
                path: path.to_owned(),
                source,
            })?;
        let (mut tensors, mut places) = (BTreeMap::new(), BTreeMap::new());
        let start = header + size_of::<u64>();
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            places.insert(name.clone(), [start + from, start + to]);
            let info = TensorInfo {
                shape: info.shape.clone(),
                dtype: format!("{:?}", info.dtype),
            };
            tensors.insert(name, info);
        }
        Ok(Self {
            path: path.to_owned(),
            container: Container::Safetensors,
            metadata: metadata.metadata().clone().unwrap_or_default(),
            tensors,
            source: Source::Bytes(bytes, places),
        })
    }

    fn open_pytorch(path: &Path, size: u64) -> Result<Self, ModelError> {
        let reader = PytorchReader::new(path).map_err(|error| refusal(path, error))?;
        let no_tensors = || ModelError::NoTensors {
            path: path.to_owned(),
        };
        let container = match reader.metadata().format_type {
            FileFormat::Zip => Container::PytorchZip,
            FileFormat::Legacy => Container::PytorchLegacy,
            FileFormat::Tar => Container::PytorchTar,
            FileFormat::Pickle => return Err(no_tensors()),
        };
        if reader.is_empty() {
            return Err(no_tensors());
        }
        let tensors = reader.tensors().iter().map(|(name, tensor)| {
            let info = TensorInfo {
                shape: tensor.shape().to_vec(),
                dtype: format!("{:?}", tensor.dtype()).to_uppercase(),
            };
            (name.clone(), info)
        });
        let tensors = tensors.collect();
        let declared: u64 = reader
            .tensors()
            .values()
            .map(|tensor| tensor.byte_len() as u64)
            .fold(0, u64::saturating_add);
        // Tied weights are stored once and listed several times; nothing honest is far beyond.
        if declared > size.saturating_mul(16) {
            return Err(ModelError::TooLarge {
                path: path.to_owned(),
                declared,
                size,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            container,
            metadata: Metadata::new(),
            tensors,
            source: Source::Pytorch(reader),
        })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it stores its tensors.
    #[must_use]
    pub fn container(&self) -> Container {
        self.container
    }

    /// Free text of a safetensors file; empty for PyTorch's formats.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Shape and type of every tensor, by name.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The values of a tensor: floating point as `f32`, `I64` and `I32` as they are.
    ///
    /// # Errors
    /// [`ModelError::Missing`] for a name that is not there, [`ModelError::DType`] for another
    /// type, [`ModelError::Read`] for storage that is damaged or cut short.
    pub fn read(&self, name: &str) -> Result<TensorData, ModelError> {
        let info = self.tensors.get(name).ok_or_else(|| ModelError::Missing {
            names: vec![name.to_owned()],
        })?;
        let dtype = burn_dtype(&info.dtype).ok_or_else(|| ModelError::DType {
            name: name.to_owned(),
            dtype: info.dtype.clone(),
        })?;
        let bytes = match &self.source {
            Source::Bytes(bytes, places) => {
                let [from, to] = places[name];
                bytes[from..to].to_vec()
            }
            Source::Pytorch(reader) => match reader.get(name) {
                Some(tensor) => tensor.read().map_err(|source| ModelError::Read {
                    path: self.path.clone(),
                    source,
                })?,
                None => unreachable!("`{name}` was listed by the same reader"),
            },
        };
        let data = TensorData::from_bytes_vec(bytes, info.shape.clone(), dtype);
        Ok(match dtype.is_float() {
            true => data.convert::<f32>(),
            false => data,
        })
    }
}

/// The types that are read.
fn burn_dtype(name: &str) -> Option<DType> {
    Some(match name {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "I64" => DType::I64,
        "I32" => DType::I32,
        _ => return None,
    })
}

/// What PyTorch's reader refuses, in terms of what to do about it.
fn refusal(path: &Path, error: PytorchError) -> ModelError {
    let path = path.to_owned();
    let pickled = path.extension().is_some_and(|e| e == "pkl");
    match error {
        PytorchError::Io(source) if source.raw_os_error().is_some() => {
            ModelError::Read { path, source }
        }
        PytorchError::Pickle(
            PickleError::UnsupportedType(_)
            | PickleError::UnsupportedOpCode(_)
            | PickleError::InvalidProtocol(_),
        ) => ModelError::UnsafePickle {
            path,
            reason: Box::new(error),
        },
        PytorchError::Pickle(_) if pickled => ModelError::NoTensors { path },
        error => ModelError::Pytorch {
            path,
            reason: Box::new(error),
        },
    }
}
