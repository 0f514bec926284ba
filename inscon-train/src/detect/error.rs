//! Why nothing could be detected.

use std::path::PathBuf;

use inscon_model::ModelError;
use thiserror::Error;

/// Why a detector could not be loaded, or its images not be found.
#[derive(Debug, Error)]
pub enum DetectError {
    /// The file cannot be read, or is not a whole safetensors file.
    #[error("{0}")]
    File(ModelError),
    /// Its tensors do not fit the detector.
    #[error("{}: {cause}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: ModelError,
    },
    /// A tensor with a NaN or an infinity.
    #[error(
        "{}: tensor `{name}` is not of numbers; take a checkpoint from before the training diverged",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        name: String,
    },
    /// The file does not say what detector it holds.
    #[error(
        "{} does not say what detector it holds: give its recipe with --config and the names of \
         its classes, one a line, with --classes",
        path.display()
    )]
    NoDescription {
        /// The file.
        path: PathBuf,
    },
    /// The file's description cannot be used.
    #[error(
        "{} describes a detector that this version does not know: {what}; give its recipe with \
         --config and the names of its classes with --classes",
        path.display()
    )]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A run without a fine-tuned detector.
    #[error(
        "{} holds no detector yet: run `inscon-train finetune` with the same --run first",
        run.display()
    )]
    NoDetector {
        /// The run folder.
        run: PathBuf,
    },
    /// An argument that is neither a file nor a folder nor a pattern that matches.
    #[error("{argument}: {what}")]
    Input {
        /// The argument.
        argument: String,
        /// What is wrong and the mend.
        what: String,
    },
    /// A file of class names that cannot be used.
    #[error("{}: {what}", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// What is wrong and the mend.
        what: String,
    },
    /// Not one image could be read.
    #[error("none of the {images} images can be read; the first is {first}")]
    NoneReadable {
        /// How many there are.
        images: usize,
        /// The first one and what is wrong with it.
        first: String,
    },
}
