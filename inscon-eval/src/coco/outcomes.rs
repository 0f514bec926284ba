//! What became of every detection and every truth, kept instead of summed up.

use rayon::prelude::*;

use super::class::{Job, Scratch, Table};
use super::evaluate::{classes_at_once, prepare};
use super::grouping::Member;
use super::{CocoParams, GroundTruth, Results};
use crate::EvalError;

pub(crate) use super::class::Outcome;

/// The outcomes of every class.
pub(crate) struct Outcomes {
    /// Ids of the images, ascending.
    pub(crate) images: Vec<u64>,
    pub(crate) classes: Vec<ClassOutcomes>,
}

/// The outcomes of one class.
pub(crate) struct ClassOutcomes {
    /// Its id; 0 if classes are not told apart.
    pub(crate) category: u64,
    /// By image, within an image in the order of evaluation.
    pub(crate) truths: Vec<Member>,
    /// By area range and truth: whether it need not be found.
    pub(crate) ignored: Vec<bool>,
    /// Every detection within the largest limit, best score first (equals by image, then in the
    /// order given), once for each area range; all of it again for each 64 thresholds.
    pub(crate) detections: Vec<Outcome>,
}

/// Matches every class under `params`, of whose detection limits only the largest is looked at.
pub(crate) fn gather(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
) -> Result<Outcomes, EvalError> {
    let (mut params, grouping, sizes) = prepare(truth, results, params)?;
    params.max_detections = params.max_detections.last().copied().into_iter().collect();
    // Nothing is read off the curves.
    params.recall_thresholds.clear();
    let job = Job {
        truth,
        results,
        params: &params,
        sizes,
        needs_area: false,
    };
    let cells = params.area_ranges.len() * params.iou_thresholds.len();
    let classes: Vec<Result<ClassOutcomes, EvalError>> = grouping
        .categories
        .par_iter()
        .enumerate()
        .with_max_len(classes_at_once(grouping.categories.len()))
        .map_init(
            || (Scratch::new(grouping.images.len()), vec![0.0; cells]),
            |(scratch, recall), (k, &category)| {
                let (truths, found) = (grouping.truths.class(k), grouping.detections.class(k));
                let mut detections = Vec::new();
                let mut table = Table {
                    precision: &mut [],
                    scores: &mut [],
                    recall,
                };
                let mut report = |outcome| detections.push(outcome);
                job.class(truths, found, scratch, &mut table, Some(&mut report))?;
                let ignored = params.area_ranges.iter().flat_map(|range| {
                    let job = &job;
                    truths
                        .iter()
                        .map(move |m| job.ignores(range, m.index as usize))
                });
                Ok(ClassOutcomes {
                    category,
                    truths: truths.to_vec(),
                    ignored: ignored.collect(),
                    detections,
                })
            },
        )
        .collect();
    // The first error in class order, whatever the threads did.
    let classes = classes.into_iter().collect::<Result<_, _>>()?;
    Ok(Outcomes {
        images: grouping.images,
        classes,
    })
}
