//! What is evaluated: thresholds, area ranges, the limit.

use serde::{Deserialize, Serialize};

use crate::{AreaRange, CocoParams, EvalError, IouType};

/// The parameters of [`evaluate_lvis`](super::evaluate_lvis).
///
/// ```
/// use inscon_eval::{IouType, LvisParams};
///
/// let params = LvisParams::new(IouType::Segm);
/// assert_eq!(params.max_detections, 300);
/// assert_eq!(params.area_ranges[1].max, 32.0 * 32.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LvisParams {
    /// Boxes or masks.
    pub iou_type: IouType,
    /// Images to look at, by id; all if `None`.
    #[serde(default)]
    pub image_ids: Option<Vec<u64>>,
    /// K axis: classes to look at, by id; all, ascending, if `None`.
    #[serde(default)]
    pub category_ids: Option<Vec<u64>>,
    /// T axis: a detection matches from this overlap on.
    #[serde(default = "iou_thresholds")]
    pub iou_thresholds: Vec<f64>,
    /// R axis: precision is read off at these recalls; ascending.
    #[serde(default = "recall_thresholds")]
    pub recall_thresholds: Vec<f64>,
    /// A axis.
    #[serde(default = "area_ranges")]
    pub area_ranges: Vec<AreaRange>,
    /// The best so many detections of an image count, over all classes.
    #[serde(default = "max_detections")]
    pub max_detections: usize,
}

impl LvisParams {
    /// LVIS's own: IoU .50:.95, recall 0:1 in hundredths, four area ranges, 300 detections.
    #[must_use]
    pub fn new(iou_type: IouType) -> Self {
        Self {
            iou_type,
            image_ids: None,
            category_ids: None,
            iou_thresholds: iou_thresholds(),
            recall_thresholds: recall_thresholds(),
            area_ranges: area_ranges(),
            max_detections: max_detections(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), EvalError> {
        let fail = |name, problem| Err(EvalError::Params { name, problem });
        if !matches!(self.iou_type, IouType::Bbox | IouType::Segm) {
            return fail("iou_type", "LVIS compares boxes (bbox) or masks (segm)");
        }
        if !self.recall_thresholds.is_sorted() {
            return fail("recall_thresholds", "is not ascending; sort it");
        }
        if self.iou_thresholds.iter().any(|t| t.is_nan()) {
            return fail("iou_thresholds", "holds NaN");
        }
        Ok(())
    }

    /// The same for the pass over one class, which has no limit of its own.
    pub(super) fn of_a_class(&self) -> CocoParams {
        CocoParams {
            iou_thresholds: self.iou_thresholds.clone(),
            recall_thresholds: self.recall_thresholds.clone(),
            area_ranges: self.area_ranges.clone(),
            max_detections: vec![usize::MAX],
            ..CocoParams::new(self.iou_type)
        }
    }
}

// LVIS's thresholds and ranges are COCO's.

fn iou_thresholds() -> Vec<f64> {
    CocoParams::new(IouType::Bbox).iou_thresholds
}

fn recall_thresholds() -> Vec<f64> {
    CocoParams::new(IouType::Bbox).recall_thresholds
}

fn area_ranges() -> Vec<AreaRange> {
    CocoParams::new(IouType::Bbox).area_ranges
}

fn max_detections() -> usize {
    300
}
