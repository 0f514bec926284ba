//! From the box head's predictions to detections, on the host.

use super::{BoxCoder, Detections, batched_nms, clip};

/// How detections are chosen (detectron2's `fast_rcnn_inference`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionSelector {
    /// Scores must be higher.
    pub score_threshold: f32,
    /// Sides must be at least this long, in pixels.
    pub min_size: f32,
    /// IoU of the NMS, class by class.
    pub nms: f32,
    /// Detections of an image, at most.
    pub limit: usize,
}

impl DetectionSelector {
    /// Every class of every proposal is a candidate of its own, with its own box, clipped to the
    /// image (`[height, width]`); candidates that are not finite are dropped.
    ///
    /// `probabilities` is `[R, classes + 1]`, background last; `deltas` is `[R, 4 · classes]`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn select(
        &self,
        probabilities: &[f32],
        deltas: &[f32],
        proposals: &[[f32; 4]],
        classes: usize,
        coder: BoxCoder,
        size: [usize; 2],
    ) -> Detections {
        let r = proposals.len();
        assert_eq!(
            probabilities.len(),
            r * (classes + 1),
            "probabilities of {r} proposals"
        );
        assert_eq!(deltas.len(), r * 4 * classes, "deltas of {r} proposals");
        let (mut boxes, mut scores, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &proposal) in proposals.iter().enumerate() {
            for class in 0..classes {
                let score = probabilities[row * (classes + 1) + class];
                if !(score.is_finite() && score > self.score_threshold) {
                    continue;
                }
                let d = &deltas[4 * (row * classes + class)..][..4];
                let bbox = coder.decode(proposal, [d[0], d[1], d[2], d[3]]);
                if !bbox.iter().all(|x| x.is_finite()) {
                    continue;
                }
                let bbox = clip(bbox, size);
                if (bbox[2] - bbox[0]).min(bbox[3] - bbox[1]) >= self.min_size {
                    boxes.push(bbox);
                    scores.push(score);
                    labels.push(class);
                }
            }
        }
        let kept = batched_nms(&boxes, &scores, &labels, self.nms, self.limit);
        Detections {
            boxes: kept.iter().map(|&i| boxes[i]).collect(),
            scores: kept.iter().map(|&i| scores[i]).collect(),
            labels: kept.iter().map(|&i| labels[i]).collect(),
            masks: None,
            mask_side: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_each_class() {
        let selector = DetectionSelector {
            score_threshold: 0.05,
            min_size: 0.0,
            nms: 0.5,
            limit: 10,
        };
        let coder = BoxCoder::new([10.0, 10.0, 5.0, 5.0], 4.0);
        let proposals = [
            [0.0, 0.0, 10.0, 10.0],
            [0.0, 0.0, 10.0, 9.0],
            [20.0, 20.0, 40.0, 40.0],
        ];
        #[rustfmt::skip]
        let probabilities = [
            0.5, 0.3, 0.2,
            0.6, 0.05, 0.35, // the second is not above the threshold
            0.1, 0.8, 0.1,
        ];
        let mut deltas = [0.0; 24];
        deltas[4] = 1.0; // proposal 0, class 1: a tenth of the width to the right
        deltas[16] = f32::NAN; // proposal 2, class 0
        let got = selector.select(&probabilities, &deltas, &proposals, 2, coder, [30, 30]);
        assert_eq!(got.scores, [0.8, 0.6, 0.3]);
        assert_eq!(got.labels, [1, 0, 1]);
        let expected = [
            [20.0, 20.0, 30.0, 30.0],
            [0.0, 0.0, 10.0, 9.0],
            [1.0, 0.0, 11.0, 10.0],
        ];
        assert_eq!(got.boxes, expected);
        let one = DetectionSelector {
            limit: 1,
            ..selector
        };
        assert_eq!(
            one.select(&probabilities, &deltas, &proposals, 2, coder, [30, 30])
                .len(),
            1
        );
        let large = DetectionSelector {
            min_size: 9.5,
            ..selector
        };
        let got = large.select(&probabilities, &deltas, &proposals, 2, coder, [30, 30]);
        // Without the flat one its neighbour is not suppressed.
        assert_eq!(got.scores, [0.8, 0.5, 0.3]);
        assert!(
            selector
                .select(&[], &[], &[], 2, coder, [30, 30])
                .is_empty()
        );
    }
}
