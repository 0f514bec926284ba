//! Stage two: overlaps, matching and precision-recall curves of every class.

use std::collections::HashMap;

use ndarray::{Array4, Array5};
use rayon::prelude::*;

use super::class::{Job, Scratch, Table};
use super::grouping::Grouping;
use super::ids::Ranks;
use super::{CocoDataset, CocoParams, Detection, GroundTruth, Results};
use crate::EvalError;

/// Precision and recall of every threshold, class, area range and detection limit.
///
/// Axes: T IoU thresholds, R recall thresholds, K classes, A area ranges, M detection limits. In
/// memory the class varies slowest (`as_standard_layout` makes a copy in the order of the axes).
#[derive(Debug, Clone)]
pub struct CocoEvaluation {
    /// As given, `max_detections` sorted, `image_ids` and `category_ids` filled in.
    pub params: CocoParams,
    /// Ids and names on the K axis; the single `(0, "")` if classes are not told apart.
    pub categories: Vec<(u64, String)>,
    /// `[T, R, K, A, M]`: interpolated precision, 0 where the recall is not reached, -1 where
    /// there is nothing to find.
    pub precision: Array5<f64>,
    /// `[T, K, A, M]`: recall over all detections; -1 where there is nothing to find.
    pub recall: Array4<f64>,
    /// `[T, R, K, A, M]`: the score at which that recall is reached.
    pub scores: Array5<f64>,
}

/// Compares detections with the truth as pycocotools' `COCOeval` does. Classes are evaluated in
/// parallel; the result does not depend on the number of threads.
///
/// Whether detections are boxes, masks or keypoints is decided by the first one, as in pycocotools:
/// if it has a box, every detection's area is its box's, even when masks are compared.
///
/// # Errors
/// When a detection is on an unlisted image or lacks the box, mask or keypoints that are needed, or
/// when a mask is malformed.
pub fn evaluate_coco(
    truth: &CocoDataset,
    detections: &[Detection],
    params: &CocoParams,
) -> Result<CocoEvaluation, EvalError> {
    evaluate(
        &GroundTruth::from_dataset(truth, params.iou_type),
        &Results::from_detections(detections, params.iou_type),
        params,
    )
}

/// [`evaluate_coco`] of columns, as [`GroundTruth::load`] and [`Results::load`] read them from
/// files without a detour.
///
/// # Errors
/// As [`evaluate_coco`], and when the columns were made for another type of overlap.
///
/// ```no_run
/// use inscon_eval::{CocoParams, GroundTruth, IouType, Results, evaluate};
///
/// let truth = GroundTruth::load("instances_val2017.json", IouType::Bbox)?;
/// let results = Results::load("bbox.json", IouType::Bbox)?;
/// println!("{}", evaluate(&truth, &results, &CocoParams::new(IouType::Bbox))?.summary());
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn evaluate(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
) -> Result<CocoEvaluation, EvalError> {
    let (mut params, grouping, sizes) = prepare(truth, results, params)?;
    let job = Job {
        truth,
        results,
        params: &params,
        sizes,
        needs_area: false,
    };
    let [t, r, k, a, m] = [
        params.iou_thresholds.len(),
        params.recall_thresholds.len(),
        grouping.categories.len(),
        params.area_ranges.len(),
        params.max_detections.len(),
    ];
    check_size(&[k, a, m, t, r])?;
    let mut precision = vec![-1.0; k * a * m * t * r];
    let mut scores = precision.clone();
    let mut recall = vec![-1.0; k * a * m * t];
    let mut tables: Vec<Table<'_>> = parts(&mut precision, k)
        .into_iter()
        .zip(parts(&mut scores, k))
        .zip(parts(&mut recall, k))
        .map(|((precision, scores), recall)| Table {
            precision,
            scores,
            recall,
        })
        .collect();
    // All of them, then the first error in class order: which one is reported must not depend on
    // the threads.
    let outcomes: Vec<Result<(), EvalError>> = tables
        .par_iter_mut()
        .enumerate()
        .with_max_len(classes_at_once(grouping.categories.len()))
        .map_init(
            || Scratch::new(grouping.images.len()),
            |scratch, (k, table)| {
                let (truths, found) = (grouping.truths.class(k), grouping.detections.class(k));
                job.class(truths, found, scratch, table, None)
            },
        )
        .collect();
    outcomes.into_iter().collect::<Result<(), EvalError>>()?;
    let names: HashMap<u64, &str> = truth
        .categories
        .iter()
        .map(|category| (category.id, category.name.as_str()))
        .collect();
    let name = |id: &u64| (*id, names.get(id).copied().unwrap_or_default().to_owned());
    let categories = match params.use_categories {
        true => grouping.categories.iter().map(name).collect(),
        false => vec![(0, String::new())],
    };
    if params.use_categories {
        params.category_ids = Some(grouping.categories);
    }
    params.image_ids = Some(grouping.images);
    let five = |values| {
        shaped(
            Array5::from_shape_vec((k, a, m, t, r), values),
            [3, 4, 0, 1, 2],
        )
    };
    Ok(CocoEvaluation {
        params,
        categories,
        precision: five(precision),
        recall: shaped(Array4::from_shape_vec((k, a, m, t), recall), [3, 0, 1, 2]),
        scores: five(scores),
    })
}

/// Refuses arrays of more than 2^28 numbers (2 GiB): a short file can list any number of classes.
pub(crate) fn check_size(axes: &[usize]) -> Result<(), EvalError> {
    let size = axes
        .iter()
        .try_fold(1_usize, |size, &n| size.checked_mul(n));
    if size.is_some_and(|size| size <= 1 << 28) {
        return Ok(());
    }
    Err(EvalError::Params {
        name: "category_ids",
        problem: "classes times thresholds make arrays of more than 2^28 numbers; evaluate some classes at a time",
    })
}

/// How many of `count` classes one thread takes in a row: few enough that uneven ones do not leave a
/// thread waiting, and enough that its memory is used again.
pub(super) fn classes_at_once(count: usize) -> usize {
    (count / (rayon::current_num_threads() * 8)).max(1)
}

/// `count` parts of one length, which may be 0.
fn parts(mut values: &mut [f64], count: usize) -> Vec<&mut [f64]> {
    let length = values.len() / count.max(1);
    let mut part = || {
        let (part, rest) = std::mem::take(&mut values).split_at_mut(length);
        values = rest;
        part
    };
    (0..count).map(|_| part()).collect()
}

/// Parameters, records by class, and height and width by rank of image.
pub(super) type Prepared = (CocoParams, Grouping, Vec<(u32, u32)>);

/// What every evaluation starts from: the parameters with their limits sorted, the records by
/// class, and height and width by rank of image.
pub(super) fn prepare(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
) -> Result<Prepared, EvalError> {
    params.validate()?;
    if !truth.has(params.iou_type) || !results.has(params.iou_type) {
        return Err(EvalError::Params {
            name: "iou_type",
            problem: "the data was read for another one; give both the same",
        });
    }
    let mut params = params.clone();
    params.max_detections.sort_unstable();
    let grouping = Grouping::new(truth, results, &params)?;
    let ranks = Ranks::new(&grouping.images);
    let mut sizes = vec![(0, 0); grouping.images.len()];
    for image in &truth.images {
        if let Some(rank) = ranks.get(image.id) {
            sizes[rank as usize] = (image.height, image.width);
        }
    }
    Ok((params, grouping, sizes))
}

/// The array with its axes in another order.
fn shaped<D: ndarray::Dimension, const N: usize>(
    array: Result<ndarray::Array<f64, D>, ndarray::ShapeError>,
    axes: [usize; N],
) -> ndarray::Array<f64, D>
where
    [usize; N]: ndarray::IntoDimension<Dim = D>,
{
    match array {
        Ok(array) => array.permuted_axes(axes),
        Err(error) => unreachable!("the vectors were made to measure: {error}"),
    }
}
