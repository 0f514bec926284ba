//! What a detector finds in one image.

/// Detections of one image, best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detections {
    /// `[x0, y0, x1, y1]` in pixels of the input the detector saw.
    pub boxes: Vec<[f32; 4]>,
    /// Class probabilities.
    pub scores: Vec<f32>,
    /// 0-based classes.
    pub labels: Vec<usize>,
    /// Mask probabilities, `mask_side²` values a detection, row-major; [`paste_mask`] makes bit
    /// masks of them.
    ///
    /// [`paste_mask`]: super::paste_mask
    pub masks: Option<Vec<Vec<f32>>>,
    /// Side of the mask probabilities (28 by default), 0 without a mask branch.
    pub mask_side: usize,
}

impl Detections {
    /// Number of detections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// The detections in an image of another size: boxes scaled, clipped, and dropped where nothing
    /// is left (detectron2's `detector_postprocess`). Sizes are `[height, width]`.
    #[must_use]
    pub fn rescale(&self, from: [usize; 2], to: [usize; 2]) -> Self {
        let sy = to[0] as f32 / from[0] as f32;
        let sx = to[1] as f32 / from[1] as f32;
        let mut out = Self {
            masks: self.masks.as_ref().map(|_| Vec::new()),
            mask_side: self.mask_side,
            ..Self::default()
        };
        for i in 0..self.len() {
            let [x0, y0, x1, y1] = self.boxes[i];
            let bbox = super::clip([x0 * sx, y0 * sy, x1 * sx, y1 * sy], to);
            if bbox[2] > bbox[0] && bbox[3] > bbox[1] {
                out.boxes.push(bbox);
                out.scores.push(self.scores[i]);
                out.labels.push(self.labels[i]);
                if let (Some(into), Some(masks)) = (&mut out.masks, &self.masks) {
                    into.push(masks[i].clone());
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_clips_and_drops() {
        let detections = Detections {
            boxes: vec![[10.0, 20.0, 30.0, 60.0], [50.0, 0.0, 60.0, 10.0]],
            scores: vec![0.9, 0.8],
            labels: vec![1, 2],
            masks: Some(vec![vec![1.0], vec![0.5]]),
            mask_side: 1,
        };
        let out = detections.rescale([50, 50], [100, 25]);
        assert_eq!(out.boxes, [[5.0, 40.0, 15.0, 100.0]]);
        assert_eq!(
            (out.scores, out.labels, out.masks),
            (vec![0.9], vec![1], Some(vec![vec![1.0]]))
        );
    }
}
