//! Ground truth and results column by column: what the evaluation works on.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::bulk::Bulk;
use super::records::{Fresh, first_kind};
use super::{Annotation, Category, CocoDataset, Detection, IouType};
use crate::EvalError;
use crate::json::{Columns, Source};

pub(crate) const CROWD: u8 = 1;
pub(crate) const DIFFICULT: u8 = 2;
pub(crate) const HAS_BOX: u8 = 4;
/// Of LVIS only.
pub(crate) const IGNORE: u8 = 8;

/// Ground truth as the evaluation needs it: the columns of an `instances_*.json` or
/// `person_keypoints_*.json`, without what its kind of overlap does not use.
///
/// ```
/// use inscon_eval::{GroundTruth, IouType};
///
/// let text = r#"{"images": [{"id": 7}], "categories": [{"id": 1, "name": "dog"}],
///     "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// let truth = GroundTruth::read(text.as_bytes(), "example", IouType::Bbox)?;
/// assert_eq!(truth.len(), 1);
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GroundTruth {
    pub(crate) images: Vec<ImageRow>,
    pub(crate) categories: Vec<Category>,
    pub(crate) rows: TruthRows,
}

/// What evaluation needs of an image.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ImageRow {
    pub(crate) id: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The annotations.
#[derive(Debug, Clone, Default)]
pub(crate) struct TruthRows {
    pub(crate) bulk: Bulk,
    /// LVIS's flag `ignore` counts instead of COCO's `iscrowd`.
    pub(super) of_lvis: bool,
    pub(crate) ids: Vec<u64>,
    pub(crate) image_ids: Vec<u64>,
    pub(crate) category_ids: Vec<u64>,
    pub(crate) boxes: Vec<[f64; 4]>,
    pub(crate) areas: Vec<f64>,
    pub(crate) flags: Vec<u8>,
    pub(crate) num_keypoints: Vec<u32>,
}

/// Detections column by column: a results file.
///
/// ```
/// use inscon_eval::{IouType, Results};
///
/// let text = r#"[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "score": 0.9}]"#;
/// let results = Results::read(text.as_bytes(), "example", IouType::Bbox)?;
/// assert_eq!(results.len(), 1);
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Results {
    pub(crate) bulk: Bulk,
    pub(crate) image_ids: Vec<u64>,
    pub(crate) category_ids: Vec<u64>,
    pub(crate) scores: Vec<f64>,
    pub(crate) boxes: Vec<[f64; 4]>,
    pub(crate) has_box: Vec<bool>,
    pub(crate) kind: Option<ResultKind>,
}

/// How pycocotools' `loadRes` reads results: the first detection decides for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultKind {
    /// The first has a box. Areas are those of the boxes, and a missing mask is the box.
    Boxes,
    /// It has a mask only. Areas are those of the masks, and a missing box is the one around it.
    Masks,
    /// It has keypoints only. Boxes are those around them.
    Keypoints,
}

impl GroundTruth {
    /// Reads a file, block by block, and keeps what evaluating `iou_type` takes. Besides that it holds
    /// a block of half a megabyte, 2 MiB for each thread if there are several, or up to four times
    /// the longest record.
    ///
    /// # Errors
    /// When the file cannot be read or is not of this shape; the message names the byte and the
    /// field.
    pub fn load(path: impl AsRef<Path>, iou_type: IouType) -> Result<Self, EvalError> {
        let path = path.as_ref();
        Self::read(open(path)?, path, iou_type)
    }

    /// Reads from anywhere; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn read(
        reader: impl Read,
        name: impl AsRef<Path>,
        iou_type: IouType,
    ) -> Result<Self, EvalError> {
        let mut source = Source::new(reader, name.as_ref());
        let mut truth = Self::default();
        truth.rows.bulk = Bulk::of(iou_type);
        source.object(|source, key| match key {
            b"images" => source.records(&mut Fresh(&mut truth.images).rows()),
            b"annotations" => {
                truth.rows = truth.rows.another();
                source.records(&mut truth.rows)
            }
            b"categories" => source.records(&mut Fresh(&mut truth.categories).rows()),
            _ => source.skip(),
        })?;
        source.finish()?;
        Ok(truth)
    }

    /// The columns of a data set in memory.
    #[must_use]
    pub fn from_dataset(data: &CocoDataset, iou_type: IouType) -> Self {
        let images = data.images.iter().map(|image| ImageRow {
            id: image.id,
            width: image.width,
            height: image.height,
        });
        let mut truth = Self {
            images: images.collect(),
            categories: data.categories.clone(),
            rows: TruthRows::default(),
        };
        truth.rows.bulk = Bulk::of(iou_type);
        for annotation in &data.annotations {
            truth.rows.push(annotation);
        }
        truth
    }

    /// Number of annotations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.ids.len()
    }

    /// Whether there is no annotation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.ids.is_empty()
    }

    /// Number of images.
    #[must_use]
    pub fn image_count(&self) -> usize {
        self.images.len()
    }

    /// The classes, in the order of the file.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    pub(crate) fn has(&self, iou_type: IouType) -> bool {
        self.rows.bulk.serves(iou_type)
    }
}

impl TruthRows {
    /// Those of LVIS, where the flag `ignore` counts and `iscrowd` does not.
    pub(crate) fn of_lvis(iou_type: IouType) -> Self {
        Self {
            bulk: Bulk::of(iou_type),
            of_lvis: true,
            ..Self::default()
        }
    }

    fn push(&mut self, a: &Annotation) {
        self.ids.push(a.id);
        self.image_ids.push(a.image_id);
        self.category_ids.push(a.category_id);
        self.boxes.push(a.bbox);
        self.areas.push(a.area);
        self.flags.push(flags(a.iscrowd, a.difficult, true));
        let keypoints = a.keypoints.as_deref().unwrap_or_default();
        self.bulk.push(a.segmentation.as_ref(), keypoints);
        let labelled = a.num_keypoints.unwrap_or_else(|| self.bulk.labelled());
        self.num_keypoints.push(labelled);
    }
}

pub(super) fn flags(crowd: bool, difficult: bool, has_box: bool) -> u8 {
    u8::from(crowd) * CROWD + u8::from(difficult) * DIFFICULT + u8::from(has_box) * HAS_BOX
}

impl Results {
    /// Reads a results file, block by block, and keeps what evaluating `iou_type` takes; the memory is
    /// that of [`GroundTruth::load`].
    ///
    /// # Errors
    /// When the file cannot be read or is not of this shape; the message names the byte and the
    /// field.
    pub fn load(path: impl AsRef<Path>, iou_type: IouType) -> Result<Self, EvalError> {
        let path = path.as_ref();
        Self::read(open(path)?, path, iou_type)
    }

    /// Reads from anywhere; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn read(
        reader: impl Read,
        name: impl AsRef<Path>,
        iou_type: IouType,
    ) -> Result<Self, EvalError> {
        let mut source = Source::new(reader, name.as_ref());
        let mut results = Self {
            kind: source.look(first_kind)?,
            bulk: Bulk::of(iou_type),
            ..Self::default()
        };
        results.bulk.add(results.kind);
        source.records(&mut results)?;
        source.finish()?;
        Ok(results)
    }

    /// The columns of detections in memory.
    #[must_use]
    pub fn from_detections(detections: &[Detection], iou_type: IouType) -> Self {
        let mut results = Self::new(iou_type);
        results.extend(detections);
        results
    }

    /// No detections yet, to be [`extend`](Self::extend)ed.
    #[must_use]
    pub fn new(iou_type: IouType) -> Self {
        Self {
            bulk: Bulk::of(iou_type),
            ..Self::default()
        }
    }

    /// Adds a batch of detections. The very first one decides whether all are boxes, masks or
    /// keypoints (see [`evaluate`](super::evaluate)).
    pub fn extend(&mut self, detections: &[Detection]) {
        for d in detections {
            let kind = *self.kind.get_or_insert(match d {
                Detection { bbox: Some(_), .. } => ResultKind::Boxes,
                Detection {
                    segmentation: None,
                    keypoints: Some(_),
                    ..
                } => ResultKind::Keypoints,
                _ => ResultKind::Masks,
            });
            if self.is_empty() {
                self.bulk.add(Some(kind));
            }
            self.image_ids.push(d.image_id);
            self.category_ids.push(d.category_id);
            self.scores.push(d.score);
            self.boxes.push(d.bbox.unwrap_or_default());
            self.has_box.push(d.bbox.is_some());
            let keypoints = d.keypoints.as_deref().unwrap_or_default();
            self.bulk.push(d.segmentation.as_ref(), keypoints);
        }
    }

    /// Adds the detections of `other`, for instance those of another process, after these.
    ///
    /// # Errors
    /// When one keeps masks or keypoints and the other does not.
    pub fn merge(&mut self, other: Self) -> Result<(), EvalError> {
        if other.is_empty() {
            return Ok(());
        }
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        if !self.bulk.is_like(&other.bulk) || self.kind != other.kind {
            return Err(EvalError::Params {
                name: "iou_type",
                problem: "results of different kinds cannot be merged; make all with one type of overlap",
            });
        }
        self.append(other);
        Ok(())
    }

    /// Number of detections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there is no detection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(crate) fn has(&self, iou_type: IouType) -> bool {
        self.is_empty() || self.bulk.serves(iou_type)
    }
}

pub(crate) fn open(path: &Path) -> Result<File, EvalError> {
    File::open(path).map_err(|source| EvalError::Read {
        path: path.into(),
        source,
    })
}
