//! Non-maximum suppression against its definition, and the box coder's round trip.

mod common;

use common::rng;
use inscon_model::detection::{BoxCoder, iou, nms};
use proptest::prelude::*;
use rand::RngExt;

/// Suppression by its definition: the best goes first and takes out what overlaps it.
fn naive_nms(boxes: &[[f32; 4]], scores: &[f32], threshold: f32) -> Vec<usize> {
    let mut left: Vec<usize> = (0..boxes.len()).collect();
    let mut kept = Vec::new();
    while let Some(&first) = left.first() {
        let best = left
            .iter()
            .copied()
            .fold(first, |a, b| if scores[b] > scores[a] { b } else { a });
        kept.push(best);
        left.retain(|&i| i != best && iou(boxes[best], boxes[i]) <= threshold);
    }
    kept
}

#[test]
fn nms_is_its_definition() {
    let mut rng = rng(12);
    for _ in 0..50 {
        let number = rng.random_range(0..80);
        let boxes: Vec<[f32; 4]> = (0..number)
            .map(|_| {
                // Whole numbers make ties and equal boxes.
                let mut draw = |n: i32| rng.random_range(0..n) as f32;
                let (x, y) = (draw(12), draw(12));
                [x, y, x + draw(8), y + draw(8)]
            })
            .collect();
        let scores: Vec<f32> = (0..number)
            .map(|_| rng.random_range(0..20) as f32 / 20.0)
            .collect();
        for threshold in [0.0, 0.3, 0.5, 0.7] {
            let got = nms(&boxes, &scores, threshold, usize::MAX);
            assert_eq!(got, naive_nms(&boxes, &scores, threshold));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn box_coder_round_trip(
        from in (-50f32..50.0, -50f32..50.0, 1f32..100.0, 1f32..100.0),
        to in (-50f32..50.0, -50f32..50.0, 1f32..100.0, 1f32..100.0),
    ) {
        let corner = |(x, y, w, h): (f32, f32, f32, f32)| [x, y, x + w, y + h];
        let (from, to) = (corner(from), corner(to));
        for weights in [[1.0; 4], [10.0, 10.0, 5.0, 5.0]] {
            let coder = BoxCoder::new(weights, 10.0);
            let back = coder.decode(from, coder.encode(from, to));
            for (a, b) in back.iter().zip(to) {
                prop_assert!((a - b).abs() < 1e-3, "{back:?} against {to:?}");
            }
        }
    }
}
