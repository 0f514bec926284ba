//! Greyscale: ITU-R 601 luma.

use image::RgbImage;

/// PIL's `L`: (19595 R + 38470 G + 7471 B + 2¹⁵) / 2¹⁶, ITU-R 601-2.
#[inline]
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16) as u8
}

/// Replaces each pixel by its luma, three times.
pub fn grayscale(img: &mut RgbImage) {
    let (pixels, _) = img.as_chunks_mut::<3>();
    for pixel in pixels {
        *pixel = [luma(*pixel); 3];
    }
}
