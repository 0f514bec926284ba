//! One thing that is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing.
    pub kind: FindingKind,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, in words.
    pub message: String,
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Evaluation refuses it, or counts something that cannot have been meant.
    Error,
    /// Evaluation has a rule for it, which may surprise.
    Warning,
    /// Good to know.
    Note,
}

/// What a [`Finding`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The image of this id.
    Image(u64),
    /// The annotation of this id.
    Annotation(u64),
    /// The category of this id.
    Category(u64),
    /// The detection at this position, from 0.
    Detection(usize),
    /// All of the results.
    Results,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(id) => write!(f, "image {id}"),
            Self::Annotation(id) => write!(f, "annotation {id}"),
            Self::Category(id) => write!(f, "category {id}"),
            Self::Detection(index) => write!(f, "detection {index}"),
            Self::Results => f.write_str("results"),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $severity:ident, $title:literal;)*) => {
        /// Kinds of [`Finding`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* $name,)*
        }

        impl FindingKind {
            /// How bad findings of this kind are.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// The kind in words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

kinds! {
    /// Two images of one id.
    DuplicateImage: Error, "image id used more than once";
    /// Two annotations of one id.
    DuplicateAnnotation: Error, "annotation id used more than once";
    /// Two categories of one id.
    DuplicateCategory: Error, "category id used more than once";
    /// An annotation of id 0.
    AnnotationIdZero: Error, "annotation id 0";
    /// An annotation on an image that is not listed.
    AnnotationOnUnknownImage: Error, "annotation on an unknown image";
    /// An annotation of a category that is not listed.
    AnnotationOfUnknownCategory: Error, "annotation of an unknown category";
    /// A box with a number that is not finite, or a negative width or height.
    InvalidBox: Error, "invalid box";
    /// An area that is negative or not finite.
    InvalidArea: Error, "invalid area";
    /// A mask that cannot be read.
    MalformedMask: Error, "malformed mask";
    /// Run lengths of another size than the image.
    MaskSize: Error, "mask and image of different size";
    /// Keypoints that are not triples, or a wrong number of them.
    MalformedKeypoints: Error, "malformed keypoints";
    /// An image of size 0 on which there are polygons.
    ImageWithoutSize: Error, "image without size, but with polygons";
    /// A detection on an image that the truth does not list.
    DetectionOnUnknownImage: Error, "detection on an unknown image";
    /// A detection without what the first one has: a box, a mask, keypoints.
    IncompleteDetection: Error, "detection without what the first one has";
    /// No detection is of a class of the truth.
    NoKnownClass: Error, "no detection is of a class of the ground truth";
    /// Detections of a category that the truth does not list.
    DetectionOfUnknownCategory: Warning, "detections of an unknown category";
    /// A score that is NaN.
    ScoreNan: Warning, "score NaN";
    /// A score below 0 or above 1.
    ScoreRange: Warning, "score outside 0..1";
    /// A box of no width or height.
    EmptyBox: Warning, "empty box";
    /// A box that leaves the image.
    BoxOutsideImage: Warning, "box outside the image";
    /// An area of 0.
    ZeroArea: Warning, "area 0";
    /// An area far from the mask's.
    AreaUnlikeMask: Warning, "area unlike the mask's";
    /// An area larger than the box.
    AreaOverBox: Warning, "area larger than the box";
    /// A polygon of fewer than three points, of an odd number of coordinates, or of no area.
    DegeneratePolygon: Warning, "degenerate polygon";
    /// `segmentation` is an empty list.
    EmptySegmentation: Warning, "empty segmentation";
    /// A crowd without run lengths.
    CrowdWithoutRle: Warning, "crowd without run lengths";
    /// A class with objects to find, but without a detection.
    ClassWithoutDetections: Warning, "class without a detection";
    /// A class with detections, but without an object to find.
    ClassWithoutTruth: Note, "class without ground truth";
    /// An image with more than 100 detections.
    ManyDetections: Note, "more than 100 detections on an image";
}

impl Finding {
    pub(super) fn new(kind: FindingKind, subject: Subject, message: String) -> Self {
        Self {
            severity: kind.severity(),
            kind,
            subject,
            message,
        }
    }
}
