//! Non-maximum suppression on the host.
//!
//! There is no device form: burn-vision's `nms` reads boxes and scores back and runs on the host
//! too, and here they are on the host already, where proposals are decoded.

use std::collections::BTreeMap;

use super::area;

/// Greedy suppression: indices of the boxes that survive, best first, the same as torchvision's
/// `nms` in every bit of its arithmetic. Of equal scores the earlier box goes first; NaN is the
/// highest score.
///
/// A box goes if its IoU with a better survivor is above `threshold`; one with a NaN or an infinite
/// area neither goes nor makes others go. At most `limit` are kept.
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
    assert_eq!(boxes.len(), scores.len(), "boxes and scores");
    let mut survivors = Survivors::default();
    wide(
        #[inline(always)]
        || {
            keep(scores, limit, |index| {
                survivors.add(boxes[index], threshold)
            })
        },
    )
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
    let mut survivors: BTreeMap<usize, Survivors> = BTreeMap::new();
    wide(
        #[inline(always)]
        || {
            keep(scores, limit, |index| {
                let of_group = survivors.entry(groups[index]).or_default();
                of_group.add(boxes[index], threshold)
            })
        },
    )
}

/// Runs `work` with the widest vectors of this processor.
#[inline(always)]
fn wide<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "flex")]
    return pulp::Arch::new().dispatch(work);
    #[cfg(not(feature = "flex"))]
    work()
}

/// Up to `limit` indices for which `add` holds, asked in the order of the scores.
#[inline(always)]
fn keep(scores: &[f32], limit: usize, mut add: impl FnMut(usize) -> bool) -> Vec<usize> {
    let mut order: Vec<(u32, usize)> = scores
        .iter()
        .enumerate()
        .map(|(index, &score)| (rank(score), index))
        .collect();
    order.sort_unstable();
    let mut kept = Vec::new();
    for (_, index) in order {
        if kept.len() == limit {
            break;
        }
        if add(index) {
            kept.push(index);
        }
    }
    kept
}

/// Lower for higher scores; NaN first, both zeros equal.
fn rank(score: f32) -> u32 {
    if score.is_nan() {
        return 0;
    }
    let bits = (score + 0.0).to_bits();
    let upwards = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    !upwards
}

/// Boxes of a block: loops over them become a few vector operations.
const LANES: usize = 32;

/// Boxes, edge by edge; NaN where there is none.
#[derive(Clone, Copy)]
struct Block {
    x0: [f32; LANES],
    y0: [f32; LANES],
    x1: [f32; LANES],
    y1: [f32; LANES],
    area: [f32; LANES],
}

/// The boxes of a group that were kept so far.
#[derive(Default)]
struct Survivors {
    blocks: Vec<Block>,
    len: usize,
}

impl Survivors {
    /// Takes `bbox` in, unless its IoU with one of them is above `threshold`.
    #[inline(always)]
    fn add(&mut self, bbox: [f32; 4], threshold: f32) -> bool {
        let size = area(bbox);
        // Best first: the boxes that suppress most are the first.
        if (self.blocks.iter()).any(|block| block.suppresses(bbox, size, threshold)) {
            return false;
        }
        let lane = self.len % LANES;
        if lane == 0 {
            self.blocks.push(Block {
                x0: [f32::NAN; LANES],
                y0: [f32::NAN; LANES],
                x1: [f32::NAN; LANES],
                y1: [f32::NAN; LANES],
                area: [f32::NAN; LANES],
            });
        }
        if let Some(block) = self.blocks.last_mut() {
            let edges = [&mut block.x0, &mut block.y0, &mut block.x1, &mut block.y1];
            for (edge, value) in edges.into_iter().zip(bbox) {
                edge[lane] = value;
            }
            block.area[lane] = size;
        }
        self.len += 1;
        true
    }
}

impl Block {
    /// Whether the IoU of one of the boxes with `bbox` is above `threshold`.
    #[inline(always)]
    fn suppresses(&self, bbox: [f32; 4], size: f32, threshold: f32) -> bool {
        // A product instead of the quotient; a little low, so that rounding hides nothing.
        let least = threshold * (1.0 - 1e-6);
        let [mut inter, mut union] = [[0.0; LANES]; 2];
        let mut close = 0;
        for lane in 0..LANES {
            let width = less(self.x1[lane], bbox[2]) - more(self.x0[lane], bbox[0]);
            let height = less(self.y1[lane], bbox[3]) - more(self.y0[lane], bbox[1]);
            inter[lane] = more(0.0, width) * more(0.0, height);
            union[lane] = self.area[lane] + size - inter[lane];
            close += u32::from(inter[lane] > least * union[lane]);
        }
        (close > 0 || threshold < 0.0)
            && inter
                .iter()
                .zip(&union)
                .any(|(inter, union)| inter / union > threshold)
    }
}

/// The greater; one instruction, as `f32::max` is not.
#[inline(always)]
fn more(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The lesser.
#[inline(always)]
fn less(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
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
