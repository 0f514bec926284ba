//! The policies' parameters have the laws of torchvision's formulas: 100,000 draws each, by
//! Kolmogorov and Smirnov for continuous ones, by chi-square for counts.
//!
//! One-sample where the law is in closed form; two-sample against an independent f64 writing of
//! `get_params` where rejection and rounding leave none. Values on a grid of pixels make the test
//! of Kolmogorov and Smirnov conservative: it rejects a right law less often than [`ALPHA`] says.
//!
//! Seeds are fixed, so that nothing is flaky: at the level of [`ALPHA`] a right law would fail for
//! one seed in a thousand. That wrong laws do fail, the tests named `…_is_noticed` show.

#![allow(clippy::unwrap_used)]

use inscon_aug::{
    ColorOp, DetectionAugmentation, SampleStyle, SampledView, ViewAugmentation,
    random_resized_crop, shuffle, stream, uniform,
};
use rand::{Rng, RngExt};

const DRAWS: u64 = 100_000;
/// The level of each test, for which the critical values below are.
const ALPHA: f64 = 0.001;

/// `P(√n·D > x) = 2 Σ (−1)^(k−1) exp(−2k²x²)` is [`ALPHA`] at this x (Kolmogorov 1933); the terms
/// from the second on are below 10⁻¹³ there.
fn critical() -> f64 {
    (-(ALPHA / 2.0).ln() / 2.0).sqrt()
}

/// √n times the largest distance between the draws' distribution and `cdf`.
fn against_law(draws: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = draws.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = sorted.iter().enumerate().map(|(i, &x)| {
        let (below, above) = (i as f64 / n, (i + 1) as f64 / n);
        (cdf(x) - below).abs().max((cdf(x) - above).abs())
    });
    n.sqrt() * distance.fold(0.0, f64::max)
}

/// √(nm/(n+m)) times the largest distance between two empirical distributions.
fn against_draws(a: &[f64], b: &[f64]) -> f64 {
    let sorted = |draws: &[f64]| {
        let mut sorted = draws.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let (a, b) = (sorted(a), sorted(b));
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut distance) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        // Ties are passed in both before the distance is taken.
        let x = a[i].min(b[j]);
        i += a[i..].iter().take_while(|&&v| v <= x).count();
        j += b[j..].iter().take_while(|&&v| v <= x).count();
        distance = distance.max((i as f64 / n - j as f64 / m).abs());
    }
    (n * m / (n + m)).sqrt() * distance
}

fn uniform_cdf(low: f64, high: f64) -> impl Fn(f64) -> f64 {
    move |x| ((x - low) / (high - low)).clamp(0.0, 1.0)
}

/// The critical value of chi-square at [`ALPHA`] (Wilson and Hilferty 1931; from 1 degree of
/// freedom on it is less than 3 % off, and from 10 on less than .2 %).
fn critical_chi_square(freedom: usize) -> f64 {
    /// The normal distribution's quantile at 1 − [`ALPHA`].
    const QUANTILE: f64 = 3.090_232_306;
    let k = freedom as f64;
    let spread = 2.0 / (9.0 * k);
    k * (1.0 - spread + QUANTILE * spread.sqrt()).powi(3)
}

/// Σ (count − expected)² / expected.
fn chi_square(counts: &[u64], expected: &[f64]) -> f64 {
    counts
        .iter()
        .zip(expected)
        .map(|(&count, expected)| (count as f64 - expected).powi(2) / expected)
        .sum()
}

fn views(policy: &ViewAugmentation) -> Vec<SampledView> {
    (0..DRAWS)
        .map(|i| policy.sample(&mut stream(11, &[i]), 640, 480))
        .collect()
}

/// torchvision's `RandomResizedCrop.get_params`, step by step and in f64, with `rand`'s own uniform
/// draws: top, left, height, width, and whether it fell back.
fn get_params(
    rng: &mut impl Rng,
    width: f64,
    height: f64,
    scale: [f64; 2],
    ratio: [f64; 2],
) -> ([f64; 4], bool) {
    let area = height * width;
    let log_ratio = ratio.map(f64::ln);
    for _ in 0..10 {
        let target_area = area * rng.random_range(scale[0]..scale[1]);
        let aspect_ratio = rng.random_range(log_ratio[0]..log_ratio[1]).exp();
        let w = (target_area * aspect_ratio).sqrt().round_ties_even();
        let h = (target_area / aspect_ratio).sqrt().round_ties_even();
        if 0.0 < w && w <= width && 0.0 < h && h <= height {
            let i = rng.random_range(0..(height - h + 1.0) as u64) as f64;
            let j = rng.random_range(0..(width - w + 1.0) as u64) as f64;
            return ([i, j, h, w], false);
        }
    }
    let in_ratio = width / height;
    let (w, h) = if in_ratio < ratio[0] {
        (width, (width / ratio[0]).round_ties_even())
    } else if in_ratio > ratio[1] {
        ((height * ratio[1]).round_ties_even(), height)
    } else {
        (width, height)
    };
    let i = ((height - h) / 2.0).floor();
    let j = ((width - w) / 2.0).floor();
    ([i, j, h, w], true)
}

/// What is read off a crop: top, left, height and width.
type Value<'a> = &'a dyn Fn(&[f64; 4]) -> f64;

#[test]
fn crops_are_torchvisions() {
    let ratio = [3.0 / 4.0, 4.0 / 3.0];
    for ([width, height], scale) in [
        ([500, 375], [0.2, 1.0]),
        ([1024, 1024], [0.2, 1.0]),
        ([128, 128], [0.08, 1.0]),
        // Most tries do not fit, and some images fall back to the centre.
        ([900, 300], [0.2, 1.0]),
        ([120, 400], [0.5, 1.0]),
        ([17, 11], [0.2, 1.0]),
    ] {
        let (w, h) = (f64::from(width), f64::from(height));
        let area = w * h;
        let ours: Vec<[f64; 4]> = (0..DRAWS)
            .map(|i| {
                let b = random_resized_crop(&mut stream(12, &[i]), width, height, scale, ratio);
                [b.y0, b.x0, b.height(), b.width()].map(f64::from)
            })
            .collect();
        let mut rng = stream(13, &[]);
        let mut fallbacks = 0;
        let theirs: Vec<[f64; 4]> = (0..DRAWS)
            .map(|_| {
                let (crop, fallback) = get_params(&mut rng, w, h, scale, ratio);
                fallbacks += u64::from(fallback);
                crop
            })
            .collect();
        let values: [(&str, Value<'_>); 6] = [
            ("area", &|[_, _, h, w]| h * w / area),
            ("log ratio", &|[_, _, h, w]| (w / h).ln()),
            ("width", &|[_, _, _, w]| *w),
            ("height", &|[_, _, h, _]| *h),
            ("x in what is free", &|[_, x, _, cw]| x / (w - cw).max(1.0)),
            ("y in what is free", &|[y, _, ch, _]| y / (h - ch).max(1.0)),
        ];
        for (name, value) in values {
            let [a, b] = [&ours, &theirs].map(|crops| crops.iter().map(value).collect::<Vec<_>>());
            let distance = against_draws(&a, &b);
            assert!(
                distance < critical(),
                "{name} of {width} x {height}: {distance}"
            );
        }
        if width == 900 {
            assert!(fallbacks > 0, "no fallback was tried");
        }
    }
}

/// Where every try fits, area, logarithm of the ratio and place are uniform; the image is so large
/// that whole pixels do not show.
#[test]
fn crops_that_fit_are_uniform() {
    let side = 10_000_000;
    let (scale, ratio) = ([0.08, 0.7], [3.0 / 4.0, 4.0 / 3.0]);
    let crops: Vec<[f64; 4]> = (0..DRAWS)
        .map(|i| {
            let b = random_resized_crop(&mut stream(14, &[i]), side, side, scale, ratio);
            let s = f64::from(side);
            let [w, h] = [b.width(), b.height()].map(|v| f64::from(v) / s);
            let [x, y] = [f64::from(b.x0) / s, f64::from(b.y0) / s];
            [w * h, (w / h).ln(), x / (1.0 - w), y / (1.0 - h)]
        })
        .collect();
    let log = 4.0f64.ln() - 3.0f64.ln();
    for (at, low, high) in [(0, 0.08, 0.7), (1, -log, log), (2, 0.0, 1.0), (3, 0.0, 1.0)] {
        let draws: Vec<f64> = crops.iter().map(|c| c[at]).collect();
        let distance = against_law(&draws, uniform_cdf(low, high));
        assert!(distance < critical(), "value {at}: {distance}");
    }
}

/// The parameters of one kind of colour operation.
fn strengths(views: &[SampledView], of: fn(&ColorOp) -> Option<f32>) -> Vec<f64> {
    let colors = views.iter().flat_map(|view| &view.colors);
    colors.filter_map(of).map(f64::from).collect()
}

fn brightness(op: &ColorOp) -> Option<f32> {
    match op {
        ColorOp::Brightness(factor) => Some(*factor),
        _ => None,
    }
}

#[test]
fn strengths_are_uniform() {
    let drawn = views(&ViewAugmentation::moco_v2(224));
    let contrast = strengths(&drawn, |op| match op {
        ColorOp::Contrast(f) => Some(*f),
        _ => None,
    });
    let saturation = strengths(&drawn, |op| match op {
        ColorOp::Saturation(f) => Some(*f),
        _ => None,
    });
    let hue = strengths(&drawn, |op| match op {
        ColorOp::Hue(h) => Some(*h),
        _ => None,
    });
    let sigma: Vec<f64> = drawn.iter().filter_map(|v| v.blur).map(f64::from).collect();
    // The bounds are those of single precision, in which parameters are kept.
    for (name, draws, low, high) in [
        ("brightness", &strengths(&drawn, brightness), 0.6, 1.4),
        ("contrast", &contrast, 0.6, 1.4),
        ("saturation", &saturation, 0.6, 1.4),
        ("hue", &hue, -0.1, 0.1),
        ("sigma", &sigma, 0.1, 2.0),
    ] {
        assert!(draws.len() > 45_000, "{name}: {}", draws.len());
        let distance = against_law(draws, uniform_cdf(low, high));
        assert!(distance < critical(), "{name}: {distance}");
    }

    // torchvision bounds a factor below by 0.
    let mut strong = ViewAugmentation::moco_v2(224);
    (strong.jitter.brightness, strong.jitter.p) = (1.5, 1.0);
    let draws = strengths(&views(&strong), brightness);
    assert_eq!(draws.len() as u64, DRAWS);
    let distance = against_law(&draws, uniform_cdf(0.0, 2.5));
    assert!(distance < critical(), "{distance}");
}

#[test]
fn a_law_two_per_cent_off_is_noticed() {
    let mut policy = ViewAugmentation::moco_v2(224);
    policy.jitter.p = 1.0;
    let draws = strengths(&views(&policy), brightness);
    assert!(against_law(&draws, uniform_cdf(0.6, 1.4)) < critical());
    // One bound, the other, or both, by 2 % of the range.
    for (low, high) in [(0.584, 1.4), (0.6, 1.416), (0.616, 1.416)] {
        let distance = against_law(&draws, uniform_cdf(low, high));
        assert!(distance > critical(), "{low} to {high}: {distance}");
    }
    let scaled: Vec<f64> = draws.iter().map(|f| 1.0 + 1.02 * (f - 1.0)).collect();
    let distance = against_draws(&draws, &scaled);
    assert!(distance > critical(), "{distance}");
}

/// Mistakes in writing `get_params`: another share of the area, a ratio drawn without the logarithm.
/// (An upper bound of 98 % is within the law's own noise: of a square image, crops above that hardly
/// ever fit.)
#[test]
fn a_wrong_crop_is_noticed() {
    let (side, ratio) = (500u32, [3.0 / 4.0, 4.0 / 3.0]);
    let area = |[_, _, h, w]: [f64; 4]| h * w;
    let aspect = |[_, _, h, w]: [f64; 4]| w / h;
    let drawn = |scale: [f64; 2], seed| -> Vec<[f64; 4]> {
        (0..DRAWS)
            .map(|i| {
                let b = random_resized_crop(&mut stream(seed, &[i]), side, side, scale, ratio);
                [b.y0, b.x0, b.height(), b.width()].map(f64::from)
            })
            .collect()
    };
    let map = |crops: &[[f64; 4]], value: fn([f64; 4]) -> f64| -> Vec<f64> {
        crops.iter().map(|&crop| value(crop)).collect()
    };
    let right = drawn([0.2, 1.0], 21);
    for wrong in [[0.216, 1.0], [0.2, 0.9]] {
        let distance = against_draws(&map(&right, area), &map(&drawn(wrong, 22), area));
        assert!(distance > critical(), "{wrong:?}: {distance}");
    }
    let mut rng = stream(23, &[]);
    let linear: Vec<f64> = (0..DRAWS)
        .map(|_| uniform(&mut rng, ratio[0], ratio[1]))
        .collect();
    assert!(against_draws(&map(&right, aspect), &linear) > critical());
}

/// Kinds of the jitter's operations, in their order.
fn order(view: &SampledView) -> Vec<usize> {
    let kind = |op: &ColorOp| match op {
        ColorOp::Brightness(_) => 0,
        ColorOp::Contrast(_) => 1,
        ColorOp::Saturation(_) => 2,
        ColorOp::Hue(_) => 3,
        ColorOp::Grayscale | ColorOp::Solarize(_) => panic!("{op:?} is not a part of the jitter"),
    };
    view.colors.iter().map(kind).collect()
}

/// Chi-square of the 24 orders against equal shares.
fn order_statistic(orders: impl Iterator<Item = Vec<usize>>) -> f64 {
    let mut counts = std::collections::BTreeMap::<Vec<usize>, u64>::new();
    for order in orders {
        assert_eq!(order.len(), 4);
        *counts.entry(order).or_default() += 1;
    }
    assert_eq!(counts.len(), 24);
    let counts: Vec<u64> = counts.into_values().collect();
    let all: u64 = counts.iter().sum();
    chi_square(&counts, &[all as f64 / 24.0; 24])
}

#[test]
fn jitter_comes_in_every_order() {
    let drawn = views(&ViewAugmentation::moco_v2(224));
    let jittered = drawn.iter().filter(|view| !view.colors.is_empty());
    let statistic = order_statistic(jittered.map(order));
    assert!(statistic < critical_chi_square(23), "{statistic}");
}

/// The classical mistake: each place is swapped with any place, which makes 4⁴ histories of 24
/// orders.
#[test]
fn a_biased_shuffle_is_noticed() {
    let mut rng = stream(24, &[]);
    let biased = (0..DRAWS).map(|_| {
        let mut order = vec![0, 1, 2, 3];
        for at in 0..4 {
            order.swap(at, rng.random_range(0..4));
        }
        order
    });
    assert!(order_statistic(biased) > critical_chi_square(23));
    let mut rng = stream(25, &[]);
    let fair = (0..DRAWS).map(|_| {
        let mut order = vec![0, 1, 2, 3];
        shuffle(&mut rng, &mut order);
        order
    });
    assert!(order_statistic(fair) < critical_chi_square(23));
}

/// Chi-square of what happens together: jitter, greyscale, blur, flip and solarisation.
fn chance_statistic(policy: &ViewAugmentation, p: [f64; 5]) -> f64 {
    let mut counts = [0u64; 32];
    for view in views(policy) {
        let happened = [
            !view.colors.is_empty(),
            view.grayscale,
            view.blur.is_some(),
            view.flip,
            view.solarize.is_some(),
        ];
        let at = happened
            .iter()
            .fold(0, |at, &yes| 2 * at + usize::from(yes));
        counts[at] += 1;
    }
    let mut possible = (Vec::new(), Vec::new());
    for (at, &count) in counts.iter().enumerate() {
        let each = |(i, p): (usize, &f64)| if at >> (4 - i) & 1 == 1 { *p } else { 1.0 - p };
        let share: f64 = p.iter().enumerate().map(each).product();
        if share == 0.0 {
            assert_eq!(count, 0, "what never happens did: {at:05b}");
            continue;
        }
        possible.0.push(count);
        possible.1.push(DRAWS as f64 * share);
    }
    chi_square(&possible.0, &possible.1) / critical_chi_square(possible.0.len() - 1)
}

#[test]
fn chances_are_the_recipes_and_independent() {
    let [first, second] = ViewAugmentation::byol(224);
    let mut all = ViewAugmentation::moco_v2(224);
    all.solarize.p = 0.2;
    for (policy, p) in [
        (&ViewAugmentation::moco_v2(224), [0.8, 0.2, 0.5, 0.5, 0.0]),
        (&ViewAugmentation::simclr(224), [0.8, 0.2, 0.5, 0.5, 0.0]),
        (&first, [0.8, 0.2, 1.0, 0.5, 0.0]),
        (&second, [0.8, 0.2, 0.1, 0.5, 0.2]),
        (&all, [0.8, 0.2, 0.5, 0.5, 0.2]),
    ] {
        let ratio = chance_statistic(policy, p);
        assert!(ratio < 1.0, "{p:?}: {ratio} of the critical value");
    }
}

#[test]
fn a_chance_two_per_cent_off_is_noticed() {
    let policy = ViewAugmentation::moco_v2(224);
    for p in [
        [0.82, 0.2, 0.5, 0.5, 0.0],
        [0.8, 0.22, 0.5, 0.5, 0.0],
        [0.8, 0.2, 0.52, 0.5, 0.0],
        [0.8, 0.2, 0.5, 0.48, 0.0],
    ] {
        let ratio = chance_statistic(&policy, p);
        assert!(ratio > 1.0, "{p:?}: {ratio} of the critical value");
    }
}

#[test]
fn shortest_edges_are_detectron2s() {
    let choice = DetectionAugmentation::default();
    let range = DetectionAugmentation {
        short_edge_length: vec![640, 672],
        sample_style: SampleStyle::Range,
        ..choice.clone()
    };
    let step_32 = |at: usize| 480 + 32 * at as u32;
    let step_1 = |at: usize| 640 + at as u32;
    let cases: [(_, usize, &dyn Fn(usize) -> u32); 2] =
        [(&choice, 11, &step_32), (&range, 33, &step_1)];
    for (policy, lengths, length) in cases {
        // Each length without and with a flip: both are independent and uniform.
        let mut counts = vec![0u64; 2 * lengths];
        for i in 0..DRAWS {
            let transform = policy.sample(&mut stream(15, &[i]), 500, 400);
            let (width, height) = transform.output_size();
            assert_eq!(width, (height * 5 + 2) / 4);
            let at = (0..lengths).find(|&at| length(at) == height).unwrap();
            counts[2 * at + usize::from(transform.view.flip)] += 1;
        }
        let expected = vec![DRAWS as f64 / counts.len() as f64; counts.len()];
        let statistic = chi_square(&counts, &expected);
        let critical = critical_chi_square(counts.len() - 1);
        assert!(statistic < critical, "{statistic}, not below {critical}");
    }
}
