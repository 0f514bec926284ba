//! Bytes from interleaved to apart and back.

use image::RgbImage;

use crate::lanes::{CHUNK, Lanes, Run, vectorized};

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
    vectorized(Split(img, three(&mut planes)));
    change(three(&mut planes));
    vectorized(Interleave(three(&mut planes).map(|plane| &*plane), img));
}

/// [`split3`].
struct Split<'a>(&'a [u8], [&'a mut [u8]; 3]);

impl Run for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: impl Lanes) {
        split3(self.0, self.1);
    }
}

/// Planes to pixels: `out[3·i + k] = planes[k][i]`.
pub(crate) struct Interleave<'a>(pub(crate) [&'a [u8]; 3], pub(crate) &'a mut [u8]);

impl Run for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: impl Lanes) {
        interleave3(lanes, self.0, self.1);
    }
}

/// `out[3·i + k] = rows[k][i]`.
#[inline(always)]
pub(crate) fn interleave3(lanes: impl Lanes, rows: [&[u8]; 3], out: &mut [u8]) {
    let n = out.len() / 3;
    let [a, b, c] = [&rows[0][..n], &rows[1][..n], &rows[2][..n]];
    let (chunks, rest) = out[..3 * n].as_chunks_mut::<{ 3 * CHUNK }>();
    let done = chunks.len() * CHUNK;
    let [(of_a, _), (of_b, _), (of_c, _)] = [a.as_chunks::<CHUNK>(), b.as_chunks(), c.as_chunks()];
    for (((out, a), b), c) in chunks.iter_mut().zip(of_a).zip(of_b).zip(of_c) {
        *out = lanes.interleave([*a, *b, *c]);
    }
    let rest = rest.as_chunks_mut::<3>().0.iter_mut();
    for (((out, &a), &b), &c) in rest.zip(&a[done..]).zip(&b[done..]).zip(&c[done..]) {
        *out = [a, b, c];
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

/// Makes the buffer at least this long; its values are anything. One that is too short is freed
/// before there is another, and none is longer than asked for, so that limits of memory hold.
pub(crate) fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        *buffer = Vec::new();
        *buffer = vec![T::default(); len];
    }
}

/// The same of exactly this length, filled.
pub(crate) fn refill<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) {
    buffer.clear();
    if buffer.capacity() < len {
        *buffer = Vec::new();
        *buffer = vec![value; len];
    } else {
        buffer.resize(len, value);
    }
}
