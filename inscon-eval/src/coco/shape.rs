//! What two objects overlap with: the box or the mask of a record.

use super::{Annotation, Detection, IouType, Rle, Segmentation, box_iou};
use crate::{EvalError, Owner};

/// A box, or a mask with the box around it.
pub(super) enum Shape {
    Box([f64; 4]),
    Mask { rle: Rle, bbox: [f64; 4] },
}

impl Shape {
    /// That of a truth on an image of `size` (height, width).
    pub(super) fn of_truth(
        annotation: &Annotation,
        iou_type: IouType,
        size: (u32, u32),
    ) -> Result<Self, EvalError> {
        let owner = Owner::Annotation(annotation.id);
        match iou_type {
            IouType::Bbox => Ok(Self::Box(annotation.bbox)),
            IouType::Segm => mask(annotation.segmentation.as_ref(), size, owner).map(Self::of_mask),
        }
    }

    fn of_mask(rle: Rle) -> Self {
        let bbox = rle.bbox();
        Self::Mask { rle, bbox }
    }

    /// Overlap of a detection, `self`, with a truth.
    pub(super) fn iou(&self, truth: &Self, crowd: bool) -> f64 {
        match (self, truth) {
            (
                Self::Mask { rle, bbox },
                Self::Mask {
                    rle: other,
                    bbox: other_bbox,
                },
            ) => rle.iou_within(bbox, other, other_bbox, crowd),
            (
                Self::Box(a) | Self::Mask { bbox: a, .. },
                Self::Box(b) | Self::Mask { bbox: b, .. },
            ) => box_iou(a, b, crowd),
        }
    }
}

/// How pycocotools' `loadRes` reads results: the first detection decides for all.
#[derive(Clone, Copy)]
pub(super) enum ResultKind {
    /// The first has a box. Areas are those of the boxes, and a missing mask is the box.
    Boxes,
    /// It has none. Areas are those of the masks, and a missing box is the one around the mask.
    Masks,
}

impl ResultKind {
    pub(super) fn of(detections: &[Detection]) -> Self {
        match detections.first() {
            Some(Detection { bbox: None, .. }) => Self::Masks,
            _ => Self::Boxes,
        }
    }

    /// The area of the detection at `index`, `d`, and, if `wanted`, its shape.
    pub(super) fn read(
        self,
        index: usize,
        d: &Detection,
        iou_type: IouType,
        size: (u32, u32),
        wanted: bool,
    ) -> Result<(f64, Option<Shape>), EvalError> {
        let owner = Owner::Detection(index);
        match self {
            Self::Boxes => {
                let bbox = d.bbox.ok_or(EvalError::MissingBox { index })?;
                let shape = || match (iou_type, &d.segmentation) {
                    (IouType::Bbox, _) => Ok(Shape::Box(bbox)),
                    (IouType::Segm, None) => {
                        mask(Some(&polygon_of(bbox)), size, owner).map(Shape::of_mask)
                    }
                    (IouType::Segm, some) => mask(some.as_ref(), size, owner).map(Shape::of_mask),
                };
                Ok((bbox[2] * bbox[3], wanted.then(shape).transpose()?))
            }
            Self::Masks => {
                let rle = mask(d.segmentation.as_ref(), size, owner)?;
                let area = rle.area().into();
                let shape = || match iou_type {
                    IouType::Bbox => Shape::Box(d.bbox.unwrap_or_else(|| rle.bbox())),
                    IouType::Segm => Shape::of_mask(rle),
                };
                Ok((area, wanted.then(shape)))
            }
        }
    }
}

fn mask(
    segmentation: Option<&Segmentation>,
    (height, width): (u32, u32),
    owner: Owner,
) -> Result<Rle, EvalError> {
    let segmentation = segmentation.ok_or(EvalError::MissingMask { owner })?;
    segmentation
        .to_rle(height, width)
        .map_err(|source| EvalError::Mask { owner, source })
}

/// The mask that pycocotools gives a detection that has only a box.
fn polygon_of([x, y, width, height]: [f64; 4]) -> Segmentation {
    let (right, bottom) = (x + width, y + height);
    Segmentation::Polygons(vec![vec![x, y, x, bottom, right, bottom, right, y]])
}
