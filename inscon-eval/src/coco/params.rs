//! What is evaluated: thresholds, area ranges, limits.

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// What two objects overlap with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IouType {
    /// Boxes.
    Bbox,
    /// Masks.
    Segm,
    /// Masks and their boundaries: the smaller of the two overlaps (Boundary IoU, arXiv
    /// 2103.16562, as `boundary-iou-api` has it in COCO's evaluation).
    Boundary,
    /// Keypoints, by their similarity (OKS).
    Keypoints,
}

impl IouType {
    /// Whether the objects' masks are looked at.
    pub(crate) fn needs_masks(self) -> bool {
        matches!(self, Self::Segm | Self::Boundary)
    }
}

/// How far pycocotools is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In everything: annotations of one id are all taken for the last of them; annotation id 0
    /// can be matched, yet the detection stays a false positive; `ap` is -1 unless one of the
    /// detection limits is 100 (for keypoints every number is, unless one is 20); without classes,
    /// one that is listed twice counts twice, and keypoints match nothing.
    #[default]
    Strict,
    /// As the authors must have meant it: annotations are told apart by position, not by id, the
    /// numbers follow the largest detection limit, each class counts once, and keypoints are
    /// matched without classes as well.
    Corrected,
}

/// Objects by size, both ends included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AreaRange {
    /// Its name: the summary looks for `all`, `small`, `medium` and `large`.
    pub label: String,
    /// Smallest area, square pixels.
    pub min: f64,
    /// Largest area, square pixels.
    pub max: f64,
}

/// The parameters of [`evaluate_coco`](super::evaluate_coco).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CocoParams {
    /// Boxes or masks.
    pub iou_type: IouType,
    /// Images to look at, by id; all if `None`.
    #[serde(default)]
    pub image_ids: Option<Vec<u64>>,
    /// Classes to look at, by id; all if `None`.
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
    /// M axis: the best so many detections of an image and class count; sorted before use.
    #[serde(default = "max_detections")]
    pub max_detections: Vec<usize>,
    /// Classes are kept apart (else all are one, and K is 1).
    #[serde(default = "yes")]
    pub use_categories: bool,
    /// How far pycocotools is followed.
    #[serde(default)]
    pub mode: Mode,
    /// For keypoints: how far each may be off, as a share of the object's size. COCO's 17 of a
    /// person if not given.
    #[serde(default = "keypoint_sigmas")]
    pub keypoint_sigmas: Vec<f64>,
    /// For boundaries: how wide they are, as a share of the image's diagonal.
    #[serde(default = "boundary_dilation")]
    pub boundary_dilation: f64,
}

impl AreaRange {
    /// Whether an object of `area` is out of the range.
    #[inline]
    pub(super) fn excludes(&self, area: f64) -> bool {
        area < self.min || area > self.max
    }
}

impl CocoParams {
    /// COCO's own: IoU .50:.95, recall 0:1 in hundredths, four area ranges, 1/10/100 detections;
    /// for keypoints three area ranges (small objects have none) and 20 detections.
    #[must_use]
    pub fn new(iou_type: IouType) -> Self {
        let mut params = Self {
            iou_type,
            image_ids: None,
            category_ids: None,
            iou_thresholds: iou_thresholds(),
            recall_thresholds: recall_thresholds(),
            area_ranges: area_ranges(),
            max_detections: max_detections(),
            use_categories: true,
            mode: Mode::Strict,
            keypoint_sigmas: keypoint_sigmas(),
            boundary_dilation: boundary_dilation(),
        };
        if iou_type == IouType::Keypoints {
            params.max_detections = vec![20];
            params.area_ranges.retain(|range| range.label != "small");
        }
        params
    }

    pub(super) fn validate(&self) -> Result<(), EvalError> {
        let fail = |name, problem| Err(EvalError::Params { name, problem });
        if self.max_detections.is_empty() {
            return fail("max_detections", "is empty; COCO's is [1, 10, 100]");
        }
        if !self.recall_thresholds.is_sorted() {
            return fail("recall_thresholds", "is not ascending; sort it");
        }
        if self.iou_thresholds.iter().any(|t| t.is_nan()) {
            return fail("iou_thresholds", "holds NaN");
        }
        Ok(())
    }
}

fn yes() -> bool {
    true
}

fn iou_thresholds() -> Vec<f64> {
    linspace(0.5, 0.95, 10)
}

fn recall_thresholds() -> Vec<f64> {
    linspace(0.0, 1.0, 101)
}

fn keypoint_sigmas() -> Vec<f64> {
    [
        0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87,
        0.89, 0.89,
    ]
    .map(|tenths| tenths / 10.0)
    .into()
}

fn boundary_dilation() -> f64 {
    0.02
}

fn max_detections() -> Vec<usize> {
    vec![1, 10, 100]
}

fn area_ranges() -> Vec<AreaRange> {
    let (small, medium, large) = (32.0 * 32.0, 96.0 * 96.0, 1e5 * 1e5);
    [
        ("all", 0.0, large),
        ("small", 0.0, small),
        ("medium", small, medium),
        ("large", medium, large),
    ]
    .map(|(label, min, max)| AreaRange {
        label: label.into(),
        min,
        max,
    })
    .into()
}

/// numpy's: some values differ from the decimal literals in the last bit, and that decides ties.
fn linspace(start: f64, stop: f64, count: usize) -> Vec<f64> {
    let step = (stop - start) / (count - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step + start).collect();
    values[count - 1] = stop;
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_numpys_not_literals() {
        let params = CocoParams::new(IouType::Bbox);
        let t = [
            0.5,
            0.55,
            0.6,
            0.65,
            0.7,
            0.75,
            0.8,
            0.85,
            0.8999999999999999,
            0.95,
        ];
        assert_eq!(params.iou_thresholds, t);
        assert_eq!(params.recall_thresholds[35], 0.35000000000000003);
        assert_eq!(params.recall_thresholds.len(), 101);
    }

    #[test]
    fn a_file_may_state_only_what_differs() {
        let params: CocoParams = serde_json::from_str(r#"{"iou_type": "segm"}"#).unwrap();
        assert_eq!(params, CocoParams::new(IouType::Segm));
        assert!(serde_json::from_str::<CocoParams>(r#"{"iou_type": "segm", "x": 1}"#).is_err());
    }
}
