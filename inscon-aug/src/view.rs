//! The geometry of a view: source crop, flip, output size.

use serde::{Deserialize, Serialize};

use crate::BBox;
use crate::resize::crop_resize_plane;

/// The map from a source image to a view of it: cut `crop` out, scale it to `width × height`,
/// mirror it if `flip`.
///
/// Maps of this kind are closed under composition ([`then`](Self::then)) and invertible
/// ([`unmap_point`](Self::unmap_point)).
///
/// ```text
/// x' = (x − x0)·width / (x1 − x0),   mirrored: width − x'
/// y' = (y − y0)·height / (y1 − y0)
/// ```
///
/// ```
/// use inscon_aug::{BBox, ViewTransform};
/// let crop = BBox::new(10.0, 20.0, 30.0, 40.0);
/// let view = ViewTransform { crop, flip: true, width: 40, height: 40 };
/// assert_eq!(view.map_point(10.0, 20.0), (40.0, 0.0));
/// assert_eq!(view.unmap_point(40.0, 0.0), (10.0, 20.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewTransform {
    /// What of the source is seen, in source pixels.
    pub crop: BBox,
    /// Mirrored left to right.
    pub flip: bool,
    /// Width of the view in pixels.
    pub width: u32,
    /// Height of the view in pixels.
    pub height: u32,
}

impl ViewTransform {
    /// The whole image as it is.
    pub fn identity(width: u32, height: u32) -> Self {
        Self {
            crop: BBox::of_size(width, height),
            flip: false,
            width,
            height,
        }
    }

    /// Pixels of the view per source pixel, along x and y.
    pub fn scale(&self) -> (f32, f32) {
        (
            self.width as f32 / self.crop.width(),
            self.height as f32 / self.crop.height(),
        )
    }

    /// Source point to view point. Points outside the crop land outside the view.
    pub fn map_point(&self, x: f32, y: f32) -> (f32, f32) {
        let (sx, sy) = self.scale();
        let x = (x - self.crop.x0) * sx;
        (
            if self.flip { self.width as f32 - x } else { x },
            (y - self.crop.y0) * sy,
        )
    }

    /// View point to source point: the inverse of [`map_point`](Self::map_point).
    pub fn unmap_point(&self, x: f32, y: f32) -> (f32, f32) {
        let (sx, sy) = self.scale();
        let x = if self.flip { self.width as f32 - x } else { x };
        (self.crop.x0 + x / sx, self.crop.y0 + y / sy)
    }

    /// Source box to view box (not clipped to the view).
    pub fn map_box(&self, b: &BBox) -> BBox {
        let (xa, y0) = self.map_point(b.x0, b.y0);
        let (xb, y1) = self.map_point(b.x1, b.y1);
        if self.flip {
            BBox::new(xb, y0, xa, y1)
        } else {
            BBox::new(xa, y0, xb, y1)
        }
    }

    /// View box to source box: the inverse of [`map_box`](Self::map_box).
    pub fn unmap_box(&self, b: &BBox) -> BBox {
        let (xa, y0) = self.unmap_point(b.x0, b.y0);
        let (xb, y1) = self.unmap_point(b.x1, b.y1);
        if self.flip {
            BBox::new(xb, y0, xa, y1)
        } else {
            BBox::new(xa, y0, xb, y1)
        }
    }

    /// Source polygon to view polygon, in COCO's flat form `[x0, y0, x1, y1, …]` and in its
    /// doubles; detectron2's `apply_polygons`. Points keep their order, so that a flip turns the
    /// polygon's orientation round. Not clipped to the view.
    ///
    /// ```
    /// use inscon_aug::{BBox, ViewTransform};
    /// let crop = BBox::new(10.0, 20.0, 30.0, 40.0);
    /// let view = ViewTransform { crop, flip: true, width: 40, height: 40 };
    /// let mapped = view.map_polygon(&[10.0, 20.0, 20.0, 20.0, 20.0, 35.0]);
    /// assert_eq!(mapped, [40.0, 0.0, 20.0, 0.0, 20.0, 30.0]);
    /// assert_eq!(view.unmap_polygon(&mapped), [10.0, 20.0, 20.0, 20.0, 20.0, 35.0]);
    /// ```
    ///
    /// # Panics
    /// If the polygon has an odd number of coordinates.
    pub fn map_polygon(&self, polygon: &[f64]) -> Vec<f64> {
        let [x0, y0, sx, sy] = self.place_and_scale();
        let width = f64::from(self.width);
        each_point(polygon, |[x, y]| {
            let x = (x - x0) * sx;
            [if self.flip { width - x } else { x }, (y - y0) * sy]
        })
    }

    /// View polygon to source polygon: the inverse of [`map_polygon`](Self::map_polygon).
    ///
    /// # Panics
    /// If the polygon has an odd number of coordinates.
    pub fn unmap_polygon(&self, polygon: &[f64]) -> Vec<f64> {
        let [x0, y0, sx, sy] = self.place_and_scale();
        let width = f64::from(self.width);
        each_point(polygon, |[x, y]| {
            let x = if self.flip { width - x } else { x };
            [x0 + x / sx, y0 + y / sy]
        })
    }

    /// A binary mask (row-major, 0 or 1) of a source image of `width × height` pixels on the view:
    /// cut, scaled and mirrored like the pixels, bilinear with antialiasing, and set where at least
    /// half is covered.
    ///
    /// ```
    /// use inscon_aug::{BBox, ViewTransform};
    /// let crop = BBox::new(1.0, 0.0, 3.0, 2.0);
    /// let view = ViewTransform { crop, flip: true, width: 2, height: 2 };
    /// let mask = [
    ///     1, 1, 0, 0,
    ///     0, 0, 1, 0,
    /// ];
    /// assert_eq!(view.apply_mask(&mask, 4, 2), [0, 1, 1, 0]);
    /// ```
    ///
    /// # Panics
    /// If the mask is not `width × height`, or the crop is empty or leaves it.
    pub fn apply_mask(&self, mask: &[u8], width: u32, height: u32) -> Vec<u8> {
        assert!(
            mask.len() == width as usize * height as usize,
            "a mask of {} values is not {width} x {height} px",
            mask.len()
        );
        let coverage: Vec<u8> = mask.iter().map(|&v| if v == 0 { 0 } else { 255 }).collect();
        let mut out = crop_resize_plane(&coverage, [width, height], self);
        for v in &mut out {
            *v = u8::from(*v >= 128);
        }
        out
    }

    /// The crop's corner and the scale along x and y.
    fn place_and_scale(&self) -> [f64; 4] {
        let [x0, y0, x1, y1] = self.crop.to_array().map(f64::from);
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        [x0, y0, width / (x1 - x0), height / (y1 - y0)]
    }

    /// First `self`, then `next` on the view that `self` makes.
    pub fn then(&self, next: &Self) -> Self {
        Self {
            crop: self.unmap_box(&next.crop),
            flip: self.flip != next.flip,
            width: next.width,
            height: next.height,
        }
    }

    /// The part of the source that both views see.
    pub fn overlap(&self, other: &Self) -> BBox {
        self.crop.intersection(&other.crop)
    }

    /// The source box of cell (`column`, `row`) of the view's `side × side` feature map.
    pub fn cell_box(&self, column: usize, row: usize, side: usize) -> BBox {
        let (w, h) = (
            self.width as f32 / side as f32,
            self.height as f32 / side as f32,
        );
        let (x, y) = (column as f32 * w, row as f32 * h);
        self.unmap_box(&BBox::new(x, y, x + w, y + h))
    }

    /// The source point at the centre of cell (`column`, `row`) of the view's `side × side` feature
    /// map (`method.md`, *Bookkeeping*):
    ///
    /// ```text
    /// x = cx + (flip ? s − u − ½ : u + ½)·cw/s,   y = cy + (v + ½)·ch/s
    /// ```
    pub fn cell_center(&self, column: usize, row: usize, side: usize) -> (f32, f32) {
        let s = side as f32;
        let u = column as f32 + 0.5;
        let u = if self.flip { s - u } else { u };
        (
            self.crop.x0 + u * self.crop.width() / s,
            self.crop.y0 + (row as f32 + 0.5) * self.crop.height() / s,
        )
    }
}

fn each_point(polygon: &[f64], map: impl Fn([f64; 2]) -> [f64; 2]) -> Vec<f64> {
    let (points, rest) = polygon.as_chunks::<2>();
    assert!(
        rest.is_empty(),
        "a polygon of {} coordinates ends in half a point",
        polygon.len()
    );
    points.iter().flat_map(|&point| map(point)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipped_cells_are_mirrored() {
        let crop = BBox::new(8.0, 4.0, 36.0, 32.0);
        let plain = ViewTransform {
            crop,
            flip: false,
            width: 224,
            height: 224,
        };
        let flipped = ViewTransform {
            flip: true,
            ..plain
        };
        for v in 0..7 {
            for u in 0..7 {
                assert_eq!(plain.cell_center(u, v, 7), flipped.cell_center(6 - u, v, 7));
            }
        }
        assert_eq!(plain.cell_center(0, 0, 7), (10.0, 6.0));
        assert_eq!(flipped.cell_center(0, 0, 7), (34.0, 6.0));
    }
}
