//! NMS against torchvision's loop, pair by pair.

use inscon_model::detection::{batched_nms, nms};
use proptest::prelude::*;

/// `torchvision/csrc/ops/cpu/nms_kernel.cpp`, line by line.
fn naive(boxes: &[[f32; 4]], scores: &[f32], threshold: f32) -> Vec<usize> {
    // std::max and std::min: the first argument if one is not a number.
    let max = |a: f32, b: f32| if a < b { b } else { a };
    let min = |a: f32, b: f32| if b < a { b } else { a };
    // argsort(stable=True, descending=True): NaN is the greatest.
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (scores[a], scores[b]);
        let both = b.partial_cmp(&a);
        both.unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
    });
    let areas: Vec<f32> = boxes
        .iter()
        .map(|[x0, y0, x1, y1]| (x1 - x0) * (y1 - y0))
        .collect();
    let mut suppressed = vec![false; boxes.len()];
    let mut kept = Vec::new();
    for (rank, &i) in order.iter().enumerate() {
        if suppressed[i] {
            continue;
        }
        kept.push(i);
        for &j in &order[rank + 1..] {
            let (a, b) = (boxes[i], boxes[j]);
            let width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]));
            let height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]));
            let inter = width * height;
            if inter / (areas[i] + areas[j] - inter) > threshold {
                suppressed[j] = true;
            }
        }
    }
    kept
}

/// Coarse enough that many overlaps are equal, and equal to thresholds.
fn edge() -> impl Strategy<Value = f32> {
    prop_oneof![
        12 => (0i8..20).prop_map(f32::from),
        4 => 0.0f32..20.0,
        1 => prop_oneof![
            Just(f32::NAN),
            Just(f32::INFINITY),
            Just(f32::NEG_INFINITY),
            Just(1e-30),
            Just(3e38),
        ],
    ]
}

/// Mostly upright; some inverted or without area.
fn bbox() -> impl Strategy<Value = [f32; 4]> {
    ([edge(), edge(), edge(), edge()], 0..8).prop_map(|([a, b, c, d], kind)| match kind {
        0 => [a, b, c, d],
        1 => [a, b, a, d],
        _ => [a.min(c), b.min(d), a.max(c), b.max(d)],
    })
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => (0i8..6).prop_map(|v| f32::from(v) / 4.0 - 0.5),
        1 => prop_oneof![
            Just(f32::NAN),
            Just(-f32::NAN),
            Just(-0.0),
            Just(f32::INFINITY),
            Just(f32::NEG_INFINITY),
        ],
        4 => -1.0f32..1.0,
    ]
}

fn threshold() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(0.0),
        Just(0.25),
        Just(0.5),
        Just(0.7),
        Just(1.0),
        Just(-0.1),
        0.0f32..1.0,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn torchvisions_loop(
        all in prop::collection::vec((bbox(), score()), 0..300),
        threshold in threshold(),
    ) {
        let (boxes, scores): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let kept = nms(&boxes, &scores, threshold, usize::MAX);
        prop_assert_eq!(&kept, &naive(&boxes, &scores, threshold));
        let limit = kept.len() / 2;
        prop_assert_eq!(nms(&boxes, &scores, threshold, limit), &kept[..limit]);
    }

    #[test]
    fn groups_by_themselves(
        all in prop::collection::vec((bbox(), score(), 0usize..4), 0..200),
        threshold in threshold(),
    ) {
        let boxes: Vec<[f32; 4]> = all.iter().map(|(bbox, ..)| *bbox).collect();
        let scores: Vec<f32> = all.iter().map(|(_, score, _)| *score).collect();
        // Any numbers will do.
        let groups: Vec<usize> = all.iter().map(|(.., group)| usize::MAX / 3 * group).collect();
        let mut expected = Vec::new();
        for group in 0..4 {
            let members: Vec<usize> = (0..all.len()).filter(|&i| all[i].2 == group).collect();
            let boxes: Vec<[f32; 4]> = members.iter().map(|&i| boxes[i]).collect();
            let scores: Vec<f32> = members.iter().map(|&i| scores[i]).collect();
            let kept = naive(&boxes, &scores, threshold);
            expected.extend(kept.into_iter().map(|i| members[i]));
        }
        let mut kept = batched_nms(&boxes, &scores, &groups, threshold, usize::MAX);
        let ordered = kept.windows(2).all(|pair| {
            let (a, b) = (scores[pair[0]], scores[pair[1]]);
            a.is_nan() || a > b || (a == b && pair[0] < pair[1])
        });
        prop_assert!(ordered);
        kept.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(kept, expected);
    }
}
