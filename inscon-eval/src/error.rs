//! What can be wrong with a file or with a pair of truth and detections.

use std::path::PathBuf;

/// Why an evaluation, or the reading and writing around it, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}; nothing was left at that path", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not JSON, or not of this shape; the cause has line and column.
    #[error("{path}: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The bytes are not JSON, or not of the shape that belongs there.
    #[error(
        "{path}, byte {offset}: {}{problem}",
        field.map(|field| format!("`{field}`: ")).unwrap_or_default(), path = path.display()
    )]
    Json {
        /// The file, or `stdin`.
        path: PathBuf,
        /// Position in the file, from 0.
        offset: u64,
        /// The field that was being read.
        field: Option<&'static str>,
        /// What is wrong.
        problem: String,
    },
    /// A VOC file (XML, image set or detections) is not of its shape.
    #[error(
        "{path}, line {line}: {}{problem}",
        field.map(|field| format!("`{field}`: ")).unwrap_or_default(), path = path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field that was being read.
        field: Option<&'static str>,
        /// What is wrong and the mend.
        problem: String,
    },
    /// A folder does not hold what it should.
    #[error("{path}: {problem}", path = path.display())]
    Folder {
        /// The folder, or the file in it that is missing.
        path: PathBuf,
        /// What is wrong and the mend.
        problem: String,
    },
    /// An annotation is on an image that the file does not list.
    #[error(
        "{path}: annotation {annotation} is on image {image}, which `images` does not list; \
         add the image or drop the annotation", path = path.display()
    )]
    UnknownImage {
        /// The file.
        path: PathBuf,
        /// Id of the annotation.
        annotation: u64,
        /// The missing id.
        image: u64,
    },
    /// An annotation is of a category that the file does not list.
    #[error(
        "{path}: annotation {annotation} is of category {category}, which `categories` does not \
         list; add the category or drop the annotation", path = path.display()
    )]
    UnknownCategory {
        /// The file.
        path: PathBuf,
        /// Id of the annotation.
        annotation: u64,
        /// The missing id.
        category: u64,
    },
    /// A detection is on an image that the ground truth does not list.
    #[error(
        "detection {index} (from 0) is on image {image}, which the ground truth does not list; \
         are these the results of another data set?"
    )]
    DetectionImage {
        /// Position among the detections, from 0.
        index: usize,
        /// The missing id.
        image: u64,
    },
    /// A detection has no box although the first one has, or one is needed.
    #[error("detection {index} (from 0) has no `bbox`; every detection or none must have one")]
    MissingBox {
        /// Position among the detections, from 0.
        index: usize,
    },
    /// An annotation has no box although one is needed.
    #[error("annotation {annotation} has no `bbox`, which is needed here")]
    MissingTruthBox {
        /// Id of the annotation.
        annotation: u64,
    },
    /// A detection or an annotation has no keypoints, or not as many as there are sigmas.
    #[error("{owner} has {found} numbers in `keypoints`, expected {expected} (x, y, v of each)")]
    Keypoints {
        /// Whose they are.
        owner: Owner,
        /// How many numbers there are.
        found: usize,
        /// Three for each sigma.
        expected: usize,
    },
    /// A detection or an annotation has no mask although one is needed.
    #[error("{owner} has no `segmentation`, which is needed here")]
    MissingMask {
        /// Whose it is.
        owner: Owner,
    },
    /// A mask is not one.
    #[error("{owner}: {source}")]
    Mask {
        /// Whose it is.
        owner: Owner,
        /// The cause.
        source: RleError,
    },
    /// A parameter makes no sense.
    #[error("evaluation parameter {name}: {problem}")]
    Params {
        /// The field.
        name: &'static str,
        /// What is wrong and the mend.
        problem: &'static str,
    },
}

/// Whose mask an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The annotation of this id.
    Annotation(u64),
    /// The detection at this position, from 0.
    Detection(usize),
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Annotation(id) => write!(f, "annotation {id}"),
            Self::Detection(index) => write!(f, "detection {index} (from 0)"),
        }
    }
}

/// Why a segmentation is not a mask.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RleError {
    /// The runs do not add up to the image.
    #[error("the runs add up to {total} pixels, the mask of {height}x{width} has {expected}")]
    Total {
        /// Sum of the runs.
        total: u64,
        /// Height of the mask.
        height: u32,
        /// Width of the mask.
        width: u32,
        /// Height times width.
        expected: u64,
    },
    /// More pixels than 32 bits count.
    #[error("a mask of {height}x{width} has more than 4294967295 pixels")]
    TooLarge {
        /// Height of the mask.
        height: u32,
        /// Width of the mask.
        width: u32,
    },
    /// A byte that the run-length alphabet (`0` to `o`) lacks.
    #[error("byte {byte:#04x} at position {position} of the run-length text is not one of 0..o")]
    Alphabet {
        /// The byte.
        byte: u8,
        /// Where it is, from 0.
        position: usize,
    },
    /// The text ends within a number.
    #[error("the run-length text ends within a number")]
    Truncated,
    /// A run that is negative or beyond 32 bits.
    #[error("run {index} of the run-length text is {value}, not a 32-bit count")]
    Run {
        /// Which run, from 0.
        index: usize,
        /// Its value (clamped to 64 bits).
        value: i64,
    },
    /// Polygons that pycocotools refuses as well.
    #[error("the first polygon has {0} coordinates; a polygon needs at least 6 (three points)")]
    Polygon(usize),
    /// A coordinate that is no number, or absurdly far away.
    #[error("polygon coordinate {0} is not a finite number within 1e8")]
    Coordinate(f64),
    /// A polygon on an image of absurd width.
    #[error("a polygon crosses more than {0} columns of pixels; is the image's `width` right?")]
    Crossings(usize),
    /// A boundary is found pixel by pixel, and these are too many.
    #[error(
        "the boundary of a mask of {height}x{width} takes more than 2^28 pixels; \
         is its `size` right?"
    )]
    BoundarySize {
        /// Height of the mask.
        height: u32,
        /// Width of the mask.
        width: u32,
    },
    /// A polygon cannot be drawn on nothing.
    #[error("the image is {height}x{width}; polygons need its `height` and `width`")]
    NoImage {
        /// Height of the image.
        height: u32,
        /// Width of the image.
        width: u32,
    },
    /// Masks of different sizes cannot be merged.
    #[error("cannot merge a mask of {0}x{1} with one of {2}x{3} (height x width)")]
    Sizes(u32, u32, u32, u32),
}
