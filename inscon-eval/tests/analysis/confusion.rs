//! The confusion matrix against a literal reading of its definition.

use inscon_eval::{
    CocoDataset, CocoParams, Detection, GroundTruth, IouType, Results, box_iou, confusion_matrix,
};

use crate::scenes::scenes;
use crate::with_threads;

/// Takes the best pair of all that are left, over and over.
fn naive(truth: &CocoDataset, found: &[Detection], score: f64, iou: f64) -> Vec<Vec<u64>> {
    let mut ids: Vec<u64> = truth.categories.iter().map(|c| c.id).collect();
    ids.sort_unstable();
    let place = |id: u64| ids.iter().position(|&other| other == id).unwrap();
    let mut counts = vec![vec![0; ids.len() + 1]; ids.len() + 1];
    for image in &truth.images {
        let on = |id: u64| id == image.id;
        let (crowds, mut truths): (Vec<_>, Vec<_>) = truth
            .annotations
            .iter()
            .filter(|a| on(a.image_id))
            .partition(|a| a.iscrowd);
        let mut left: Vec<&Detection> = found
            .iter()
            .filter(|d| on(d.image_id) && d.score >= score)
            .collect();
        loop {
            let mut best: Option<(f64, f64, usize, usize)> = None;
            for (g, a) in truths.iter().enumerate() {
                for (i, d) in left.iter().enumerate() {
                    let overlap = box_iou(&d.bbox.unwrap(), &a.bbox, false);
                    let better = match best {
                        None => true,
                        Some((o, s, j, h)) => {
                            overlap > o
                                || overlap == o && d.score > s
                                || overlap == o && d.score == s && (i, g) < (j, h)
                        }
                    };
                    if overlap >= iou && better {
                        best = Some((overlap, d.score, i, g));
                    }
                }
            }
            let Some((_, _, i, g)) = best else { break };
            let (d, a) = (left.remove(i), truths.remove(g));
            counts[place(a.category_id)][place(d.category_id)] += 1;
        }
        for a in truths {
            counts[place(a.category_id)][ids.len()] += 1;
        }
        for d in left {
            let on_crowd = |a: &&inscon_eval::Annotation| {
                a.category_id == d.category_id && box_iou(&d.bbox.unwrap(), &a.bbox, true) >= iou
            };
            if !crowds.iter().any(on_crowd) {
                counts[ids.len()][place(d.category_id)] += 1;
            }
        }
    }
    counts
}

#[test]
fn counts_equal_the_definition() {
    let params = CocoParams::new(IouType::Bbox);
    for seed in 0..40 {
        let (truth, found) = scenes(seed, 8, 1 + seed % 5, 7);
        let columns = GroundTruth::from_dataset(&truth, IouType::Bbox);
        let results = Results::from_detections(&found, IouType::Bbox);
        for (score, iou) in [(0.25, 0.5), (0.0, 0.3), (0.9, 0.75)] {
            let run = || confusion_matrix(&columns, &results, &params, score, iou).unwrap();
            let [one, four] = with_threads(run);
            assert_eq!(one, four, "threads");
            let expected = naive(&truth, &found, score, iou);
            assert_eq!(one.counts, expected, "seed {seed}, {score}, {iou}");
            // Every truth that is no crowd is in one row.
            let truths = truth.annotations.iter().filter(|a| !a.iscrowd).count();
            let rows = one.counts.iter().take(one.categories.len()).flatten();
            assert_eq!(rows.sum::<u64>(), truths as u64);
        }
    }
}

#[test]
fn thresholds_are_checked() {
    let (truth, found) = scenes(1, 2, 2, 3);
    let columns = GroundTruth::from_dataset(&truth, IouType::Bbox);
    let results = Results::from_detections(&found, IouType::Bbox);
    let params = CocoParams::new(IouType::Bbox);
    for (score, iou) in [(f64::NAN, 0.5), (0.5, f64::NAN), (0.5, 0.0)] {
        assert!(confusion_matrix(&columns, &results, &params, score, iou).is_err());
    }
}
