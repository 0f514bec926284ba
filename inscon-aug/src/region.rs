//! A decoded part of an image.

use image::RgbImage;

use crate::BBox;

/// RGB pixels of a rectangle of an image, perhaps of a reduced one.
///
/// Reduced by `denominator` d (1, 2, 4 or 8), an image of `W × H` pixels has `⌈W/d⌉ × ⌈H/d⌉`, and
/// the reduced pixel in column `i` covers the source columns `[d·i, d·(i + 1))`: libjpeg's scaled
/// decoding. The rectangle's first pixel is the one in column `x` and row `y` of the reduced image.
///
/// ```
/// use image::RgbImage;
/// use inscon_aug::{BBox, PixelRegion};
/// let image = RgbImage::new(8, 6);
/// let region = PixelRegion::from(&image);
/// assert_eq!(region.image_size, [8, 6]);
/// assert_eq!(region.locate(&BBox::new(2.0, 1.0, 4.0, 3.0)), BBox::new(2.0, 1.0, 4.0, 3.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelRegion<'a> {
    /// `height · width · 3` bytes, row by row, red, green and blue interleaved.
    pub pixels: &'a [u8],
    /// Width of the rectangle in (reduced) pixels.
    pub width: u32,
    /// Height of the rectangle in (reduced) pixels.
    pub height: u32,
    /// Column of its first pixel on the (reduced) image.
    pub x: u32,
    /// Row of its first pixel on the (reduced) image.
    pub y: u32,
    /// How much the image was reduced: 1, 2, 4 or 8.
    pub denominator: u32,
    /// Width and height of the whole image in source pixels, not reduced.
    pub image_size: [u32; 2],
}

impl PixelRegion<'_> {
    /// A box in source pixels, in the region's own pixels: what a crop is on the rectangle.
    #[must_use]
    pub fn locate(&self, b: &BBox) -> BBox {
        let d = self.denominator as f32;
        let (x, y) = (self.x as f32, self.y as f32);
        BBox::new(b.x0 / d - x, b.y0 / d - y, b.x1 / d - x, b.y1 / d - y)
    }
}

/// The whole of an image.
impl<'a> From<&'a RgbImage> for PixelRegion<'a> {
    fn from(image: &'a RgbImage) -> Self {
        let (width, height) = image.dimensions();
        Self {
            pixels: image.as_raw(),
            width,
            height,
            x: 0,
            y: 0,
            denominator: 1,
            image_size: [width, height],
        }
    }
}
