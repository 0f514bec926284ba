//! One class: matching, best score first, and precision-recall curves.
//!
//! Images do not influence each other, so the detections of a class can be matched in the order of
//! their scores over all images, which is the order in which they are accumulated: one pass does
//! both.

use super::accumulate::{Curve, read_off, score_key};
use super::columns::{CROWD, IGNORE};
use super::grouping::Member;
use super::overlap::{Overlaps, reaches};
use super::{AreaRange, CocoParams, GroundTruth, IouType, Mode, Results};
use crate::EvalError;

/// IoU thresholds looked at in one pass: the bits of a word.
const LANES: usize = 64;

/// What every class needs.
pub(crate) struct Job<'a> {
    pub(crate) truth: &'a GroundTruth,
    pub(crate) results: &'a Results,
    pub(crate) params: &'a CocoParams,
    /// Height and width by rank of image.
    pub(crate) sizes: Vec<(u32, u32)>,
    /// Detections without an area, or with an infinite one, are left out (LVIS).
    pub(crate) needs_area: bool,
}

/// Where one class's numbers go; `-1` everywhere.
pub(crate) struct Table<'a> {
    /// `[A, M, T, R]`
    pub(crate) precision: &'a mut [f64],
    /// `[A, M, T, R]`
    pub(crate) scores: &'a mut [f64],
    /// `[A, M, T]`
    pub(crate) recall: &'a mut [f64],
}

/// What a detection came to, for those who want to know.
pub(crate) struct Outcome {
    pub(crate) member: Member,
    /// Area range, on the A axis.
    pub(crate) area: usize,
    /// The first of the IoU thresholds that the bits below stand for.
    pub(crate) first: usize,
    /// Thresholds at which it is a hit, and at which it counts for nothing.
    pub(crate) hit: u64,
    pub(crate) ignored: u64,
    /// For each threshold of `first..`, the truth it took; empty if it took none at any.
    pub(crate) taken: Vec<Option<u32>>,
}

/// Memory that a thread uses for one class after the other.
pub(crate) struct Scratch {
    /// By rank of image: detections of the class that match nothing count for nothing there
    /// (LVIS). Nowhere if there are none.
    pub(crate) open: Vec<bool>,
    slots: Vec<Slot>,
    keys: Vec<u128>,
    /// Of the detections, in the order given.
    scores: Vec<f64>,
    candidates: Vec<(u32, f64)>,
    /// By area range, limit and threshold.
    curves: Vec<Curve>,
    best: Vec<f64>,
}

/// The class on one image.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Its truths.
    start: u32,
    end: u32,
    /// Detections seen so far.
    count: u32,
}

impl Scratch {
    pub(crate) fn new(images: usize) -> Self {
        Self {
            open: Vec::new(),
            slots: vec![Slot::default(); images],
            keys: Vec::new(),
            scores: Vec::new(),
            candidates: Vec::new(),
            curves: Vec::new(),
            best: Vec::new(),
        }
    }
}

/// The truths of a class, as far as matching cares.
struct Targets {
    crowd: Vec<bool>,
    /// A match does not count as one: pycocotools and annotation id 0.
    invisible: Vec<bool>,
    /// By area range and truth.
    ignored: Vec<bool>,
    /// By area range and truth: the thresholds at which it is taken.
    taken: Vec<u64>,
    count: usize,
}

impl Job<'_> {
    /// Evaluates the class of these members, in the order of the [grouping](super::grouping);
    /// `report` gets every detection within the largest limit, best score first, by area range.
    pub(crate) fn class(
        &self,
        truths: &[Member],
        detections: &[Member],
        scratch: &mut Scratch,
        table: &mut Table<'_>,
        mut report: Option<&mut dyn FnMut(Outcome)>,
    ) -> Result<(), EvalError> {
        let params = self.params;
        let [areas, limits] = [params.area_ranges.len(), params.max_detections.len()];
        let recalls = params.recall_thresholds.len();
        let total = params.iou_thresholds.len();
        let mut overlaps = Overlaps::new(
            &self.truth.rows,
            self.results,
            params,
            &self.sizes,
            truths,
            detections,
        )?;
        let mut targets = self.targets(truths);
        let positives: Vec<usize> = (0..areas)
            .map(|a| {
                let ignored = &targets.ignored[a * targets.count..][..targets.count];
                ignored.iter().filter(|&&ignored| !ignored).count()
            })
            .collect();
        for (g, member) in (0..).zip(truths) {
            let slot = &mut scratch.slots[member.image as usize];
            if slot.end == 0 {
                slot.start = g;
            }
            slot.end = g + 1;
        }
        let scores = &self.results.scores;
        scratch.scores.clear();
        let each = detections.iter().map(|d| scores[d.index as usize]);
        scratch.scores.extend(each);
        sort(detections, &scratch.scores, &mut scratch.keys);
        let mut result = Ok(());
        for first in (0..total.max(1)).step_by(LANES) {
            let lanes = (total - first).min(LANES);
            targets.taken.fill(0);
            if first > 0 {
                for d in detections {
                    scratch.slots[d.image as usize].count = 0;
                }
            }
            let block = Block {
                job: self,
                thresholds: params.iou_thresholds[first..first + lanes]
                    .iter()
                    .map(|t| t.min(1.0 - 1e-10))
                    .collect(),
                first,
                every: if lanes == LANES {
                    u64::MAX
                } else {
                    (1 << lanes) - 1
                },
            };
            result = block.pass(
                detections,
                scratch,
                &mut overlaps,
                &mut targets,
                &mut report,
            );
            if result.is_err() {
                break;
            }
            for (a, &positives) in positives.iter().enumerate() {
                for m in 0..limits {
                    for t in 0..lanes {
                        let at = (a * limits + m) * total + first + t;
                        let curve = &scratch.curves[(a * limits + m) * lanes + t];
                        if positives > 0 {
                            let range = at * recalls..(at + 1) * recalls;
                            table.recall[at] = read_off(
                                curve,
                                positives,
                                &params.recall_thresholds,
                                &mut scratch.best,
                                &mut table.precision[range.clone()],
                                &mut table.scores[range],
                            );
                        }
                    }
                }
            }
        }
        for member in truths.iter().chain(detections) {
            scratch.slots[member.image as usize] = Slot::default();
        }
        result
    }

    fn targets(&self, truths: &[Member]) -> Targets {
        let rows = &self.truth.rows;
        let strict = self.params.mode == Mode::Strict;
        let each = |f: &dyn Fn(usize) -> bool| -> Vec<bool> {
            truths.iter().map(|m| f(m.index as usize)).collect()
        };
        let crowd = each(&|i| rows.flags[i] & CROWD != 0);
        let mut ignored = Vec::with_capacity(truths.len() * self.params.area_ranges.len());
        for range in &self.params.area_ranges {
            ignored.extend(each(&|i| self.ignores(range, i)));
        }
        Targets {
            crowd,
            invisible: each(&|i| strict && rows.ids[i] == 0),
            taken: vec![0; ignored.len()],
            ignored,
            count: truths.len(),
        }
    }

    /// Whether truth `i` need not be found among those of `range`.
    pub(super) fn ignores(&self, range: &AreaRange, i: usize) -> bool {
        let rows = &self.truth.rows;
        let keypoints = self.params.iou_type == IouType::Keypoints;
        rows.flags[i] & (CROWD | IGNORE) != 0
            || keypoints && rows.num_keypoints[i] == 0
            || range.excludes(rows.areas[i])
    }
}

/// Best score first; equals by image, then in the order given.
fn sort(detections: &[Member], scores: &[f64], keys: &mut Vec<u128>) {
    keys.clear();
    let each = (0_u32..).zip(detections).zip(scores);
    keys.extend(each.map(|((position, d), &score)| {
        let score = u128::from(score_key(score));
        score << 64 | u128::from(d.image) << 32 | u128::from(position)
    }));
    keys.sort_unstable();
}

/// Some of the thresholds.
struct Block<'a> {
    job: &'a Job<'a>,
    thresholds: Vec<f64>,
    first: usize,
    /// A bit for each threshold.
    every: u64,
}

impl Block<'_> {
    fn pass(
        &self,
        detections: &[Member],
        scratch: &mut Scratch,
        overlaps: &mut Overlaps<'_>,
        targets: &mut Targets,
        report: &mut Option<&mut dyn FnMut(Outcome)>,
    ) -> Result<(), EvalError> {
        let params = self.job.params;
        let limits = params.max_detections.as_slice();
        let lanes = self.thresholds.len();
        let every = self.every;
        let lowest = self
            .thresholds
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let mut most = limits.last().copied().unwrap_or(0);
        most = most.min(u32::MAX as usize);
        let curves = &mut scratch.curves;
        curves.resize_with(
            params.area_ranges.len() * limits.len() * lanes,
            Curve::default,
        );
        curves.iter_mut().for_each(Curve::clear);
        // Misses at every threshold, by area range and limit.
        let mut misses = vec![0_u32; params.area_ranges.len() * limits.len()];
        for (i, &key) in scratch.keys.iter().enumerate() {
            let position = key as u32 as usize;
            let d = detections[position];
            let score = scratch.scores[position];
            let slot = &mut scratch.slots[d.image as usize];
            let rank = slot.count as usize;
            if rank >= most {
                continue;
            }
            slot.count += 1;
            let from = limits.partition_point(|&limit| limit <= rank);
            if i == 0 {
                for curves in curves.chunks_mut((limits.len() * lanes).max(1)) {
                    let top = curves[from * lanes..].iter_mut();
                    top.for_each(|curve| curve.start(score));
                }
            }
            let area = overlaps.area(position, d)?;
            if self.job.needs_area && !(area > 0.0 && area < f64::INFINITY) {
                continue;
            }
            let open = scratch.open.get(d.image as usize).is_some_and(|&open| open);
            scratch.candidates.clear();
            if slot.start < slot.end {
                let range = slot.start..slot.end;
                let candidates = &mut scratch.candidates;
                overlaps.candidates(position, d, range, lowest, candidates)?;
            }
            if scratch.candidates.is_empty() {
                for (range, misses) in params
                    .area_ranges
                    .iter()
                    .zip(misses.chunks_mut(limits.len()))
                {
                    if !open && !range.excludes(area) {
                        misses[from..].iter_mut().for_each(|count| *count += 1);
                    }
                }
                if let Some(report) = report {
                    for (a, range) in params.area_ranges.iter().enumerate() {
                        report(Outcome {
                            member: d,
                            area: a,
                            first: self.first,
                            hit: 0,
                            ignored: if range.excludes(area) { every } else { 0 },
                            taken: Vec::new(),
                        });
                    }
                }
                continue;
            }
            for (a, range) in params.area_ranges.iter().enumerate() {
                let outside = open || range.excludes(area);
                let (hit, ignored, taken) =
                    self.matches(&scratch.candidates, targets, a, outside, report.is_some());
                let missed = every & !(hit | ignored);
                for m in from..limits.len() {
                    let at = a * limits.len() + m;
                    let curves = &mut curves[at * lanes..(at + 1) * lanes];
                    if missed == every {
                        misses[at] += 1;
                        continue;
                    }
                    for t in bits(missed) {
                        curves[t].misses += 1;
                    }
                    for t in bits(hit) {
                        curves[t].hit(misses[at], score);
                    }
                }
                if let Some(report) = report {
                    report(Outcome {
                        member: d,
                        area: a,
                        first: self.first,
                        hit,
                        ignored,
                        taken,
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes, at each threshold, the truth of largest overlap from the threshold on (the last one
    /// of equals), one that counts before one that does not.
    fn matches(
        &self,
        candidates: &[(u32, f64)],
        targets: &mut Targets,
        area: usize,
        outside: bool,
        wanted: bool,
    ) -> (u64, u64, Vec<Option<u32>>) {
        let base = area * targets.count;
        if let ([(g, iou)], false) = (candidates, wanted) {
            return self.only_match(*g as usize, *iou, targets, base, outside);
        }
        let (mut hit, mut ignored) = (0, 0);
        let mut list = Vec::new();
        for (t, &threshold) in self.thresholds.iter().enumerate() {
            let bit = 1 << t;
            let mut found = None;
            for counts in [true, false] {
                let mut best = threshold;
                for &(g, iou) in candidates {
                    let at = base + g as usize;
                    if targets.ignored[at] == counts
                        || targets.taken[at] & bit != 0 && !targets.crowd[g as usize]
                        || iou < best
                    {
                        continue;
                    }
                    best = iou;
                    found = Some(g as usize);
                }
                if found.is_some() {
                    break;
                }
            }
            let mut matched = false;
            let mut counts_not = false;
            if let Some(g) = found {
                targets.taken[base + g] |= bit;
                matched = !targets.invisible[g];
                counts_not = targets.ignored[base + g];
            }
            if counts_not || !matched && outside {
                ignored |= bit;
            } else if matched {
                hit |= bit;
            }
            if wanted {
                list.push(found.map(|g| g as u32));
            }
        }
        (hit, ignored, list)
    }
}

impl Block<'_> {
    /// [`matches`](Self::matches) of the only candidate, at all thresholds at once.
    fn only_match(
        &self,
        g: usize,
        iou: f64,
        targets: &mut Targets,
        base: usize,
        outside: bool,
    ) -> (u64, u64, Vec<Option<u32>>) {
        let mut taking = 0;
        for (t, &threshold) in self.thresholds.iter().enumerate() {
            taking |= u64::from(reaches(iou, threshold)) << t;
        }
        let taken = &mut targets.taken[base + g];
        if !targets.crowd[g] {
            taking &= !*taken;
        }
        *taken |= taking;
        let matched = if targets.invisible[g] { 0 } else { taking };
        let unmatched = if outside { self.every & !matched } else { 0 };
        let no_count = if targets.ignored[base + g] { taking } else { 0 };
        let ignored = no_count | unmatched;
        (matched & !ignored, ignored, Vec::new())
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
