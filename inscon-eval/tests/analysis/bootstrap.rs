//! A replay equals the evaluation of images that were really copied; intervals and comparisons.

use std::time::Instant;

use inscon_eval::{
    BootstrapParams, CocoDataset, CocoParams, Detection, GroundTruth, IouType, Measures, Replay,
    Results, bootstrap, compare_results, evaluate, evaluate_coco,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::scenes::scenes;
use crate::with_threads;

fn columns(truth: &CocoDataset, found: &[Detection]) -> (GroundTruth, Results) {
    (
        GroundTruth::from_dataset(truth, IouType::Bbox),
        Results::from_detections(found, IouType::Bbox),
    )
}

fn evaluated(truth: &CocoDataset, found: &[Detection], params: &CocoParams) -> Measures {
    let summary = evaluate_coco(truth, found, params).unwrap().summary();
    Measures {
        ap: summary.ap,
        ap50: summary.ap50,
        ap75: summary.ap75,
        per_class: summary.per_class.iter().map(|class| class.ap).collect(),
    }
}

/// Copies of each image under new ids, next to each other.
fn copied(
    truth: &CocoDataset,
    found: &[Detection],
    times: &[u32],
) -> (CocoDataset, Vec<Detection>) {
    let (mut copy, mut copies) = (truth.clone(), Vec::new());
    copy.images.clear();
    copy.annotations.clear();
    for (image, &times) in truth.images.iter().zip(times) {
        for n in 0..times {
            let image_id = image.id * 100 + u64::from(n);
            let mut image = image.clone();
            image.id = image_id;
            copy.images.push(image);
        }
    }
    for (image, &times) in truth.images.iter().zip(times) {
        for n in 0..times {
            let image_id = image.id * 100 + u64::from(n);
            for a in truth.annotations.iter().filter(|a| a.image_id == image.id) {
                let mut a = a.clone();
                (a.id, a.image_id) = (copy.annotations.len() as u64 + 1, image_id);
                copy.annotations.push(a);
            }
            for d in found.iter().filter(|d| d.image_id == image.id) {
                let mut d = d.clone();
                d.image_id = image_id;
                copies.push(d);
            }
        }
    }
    (copy, copies)
}

#[test]
fn a_replay_equals_real_copies() {
    let mut params = CocoParams::new(IouType::Bbox);
    for seed in 0..30 {
        let (truth, found) = scenes(seed, 12, 1 + seed % 4, 6);
        if seed % 3 == 0 {
            // More than one pass of thresholds, and a limit that cuts.
            params.iou_thresholds = (0..100).map(|i| 0.5 + f64::from(i) / 250.0).collect();
            params.max_detections = vec![1, 2, 100];
        } else {
            params = CocoParams::new(IouType::Bbox);
        }
        let (gt, dt) = columns(&truth, &found);
        let replay = Replay::new(&gt, &dt, &params).unwrap();
        let ones = vec![1; truth.images.len()];
        let expected = evaluated(&truth, &found, &params);
        assert_eq!(replay.measure(&ones).unwrap(), expected, "seed {seed}");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        for _ in 0..5 {
            let times: Vec<u32> = ones.iter().map(|_| rng.random_range(0..4)).collect();
            let (truth, found) = copied(&truth, &found, &times);
            let expected = evaluated(&truth, &found, &params);
            let found = replay.measure(&times).unwrap();
            assert_eq!(found, expected, "seed {seed}, {times:?}");
        }
    }
}

#[test]
fn nothing_to_find_is_nothing() {
    let (truth, found) = scenes(3, 4, 2, 4);
    let (gt, dt) = columns(&truth, &found);
    let params = CocoParams::new(IouType::Bbox);
    let replay = Replay::new(&gt, &dt, &params).unwrap();
    let none = replay.measure(&[0; 4]).unwrap();
    assert_eq!(
        (none.ap, none.ap50, none.per_class),
        (-1.0, -1.0, vec![-1.0; 2])
    );
    assert!(replay.measure(&[1; 3]).is_err());
    let (gt, dt) = columns(&CocoDataset::default(), &[]);
    let empty = bootstrap(&gt, &dt, &params, &BootstrapParams::default()).unwrap();
    assert_eq!((empty.ap.value, empty.ap.resamples), (-1.0, 0));
    for (resamples, confidence) in [(0, 0.95), (10, 1.0), (10, f64::NAN)] {
        let options = BootstrapParams {
            resamples,
            confidence,
            ..BootstrapParams::default()
        };
        assert!(bootstrap(&gt, &dt, &params, &options).is_err());
    }
}

#[test]
fn intervals_and_comparisons() {
    let (truth, found) = scenes(5, 60, 3, 6);
    // B: A's with every box shifted, and worse for it.
    let shifted: Vec<Detection> = found
        .iter()
        .cloned()
        .map(|mut d| {
            d.bbox = d.bbox.map(|[x, y, w, h]| [x + 5.0, y, w, h]);
            d
        })
        .collect();
    let params = CocoParams::new(IouType::Bbox);
    let (gt, a) = columns(&truth, &found);
    let b = Results::from_detections(&shifted, IouType::Bbox);
    let options = BootstrapParams {
        resamples: 300,
        seed: 7,
        per_class: true,
        ..BootstrapParams::default()
    };
    let [one, four] = with_threads(|| {
        let alone = bootstrap(&gt, &a, &params, &options).unwrap();
        serde_json::to_string(&alone).unwrap()
    });
    assert_eq!(one, four, "threads");
    let whole = evaluate(&gt, &a, &params).unwrap().summary();
    let alone = bootstrap(&gt, &a, &params, &options).unwrap();
    assert_eq!(alone.ap.value, whole.ap);
    assert_eq!(alone.ap.resamples, 300);
    assert!(
        alone.ap.low < whole.ap && whole.ap < alone.ap.high,
        "{:?}",
        alone.ap
    );
    for (class, expected) in alone.per_class.iter().zip(&whole.per_class) {
        assert_eq!((class.ap.value, &class.name), (expected.ap, &expected.name));
    }
    // A wider confidence is a wider interval; another seed is another interval.
    let narrow = bootstrap(
        &gt,
        &a,
        &params,
        &BootstrapParams {
            confidence: 0.5,
            ..options.clone()
        },
    );
    let narrow = narrow.unwrap().ap;
    assert!(alone.ap.low < narrow.low && narrow.high < alone.ap.high);
    let other = bootstrap(
        &gt,
        &a,
        &params,
        &BootstrapParams {
            seed: 8,
            ..options.clone()
        },
    );
    assert_ne!(other.unwrap().ap, alone.ap);

    let [one, four] = with_threads(|| compare_results(&gt, &a, &b, &params, &options).unwrap());
    assert_eq!(one, four, "threads");
    assert_eq!(one.ap.difference.value, one.ap.a - one.ap.b);
    assert_eq!(
        (one.ap.a_better, one.ap.p_value),
        (1.0, 2.0 / 301.0),
        "{:?}",
        one.ap
    );
    assert!(one.ap.difference.low > 0.0);
    let back = compare_results(&gt, &b, &a, &params, &options).unwrap();
    // Interpolated from the other side.
    assert!((back.ap.difference.high + one.ap.difference.low).abs() < 1e-12);
    let same = compare_results(&gt, &a, &a, &params, &options).unwrap();
    assert_eq!((same.ap.a_better, same.ap.p_value), (0.0, 1.0));
    assert_eq!(
        (same.ap.difference.low, same.ap.difference.high),
        (0.0, 0.0)
    );
}

/// The interval from the resamples themselves: draws by the stated generator, each evaluated on
/// real copies, and numpy's `percentile` formula.
#[test]
fn the_interval_is_that_of_real_resamples() {
    let (truth, found) = scenes(11, 10, 2, 5);
    let params = CocoParams::new(IouType::Bbox);
    let (gt, dt) = columns(&truth, &found);
    let options = BootstrapParams {
        resamples: 21,
        seed: 4,
        confidence: 0.8,
        per_class: false,
    };
    let interval = bootstrap(&gt, &dt, &params, &options).unwrap().ap;
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(4);
    let mut aps: Vec<f64> = (0..21)
        .map(|_| {
            let mut own = generator.clone();
            generator.jump();
            let mut times = [0; 10];
            for _ in 0..10 {
                let wide = u128::from(own.random::<u64>()) * 10;
                times[(wide >> 64) as usize] += 1;
            }
            let (truth, found) = copied(&truth, &found, &times);
            evaluated(&truth, &found, &params).ap
        })
        .collect();
    aps.sort_by(f64::total_cmp);
    // 10 % and 90 % of 20 steps.
    assert!(
        (interval.low - aps[2]).abs() < 1e-12,
        "{interval:?} {aps:?}"
    );
    assert!(
        (interval.high - aps[18]).abs() < 1e-12,
        "{interval:?} {aps:?}"
    );
    let mean = aps.iter().sum::<f64>() / 21.0;
    let variance = aps.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20.0;
    assert!((interval.standard_error - variance.sqrt()).abs() < 1e-12);
}

/// `cargo test -p inscon-eval --test analysis -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
fn speed() {
    let (truth, found) = scenes(1, 5000, 80, 14);
    let (gt, a) = columns(&truth, &found);
    let params = CocoParams::new(IouType::Bbox);
    let (objects, detections) = (gt.len(), a.len());
    let time = |name: &str, run: &dyn Fn()| {
        let start = Instant::now();
        run();
        println!("{name}: {:.2} s", start.elapsed().as_secs_f64());
    };
    println!("{objects} truths, {detections} detections");
    let options = BootstrapParams::default();
    time("evaluate", &|| drop(evaluate(&gt, &a, &params).unwrap()));
    time("replay", &|| drop(Replay::new(&gt, &a, &params).unwrap()));
    time("bootstrap", &|| {
        drop(bootstrap(&gt, &a, &params, &options).unwrap())
    });
    time("comparison", &|| {
        drop(compare_results(&gt, &a, &a, &params, &options).unwrap())
    });
}
