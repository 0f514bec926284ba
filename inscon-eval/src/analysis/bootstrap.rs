//! How sure an AP is, and whether one detector is better than another.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::replay::Memory;
use super::{Measures, Replay};
use crate::{CocoParams, EvalError, GroundTruth, Results};

/// How images are resampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapParams {
    /// How often as many images as there are get drawn, with replacement.
    pub resamples: usize,
    /// Of the generator (xoshiro256++; each resample has a stream of its own, a jump apart).
    pub seed: u64,
    /// Share of the resamples that an interval spans.
    pub confidence: f64,
    /// Whether there is an interval for every class as well.
    pub per_class: bool,
}

impl Default for BootstrapParams {
    /// 1,000 resamples, seed 0, 95 %, no classes.
    fn default() -> Self {
        Self {
            resamples: 1000,
            seed: 0,
            confidence: 0.95,
            per_class: false,
        }
    }
}

/// A measure and how far it would stray on other images.
///
/// Where there is nothing to find all numbers are -1 and `resamples` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// On the images as they are.
    pub value: f64,
    /// Lower end of the percentile interval (interpolated as numpy's `percentile` does).
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Standard deviation over the resamples; 0 of a single one.
    pub standard_error: f64,
    /// Resamples in which there was something to find.
    pub resamples: usize,
}

/// Intervals of AP; made by [`bootstrap`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// How it was made.
    pub params: BootstrapParams,
    /// Number of images.
    pub images: usize,
    /// AP.
    pub ap: Interval,
    /// AP at IoU .50.
    pub ap50: Interval,
    /// AP at IoU .75.
    pub ap75: Interval,
    /// AP of each class, if wanted.
    pub per_class: Vec<ClassValue<Interval>>,
}

/// Something of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassValue<T> {
    /// Id of the category (0 if classes are not told apart).
    pub category_id: u64,
    /// Its name.
    pub name: String,
    /// Of its AP.
    pub ap: T,
}

/// Two results on the same images; made by [`compare_results`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// How it was made.
    pub params: BootstrapParams,
    /// Number of images.
    pub images: usize,
    /// AP.
    pub ap: Paired,
    /// AP at IoU .50.
    pub ap50: Paired,
    /// AP at IoU .75.
    pub ap75: Paired,
    /// AP of each class, if wanted.
    pub per_class: Vec<ClassValue<Paired>>,
}

/// A measure of two results A and B, resampled together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// A's, on the images as they are.
    pub a: f64,
    /// B's.
    pub b: f64,
    /// A's less B's.
    pub difference: Interval,
    /// Share of the resamples in which A's is larger; -1 if there are none.
    pub a_better: f64,
    /// Two-sided p of no difference: `2 (1 + min(resamples with A ≤ B, with A ≥ B)) / (1 +
    /// resamples)`, at most 1. It is never less than `2 / (1 + resamples)`.
    pub p_value: f64,
}

/// Confidence intervals of AP, AP50 and AP75 (and of every class's AP) by resampling images with
/// replacement. Nothing is matched again (see [`Replay`]), and the result does not depend on the
/// number of threads.
///
/// Area range and detection limit are those of [`Replay::new`].
///
/// # Errors
/// As [`Replay::new`], and when `resamples` is 0 or `confidence` not between 0 and 1.
///
/// ```no_run
/// use inscon_eval::{BootstrapParams, CocoParams, GroundTruth, IouType, Results, bootstrap};
///
/// let truth = GroundTruth::load("instances_val2017.json", IouType::Bbox)?;
/// let results = Results::load("bbox.json", IouType::Bbox)?;
/// let params = CocoParams::new(IouType::Bbox);
/// let ap = bootstrap(&truth, &results, &params, &BootstrapParams::default())?.ap;
/// println!("AP {:.3} ({:.3} to {:.3})", ap.value, ap.low, ap.high);
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn bootstrap(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
    options: &BootstrapParams,
) -> Result<Bootstrap, EvalError> {
    options.check()?;
    let replay = Replay::new(truth, results, params)?;
    let [(whole, samples)] = options.run([&replay]);
    let of = |get: &dyn Fn(&Measures) -> f64| {
        let samples = samples.iter().map(|sample| defined(get(sample)));
        options.interval(defined(get(&whole)), samples.collect())
    };
    Ok(Bootstrap {
        params: options.clone(),
        images: replay.images().len(),
        ap: of(&|m| m.ap),
        ap50: of(&|m| m.ap50),
        ap75: of(&|m| m.ap75),
        per_class: options.classes(&replay, |k| of(&|m| m.per_class[k])),
    })
}

/// Whether results `a` are better than `b`: both on the same resamples.
///
/// # Errors
/// As [`bootstrap`].
///
/// ```no_run
/// use inscon_eval::{BootstrapParams, CocoParams, GroundTruth, IouType, Results, compare_results};
///
/// let truth = GroundTruth::load("instances_val2017.json", IouType::Bbox)?;
/// let [a, b] = ["new.json", "old.json"].map(|path| Results::load(path, IouType::Bbox));
/// let params = CocoParams::new(IouType::Bbox);
/// let ap = compare_results(&truth, &a?, &b?, &params, &BootstrapParams::default())?.ap;
/// println!("{:+.3}, p = {:.3}", ap.difference.value, ap.p_value);
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn compare_results(
    truth: &GroundTruth,
    a: &Results,
    b: &Results,
    params: &CocoParams,
    options: &BootstrapParams,
) -> Result<Comparison, EvalError> {
    options.check()?;
    let (a, b) = (
        Replay::new(truth, a, params)?,
        Replay::new(truth, b, params)?,
    );
    let [(whole_a, samples_a), (whole_b, samples_b)] = options.run([&a, &b]);
    let of = |get: &dyn Fn(&Measures) -> f64| {
        let less = |a: &Measures, b: &Measures| Some(defined(get(a))? - defined(get(b))?);
        let samples = samples_a.iter().zip(&samples_b).map(|(a, b)| less(a, b));
        let samples: Vec<Option<f64>> = samples.collect();
        let count = |keep: &dyn Fn(f64) -> bool| {
            samples.iter().flatten().filter(|&&d| keep(d)).count() as f64
        };
        let (better, worse) = (count(&|d| d > 0.0), count(&|d| d < 0.0));
        let all = count(&|_| true);
        let rarer = (all - better).min(all - worse);
        Paired {
            a: get(&whole_a),
            b: get(&whole_b),
            a_better: if all > 0.0 { better / all } else { -1.0 },
            p_value: (2.0 * (1.0 + rarer) / (1.0 + all)).min(1.0),
            difference: options.interval(less(&whole_a, &whole_b), samples),
        }
    };
    Ok(Comparison {
        params: options.clone(),
        images: a.images().len(),
        ap: of(&|m| m.ap),
        ap50: of(&|m| m.ap50),
        ap75: of(&|m| m.ap75),
        per_class: options.classes(&a, |k| of(&|m| m.per_class[k])),
    })
}

/// -1 is nothing.
fn defined(measure: f64) -> Option<f64> {
    (measure > -1.0).then_some(measure)
}

impl BootstrapParams {
    fn check(&self) -> Result<(), EvalError> {
        let fail = |name, problem| Err(EvalError::Params { name, problem });
        if self.resamples == 0 {
            return fail("resamples", "is 0; 1000 are usual");
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return fail("confidence", "is not between 0 and 1; 0.95 is usual");
        }
        Ok(())
    }

    /// The measures of each as it is, and of every resample. All are of the same images.
    fn run<const N: usize>(&self, replays: [&Replay; N]) -> [(Measures, Vec<Measures>); N] {
        let images = replays.first().map_or(0, |replay| replay.images().len());
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let generators: Vec<Xoshiro256PlusPlus> = (0..self.resamples)
            .map(|_| {
                let own = generator.clone();
                generator.jump();
                own
            })
            .collect();
        let samples: Vec<[Measures; N]> = generators
            .into_par_iter()
            .map_init(
                || (Memory::default(), vec![0; images]),
                |(memory, times), generator| {
                    draw(generator, times);
                    replays.map(|replay| replay.mixture(times, self.per_class, memory))
                },
            )
            .collect();
        let ones = vec![1; images];
        let mut runs = replays.map(|replay| {
            let whole = replay.mixture(&ones, self.per_class, &mut Memory::default());
            (whole, Vec::with_capacity(self.resamples))
        });
        for sample in samples {
            for (run, measures) in runs.iter_mut().zip(sample) {
                run.1.push(measures);
            }
        }
        runs
    }

    fn interval(&self, value: Option<f64>, samples: Vec<Option<f64>>) -> Interval {
        let mut samples: Vec<f64> = samples.into_iter().flatten().collect();
        samples.sort_unstable_by(f64::total_cmp);
        let (Some(value), Some(&first)) = (value, samples.first()) else {
            return Interval {
                value: -1.0,
                low: -1.0,
                high: -1.0,
                standard_error: -1.0,
                resamples: 0,
            };
        };
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares: f64 = samples.iter().map(|v| (v - mean) * (v - mean)).sum();
        let at = |share: f64| {
            let place = share * (count - 1.0);
            let low = samples.get(place as usize).copied().unwrap_or(first);
            let high = samples.get(place as usize + 1).copied().unwrap_or(low);
            low + (high - low) * place.fract()
        };
        let tail = (1.0 - self.confidence) / 2.0;
        Interval {
            value,
            low: at(tail),
            high: at(1.0 - tail),
            standard_error: (squares / (count - 1.0).max(1.0)).sqrt(),
            resamples: samples.len(),
        }
    }

    /// One for each class, if classes are wanted.
    fn classes<T>(&self, replay: &Replay, of: impl Fn(usize) -> T) -> Vec<ClassValue<T>> {
        let classes = replay.categories().iter().enumerate();
        classes
            .filter(|_| self.per_class)
            .map(|(k, (category_id, name))| ClassValue {
                category_id: *category_id,
                name: name.clone(),
                ap: of(k),
            })
            .collect()
    }
}

/// How often each image is drawn, if as many are drawn as there are.
fn draw(mut generator: Xoshiro256PlusPlus, times: &mut [u32]) {
    times.fill(0);
    for _ in 0..times.len() {
        // The upper half of the product is in 0..len; its bias, len / 2^64, is of no account.
        let wide = u128::from(generator.next_u64()) * times.len() as u128;
        times[(wide >> 64) as usize] += 1;
    }
}
