//! State dicts in safetensors files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{Metadata, StateDict};
use crate::ModelError;

/// Reads a safetensors file: floating-point tensors as `f32`, `I64` and `I32` as they are.
///
/// # Errors
/// [`ModelError::Read`], [`ModelError::Format`], and [`ModelError::DType`] for a tensor of another
/// type; the message names the file or the tensor.
pub fn read_safetensors(path: &Path) -> Result<(StateDict, Metadata), ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })?;
    let format = |source| ModelError::Format {
        path: path.to_owned(),
        source,
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).map_err(format)?;
    let mut dict = StateDict::new();
    for (name, view) in file.tensors() {
        let data = tensor_data(&view).ok_or_else(|| ModelError::DType {
            name: format!("{name}` of `{}", path.display()),
            dtype: format!("{:?}", view.dtype()),
        })?;
        dict.insert(name, data);
    }
    Ok((dict, metadata))
}

fn tensor_data(view: &TensorView<'_>) -> Option<TensorData> {
    let dtype = match view.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        _ => return None,
    };
    let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
    Some(if dtype.is_float() {
        data.convert::<f32>()
    } else {
        data
    })
}

/// Writes a state dict in safetensors' format. Give it a temporary file and rename that when it is
/// whole.
///
/// # Errors
/// [`ModelError::DType`] for a tensor that is neither `f32` nor an integer, [`ModelError::Write`],
/// [`ModelError::Io`].
pub fn write_safetensors(
    writer: &mut impl Write,
    dict: &StateDict,
    metadata: &Metadata,
) -> Result<(), ModelError> {
    let mut views = Vec::with_capacity(dict.len());
    for (name, data) in dict {
        let dtype = match data.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I64 => Dtype::I64,
            DType::I32 => Dtype::I32,
            other => {
                let dtype = format!("{other:?}");
                return Err(ModelError::DType {
                    name: name.clone(),
                    dtype,
                });
            }
        };
        views.push((
            name.as_str(),
            TensorView::new(dtype, data.shape().to_vec(), data.as_bytes())?,
        ));
    }
    let metadata = (!metadata.is_empty()).then(|| metadata.clone());
    writer.write_all(&safetensors::serialize(views, metadata)?)?;
    Ok(())
}

/// Writes a safetensors file under a temporary name and renames it: never half a file.
///
/// # Errors
/// [`ModelError::File`] with the path and what [`write_safetensors`] or the system says; what was
/// there before is intact.
pub fn write_safetensors_file(
    path: &Path,
    dict: &StateDict,
    metadata: &Metadata,
) -> Result<(), ModelError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let write = || -> Result<(), ModelError> {
        let mut writer = BufWriter::new(File::create(&temporary)?);
        write_safetensors(&mut writer, dict, metadata)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        Ok(std::fs::rename(&temporary, path)?)
    };
    write().map_err(|error| {
        // The error that matters is the first one.
        let _ = std::fs::remove_file(&temporary);
        error.of_file(path)
    })
}
