//! Boxes as deltas from other boxes.

/// The R-CNN parametrisation (Girshick et al., arXiv 1311.2524), detectron2's
/// `Box2BoxTransform`: `dx = w · (centre shift / width)`, `dw = w · log(width ratio)`.
///
/// ```
/// use inscon_model::detection::BoxCoder;
/// let coder = BoxCoder::new([10.0, 10.0, 5.0, 5.0], (1000.0f32 / 16.0).ln());
/// let deltas = coder.encode([0.0, 0.0, 10.0, 20.0], [5.0, 0.0, 15.0, 20.0]);
/// assert_eq!(deltas, [5.0, 0.0, 0.0, 0.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxCoder {
    weights: [f32; 4],
    scale_clamp: f32,
}

impl BoxCoder {
    /// `weights` multiply the deltas; `scale_clamp` bounds the decoded change of log size.
    #[must_use]
    pub fn new(weights: [f32; 4], scale_clamp: f32) -> Self {
        Self {
            weights,
            scale_clamp,
        }
    }

    /// Deltas that take `from` to `to`. Not finite where a box has no area.
    #[must_use]
    pub fn encode(&self, from: [f32; 4], to: [f32; 4]) -> [f32; 4] {
        let (w, h) = (from[2] - from[0], from[3] - from[1]);
        let (x, y) = (from[0] + 0.5 * w, from[1] + 0.5 * h);
        let (to_w, to_h) = (to[2] - to[0], to[3] - to[1]);
        let (to_x, to_y) = (to[0] + 0.5 * to_w, to[1] + 0.5 * to_h);
        let [wx, wy, ww, wh] = self.weights;
        [
            wx * (to_x - x) / w,
            wy * (to_y - y) / h,
            ww * (to_w / w).ln(),
            wh * (to_h / h).ln(),
        ]
    }

    /// The box at `deltas` from `from`. NaN in, NaN out.
    #[must_use]
    pub fn decode(&self, from: [f32; 4], deltas: [f32; 4]) -> [f32; 4] {
        let (w, h) = (from[2] - from[0], from[3] - from[1]);
        let (x, y) = (from[0] + 0.5 * w, from[1] + 0.5 * h);
        let [wx, wy, ww, wh] = self.weights;
        // `f32::min` would swallow a NaN.
        let bound = |d: f32| {
            if d > self.scale_clamp {
                self.scale_clamp
            } else {
                d
            }
        };
        let (x, y) = (deltas[0] / wx * w + x, deltas[1] / wy * h + y);
        let (w, h) = (
            bound(deltas[2] / ww).exp() * w,
            bound(deltas[3] / wh).exp() * h,
        );
        [x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_clamps_the_scale_and_keeps_nan() {
        let coder = BoxCoder::new([1.0; 4], (1000.0f32 / 16.0).ln());
        let [x0, _, x1, y1] = coder.decode([0.0, 0.0, 16.0, 2.0], [0.0, 0.5, 100.0, 0.0]);
        assert!((x1 - x0 - 1000.0).abs() < 1e-2 && (y1 - 3.0).abs() < 1e-6);
        assert!(coder.decode([0.0, 0.0, 16.0, 2.0], [0.0, 0.0, f32::NAN, 0.0])[0].is_nan());
    }
}
