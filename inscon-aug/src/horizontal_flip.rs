//! Horizontal flip.

use image::RgbImage;

/// Mirrors the image left to right, in place.
pub fn horizontal_flip(img: &mut RgbImage) {
    let row = img.width() as usize * 3;
    if row == 0 {
        return;
    }
    for line in img.chunks_exact_mut(row) {
        let (pixels, _) = line.as_chunks_mut::<3>();
        pixels.reverse();
    }
}
