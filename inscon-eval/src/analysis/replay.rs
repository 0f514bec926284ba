//! AP of other mixtures of the same images, without matching again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::named;
use crate::coco::outcomes::{ClassOutcomes, gather};
use crate::coco::score_key;
use crate::sum::mean;
use crate::{CocoParams, EvalError, GroundTruth, Results};

/// The outcome of every detection, to compute AP of any mixture of the images in milliseconds.
///
/// Images do not influence each other's matches, so an image that is taken out or taken twice takes
/// its detections and truths with it and leaves all others as they were.
///
/// ```
/// use inscon_eval::{CocoParams, GroundTruth, IouType, Replay, Results};
///
/// let truth = r#"{"images": [{"id": 7}, {"id": 8}], "categories": [{"id": 1, "name": "dog"}],
///     "annotations": [
///         {"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20},
///         {"id": 6, "image_id": 8, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// let found = r#"[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "score": 0.9}]"#;
/// let truth = GroundTruth::read(truth.as_bytes(), "truth", IouType::Bbox)?;
/// let found = Results::read(found.as_bytes(), "found", IouType::Bbox)?;
/// let replay = Replay::new(&truth, &found, &CocoParams::new(IouType::Bbox))?;
/// assert_eq!(replay.images(), [7, 8]);
/// assert!(replay.measure(&[1, 1])?.ap < 0.6);
/// assert!(replay.measure(&[3, 0])?.ap > 0.99);
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Replay {
    images: Vec<u64>,
    categories: Vec<(u64, String)>,
    iou_thresholds: Vec<f64>,
    recall_thresholds: Vec<f64>,
    classes: Vec<Class>,
}

/// AP of one mixture of images; in 0..1, or -1 where there is nothing to find.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean over IoU thresholds, recalls and classes.
    pub ap: f64,
    /// AP at IoU .50; -1 if that is not among the thresholds.
    pub ap50: f64,
    /// AP at IoU .75; -1 if that is not among the thresholds.
    pub ap75: f64,
    /// AP of each class, in the order of [`Replay::categories`].
    pub per_class: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Class {
    /// Image and number of truths to be found on it.
    truths: Vec<(u32, u32)>,
    blocks: Vec<Block>,
}

/// The detections at up to 64 thresholds.
#[derive(Debug, Clone)]
struct Block {
    lanes: usize,
    /// Best score first, up to the last hit.
    steps: Vec<Step>,
    /// Distinct outcomes: thresholds at which it is a hit, and at which it is a miss. The first is
    /// a miss everywhere.
    kinds: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    image: u32,
    /// Position in `kinds`; the highest bit is set if image and score are those of the step
    /// before.
    kind: u32,
}

const TIED: u32 = 1 << 31;

/// Memory for one mixture after the other.
#[derive(Default)]
pub(super) struct Memory {
    /// `[T, R, K]` of the classes with something to find.
    values: Vec<f64>,
    lanes: Vec<Lane>,
    best: Vec<f64>,
    row: Vec<f64>,
    present: Vec<(usize, u64)>,
}

/// One threshold.
#[derive(Default)]
struct Lane {
    hits: u64,
    misses: u64,
    /// Hits up to and with each run of them, and the misses before it.
    runs: Vec<(u64, u64)>,
}

impl Replay {
    /// Matches once, as [`evaluate`](crate::evaluate) does, in the area range labelled `all` and
    /// with the largest detection limit.
    ///
    /// # Errors
    /// As [`evaluate`](crate::evaluate), and when no area range is labelled `all`.
    pub fn new(
        truth: &GroundTruth,
        results: &Results,
        params: &CocoParams,
    ) -> Result<Self, EvalError> {
        let mut params = params.clone();
        params.area_ranges.retain(|range| range.label == "all");
        params.area_ranges.truncate(1);
        if params.area_ranges.is_empty() {
            return Err(EvalError::Params {
                name: "area_ranges",
                problem: "has none labelled `all`, which is the one that is resampled",
            });
        }
        let outcomes = gather(truth, results, &params)?;
        let ids: Vec<u64> = outcomes
            .classes
            .iter()
            .map(|class| class.category)
            .collect();
        let classes = outcomes.classes.into_iter();
        Ok(Self {
            images: outcomes.images,
            categories: match params.use_categories {
                true => named(truth, &ids),
                false => vec![(0, String::new())],
            },
            classes: classes
                .map(|class| Class::new(class, results, &params))
                .collect(),
            iou_thresholds: params.iou_thresholds,
            recall_thresholds: params.recall_thresholds,
        })
    }

    /// Ids of the images, ascending.
    #[must_use]
    pub fn images(&self) -> &[u64] {
        &self.images
    }

    /// Ids and names of the classes, ids ascending.
    #[must_use]
    pub fn categories(&self) -> &[(u64, String)] {
        &self.categories
    }

    /// AP if each image counted `times` times, in the order of [`images`](Self::images): equal in
    /// every bit to the `ap`, `ap50`, `ap75` and classes' `ap` of a data set that holds so many
    /// copies of it, all of a kind next to each other in the order of ids.
    ///
    /// # Errors
    /// When there are not as many `times` as images.
    pub fn measure(&self, times: &[u32]) -> Result<Measures, EvalError> {
        if times.len() != self.images.len() {
            return Err(EvalError::Params {
                name: "times",
                problem: "is not of the length of `images()`; give one number for each image",
            });
        }
        Ok(self.mixture(times, true, &mut Memory::default()))
    }

    /// `per_class` stays empty unless it is wanted.
    pub(super) fn mixture(&self, times: &[u32], per_class: bool, memory: &mut Memory) -> Measures {
        let recalls = self.recall_thresholds.len();
        memory.present.clear();
        for (k, class) in self.classes.iter().enumerate() {
            let count =
                |&(image, count): &(u32, u32)| u64::from(times[image as usize]) * u64::from(count);
            let positives = class.truths.iter().map(count).sum();
            if positives > 0 {
                memory.present.push((k, positives));
            }
        }
        let classes = memory.present.len();
        memory.values.clear();
        memory
            .values
            .resize(self.iou_thresholds.len() * recalls * classes, 0.0);
        for at in 0..classes {
            let (k, positives) = memory.present[at];
            let mut first = 0;
            for block in &self.classes[k].blocks {
                block.play(times, &mut memory.lanes);
                for lane in &memory.lanes[..block.lanes] {
                    let start = first * recalls * classes + at;
                    let column = memory.values[start..].iter_mut().step_by(classes);
                    lane.read_off(positives, &self.recall_thresholds, &mut memory.best, column);
                    first += 1;
                }
            }
        }
        let at = |iou: f64| {
            let size = recalls * classes;
            let mut values = Vec::new();
            for (t, &threshold) in self.iou_thresholds.iter().enumerate() {
                if threshold == iou {
                    values.extend_from_slice(&memory.values[t * size..(t + 1) * size]);
                }
            }
            mean(&values).unwrap_or(-1.0)
        };
        let (ap50, ap75) = (at(0.5), at(0.75));
        let mut aps = Vec::new();
        if per_class {
            aps.resize(self.classes.len(), -1.0);
            for (at, &(k, _)) in memory.present.iter().enumerate() {
                memory.row.clear();
                memory
                    .row
                    .extend(memory.values.iter().skip(at).step_by(classes));
                aps[k] = mean(&memory.row).unwrap_or(-1.0);
            }
        }
        Measures {
            ap: mean(&memory.values).unwrap_or(-1.0),
            ap50,
            ap75,
            per_class: aps,
        }
    }
}

impl Class {
    /// Of outcomes in one area range.
    fn new(class: ClassOutcomes, results: &Results, params: &CocoParams) -> Self {
        let mut truths: Vec<(u32, u32)> = Vec::new();
        for (member, ignored) in class.truths.iter().zip(&class.ignored) {
            match truths.last_mut() {
                _ if *ignored => {}
                Some((image, count)) if *image == member.image => *count += 1,
                _ => truths.push((member.image, 1)),
            }
        }
        let blocks = (0..params.iou_thresholds.len()).step_by(64).map(|first| {
            let lanes = (params.iou_thresholds.len() - first).min(64);
            let every = u64::MAX >> (64 - lanes);
            let mut kinds = vec![(0, every)];
            let mut known = HashMap::from([((0, every), 0_u32)]);
            let mut steps = Vec::new();
            let (mut last, mut end) = (None, 0);
            for outcome in class.detections.iter().filter(|o| o.first == first) {
                let kind = (outcome.hit, every & !(outcome.hit | outcome.ignored));
                if kind == (0, 0) {
                    continue;
                }
                let number = *known.entry(kind).or_insert_with(|| {
                    kinds.push(kind);
                    kinds.len() as u32 - 1
                });
                let image = outcome.member.image;
                let score = score_key(results.scores[outcome.member.index as usize]);
                let tied = last == Some((image, score));
                last = Some((image, score));
                steps.push(Step {
                    image,
                    kind: number | if tied { TIED } else { 0 },
                });
                // What is tied with the last hit comes between its copies.
                if kind.0 != 0 || tied && end + 1 == steps.len() {
                    end = steps.len();
                }
            }
            steps.truncate(end);
            steps.shrink_to_fit();
            Block {
                lanes,
                steps,
                kinds,
            }
        });
        Self {
            truths,
            blocks: blocks.collect(),
        }
    }
}

impl Block {
    /// Goes through the detections, each image's `times` times.
    fn play(&self, times: &[u32], lanes: &mut Vec<Lane>) {
        if lanes.len() < self.lanes {
            lanes.resize_with(self.lanes, Lane::default);
        }
        for lane in lanes.iter_mut() {
            lane.runs.clear();
            (lane.hits, lane.misses) = (0, 0);
        }
        // Misses at every threshold.
        let mut misses = 0;
        let mut take = |step: Step, times: u64| {
            let kind = step.kind & !TIED;
            if kind == 0 {
                misses += times;
                return;
            }
            let (hit, miss) = self.kinds[kind as usize];
            for t in bits(miss) {
                lanes[t].misses += times;
            }
            for t in bits(hit) {
                lanes[t].hit(misses, times);
            }
        };
        let mut rest = self.steps.as_slice();
        while let [step, others @ ..] = rest {
            let times = times[step.image as usize];
            if others.first().is_none_or(|next| next.kind & TIED == 0) {
                rest = others;
                if times > 0 {
                    take(*step, times.into());
                }
                continue;
            }
            let tied = others.iter().take_while(|next| next.kind & TIED != 0);
            let (group, after) = rest.split_at(1 + tied.count());
            for _ in 0..times {
                group.iter().for_each(|&step| take(step, 1));
            }
            rest = after;
        }
    }
}

impl Lane {
    fn hit(&mut self, others: u64, times: u64) {
        self.hits += times;
        let misses = self.misses + others;
        match self.runs.last_mut() {
            Some(run) if run.1 == misses => run.0 = self.hits,
            _ => self.runs.push((self.hits, misses)),
        }
    }

    /// As `read_off` in `coco/accumulate.rs`. Within a run of hits precision grows, so its last
    /// one stands for all in the envelope.
    fn read_off<'a>(
        &self,
        positives: u64,
        thresholds: &[f64],
        best: &mut Vec<f64>,
        precision: impl Iterator<Item = &'a mut f64>,
    ) {
        let positives = positives as f64;
        best.clear();
        best.extend(self.runs.iter().map(|&(hits, misses)| {
            let (hits, misses) = (hits as f64, misses as f64);
            hits / (misses + hits + f64::EPSILON)
        }));
        for i in (1..best.len()).rev() {
            best[i - 1] = best[i - 1].max(best[i]);
        }
        let mut next = 0;
        for (&threshold, precision) in thresholds.iter().zip(precision) {
            if threshold > 0.0 {
                while next < best.len() && self.runs[next].0 as f64 / positives < threshold {
                    next += 1;
                }
            }
            *precision = best.get(next).copied().unwrap_or(0.0);
        }
    }
}

/// Positions of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}
