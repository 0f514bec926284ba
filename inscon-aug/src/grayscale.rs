//! Greyscale: ITU-R 601 luma.

use image::RgbImage;

use crate::color_jitter::luma_plane;
use crate::planes::on_planes;

/// Replaces each pixel by its luma, three times; PIL's `convert("L")`.
pub fn grayscale(img: &mut RgbImage) {
    on_planes(img, |[r, g, b]| {
        luma_plane([&mut *r, &mut *g, &mut *b]);
        g.copy_from_slice(r);
        b.copy_from_slice(r);
    });
}
