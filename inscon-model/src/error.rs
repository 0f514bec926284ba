//! What can be wrong with a configuration or a file of weights.

use std::path::{Path, PathBuf};

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
    /// An error about what a file holds, with the file's name.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: Box<ModelError>,
    },
    /// A file that is neither safetensors nor PyTorch's, or is cut short or damaged.
    #[error(
        "{} is not a whole safetensors or PyTorch file ({reason}): copy, download or save it again",
        path.display()
    )]
    Pytorch {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: Box<pytorch_reader::PytorchError>,
    },
    /// A pickle with tensors inside Python objects, which only running its code would build.
    #[error(
        "{} cannot be read without running the Python code that it names ({reason}); if you trust \
         whoever made it, convert it where its classes can be imported: {TORCH_CONVERSION}",
        path.display()
    )]
    UnsafePickle {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: Box<pytorch_reader::PytorchError>,
    },
    /// A readable file without one PyTorch tensor.
    #[error(
        "{} holds no PyTorch tensors; pickled numpy arrays, such as detectron2's .pkl, are not \
         read: if you trust whoever made it, convert it: {NUMPY_CONVERSION}",
        path.display()
    )]
    NoTensors {
        /// The file.
        path: PathBuf,
    },
    /// A file that declares far more bytes of tensors than it has.
    #[error(
        "{} declares {declared} bytes of tensors in a file of {size} bytes: it is damaged, or was \
         made to exhaust memory; save the state dict again with its tensors cloned",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes of all tensors.
        declared: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Weights of another network.
    #[error(
        "these are weights of {found}, but the model is {expected}: set the model's depth and \
         width to those of the weights, or choose other weights"
    )]
    Architecture {
        /// What the weights were trained as.
        found: String,
        /// What they were to be put into.
        expected: String,
    },
    /// A detector of another number of classes.
    #[error(
        "tensor `{name}` is for {found} classes, the model has {expected}: set the number of \
         classes to that of the weights, or let the predictors keep their initial values \
         (other_classes)"
    )]
    Classes {
        /// The first predictor, by our name.
        name: String,
        /// Classes without background in the weights.
        found: usize,
        /// Classes without background in the model.
        expected: usize,
    },
    /// No tensor of the file is one of the model's.
    #[error(
        "none of its {} tensors is one of the model's: it holds {}, the model needs {}; {}",
        found.len(), few(found), few(expected), prefix_mend(prefixes)
    )]
    NoMatch {
        /// Names in the file.
        found: Vec<String>,
        /// Names that the model needs.
        expected: Vec<String>,
        /// Prefixes under which a network seems to lie.
        prefixes: Vec<String>,
    },
    /// A tensor with values that no network works with.
    #[error(
        "tensor `{name}` {what}: the run that made these weights diverged, or the file is damaged; \
         take an earlier checkpoint"
    )]
    Values {
        /// Its name in the file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor that the other naming has no word for.
    #[error("{naming} has no name for `{name}`: {mend}")]
    Naming {
        /// Our name.
        name: String,
        /// The naming asked for.
        naming: &'static str,
        /// What to do.
        mend: &'static str,
    },
    /// A word that is not a naming.
    #[error("`{0}` is not a naming: write torchvision, detectron2 or timm")]
    UnknownNaming(String),
    /// A state dict that cannot be serialised.
    #[error("cannot write the weights: {0}")]
    Write(#[from] safetensors::SafeTensorError),
    /// A failed write.
    #[error("cannot write the weights: {0}")]
    Io(#[from] std::io::Error),
}

impl ModelError {
    /// The error with the name of the file it is about.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            error: Box::new(self),
        }
    }
}

/// Tensors alone, by running the pickle in Python.
const TORCH_CONVERSION: &str = "python -c \"import sys, torch; d = torch.load(sys.argv[1], \
     map_location='cpu', weights_only=False); d = d.state_dict() if hasattr(d, 'state_dict') else d; \
     d = d.get('state_dict', d.get('model', d)); torch.save({k: v.detach().to_dense() \
     for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])\" IN.pth OUT.pth";

/// detectron2's numpy pickles as PyTorch tensors.
const NUMPY_CONVERSION: &str = "python -c \"import pickle, sys, torch; d = \
     pickle.load(open(sys.argv[1], 'rb'), encoding='latin1'); torch.save({k: torch.as_tensor(v) \
     for k, v in d.get('model', d).items() if hasattr(v, 'shape')}, sys.argv[2])\" IN.pkl OUT.pth";

/// The first names of a list.
fn few(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(3).map(|n| format!("`{n}`")).collect();
    if names.len() > 3 {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

fn prefix_mend(prefixes: &[String]) -> String {
    match prefixes {
        [] => "choose other weights, or name the layout and the prefix if they are the right ones"
            .to_owned(),
        found => format!(
            "a network seems to lie under {}: give that prefix",
            few(found)
        ),
    }
}
