//! What can be wrong with a configuration or a file of weights.

use std::path::PathBuf;

use thiserror::Error;

/// Errors of this crate. Shape mistakes inside a `forward` panic instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A configuration value without meaning.
    #[error("{field} = {value} is not possible: {mend}")]
    Config {
        /// Path of the field, as in the recipe.
        field: &'static str,
        /// The value found.
        value: String,
        /// What to write instead.
        mend: String,
    },
    /// A tensor of another shape: a checkpoint of another architecture.
    #[error(
        "tensor `{name}` has shape {found:?} in the weights, but the model needs {expected:?}: \
         they come from another architecture; set the model's depth, width and heads to those of \
         the checkpoint, or choose another checkpoint"
    )]
    Shape {
        /// Name of the tensor in the state dict.
        name: String,
        /// Shape in the state dict.
        found: Vec<usize>,
        /// Shape in the model.
        expected: Vec<usize>,
    },
    /// Tensors that the model needs and the state dict lacks.
    #[error(
        "the weights lack {} of the model's tensors, the first is `{}`: give the prefix under \
         which they are stored, or the configuration they were trained with",
        names.len(), names.first().map_or("", String::as_str)
    )]
    Missing {
        /// Their names.
        names: Vec<String>,
    },
    /// Tensors in the state dict that the model does not have.
    #[error(
        "the weights hold {} tensors that the model does not have, the first is `{}`: load the \
         part that is wanted by its prefix, or use the configuration they were trained with",
        names.len(), names.first().map_or("", String::as_str)
    )]
    Unexpected {
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor that is not floating point.
    #[error("tensor `{name}` has type {dtype}: convert it to F32, F16, BF16 or F64")]
    DType {
        /// Name of the tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// A file that cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not safetensors, or is cut short.
    #[error("{} is not a whole safetensors file: {source}; copy or export it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// A state dict that cannot be serialised.
    #[error("cannot write the weights: {0}")]
    Write(#[from] safetensors::SafeTensorError),
    /// A failed write.
    #[error("cannot write the weights: {0}")]
    Io(#[from] std::io::Error),
}
