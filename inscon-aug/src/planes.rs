//! Bytes from interleaved to apart and back.

use image::RgbImage;
use pulp::Arch;

/// The planes, one after another, as three.
pub(crate) fn three(planes: &mut [u8]) -> [&mut [u8]; 3] {
    let n = planes.len() / 3;
    let (a, rest) = planes.split_at_mut(n);
    let (b, c) = rest.split_at_mut(n);
    [a, b, &mut c[..n]]
}

/// Changes an image by what it does to its planes.
pub(crate) fn on_planes(img: &mut RgbImage, change: impl FnOnce([&mut [u8]; 3])) {
    let mut planes = vec![0; img.len()];
    let simd = Arch::new();
    simd.dispatch(
        #[inline(always)]
        || split3(img, three(&mut planes)),
    );
    change(three(&mut planes));
    simd.dispatch(
        #[inline(always)]
        || interleave3(three(&mut planes).map(|plane| &*plane), img),
    );
}

/// `out[4·i + k] = rows[k][i]`.
#[inline(always)]
pub(crate) fn interleave4(rows: [&[u8]; 4], out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<4>();
    let n = out.len();
    let [a, b, c, d] = rows.map(|row| &row[..n]);
    for i in 0..n {
        out[i] = [a[i], b[i], c[i], d[i]];
    }
}

/// `rows[k][i] = pixels[4·i + k]`.
#[inline(always)]
pub(crate) fn split4(pixels: &[u8], rows: [&mut [u8]; 4]) {
    let (pixels, _) = pixels.as_chunks::<4>();
    let n = pixels.len();
    let [a, b, c, d] = rows.map(|row| &mut row[..n]);
    for i in 0..n {
        [a[i], b[i], c[i], d[i]] = pixels[i];
    }
}

/// `out[3·i + k] = rows[k][i]`.
#[inline(always)]
pub(crate) fn interleave3(rows: [&[u8]; 3], out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<3>();
    let n = out.len();
    let [a, b, c] = rows.map(|row| &row[..n]);
    for i in 0..n {
        out[i] = [a[i], b[i], c[i]];
    }
}

/// `rows[k][i] = pixels[3·i + k]`.
#[inline(always)]
pub(crate) fn split3(pixels: &[u8], rows: [&mut [u8]; 3]) {
    let (pixels, _) = pixels.as_chunks::<3>();
    let n = pixels.len();
    let [a, b, c] = rows.map(|row| &mut row[..n]);
    for i in 0..n {
        [a[i], b[i], c[i]] = pixels[i];
    }
}

/// Makes the buffer at least this long; its values are anything.
pub(crate) fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}
