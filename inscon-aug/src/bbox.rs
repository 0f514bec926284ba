//! Boxes: xyxy, continuous, half-open.

use serde::{Deserialize, Serialize};

/// An axis-aligned box `[x0, x1) × [y0, y1)` in continuous coordinates.
///
/// Coordinates are pixel *edges*: the pixel in column `i` covers `[i, i + 1)`, its centre is at `i
/// + ½`, and the box of a whole image is `(0, 0, width, height)`. COCO's `xywh` lives in
/// `inscon-eval` alone.
///
/// ```
/// use inscon_aug::BBox;
/// let a = BBox::new(0.0, 0.0, 4.0, 2.0);
/// let b = a.translate(2.0, 0.0);
/// assert_eq!(a.intersection(&b), BBox::new(2.0, 0.0, 4.0, 2.0));
/// assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BBox {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge, not inside.
    pub x1: f32,
    /// Bottom edge, not inside.
    pub y1: f32,
}

impl BBox {
    /// The box with these edges.
    pub const fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// The box of a whole image.
    pub fn of_size(width: u32, height: u32) -> Self {
        Self::new(0.0, 0.0, width as f32, height as f32)
    }

    /// The edges as `[x0, y0, x1, y1]`.
    pub const fn to_array(self) -> [f32; 4] {
        [self.x0, self.y0, self.x1, self.y1]
    }

    /// The width; 0 for a box turned inside out.
    pub fn width(&self) -> f32 {
        (self.x1 - self.x0).max(0.0)
    }

    /// The height; 0 for a box turned inside out.
    pub fn height(&self) -> f32 {
        (self.y1 - self.y0).max(0.0)
    }

    /// The area.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// The centre (x, y).
    pub fn center(&self) -> (f32, f32) {
        (0.5 * (self.x0 + self.x1), 0.5 * (self.y0 + self.y1))
    }

    /// Whether the point lies inside (left and top edges count, right and bottom do not).
    pub fn contains(&self, x: f32, y: f32) -> bool {
        self.x0 <= x && x < self.x1 && self.y0 <= y && y < self.y1
    }

    /// The common part; a box without area where there is none.
    pub fn intersection(&self, other: &Self) -> Self {
        let x0 = self.x0.max(other.x0);
        let y0 = self.y0.max(other.y0);
        Self::new(
            x0,
            y0,
            self.x1.min(other.x1).max(x0),
            self.y1.min(other.y1).max(y0),
        )
    }

    /// The smallest box around both.
    ///
    /// ```
    /// use inscon_aug::BBox;
    /// let both = BBox::new(0.0, 0.0, 2.0, 1.0).around(&BBox::new(3.0, -1.0, 4.0, 0.5));
    /// assert_eq!(both, BBox::new(0.0, -1.0, 4.0, 1.0));
    /// ```
    #[must_use]
    pub fn around(&self, other: &Self) -> Self {
        Self::new(
            self.x0.min(other.x0),
            self.y0.min(other.y0),
            self.x1.max(other.x1),
            self.y1.max(other.y1),
        )
    }

    /// Intersection over union; 0 where both are empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let common = self.intersection(other).area();
        let union = self.area() + other.area() - common;
        if union > 0.0 { common / union } else { 0.0 }
    }

    /// The box with each edge moved into `[0, width] × [0, height]`.
    pub fn clip(&self, width: f32, height: f32) -> Self {
        Self::new(
            self.x0.clamp(0.0, width),
            self.y0.clamp(0.0, height),
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
        )
    }

    /// The box moved by (dx, dy).
    pub fn translate(&self, dx: f32, dy: f32) -> Self {
        Self::new(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)
    }

    /// The box with x and y coordinates multiplied.
    pub fn scale(&self, sx: f32, sy: f32) -> Self {
        Self::new(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_boxes_share_nothing() {
        let a = BBox::new(0.0, 0.0, 1.0, 1.0);
        let b = BBox::new(3.0, 3.0, 5.0, 4.0);
        assert_eq!(a.intersection(&b).area(), 0.0);
        assert_eq!(a.iou(&b), 0.0);
        assert_eq!(BBox::default().iou(&BBox::default()), 0.0);
    }

    #[test]
    fn half_open() {
        let a = BBox::new(1.0, 2.0, 3.0, 4.0);
        assert!(a.contains(1.0, 2.0) && !a.contains(3.0, 3.0) && !a.contains(2.0, 4.0));
        assert_eq!(a.area(), 4.0);
        assert_eq!(a.center(), (2.0, 3.0));
        assert_eq!(a.clip(2.0, 3.0), BBox::new(1.0, 2.0, 2.0, 3.0));
        assert_eq!(a.scale(2.0, 3.0), BBox::new(2.0, 6.0, 6.0, 12.0));
    }
}
