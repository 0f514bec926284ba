//! Non-maximum suppression on the host.

use super::{area, iou};

/// Greedy suppression: indices of the boxes that survive, best first (torchvision's `nms`; of
/// equal scores the earlier box goes first).
///
/// A box goes if its IoU with a better survivor is above `threshold`. At most `limit` are kept.
///
/// ```
/// use inscon_model::detection::nms;
/// let boxes = [[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [9.0, 9.0, 10.0, 10.0]];
/// assert_eq!(nms(&boxes, &[0.5, 0.9, 0.1], 0.5, usize::MAX), [1, 2]);
/// ```
///
/// # Panics
/// If there are not as many scores as boxes.
#[must_use]
pub fn nms(boxes: &[[f32; 4]], scores: &[f32], threshold: f32, limit: usize) -> Vec<usize> {
    let groups = vec![0; boxes.len()];
    batched_nms(boxes, scores, &groups, threshold, limit)
}

/// [`nms`] within each group (a class, a pyramid level); groups do not suppress each other.
///
/// # Panics
/// If there are not as many scores and groups as boxes.
#[must_use]
pub fn batched_nms(
    boxes: &[[f32; 4]],
    scores: &[f32],
    groups: &[usize],
    threshold: f32,
    limit: usize,
) -> Vec<usize> {
    assert_eq!(boxes.len(), scores.len(), "boxes and scores");
    assert_eq!(boxes.len(), groups.len(), "boxes and groups");
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));

    let number = groups.iter().max().map_or(0, |last| last + 1);
    let mut survivors: Vec<Vec<[f32; 4]>> = vec![Vec::new(); number];
    let mut kept = Vec::new();
    for index in order {
        if kept.len() == limit {
            break;
        }
        let bbox = boxes[index];
        let better = &mut survivors[groups[index]];
        if better.iter().any(|&other| overlaps(other, bbox, threshold)) {
            continue;
        }
        better.push(bbox);
        kept.push(index);
    }
    kept
}

/// Whether `iou(a, b) > threshold`; boxes apart are told without a division.
fn overlaps(a: [f32; 4], b: [f32; 4], threshold: f32) -> bool {
    let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
    !apart && area(b) > 0.0 && iou(a, b) > threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_is_strict_and_ties_keep_the_first() {
        let boxes = [
            [0.0, 0.0, 2.0, 2.0],
            [0.0, 0.0, 2.0, 1.0],
            [0.0, 0.0, 2.0, 2.0],
        ];
        assert_eq!(nms(&boxes, &[0.5, 0.4, 0.5], 0.5, 9), [0, 1]);
        assert_eq!(nms(&boxes, &[0.5, 0.4, 0.5], 0.49, 9), [0]);
    }

    #[test]
    fn groups_are_apart_and_the_limit_holds() {
        let boxes = [[0.0, 0.0, 2.0, 2.0]; 4];
        let scores = [0.1, 0.2, 0.3, 0.4];
        assert_eq!(batched_nms(&boxes, &scores, &[0, 0, 5, 5], 0.5, 9), [3, 1]);
        assert_eq!(
            batched_nms(&boxes, &scores, &[0, 1, 2, 3], 0.5, 3),
            [3, 2, 1]
        );
        assert!(nms(&[], &[], 0.5, 9).is_empty());
    }
}
