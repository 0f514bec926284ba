//! What two objects overlap by: boxes, masks, boundaries of masks, keypoints.

use super::arena::MaskRef;
use super::columns::{CROWD, HAS_BOX, ResultKind, TruthRows};
use super::grouping::Member;
use super::spans::Spans;
use super::{CocoParams, IouType, Mode, Results, box_iou, oks};
use crate::{EvalError, Owner, RleError};

/// The truths of one class, and one detection at a time.
pub(super) struct Overlaps<'a> {
    truth: &'a TruthRows,
    results: &'a Results,
    params: &'a CocoParams,
    kind: ResultKind,
    /// Height and width by rank of image.
    sizes: &'a [(u32, u32)],
    members: &'a [Member],
    /// Boxes of the truths, where boxes are compared.
    boxes: Vec<[f64; 4]>,
    /// Boxes of the detections, where boxes are compared: they are visited in the order of their
    /// scores, and this is small enough for the cache.
    found: Vec<[f64; 4]>,
    /// Masks of the truths, decoded when first needed.
    masks: Vec<Option<Mask>>,
    /// Runs of those that are decoded.
    held: usize,
    /// The mask of the detection at hand.
    current: Mask,
    decoded: Option<u32>,
}

/// Decoded truths of one class are kept while they are of fewer runs than this (256 MiB); then they
/// are forgotten, and decoded again where they are needed again.
const MOST_HELD: usize = 1 << 26;

/// Boundaries are found pixel by pixel; masks of more are refused.
const MOST_PIXELS: u64 = 1 << 28;

/// A decoded mask.
#[derive(Default)]
struct Mask {
    spans: Spans,
    /// Of the boundary, once it is needed.
    boundary: Option<Spans>,
}

impl<'a> Overlaps<'a> {
    pub(super) fn new(
        truth: &'a TruthRows,
        results: &'a Results,
        params: &'a CocoParams,
        sizes: &'a [(u32, u32)],
        members: &'a [Member],
        detections: &[Member],
    ) -> Result<Self, EvalError> {
        let kind = results.kind.unwrap_or(ResultKind::Boxes);
        let (mut boxes, mut found) = (Vec::new(), Vec::new());
        let mut masks = Vec::new();
        match params.iou_type {
            IouType::Bbox => {
                for m in members {
                    let index = m.index as usize;
                    if truth.flags[index] & HAS_BOX == 0 {
                        let annotation = truth.ids[index];
                        return Err(EvalError::MissingTruthBox { annotation });
                    }
                    boxes.push(truth.boxes[index]);
                }
                if kind == ResultKind::Boxes {
                    found.reserve(detections.len());
                    for d in detections {
                        let index = d.index as usize;
                        if !results.has_box[index] {
                            return Err(EvalError::MissingBox { index });
                        }
                        found.push(results.boxes[index]);
                    }
                }
            }
            IouType::Segm | IouType::Boundary => masks.resize_with(members.len(), || None),
            IouType::Keypoints => {}
        }
        Ok(Self {
            truth,
            results,
            params,
            kind,
            sizes,
            members,
            boxes,
            found,
            masks,
            held: 0,
            current: Mask::default(),
            decoded: None,
        })
    }

    /// The area of the detection at `position`.
    #[inline]
    pub(super) fn area(&mut self, position: usize, detection: Member) -> Result<f64, EvalError> {
        if let Some([_, _, width, height]) = self.found.get(position) {
            return Ok(width * height);
        }
        let index = detection.index as usize;
        match self.kind {
            ResultKind::Boxes => {
                if !self.results.has_box[index] {
                    return Err(EvalError::MissingBox { index });
                }
                let [_, _, width, height] = self.results.boxes[index];
                Ok(width * height)
            }
            ResultKind::Masks => {
                self.decode(detection)?;
                Ok(self.current.spans.area().into())
            }
            ResultKind::Keypoints => {
                let [_, _, width, height] = self.extent(index);
                Ok(width * height)
            }
        }
    }

    /// The truths of `range` that the detection at `position` overlaps by `lowest` or more, in
    /// order; all of them if one overlap is NaN, because any truth after that one can be taken.
    #[inline]
    pub(super) fn candidates(
        &mut self,
        position: usize,
        detection: Member,
        range: std::ops::Range<u32>,
        lowest: f64,
        found: &mut Vec<(u32, f64)>,
    ) -> Result<(), EvalError> {
        self.overlapping(position, detection, range.clone(), lowest, found)?;
        if found.iter().any(|(_, iou)| iou.is_nan()) {
            self.overlapping(position, detection, range, f64::NEG_INFINITY, found)?;
        }
        Ok(())
    }

    /// The truths of `range` with an overlap of `lowest` or more, or of NaN.
    #[inline]
    fn overlapping(
        &mut self,
        position: usize,
        detection: Member,
        range: std::ops::Range<u32>,
        lowest: f64,
        found: &mut Vec<(u32, f64)>,
    ) -> Result<(), EvalError> {
        found.clear();
        let index = detection.index as usize;
        match self.params.iou_type {
            IouType::Bbox => {
                let bbox = match self.found.get(position) {
                    Some(bbox) => *bbox,
                    None => self.bbox(detection)?,
                };
                for g in range {
                    let crowd = self.crowd(g);
                    let iou = box_iou(&bbox, &self.boxes[g as usize], crowd);
                    if reaches(iou, lowest) {
                        found.push((g, iou));
                    }
                }
            }
            IouType::Segm | IouType::Boundary => {
                self.decode(detection)?;
                for g in range {
                    self.prepare(g)?;
                    let crowd = self.crowd(g);
                    let Some(truth) = &mut self.masks[g as usize] else {
                        continue;
                    };
                    let mut iou = self.current.spans.iou(&truth.spans, crowd, lowest);
                    if self.params.iou_type == IouType::Boundary && reaches(iou, lowest) {
                        let ratio = self.params.boundary_dilation;
                        let owner = Owner::Detection(index);
                        let found = self.current.boundary(ratio, owner)?;
                        let member = self.members[g as usize];
                        let owner = Owner::Annotation(self.truth.ids[member.index as usize]);
                        let truth = truth.boundary(ratio, owner)?;
                        iou = iou.min(found.iou(truth, crowd, lowest));
                    }
                    if reaches(iou, lowest) {
                        found.push((g, iou));
                    }
                }
            }
            // pycocotools looks for objects of class -1 then, and finds none.
            IouType::Keypoints
                if !self.params.use_categories && self.params.mode == Mode::Strict => {}
            IouType::Keypoints => {
                let sigmas = &self.params.keypoint_sigmas;
                let keypoints = self.results.bulk.keypoints.get(index);
                check(keypoints, sigmas, Owner::Detection(index))?;
                for g in range {
                    let t = self.members[g as usize].index as usize;
                    let truth = self.truth.bulk.keypoints.get(t);
                    check(truth, sigmas, Owner::Annotation(self.truth.ids[t]))?;
                    if self.truth.flags[t] & HAS_BOX == 0 {
                        let annotation = self.truth.ids[t];
                        return Err(EvalError::MissingTruthBox { annotation });
                    }
                    let (bbox, area) = (&self.truth.boxes[t], self.truth.areas[t]);
                    let iou = oks::similarity(keypoints, truth, bbox, area, sigmas);
                    if reaches(iou, lowest) {
                        found.push((g, iou));
                    }
                }
            }
        }
        Ok(())
    }

    fn crowd(&self, g: u32) -> bool {
        self.truth.flags[self.members[g as usize].index as usize] & CROWD != 0
    }

    #[inline]
    fn bbox(&mut self, detection: Member) -> Result<[f64; 4], EvalError> {
        let index = detection.index as usize;
        if self.results.has_box[index] && self.kind != ResultKind::Keypoints {
            return Ok(self.results.boxes[index]);
        }
        match self.kind {
            ResultKind::Boxes => Err(EvalError::MissingBox { index }),
            ResultKind::Masks => {
                self.decode(detection)?;
                Ok(*self.current.spans.bbox())
            }
            ResultKind::Keypoints => Ok(self.extent(index)),
        }
    }

    /// The box around a detection's keypoints.
    fn extent(&self, index: usize) -> [f64; 4] {
        let points = self.results.bulk.keypoints.get(index);
        let side = |axis: usize| {
            let values = points.iter().skip(axis).step_by(3).copied();
            // As numpy: NaN if one is.
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                if v.is_nan() || low.is_nan() {
                    (f64::NAN, f64::NAN)
                } else {
                    (low.min(v), high.max(v))
                }
            });
            (low, high - low)
        };
        let ((x, width), (y, height)) = (side(0), side(1));
        [x, y, width, height]
    }

    /// Makes `current` the mask of `detection`.
    fn decode(&mut self, detection: Member) -> Result<(), EvalError> {
        if self.decoded == Some(detection.index) {
            return Ok(());
        }
        let index = detection.index as usize;
        let owner = Owner::Detection(index);
        let size = self.sizes[detection.image as usize];
        self.decoded = None;
        self.current.boundary = None;
        match self.results.bulk.masks.get(index) {
            Some(mask) => fill(&mut self.current.spans, mask, size, owner)?,
            None if self.kind == ResultKind::Boxes && self.results.has_box[index] => {
                // The mask that pycocotools gives a detection that has only a box.
                let [x, y, width, height] = self.results.boxes[index];
                let (right, bottom) = (x + width, y + height);
                let mask = MaskRef::Polygons {
                    lengths: &[8],
                    coordinates: &[x, y, x, bottom, right, bottom, right, y],
                };
                fill(&mut self.current.spans, mask, size, owner)?;
            }
            None => return Err(EvalError::MissingMask { owner }),
        }
        self.decoded = Some(detection.index);
        Ok(())
    }

    /// Decodes the mask of truth `g`.
    fn prepare(&mut self, g: u32) -> Result<(), EvalError> {
        if self.masks[g as usize].is_some() {
            return Ok(());
        }
        let member = self.members[g as usize];
        let owner = Owner::Annotation(self.truth.ids[member.index as usize]);
        let mask = self.truth.bulk.masks.get(member.index as usize);
        let mask = mask.ok_or(EvalError::MissingMask { owner })?;
        if self.held > MOST_HELD {
            self.masks.fill_with(|| None);
            self.held = 0;
        }
        let mut decoded = Mask::default();
        fill(
            &mut decoded.spans,
            mask,
            self.sizes[member.image as usize],
            owner,
        )?;
        self.held += decoded.spans.runs();
        self.masks[g as usize] = Some(decoded);
        Ok(())
    }
}

/// Whether an overlap is `lowest` or more. NaN is, as in pycocotools, which skips what is below.
#[inline]
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is not below")]
pub(super) fn reaches(iou: f64, lowest: f64) -> bool {
    !(iou < lowest)
}

impl Mask {
    fn boundary(&mut self, ratio: f64, owner: Owner) -> Result<&Spans, EvalError> {
        if self.spans.pixels() > MOST_PIXELS {
            let (height, width) = self.spans.size();
            let source = RleError::BoundarySize { height, width };
            return Err(EvalError::Mask { owner, source });
        }
        Ok(self
            .boundary
            .get_or_insert_with(|| Spans::of(self.spans.to_rle().boundary(ratio))))
    }
}

/// Decodes `mask` into `spans`.
fn fill(
    spans: &mut Spans,
    mask: MaskRef<'_>,
    (height, width): (u32, u32),
    owner: Owner,
) -> Result<(), EvalError> {
    let wrong = |source| EvalError::Mask { owner, source };
    match mask {
        MaskRef::Rle {
            height,
            width,
            text,
        } => spans.decode(height, width, text).map_err(wrong),
        MaskRef::Polygons { .. } => {
            *spans = Spans::of(mask.to_rle(height, width).map_err(wrong)?);
            Ok(())
        }
    }
}

fn check(keypoints: &[f64], sigmas: &[f64], owner: Owner) -> Result<(), EvalError> {
    let (found, expected) = (keypoints.len(), sigmas.len() * 3);
    if found == expected {
        return Ok(());
    }
    Err(EvalError::Keypoints {
        owner,
        found,
        expected,
    })
}
