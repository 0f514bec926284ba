//! Overlaps, matching and precision-recall curves of every class.

use std::collections::HashMap;

use ndarray::{Array3, Array4};
use rayon::prelude::*;

use super::grouping::Grouping;
use super::{Frequency, LvisParams, LvisTruth};
use crate::coco::{Job, Member, Scratch, Table, check_size};
use crate::{EvalError, Results};

/// Precision and recall of every threshold, class and area range.
///
/// Axes: T IoU thresholds, R recall thresholds, K classes, A area ranges. In memory the class
/// varies slowest (`as_standard_layout` makes a copy in the order of the axes).
#[derive(Debug, Clone)]
pub struct LvisEvaluation {
    /// As given, `image_ids` and `category_ids` filled in.
    pub params: LvisParams,
    /// The K axis.
    pub categories: Vec<LvisCategory>,
    /// `[T, R, K, A]`: interpolated precision, 0 where the recall is not reached, -1 where there
    /// is nothing to find.
    pub precision: Array4<f64>,
    /// `[T, K, A]`: recall over all detections; -1 where there is nothing to find.
    pub recall: Array3<f64>,
}

/// A class of LVIS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LvisCategory {
    /// Its id.
    pub id: u64,
    /// Its name; empty if the file does not say.
    pub name: String,
    /// The group whose mean AP it enters.
    pub frequency: Frequency,
}

/// Compares detections with the truth as lvis-api's `LVISEval` does. Classes are evaluated in
/// parallel; the result does not depend on the number of threads.
///
/// Of each image the best [`max_detections`](LvisParams::max_detections) count, over all classes;
/// of equal scores the first ones (a NaN is worse than any number, where lvis-api leaves the order
/// to Python's sort). Of those, a detection whose class the image neither has nor is known not to
/// have is dropped. Where a class is annotated in part, a detection that matches nothing counts
/// for nothing. Truths and detections without an area are dropped, and COCO's crowds are objects
/// like any other.
///
/// No detections at all are no error, as they are to lvis-api: every recall is 0.
///
/// # Errors
/// When the columns were made for another type of overlap, a detection is on an unlisted image or
/// lacks the box or mask that is needed, a mask is malformed, or a parameter makes no sense.
///
/// ```
/// use inscon_eval::{IouType, LvisParams, LvisTruth, Results, evaluate_lvis};
///
/// let truth = r#"{
///     "images": [{"id": 7, "neg_category_ids": [], "not_exhaustive_category_ids": []}],
///     "categories": [{"id": 1, "name": "dog", "frequency": "f"},
///         {"id": 2, "name": "yak", "frequency": "r"}],
///     "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// // Nobody has looked for a yak here.
/// let found = r#"[{"image_id": 7, "category_id": 2, "bbox": [0, 0, 4, 5], "score": 0.9},
///     {"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "score": 0.8}]"#;
/// let truth = LvisTruth::read(truth.as_bytes(), "truth", IouType::Bbox)?;
/// let found = Results::read(found.as_bytes(), "found", IouType::Bbox)?;
/// let summary = evaluate_lvis(&truth, &found, &LvisParams::new(IouType::Bbox))?.summary();
/// assert!(summary.ap > 0.999);
/// assert_eq!((summary.ap_frequent, summary.ap_rare), (summary.ap, -1.0));
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn evaluate_lvis(
    truth: &LvisTruth,
    results: &Results,
    params: &LvisParams,
) -> Result<LvisEvaluation, EvalError> {
    params.validate()?;
    if !truth.truth.has(params.iou_type) || !results.has(params.iou_type) {
        return Err(EvalError::Params {
            name: "iou_type",
            problem: "the data was read for another one; give both the same",
        });
    }
    let mut grouping = Grouping::new(truth, results, params)?;
    let of_a_class = params.of_a_class();
    let job = Job {
        truth: &truth.truth,
        results,
        params: &of_a_class,
        sizes: std::mem::take(&mut grouping.sizes),
        needs_area: true,
    };
    let [t, r, k, a] = [
        params.iou_thresholds.len(),
        params.recall_thresholds.len(),
        grouping.categories.len(),
        params.area_ranges.len(),
    ];
    check_size(&[k, a, t, r])?;
    let mut precision = vec![-1.0; k * a * t * r];
    let mut recall = vec![-1.0; k * a * t];
    // `chunks` of 0 would panic.
    let mut tables: Vec<(&mut [f64], &mut [f64])> = precision
        .chunks_mut((a * t * r).max(1))
        .zip(recall.chunks_mut((a * t).max(1)))
        .collect();
    // All of them, then the first error in class order: which one is reported must not depend on
    // the threads.
    let outcomes: Vec<Result<(), EvalError>> = tables
        .par_iter_mut()
        .enumerate()
        // Memory is set up once for so many classes.
        .with_max_len(8)
        .map_init(
            || Worker::new(grouping.images.len(), a * t * r),
            |worker, (k, (precision, recall))| {
                worker.class(&job, &grouping, grouping.class(k), precision, recall)
            },
        )
        .collect();
    outcomes.into_iter().collect::<Result<(), EvalError>>()?;
    let positions: HashMap<u64, usize> = (truth.truth.categories.iter().zip(0..))
        .map(|(category, i)| (category.id, i))
        .collect();
    let categories = grouping.categories.iter().map(|&id| {
        let i = positions[&id];
        LvisCategory {
            id,
            name: truth.truth.categories[i].name.clone(),
            frequency: truth.frequencies[i],
        }
    });
    let made = "the vectors were made to measure";
    let precision = Array4::from_shape_vec((k, a, t, r), precision);
    let recall = Array3::from_shape_vec((k, a, t), recall);
    Ok(LvisEvaluation {
        categories: categories.collect(),
        precision: match precision {
            Ok(array) => array.permuted_axes([2, 3, 0, 1]),
            Err(error) => unreachable!("{made}: {error}"),
        },
        recall: match recall {
            Ok(array) => array.permuted_axes([2, 0, 1]),
            Err(error) => unreachable!("{made}: {error}"),
        },
        params: LvisParams {
            image_ids: Some(grouping.images),
            category_ids: Some(grouping.categories),
            ..params.clone()
        },
    })
}

/// Memory that a thread uses for one class after the other.
struct Worker {
    scratch: Scratch,
    /// By rank of image: whether the class at hand is known to be there or not to be there.
    judged: Vec<bool>,
    /// The detections on those images.
    found: Vec<Member>,
    /// LVIS does not ask for them.
    scores: Vec<f64>,
}

impl Worker {
    fn new(images: usize, scores: usize) -> Self {
        let mut scratch = Scratch::new(images);
        scratch.open = vec![false; images];
        Self {
            scratch,
            judged: vec![false; images],
            found: Vec::new(),
            scores: vec![-1.0; scores],
        }
    }

    fn class(
        &mut self,
        job: &Job<'_>,
        grouping: &Grouping,
        class: usize,
        precision: &mut [f64],
        recall: &mut [f64],
    ) -> Result<(), EvalError> {
        let truths = grouping.truths.class(class);
        if truths.is_empty() {
            return Ok(());
        }
        let negatives = grouping.negatives.class(class);
        let not_exhaustive = grouping.not_exhaustive.class(class);
        let set = |flags: &mut [bool], members: &[Member], to: bool| {
            members
                .iter()
                .for_each(|member| flags[member.image as usize] = to);
        };
        set(&mut self.judged, truths, true);
        set(&mut self.judged, negatives, true);
        set(&mut self.scratch.open, not_exhaustive, true);
        self.found.clear();
        let detections = grouping.detections.class(class).iter();
        self.found
            .extend(detections.filter(|member| self.judged[member.image as usize]));
        let mut table = Table {
            precision,
            scores: &mut self.scores,
            recall,
        };
        let result = job.class(truths, &self.found, &mut self.scratch, &mut table, None);
        set(&mut self.judged, truths, false);
        set(&mut self.judged, negatives, false);
        set(&mut self.scratch.open, not_exhaustive, false);
        result
    }
}
