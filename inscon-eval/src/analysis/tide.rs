//! TIDE: what each kind of error costs (Bolya et al. 2020, arXiv 2008.08115).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::coco::scenes::{Scene, Selection, each_scene};
use crate::{CocoParams, EvalError, GroundTruth, Results, by_score};

/// Where TIDE draws its lines; tidecv's by default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TideParams {
    /// A detection matches from this overlap on.
    pub positive: f64,
    /// Up to this overlap a detection is of the background.
    pub background: f64,
    /// The best so many detections of an image, of all classes together, count.
    pub max_detections: usize,
}

impl Default for TideParams {
    /// 0.5, 0.1 and 100.
    fn default() -> Self {
        Self {
            positive: 0.5,
            background: 0.1,
            max_detections: 100,
        }
    }
}

/// What each kind of error costs: how much AP would grow if it alone were mended. All in 0..1
/// (tidecv prints percent).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TideErrors {
    /// AP at the positive threshold, as tidecv has it: the mean over classes that have a truth or
    /// a detection (without a truth it is 0).
    pub ap: f64,
    /// The six main errors, of which each detection or truth is at most one.
    pub main: TideMain<f64>,
    /// How many there are of each.
    pub counts: TideMain<u64>,
    /// AP gained if all false positives had a score of 0.
    pub false_positives: f64,
    /// AP gained if no truth were missed.
    pub false_negatives: f64,
}

/// A number for each of the main errors, by tidecv's short names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TideMain<T> {
    /// Classification: well placed on a truth of another class.
    pub cls: T,
    /// Localisation: on a truth of its class, but not well enough.
    pub loc: T,
    /// Both: neither well placed nor of the right class.
    pub both: T,
    /// Duplicate: of a truth that a better detection took.
    pub dupe: T,
    /// Background: on nothing.
    pub bkg: T,
    /// Missed: a truth that no error above would find if it were mended.
    pub miss: T,
}

/// A kind of main error.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Cls,
    Loc,
    Both,
    Dupe,
    Bkg,
    Miss,
}

/// A detection as AP counts it.
#[derive(Clone, Copy)]
struct Point {
    class: u32,
    score: f64,
    hit: bool,
}

/// An error, as it is and as it would be if it were mended.
#[derive(Clone, Copy)]
struct Error {
    kind: Kind,
    original: Option<Point>,
    fixed: Option<Point>,
    /// The class that mending takes a truth from.
    forgiven: Option<u32>,
}

/// What an image adds.
#[derive(Default)]
struct Part {
    /// Detections that count, best first.
    points: Vec<Point>,
    errors: Vec<Error>,
    /// Classes of the truths, and of those that were not found.
    truths: Vec<u32>,
    missed: Vec<u32>,
}

/// Breaks the lost AP down by kind of error, with tidecv 1.0.1's definitions.
///
/// On each image the best [`max_detections`](TideParams::max_detections) detections take, best
/// score first, the truth of their class of largest overlap that is still free. A detection that
/// finds none is the first of these that fits:
///
/// ```text
/// Bkg   the image has no truth but crowds
/// Loc   largest overlap with its class in background..=positive
/// Cls   largest overlap with another class ≥ positive
/// Dupe  largest overlap with a taken truth of its class ≥ positive
/// Bkg   largest overlap with any truth ≤ background
/// Both  otherwise
/// ```
///
/// Mending a Cls or Loc error makes it a hit of its truth, if that is free and the detection is the
/// best of those with this error of that truth; any other error is removed. Mending a Miss takes
/// the truth away. A gain below 0 counts as 0.
///
/// Crowds are tidecv's ignore regions of their class: a detection without a truth that lies on one
/// by more than `positive` of its own area does not count as false. As in tidecv, it is an error
/// of some kind nevertheless, which mending may turn into a hit.
///
/// Of `params` the type of overlap, the images, the classes and what belongs to the type of overlap
/// are used. Detections and truths of classes that the ground truth does not list are dropped
/// (tidecv makes classes of them); a NaN score counts as the lowest.
///
/// # Errors
/// As [`evaluate`](crate::evaluate), and when the thresholds are not `0 < background ≤ positive`.
///
/// ```
/// use inscon_eval::{CocoParams, GroundTruth, IouType, Results, TideParams, tide};
///
/// let truth = r#"{"images": [{"id": 7}],
///     "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
///     "annotations": [{"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// let found = r#"[{"image_id": 7, "category_id": 2, "bbox": [0, 0, 4, 4], "score": 0.9}]"#;
/// let truth = GroundTruth::read(truth.as_bytes(), "truth", IouType::Bbox)?;
/// let found = Results::read(found.as_bytes(), "found", IouType::Bbox)?;
/// let errors = tide(&truth, &found, &CocoParams::new(IouType::Bbox), &TideParams::default())?;
/// assert_eq!((errors.ap, errors.main.cls, errors.counts.cls), (0.0, 1.0, 1));
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn tide(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
    tide: &TideParams,
) -> Result<TideErrors, EvalError> {
    let TideParams {
        positive,
        background,
        max_detections,
    } = *tide;
    if positive.is_nan() || background.is_nan() || background <= 0.0 || positive < background {
        return Err(EvalError::Params {
            name: "positive, background",
            problem: "are not 0 < background <= positive; tidecv's are 0.5 and 0.1",
        });
    }
    let selection = Selection {
        limit: max_detections,
        score: f64::NEG_INFINITY,
        overlap: background,
    };
    let mut scenes = each_scene(truth, results, params, &selection, |scene| {
        look(&scene, positive, background)
    })?;
    // In the order of the file, as tidecv goes: that is how equal scores stay.
    let ranks: HashMap<u64, usize> = scenes.images.into_iter().zip(0..).collect();
    let mut run = Run {
        truths: vec![0; scenes.categories.len()],
        missed: vec![0; scenes.categories.len()],
        ..Run::default()
    };
    for image in &truth.images {
        if let Some(&rank) = ranks.get(&image.id) {
            // An image that is listed twice is empty the second time.
            run.add(std::mem::take(&mut scenes.each[rank]));
        }
    }
    Ok(run.errors())
}

/// Matches an image and names its errors.
fn look(scene: &Scene, positive: f64, background: f64) -> Part {
    let mut part = Part::default();
    let truths = &scene.truths;
    let real = |g: u32| !truths[g as usize].crowd;
    let mut used = vec![false; truths.len()];
    let taken: Vec<bool> = scene
        .detections
        .iter()
        .map(|d| {
            let own = d.overlaps.iter().copied().filter(|&(g, _)| {
                real(g) && truths[g as usize].class == d.class && !used[g as usize]
            });
            match largest(own) {
                Some((g, iou)) if iou >= positive => {
                    used[g as usize] = true;
                    true
                }
                _ => false,
            }
        })
        .collect();
    let any = truths.iter().any(|truth| !truth.crowd);
    // By truth: the first detection, which has the best score, with an error that it would mend.
    let mut usable = vec![false; truths.len()];
    for (d, &taken) in scene.detections.iter().zip(&taken) {
        let point = |class, hit| Point {
            class,
            score: d.score,
            hit,
        };
        let excused = !taken
            && d.overlaps
                .iter()
                .any(|&(g, iou)| !real(g) && truths[g as usize].class == d.class && iou > positive);
        let original = (!excused).then(|| point(d.class, taken));
        part.points.extend(original);
        if taken {
            continue;
        }
        let best = |keep: &dyn Fn(usize) -> bool| {
            largest(
                d.overlaps
                    .iter()
                    .copied()
                    .filter(|&(g, _)| real(g) && keep(g as usize)),
            )
        };
        let own = |g: usize| truths[g].class == d.class;
        let mut fixed = None;
        let mut mend = |g: u32, class: u32| {
            let g = g as usize;
            if !used[g] && !std::mem::replace(&mut usable[g], true) {
                fixed = Some(point(class, true));
            }
        };
        let kind = if !any {
            Kind::Bkg
        } else if let Some((g, _)) =
            best(&own).filter(|(_, iou)| (background..=positive).contains(iou))
        {
            mend(g, d.class);
            Kind::Loc
        } else if let Some((g, _)) = best(&|g| !own(g)).filter(|(_, iou)| *iou >= positive) {
            mend(g, truths[g as usize].class);
            Kind::Cls
        } else if best(&|g| own(g) && used[g]).is_some_and(|(_, iou)| iou >= positive) {
            Kind::Dupe
        } else if best(&|_| true).is_none_or(|(_, iou)| iou <= background) {
            Kind::Bkg
        } else {
            Kind::Both
        };
        part.errors.push(Error {
            kind,
            original,
            fixed,
            forgiven: None,
        });
    }
    for (g, truth) in truths.iter().enumerate().filter(|(_, truth)| !truth.crowd) {
        part.truths.push(truth.class);
        if used[g] {
            continue;
        }
        part.missed.push(truth.class);
        if !usable[g] {
            part.errors.push(Error {
                kind: Kind::Miss,
                original: None,
                fixed: None,
                forgiven: Some(truth.class),
            });
        }
    }
    part
}

/// The first of the largest overlaps.
fn largest(overlaps: impl Iterator<Item = (u32, f64)>) -> Option<(u32, f64)> {
    overlaps.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// All images.
#[derive(Default)]
struct Run {
    points: Vec<Point>,
    errors: Vec<Error>,
    /// By class.
    truths: Vec<u64>,
    missed: Vec<u64>,
}

impl Run {
    fn add(&mut self, part: Part) {
        self.points.extend(part.points);
        self.errors.extend(part.errors);
        for class in part.truths {
            self.truths[class as usize] += 1;
        }
        for class in part.missed {
            self.missed[class as usize] += 1;
        }
    }

    fn errors(&self) -> TideErrors {
        let ap = mean_ap(self.points.iter().copied(), &self.truths);
        // tidecv puts the errors before the hits, which is how equal scores stay.
        let hits = || self.points.iter().copied().filter(|point| point.hit);
        let gain = |kind| {
            let mut truths = self.truths.clone();
            let mended = self.errors.iter().filter(|error| error.kind == kind);
            for class in mended.filter_map(|error| error.forgiven) {
                truths[class as usize] -= 1;
            }
            let errors = self
                .errors
                .iter()
                .filter_map(|error| match error.kind == kind {
                    true => error.fixed,
                    false => error.original,
                });
            (mean_ap(errors.chain(hits()), &truths) - ap).max(0.0)
        };
        let count = |kind| {
            self.errors
                .iter()
                .filter(|error| error.kind == kind)
                .count() as u64
        };
        let originals = || self.errors.iter().filter_map(|error| error.original);
        let last = originals().chain(hits()).map(|point| Point {
            score: f64::from(u8::from(point.hit)),
            ..point
        });
        let found: Vec<u64> = self
            .truths
            .iter()
            .zip(&self.missed)
            .map(|(truths, missed)| truths - missed)
            .collect();
        TideErrors {
            ap,
            main: TideMain::of(gain),
            counts: TideMain::of(count),
            false_positives: mean_ap(last, &self.truths) - ap,
            false_negatives: mean_ap(originals().chain(hits()), &found) - ap,
        }
    }
}

impl<T> TideMain<T> {
    fn of(each: impl Fn(Kind) -> T) -> Self {
        Self {
            cls: each(Kind::Cls),
            loc: each(Kind::Loc),
            both: each(Kind::Both),
            dupe: each(Kind::Dupe),
            bkg: each(Kind::Bkg),
            miss: each(Kind::Miss),
        }
    }
}

/// tidecv's mAP: the mean over the classes that have a truth or a point; 0 of no class.
fn mean_ap(points: impl Iterator<Item = Point>, truths: &[u64]) -> f64 {
    let mut classes: Vec<(Vec<f64>, Vec<bool>)> = vec![Default::default(); truths.len()];
    for point in points {
        let (scores, hits) = &mut classes[point.class as usize];
        scores.push(point.score);
        hits.push(point.hit);
    }
    let mut sum = 0.0;
    let mut count = 0_u32;
    for ((scores, hits), &truths) in classes.iter().zip(truths) {
        if truths > 0 || !scores.is_empty() {
            let hits: Vec<bool> = by_score(scores).into_iter().map(|i| hits[i]).collect();
            sum += class_ap(&hits, truths);
            count += 1;
        }
    }
    sum / f64::from(count.max(1))
}

/// tidecv's AP: the mean of the envelope at the recalls 0, 0.01, .., 1.
fn class_ap(hits: &[bool], truths: u64) -> f64 {
    if truths == 0 {
        return 0.0;
    }
    let mut found = 0_u32;
    let (mut precision, recall): (Vec<f64>, Vec<f64>) = (1_u32..)
        .zip(hits)
        .map(|(seen, &hit)| {
            found += u32::from(hit);
            let found = f64::from(found);
            (found / f64::from(seen), found / truths as f64)
        })
        .unzip();
    for i in (1..precision.len()).rev() {
        precision[i - 1] = precision[i - 1].max(precision[i]);
    }
    let sum: f64 = (0..=100)
        .map(|hundredth| {
            let at = recall.partition_point(|&r| r < f64::from(hundredth) / 100.0);
            precision.get(at).copied().unwrap_or(0.0)
        })
        .sum();
    sum / 101.0
}
