//! From the RPN's predictions to proposals, on the host.

use super::{BoxCoder, batched_nms, clip};

/// Proposals of one image, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proposals {
    /// `[x0, y0, x1, y1]`, clipped to the image.
    pub boxes: Vec<[f32; 4]>,
    /// Objectness logits.
    pub scores: Vec<f32>,
    /// Predictions that were dropped because they were NaN or infinite.
    pub non_finite: usize,
}

/// How proposals are chosen (detectron2's `find_top_rpn_proposals`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProposalSelector {
    /// Best predictions of a level that are looked at.
    pub pre_nms: usize,
    /// Proposals of an image, at most.
    pub post_nms: usize,
    /// IoU of the NMS, level by level.
    pub nms: f32,
    /// Sides must be longer than this, in pixels.
    pub min_size: f32,
}

impl ProposalSelector {
    /// Decodes the best predictions of each level, clips them to the image, drops the non-finite
    /// and the small, suppresses within levels and keeps the best.
    ///
    /// `logits` has one value an anchor and `deltas` four, level after level in the order of
    /// `anchors`; `size` is the image's own `[height, width]`, without padding.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn select(
        &self,
        logits: &[f32],
        deltas: &[f32],
        anchors: &[Vec<[f32; 4]>],
        coder: BoxCoder,
        size: [usize; 2],
    ) -> Proposals {
        let total: usize = anchors.iter().map(Vec::len).sum();
        assert_eq!(
            (logits.len(), deltas.len()),
            (total, 4 * total),
            "logits and deltas"
        );
        let mut out = Proposals::default();
        let (mut boxes, mut scores, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for (level, anchors) in anchors.iter().enumerate() {
            let logits = &logits[first..first + anchors.len()];
            let deltas = &deltas[4 * first..4 * (first + anchors.len())];
            first += anchors.len();
            let finite: Vec<usize> = (0..logits.len())
                .filter(|&i| logits[i].is_finite())
                .collect();
            out.non_finite += logits.len() - finite.len();
            for index in best(finite, logits, self.pre_nms) {
                let d = &deltas[4 * index..][..4];
                let bbox = coder.decode(anchors[index], [d[0], d[1], d[2], d[3]]);
                if !bbox.iter().all(|x| x.is_finite()) {
                    out.non_finite += 1;
                    continue;
                }
                let bbox = clip(bbox, size);
                if bbox[2] - bbox[0] > self.min_size && bbox[3] - bbox[1] > self.min_size {
                    boxes.push(bbox);
                    scores.push(logits[index]);
                    levels.push(level);
                }
            }
        }
        for index in batched_nms(&boxes, &scores, &levels, self.nms, self.post_nms) {
            out.boxes.push(boxes[index]);
            out.scores.push(scores[index]);
        }
        out
    }
}

/// The `number` best of `pool`, in no particular order but the same every time.
fn best(mut pool: Vec<usize>, logits: &[f32], number: usize) -> Vec<usize> {
    if pool.len() > number {
        let order = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        pool.select_nth_unstable_by(number, order);
        pool.truncate(number);
        pool.sort_unstable();
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    const SELECTOR: ProposalSelector = ProposalSelector {
        pre_nms: 3,
        post_nms: 3,
        nms: 0.7,
        min_size: 0.0,
    };

    fn select(
        selector: ProposalSelector,
        logits: &[f32],
        deltas: &[f32],
        anchors: &[Vec<[f32; 4]>],
    ) -> Proposals {
        selector.select(
            logits,
            deltas,
            anchors,
            BoxCoder::new([1.0; 4], 4.0),
            [20, 30],
        )
    }

    #[test]
    fn top_k_and_nms_work_level_by_level() {
        let a = [0.0, 0.0, 10.0, 10.0];
        let far = [12.0, 0.0, 22.0, 10.0];
        // Level 0 holds `a` twice (one goes), level 1 holds it once more (it stays).
        let anchors = [vec![a, a, far, far], vec![a]];
        let got = select(SELECTOR, &[1.0, 2.0, 0.5, 0.1, 1.5], &[0.0; 20], &anchors);
        assert_eq!(got.scores, [2.0, 1.5, 0.5]);
        assert_eq!(got.boxes, [a, a, far]);
        let few = ProposalSelector {
            pre_nms: 1,
            post_nms: 9,
            ..SELECTOR
        };
        assert_eq!(
            select(few, &[1., 2., 0.5, 0.1, 1.5], &[0.0; 20], &anchors).scores,
            [2.0, 1.5]
        );
        let one = ProposalSelector {
            post_nms: 1,
            ..SELECTOR
        };
        assert_eq!(
            select(one, &[1., 2., 0.5, 0.1, 1.5], &[0.0; 20], &anchors).scores,
            [2.0]
        );
    }

    #[test]
    fn clipped_and_dropped() {
        let anchors = [vec![
            [20.0, 10.0, 40.0, 30.0],
            [31.0, 0.0, 41.0, 9.0],
            [0.0, 0.0, 4.0, 4.0],
        ]];
        let mut deltas = [0.0; 12];
        deltas[10] = f32::NAN;
        let got = select(SELECTOR, &[1.0, 2.0, 3.0], &deltas, &anchors);
        // The second lies outside the image, the third is not a number.
        assert_eq!(
            (got.boxes, got.non_finite),
            (vec![[20.0, 10.0, 30.0, 20.0]], 1)
        );
        let got = select(
            SELECTOR,
            &[f32::NAN, f32::INFINITY, 3.0],
            &[0.0; 12],
            &anchors,
        );
        assert_eq!((got.boxes, got.non_finite), (vec![[0.0, 0.0, 4.0, 4.0]], 2));
        let large = ProposalSelector {
            min_size: 4.0,
            ..SELECTOR
        };
        assert!(select(large, &[-9.0, -9.0, 3.0], &[0.0; 12], &anchors).scores == [-9.0]);
    }
}
