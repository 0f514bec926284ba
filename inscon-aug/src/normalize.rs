//! Bytes to normalised floats.

use image::RgbImage;
use ndarray::{Array4, ArrayView4, ArrayViewMut3, ArrayViewMut4, Axis};
use pulp::Arch;

/// Factor and offset of each channel that normalise a byte: `(v / 255 − mean) / std` as `v · factor
/// + offset`, for the host or a device.
///
/// ```
/// let [factor, offset] = inscon_aug::normalization([0.5; 3], [0.25; 3]);
/// assert_eq!(255.0 * factor[0] + offset[0], 2.0);
/// ```
#[must_use]
pub fn normalization(mean: [f32; 3], std: [f32; 3]) -> [[f32; 3]; 2] {
    let factor = std.map(|s| (1.0 / (255.0 * f64::from(s))) as f32);
    let offset = |c: usize| (-f64::from(mean[c]) / f64::from(std[c])) as f32;
    [factor, std::array::from_fn(offset)]
}

/// Canvases of bytes `[N, H, W, 3]` as normalised floats `[N, 3, H, W]`: `(v / 255 − mean) / std`.
///
/// ```
/// use ndarray::Array4;
/// let canvases = Array4::<u8>::zeros((2, 4, 4, 3));
/// let pixels = inscon_aug::normalize_canvases(canvases.view(), [0.5; 3], [0.25; 3]);
/// assert_eq!(pixels.shape(), [2, 3, 4, 4]);
/// assert_eq!(pixels[[0, 0, 0, 0]], -2.0);
/// ```
///
/// # Panics
/// If there are not three channels.
#[must_use]
pub fn normalize_canvases(
    canvases: ArrayView4<'_, u8>,
    mean: [f32; 3],
    std: [f32; 3],
) -> Array4<f32> {
    let (images, height, width, _) = canvases.dim();
    let mut out = Array4::zeros((images, 3, height, width));
    normalize_canvases_into(canvases, mean, std, out.view_mut());
    out
}

/// The same into memory that is there.
///
/// # Panics
/// If the canvases are not `[N, H, W, 3]`, or `out` is not `[N, 3, H, W]`.
pub fn normalize_canvases_into(
    canvases: ArrayView4<'_, u8>,
    mean: [f32; 3],
    std: [f32; 3],
    mut out: ArrayViewMut4<'_, f32>,
) {
    let (images, height, width, channels) = canvases.dim();
    assert!(
        channels == 3 && out.shape() == [images, 3, height, width],
        "canvases are {:?}, but the output {:?}",
        canvases.shape(),
        out.shape()
    );
    for (canvas, out) in canvases.outer_iter().zip(out.outer_iter_mut()) {
        let contiguous = canvas.as_standard_layout();
        let pixels = contiguous
            .as_slice()
            .expect("a standard layout is contiguous");
        normalize_rows(pixels, mean, std, out);
    }
}

/// Writes `(v / 255 − mean) / std` of an RGB image into a `[3, H, W]` view, which may be a tile of
/// a canvas (rows contiguous or not).
///
/// # Panics
/// If `out` is not `[3, img.height(), img.width()]`.
pub fn normalize_into(img: &RgbImage, mean: [f32; 3], std: [f32; 3], out: ArrayViewMut3<'_, f32>) {
    let (width, height) = img.dimensions();
    let expected = [3, height as usize, width as usize];
    assert!(
        out.shape() == expected,
        "image is {expected:?}, but the output {:?}",
        out.shape()
    );
    normalize_rows(img, mean, std, out);
}

/// `pixels` are those of `out`'s size, interleaved.
fn normalize_rows(pixels: &[u8], mean: [f32; 3], std: [f32; 3], mut out: ArrayViewMut3<'_, f32>) {
    let (_, _, width) = out.dim();
    if pixels.is_empty() {
        return;
    }
    let [factor, offset] = normalization(mean, std);
    let simd = Arch::new();
    for (y, row) in pixels.chunks_exact(width * 3).enumerate() {
        let mut lines = out.index_axis_mut(Axis(1), y);
        for (c, mut line) in lines.outer_iter_mut().enumerate() {
            let (factor, offset) = (factor[c], offset[c]);
            let normalized = |v: u8| f32::from(v) * factor + offset;
            let (row, _) = row.as_chunks::<3>();
            if let Some(line) = line.as_slice_mut() {
                simd.dispatch(
                    #[inline(always)]
                    || {
                        for (out, pixel) in line.iter_mut().zip(row) {
                            *out = normalized(pixel[c]);
                        }
                    },
                );
            } else {
                for (out, pixel) in line.iter_mut().zip(row) {
                    *out = normalized(pixel[c]);
                }
            }
        }
    }
}
