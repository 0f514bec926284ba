//! One annotated object, and what can be wrong with it.

use std::path::{Path, PathBuf};

use inscon_aug::BBox;
use inscon_eval::Annotation;

use super::Fault;

/// One image and its objects.
#[derive(Debug, Clone)]
pub struct Sample {
    /// COCO's image id.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
    /// Width in pixels, as the labels say.
    pub width: u32,
    /// Height in pixels, as the labels say.
    pub height: u32,
    /// Its objects, in the order of the labels.
    pub objects: Vec<Object>,
}

/// One annotated object.
#[derive(Debug, Clone)]
pub struct Object {
    /// 0-based class.
    pub label: usize,
    /// Its box in pixels of the image file, inside the image.
    pub bbox: BBox,
    /// Whether a detector trains on it: neither a crowd nor difficult, its box not empty, and its
    /// mask, where that was asked for, one that can be drawn.
    pub trainable: bool,
    /// Index of its annotation in the ground truth.
    pub annotation: usize,
}

/// What messages call an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By the id that it has in the JSON.
    Id,
    /// By its number in the image's XML file, from 1.
    Number,
}

impl Naming {
    pub(super) fn of(self, annotation: &Annotation, index: usize, image: &Path) -> String {
        match self {
            Self::Id => format!("annotation {} of {}", annotation.id, image.display()),
            Self::Number => format!("object {} of {}", index + 1, image.display()),
        }
    }
}

/// More than this over the edge, in pixels, is worth a word: COCO's own boxes are up to a fraction
/// of a pixel over it.
const OVER_EDGE: f32 = 1.0;

/// The object of an annotation on an image, and what is wrong with it.
pub(super) fn read_object(
    annotation: &Annotation,
    index: usize,
    label: usize,
    image: &Sample,
) -> (Object, Option<Fault>) {
    let frame = BBox::of_size(image.width, image.height);
    let [x, y, width, height] = annotation.bbox.map(|v| v as f32);
    let drawn = BBox::new(x, y, x + width, y + height);
    let bbox = drawn.clip(frame.x1, frame.y1);
    let over = [
        bbox.x0 - drawn.x0,
        bbox.y0 - drawn.y0,
        drawn.x1 - bbox.x1,
        drawn.y1 - bbox.y1,
    ];
    let fault = if !drawn.to_array().iter().all(|v| v.is_finite()) {
        Some(Fault::NotANumber)
    } else if width <= 0.0 || height <= 0.0 {
        Some(Fault::NoArea)
    } else if bbox.area() <= 0.0 {
        Some(Fault::Outside)
    } else {
        over.iter().any(|v| *v > OVER_EDGE).then_some(Fault::Cut)
    };
    let whole = fault.is_none_or(Fault::is_mended);
    let object = Object {
        label,
        // A NaN must not reach anything that draws or sorts.
        bbox: if fault == Some(Fault::NotANumber) {
            BBox::default()
        } else {
            bbox
        },
        trainable: whole && !annotation.iscrowd && !annotation.difficult && !annotation.ignore,
        annotation: index,
    };
    (object, fault)
}
