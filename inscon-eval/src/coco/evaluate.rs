//! Stage two: overlaps, matching and precision-recall curves of every class.

use std::collections::HashMap;

use ndarray::{Array3, Array4, Array5, Axis};
use rayon::prelude::*;

use super::accumulate::{by_score, curve};
use super::grouping::{Group, Grouping, Member};
use super::matching::{Outcome, Scene, Truth};
use super::shape::{ResultKind, Shape};
use super::{CocoDataset, CocoParams, Detection, Mode};
use crate::EvalError;

/// Precision and recall of every threshold, class, area range and detection limit.
///
/// Axes: T IoU thresholds, R recall thresholds, K classes, A area ranges, M detection limits.
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
/// Whether detections are boxes or masks is decided by the first one, as in pycocotools: if it has
/// a box, every detection's area is its box's, even when masks are compared.
///
/// # Errors
/// When a detection is on an unlisted image or lacks the box or mask that is needed, or when a
/// mask is malformed.
pub fn evaluate_coco(
    truth: &CocoDataset,
    detections: &[Detection],
    params: &CocoParams,
) -> Result<CocoEvaluation, EvalError> {
    params.validate()?;
    let mut params = params.clone();
    params.max_detections.sort_unstable();
    let grouping = Grouping::new(truth, detections, &params)?;
    let names: HashMap<u64, &str> = truth
        .categories
        .iter()
        .map(|category| (category.id, category.name.as_str()))
        .collect();
    let job = Job {
        truth,
        detections,
        params: &params,
        sizes: truth
            .images
            .iter()
            .map(|image| (image.id, (image.height, image.width)))
            .collect(),
        images: &grouping.images,
        kind: ResultKind::of(detections),
    };
    // All of them, then the first error in class order: which one is reported must not depend on
    // the threads.
    let tables: Vec<_> = grouping
        .groups
        .par_iter()
        .map(|group| job.class(group))
        .collect();
    let [t, r, k, a, m] = [
        params.iou_thresholds.len(),
        params.recall_thresholds.len(),
        grouping.categories.len(),
        params.area_ranges.len(),
        params.max_detections.len(),
    ];
    let mut precision = Array5::from_elem((t, r, k, a, m), -1.0);
    let mut scores = precision.clone();
    let mut recall = Array4::from_elem((t, k, a, m), -1.0);
    for (k, table) in tables.into_iter().enumerate() {
        let table = table?;
        precision
            .index_axis_mut(Axis(2), k)
            .assign(&table.precision);
        scores.index_axis_mut(Axis(2), k).assign(&table.scores);
        recall.index_axis_mut(Axis(1), k).assign(&table.recall);
    }
    let name = |id: &u64| (*id, names.get(id).copied().unwrap_or_default().to_owned());
    let categories = match params.use_categories {
        true => grouping.categories.iter().map(name).collect(),
        false => vec![(0, String::new())],
    };
    if params.use_categories {
        params.category_ids = Some(grouping.categories);
    }
    params.image_ids = Some(grouping.images);
    Ok(CocoEvaluation {
        params,
        categories,
        precision,
        recall,
        scores,
    })
}

/// What every class needs.
struct Job<'a> {
    truth: &'a CocoDataset,
    detections: &'a [Detection],
    params: &'a CocoParams,
    /// Height and width by image id.
    sizes: HashMap<u64, (u32, u32)>,
    images: &'a [u64],
    kind: ResultKind,
}

/// One class of a [`CocoEvaluation`].
struct Table {
    precision: Array4<f64>,
    recall: Array3<f64>,
    scores: Array4<f64>,
}

/// The detections of a class in the order of images, best scores first within each.
struct Ranked {
    scores: Vec<f64>,
    /// Position within its image.
    ranks: Vec<usize>,
    /// `[A][T]` lists as long as `scores`.
    outcomes: Vec<Vec<Vec<Outcome>>>,
    /// `[A]` truths that count.
    positives: Vec<usize>,
}

impl Job<'_> {
    fn class(&self, group: &Group) -> Result<Table, EvalError> {
        let ranked = self.matched(group)?;
        let [t, r, a, m] = [
            self.params.iou_thresholds.len(),
            self.params.recall_thresholds.len(),
            self.params.area_ranges.len(),
            self.params.max_detections.len(),
        ];
        let mut table = Table {
            precision: Array4::from_elem((t, r, a, m), -1.0),
            recall: Array3::from_elem((t, a, m), -1.0),
            scores: Array4::from_elem((t, r, a, m), -1.0),
        };
        let order = by_score(&ranked.scores);
        for (m, &limit) in self.params.max_detections.iter().enumerate() {
            let order: Vec<usize> = order
                .iter()
                .copied()
                .filter(|&d| ranked.ranks[d] < limit)
                .collect();
            for (a, &positives) in ranked.positives.iter().enumerate() {
                if positives == 0 {
                    continue;
                }
                for (t, outcomes) in ranked.outcomes[a].iter().enumerate() {
                    let each = order.iter().map(|&d| (outcomes[d], ranked.scores[d]));
                    let curve = curve(each, positives, &self.params.recall_thresholds);
                    table.recall[[t, a, m]] = curve.recall;
                    for (r, (p, s)) in curve.precision.iter().zip(&curve.scores).enumerate() {
                        table.precision[[t, r, a, m]] = *p;
                        table.scores[[t, r, a, m]] = *s;
                    }
                }
            }
        }
        Ok(table)
    }

    /// Matches the class on every image.
    fn matched(&self, group: &Group) -> Result<Ranked, EvalError> {
        let params = self.params;
        let limit = params.max_detections.last().copied().unwrap_or(0);
        let mut ranked = Ranked {
            scores: Vec::new(),
            ranks: Vec::new(),
            outcomes: vec![vec![Vec::new(); params.iou_thresholds.len()]; params.area_ranges.len()],
            positives: vec![0; params.area_ranges.len()],
        };
        let (mut truths, mut found) = (group.truths.as_slice(), group.detections.as_slice());
        while let Some(image) = [truths.first(), found.first()]
            .into_iter()
            .flatten()
            .map(|member| member.image)
            .min()
        {
            let truths = take(&mut truths, image);
            let found = take(&mut found, image);
            let scores: Vec<f64> = found
                .iter()
                .map(|d| self.detections[d.index].score)
                .collect();
            let order = by_score(&scores);
            let best: Vec<usize> = order.iter().take(limit).map(|&i| found[i].index).collect();
            self.image(image, truths, &best, &mut ranked)?;
        }
        Ok(ranked)
    }

    /// Matches one image; `best` are its detections, best score first.
    fn image(
        &self,
        image: usize,
        members: &[Member],
        best: &[usize],
        ranked: &mut Ranked,
    ) -> Result<(), EvalError> {
        let annotations = || {
            members
                .iter()
                .map(|member| &self.truth.annotations[member.index])
        };
        let size = self
            .sizes
            .get(&self.images[image])
            .copied()
            .unwrap_or_default();
        let strict = self.params.mode == Mode::Strict;
        let truths: Vec<Truth> = annotations()
            .map(|a| Truth {
                area: a.area,
                crowd: a.iscrowd,
                invisible: strict && a.id == 0,
            })
            .collect();
        let both = !members.is_empty() && !best.is_empty();
        let mut areas = Vec::with_capacity(best.len());
        let mut ious = Vec::new();
        let mut shapes = Vec::new();
        if both {
            for annotation in annotations() {
                shapes.push(Shape::of_truth(annotation, self.params.iou_type, size)?);
            }
        }
        for &index in best {
            let d = &self.detections[index];
            let (area, shape) = self.kind.read(index, d, self.params.iou_type, size, both)?;
            areas.push(area);
            if let Some(shape) = shape {
                ious.extend(
                    shapes
                        .iter()
                        .zip(&truths)
                        .map(|(g, t)| shape.iou(g, t.crowd)),
                );
            }
        }
        let scene = Scene {
            truths: &truths,
            areas: &areas,
            ious: &ious,
        };
        for (a, range) in self.params.area_ranges.iter().enumerate() {
            let ignored = scene.ignored(range);
            ranked.positives[a] += ignored.iter().filter(|&&ignored| !ignored).count();
            for (&threshold, list) in self
                .params
                .iou_thresholds
                .iter()
                .zip(&mut ranked.outcomes[a])
            {
                scene.outcomes(range, &ignored, threshold, |outcome| list.push(outcome));
            }
        }
        ranked
            .scores
            .extend(best.iter().map(|&index| self.detections[index].score));
        ranked.ranks.extend(0..best.len());
        Ok(())
    }
}

/// Splits the members on `image` off the front.
fn take<'a>(members: &mut &'a [Member], image: usize) -> &'a [Member] {
    let count = members
        .iter()
        .take_while(|member| member.image == image)
        .count();
    let (taken, rest) = members.split_at(count);
    *members = rest;
    taken
}
