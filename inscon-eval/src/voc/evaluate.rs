//! Matching as rbgirshick's `voc_eval` does it, on a stable sort.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::corners::inclusive;
use super::{VocClass, VocCurve, VocMetric, VocSummary, VocSweep, rounding};
use crate::sum::mean;
use crate::{CocoDataset, Detection, EvalError, by_score};

/// The parameters of [`evaluate_voc_at`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocParams {
    /// How average precision is taken.
    pub metric: VocMetric,
    /// IoU thresholds; a detection must be above.
    pub ious: Vec<f64>,
    /// Round scores to three decimals and corners to one before matching, as detectron2 does by
    /// writing text files. (It does so in f32, which may tip a tie the other way.)
    #[serde(default)]
    pub round: bool,
}

/// VOC average precision at one threshold, nothing rounded. See [`evaluate_voc_at`].
///
/// # Errors
/// When a detection is on an unlisted image or has no box.
///
/// ```
/// use inscon_eval::{Annotation, Category, CocoDataset, Detection, Image, VocMetric};
///
/// let mut truth = CocoDataset {
///     images: vec![Image { id: 1, width: 50, height: 50, ..Image::default() }],
///     categories: vec![Category { id: 1, name: "dog".into(), supercategory: None }],
///     ..CocoDataset::default()
/// };
/// for (id, difficult) in [(1, false), (2, true)] {
///     let bbox = [20.0 * id as f64, 0.0, 10.0, 10.0];
///     let object = Annotation { id, image_id: 1, category_id: 1, bbox, difficult, ..Annotation::default() };
///     truth.annotations.push(object);
/// }
/// let found = [
///     Detection::of_box(1, 1, 0.9, [40.0, 0.0, 10.0, 10.0]), // difficult: neither hit nor miss
///     Detection::of_box(1, 1, 0.8, [20.0, 0.0, 10.0, 10.0]),
/// ];
/// let summary = inscon_eval::evaluate_voc(&truth, &found, VocMetric::Voc10, 0.5)?;
/// assert_eq!(summary.mean_ap, Some(1.0));
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn evaluate_voc(
    truth: &CocoDataset,
    detections: &[Detection],
    metric: VocMetric,
    iou: f64,
) -> Result<VocSummary, EvalError> {
    let classes = Classes::new(truth, detections, false)?;
    Ok(classes.summary(metric, iou))
}

/// VOC average precision at detectron2's ten thresholds.
///
/// # Errors
/// When a detection is on an unlisted image or has no box.
pub fn sweep_voc(
    truth: &CocoDataset,
    detections: &[Detection],
    metric: VocMetric,
    round: bool,
) -> Result<VocSweep, EvalError> {
    let ious = (50..100)
        .step_by(5)
        .map(|percent| f64::from(percent) / 100.0)
        .collect();
    let thresholds = evaluate_voc_at(
        truth,
        detections,
        &VocParams {
            metric,
            ious,
            round,
        },
    )?;
    let means: Option<Vec<f64>> = thresholds.iter().map(|summary| summary.mean_ap).collect();
    Ok(VocSweep {
        ap: means.and_then(|means| mean(&means)),
        ap50: thresholds[0].mean_ap,
        ap75: thresholds[5].mean_ap,
        thresholds,
    })
}

/// VOC average precision at several thresholds.
///
/// Boxes `[x, y, w, h]` become VOC's inclusive 1-based `[x + 1, y + 1, x + w, y + h]`. Each
/// detection, best score first (equals in the order given), looks at the object of its class and
/// image with the largest overlap (the first of equals). Above the threshold it is a hit, a miss
/// if that object is taken, and neither if it is difficult; else it is a miss. `iscrowd` and
/// `ignore` mean nothing here. Detections of unknown categories are dropped.
///
/// # Errors
/// When a detection is on an unlisted image or has no box.
pub fn evaluate_voc_at(
    truth: &CocoDataset,
    detections: &[Detection],
    params: &VocParams,
) -> Result<Vec<VocSummary>, EvalError> {
    let classes = Classes::new(truth, detections, params.round)?;
    Ok(params
        .ious
        .iter()
        .map(|&iou| classes.summary(params.metric, iou))
        .collect())
}

/// The precision-recall curves behind [`evaluate_voc`], one for each class that has an object which
/// is not difficult, in ascending order of id.
///
/// # Errors
/// When a detection is on an unlisted image or has no box.
pub fn voc_curves(
    truth: &CocoDataset,
    detections: &[Detection],
    iou: f64,
    round: bool,
) -> Result<Vec<VocCurve>, EvalError> {
    let classes = Classes::new(truth, detections, round)?;
    let counted = classes.0.iter().filter(|class| class.positives > 0);
    Ok(counted
        .map(|class| {
            let (recall, precision) = class.curve(iou);
            VocCurve {
                category_id: class.id,
                name: class.name.clone(),
                recall,
                precision,
            }
        })
        .collect())
}

/// Every class, ready for any threshold.
struct Classes(Vec<Class>);

struct Class {
    id: u64,
    name: String,
    objects: Vec<Object>,
    by_image: HashMap<u64, Vec<usize>>,
    positives: usize,
    /// Image, score, corners; sorted once the class is complete.
    found: Vec<(u64, f64, [f64; 4])>,
    /// For each of `found`: the object of largest overlap, and that overlap.
    best: Vec<Option<(usize, f64)>>,
}

struct Object {
    corners: [f64; 4],
    difficult: bool,
}

impl Classes {
    fn new(truth: &CocoDataset, detections: &[Detection], round: bool) -> Result<Self, EvalError> {
        let mut classes: Vec<Class> = Vec::new();
        let mut categories: Vec<_> = truth.categories.iter().collect();
        categories.sort_by_key(|category| category.id);
        categories.dedup_by_key(|category| category.id);
        let rank: HashMap<u64, usize> = categories
            .iter()
            .enumerate()
            .map(|(k, category)| (category.id, k))
            .collect();
        for category in categories {
            classes.push(Class {
                id: category.id,
                name: category.name.clone(),
                objects: Vec::new(),
                by_image: HashMap::new(),
                positives: 0,
                found: Vec::new(),
                best: Vec::new(),
            });
        }
        let images: std::collections::HashSet<u64> =
            truth.images.iter().map(|image| image.id).collect();
        for a in truth
            .annotations
            .iter()
            .filter(|a| images.contains(&a.image_id))
        {
            if let Some(&k) = rank.get(&a.category_id) {
                let class = &mut classes[k];
                class
                    .by_image
                    .entry(a.image_id)
                    .or_default()
                    .push(class.objects.len());
                class.positives += usize::from(!a.difficult);
                let corners = inclusive(a.bbox);
                class.objects.push(Object {
                    corners,
                    difficult: a.difficult,
                });
            }
        }
        for (index, d) in detections.iter().enumerate() {
            if !images.contains(&d.image_id) {
                return Err(EvalError::DetectionImage {
                    index,
                    image: d.image_id,
                });
            }
            let corners = inclusive(d.bbox.ok_or(EvalError::MissingBox { index })?);
            if let Some(&k) = rank.get(&d.category_id) {
                classes[k].found.push(match round {
                    true => (
                        d.image_id,
                        rounding::score(d.score),
                        rounding::corners(corners),
                    ),
                    false => (d.image_id, d.score, corners),
                });
            }
        }
        classes.par_iter_mut().for_each(Class::finish);
        Ok(Self(classes))
    }

    fn summary(&self, metric: VocMetric, iou: f64) -> VocSummary {
        let per_class: Vec<VocClass> = self
            .0
            .par_iter()
            .map(|class| VocClass {
                category_id: class.id,
                name: class.name.clone(),
                positives: class.positives,
                ap: (class.positives > 0).then(|| class.average_precision(metric, iou)),
            })
            .collect();
        let aps: Vec<f64> = per_class.iter().filter_map(|class| class.ap).collect();
        VocSummary {
            metric,
            iou,
            mean_ap: mean(&aps),
            per_class,
        }
    }
}

impl Class {
    /// Sorts the detections and finds the object of each.
    fn finish(&mut self) {
        let scores: Vec<f64> = self.found.iter().map(|(_, score, _)| *score).collect();
        self.found = by_score(&scores)
            .into_iter()
            .map(|i| self.found[i])
            .collect();
        let best = |(image, _, corners): &(u64, f64, [f64; 4])| {
            let mut best: Option<(usize, f64)> = None;
            for &g in self.by_image.get(image)? {
                let iou = overlap(&self.objects[g].corners, corners);
                // numpy's argmax takes the first NaN for the largest; no threshold is below it.
                if iou.is_nan() {
                    return Some((g, iou));
                }
                if best.is_none_or(|(_, largest)| iou > largest) {
                    best = Some((g, iou));
                }
            }
            best
        };
        self.best = self.found.iter().map(best).collect();
    }

    fn average_precision(&self, metric: VocMetric, threshold: f64) -> f64 {
        let (recall, precision) = self.curve(threshold);
        metric.average_precision(&recall, &precision)
    }

    /// Recall and precision after each detection.
    fn curve(&self, threshold: f64) -> (Vec<f64>, Vec<f64>) {
        let mut taken = vec![false; self.objects.len()];
        let (mut hits, mut misses) = (0.0, 0.0);
        let (mut recall, mut precision) = (Vec::new(), Vec::new());
        for best in &self.best {
            match *best {
                Some((g, iou)) if iou > threshold => {
                    if self.objects[g].difficult {
                    } else if std::mem::replace(&mut taken[g], true) {
                        misses += 1.0;
                    } else {
                        hits += 1.0;
                    }
                }
                _ => misses += 1.0,
            }
            recall.push(hits / self.positives as f64);
            precision.push(hits / f64::max(hits + misses, f64::EPSILON));
        }
        (recall, precision)
    }
}

fn overlap(object: &[f64; 4], found: &[f64; 4]) -> f64 {
    let side = |low: f64, high: f64| high - low + 1.0;
    let shared = |axis: usize| {
        let low = object[axis].max(found[axis]);
        let high = object[axis + 2].min(found[axis + 2]);
        side(low, high).max(0.0)
    };
    let area = |corners: &[f64; 4]| side(corners[0], corners[2]) * side(corners[1], corners[3]);
    let intersection = shared(0) * shared(1);
    intersection / (area(found) + area(object) - intersection)
}
