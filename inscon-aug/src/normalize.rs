//! Bytes to normalised floats.

use image::RgbImage;
use ndarray::ArrayViewMut3;

/// Writes `(v / 255 − mean) / std` of an RGB image into a `[3, H, W]` view, which may be a tile of
/// a canvas (rows contiguous or not).
///
/// # Panics
/// If `out` is not `[3, img.height(), img.width()]`.
pub fn normalize_into(
    img: &RgbImage,
    mean: [f32; 3],
    std: [f32; 3],
    mut out: ArrayViewMut3<'_, f32>,
) {
    let (width, height) = img.dimensions();
    let expected = [3, height as usize, width as usize];
    assert!(
        out.shape() == expected,
        "image is {expected:?}, but the output {:?}",
        out.shape()
    );
    if width == 0 || height == 0 {
        return;
    }
    let (pixels, _) = img.as_chunks::<3>();
    for (c, mut plane) in out.outer_iter_mut().enumerate() {
        let table: [f32; 256] = std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / std[c]);
        for (mut line, source) in plane
            .rows_mut()
            .into_iter()
            .zip(pixels.chunks_exact(width as usize))
        {
            if let Some(line) = line.as_slice_mut() {
                for (out, pixel) in line.iter_mut().zip(source) {
                    *out = table[usize::from(pixel[c])];
                }
            } else {
                for (out, pixel) in line.iter_mut().zip(source) {
                    *out = table[usize::from(pixel[c])];
                }
            }
        }
    }
}
