//! Bilinear resampling with antialiasing as PIL does it, to the last bit: rows first, then columns,
//! weights of 22 bits after the point, each pass rounded to bytes.
//!
//! Both passes are plain loops over neighbouring bytes, which vectorise. For that the first works
//! on sixteen rows at a time, transposed: a column of them is sixteen neighbouring bytes.

use crate::BBox;
use crate::lanes::{CHUNK, Lanes, ROWS, Run, vectorized};
use crate::planes::grow;

/// Bits of a weight after the point.
const BITS: u32 = 22;
/// One half, so that a sum is rounded.
const HALF: u32 = 1 << (BITS - 1);
/// Bytes of sixteen transposed rows that are written at a time.
const SQUARES: usize = ROWS * CHUNK;

/// The weights of one axis.
#[derive(Debug, Clone, Default)]
struct Taps {
    /// First source pixel and number of pixels of each output pixel.
    spans: Vec<(u32, u32)>,
    /// `room` weights an output pixel.
    weights: Vec<u32>,
    room: usize,
}

impl Taps {
    /// `source` pixels of which `[from, to)` becomes `output`; PIL's `precompute_coeffs` with the
    /// triangle filter.
    fn set(&mut self, source: u32, from: f32, to: f32, output: u32) {
        let scale = f64::from(to - from) / f64::from(output);
        let support = scale.max(1.0);
        let inverse = 1.0 / support;
        self.room = support.ceil() as usize * 2 + 1;
        self.spans.clear();
        self.weights.clear();
        self.weights.resize(self.room * output as usize, 0);
        for (i, weights) in self.weights.chunks_exact_mut(self.room).enumerate() {
            let center = f64::from(from) + (i as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as u32;
            let end = ((center + support + 0.5) as u32).min(source);
            let weight = |k: u32| {
                let distance = (f64::from(first + k) - center + 0.5) * inverse;
                (1.0 - distance.abs()).max(0.0)
            };
            let count = end.saturating_sub(first);
            let total: f64 = (0..count).map(weight).sum();
            for (k, out) in (0..count).zip(weights) {
                *out = (0.5 + weight(k) / total * f64::from(1 << BITS)) as u32;
            }
            self.spans.push((first, count));
        }
    }

    fn len(&self) -> usize {
        self.spans.len()
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let weights = self.weights.chunks_exact(self.room.max(1));
        let spans = self.spans.iter().zip(weights);
        spans.map(|(&(first, count), weights)| (first as usize, &weights[..count as usize]))
    }
}

/// Weights and intermediate rows, kept from image to image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resampler {
    horizontal: Taps,
    vertical: Taps,
    /// Sixteen rows, transposed.
    columns: Vec<u8>,
    /// The same after the first pass, channel by channel.
    filtered: Vec<u8>,
    /// The result of the first pass: planes of rows of whole chunks.
    rows: Vec<u8>,
}

/// Pixels with `C` interleaved channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) pixels: &'a [u8],
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What the filter sees.
struct Window<'a> {
    /// From its first pixel.
    pixels: &'a [u8],
    /// From line to line.
    stride: usize,
    /// Of a line.
    bytes: usize,
    lines: usize,
}

impl<'a> Window<'a> {
    #[inline(always)]
    fn line(&self, y: usize) -> &'a [u8] {
        &self.pixels[y * self.stride..][..self.bytes]
    }
}

/// Both passes.
struct Job<'a, const C: usize> {
    resampler: &'a mut Resampler,
    window: Window<'a>,
    width: usize,
    flip: bool,
    out: &'a mut [u8],
}

impl<const C: usize> Run for Job<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: impl Lanes) {
        let (window, width) = (&self.window, self.width);
        self.resampler
            .first_pass::<C>(lanes, window, width, self.flip);
        let room = window.lines.next_multiple_of(ROWS);
        self.resampler.second_pass(width, room, self.out);
    }
}

impl Resampler {
    /// Cuts `crop` out of the source and scales it to `width × height`, mirrored if `flip`, into
    /// `C` planes one after another.
    ///
    /// The filter sees the smallest window of whole pixels around the crop: PIL's
    /// `image.crop(window).resize(size, BILINEAR, box=crop - window)`.
    ///
    /// # Panics
    /// If the crop is empty or leaves the source, the output is empty, or a length is wrong.
    pub(crate) fn run<const C: usize>(
        &mut self,
        source: Source<'_>,
        crop: &BBox,
        (width, height): (u32, u32),
        flip: bool,
        out: &mut [u8],
    ) {
        let Source {
            pixels,
            width: source_width,
            height: source_height,
        } = source;
        let inside = crop.x0 >= 0.0
            && crop.y0 >= 0.0
            && crop.x1 <= source_width as f32
            && crop.y1 <= source_height as f32;
        assert!(
            inside && crop.area() > 0.0 && width > 0 && height > 0,
            "cannot cut {crop:?} out of {source_width} x {source_height} px for {width} x {height} px"
        );
        assert_eq!(
            pixels.len(),
            source_width as usize * source_height as usize * C,
            "the source has its size"
        );
        assert_eq!(
            out.len(),
            width as usize * height as usize * C,
            "the output has its size"
        );
        let (left, top) = (crop.x0.floor(), crop.y0.floor());
        let (right, bottom) = (crop.x1.ceil(), crop.y1.ceil());
        let (columns, lines) = ((right - left) as u32, (bottom - top) as u32);
        self.horizontal
            .set(columns, crop.x0 - left, crop.x1 - left, width);
        self.vertical
            .set(lines, crop.y0 - top, crop.y1 - top, height);

        let stride = source_width as usize * C;
        let window = Window {
            pixels: &pixels[top as usize * stride + left as usize * C..],
            stride,
            bytes: columns as usize * C,
            lines: lines as usize,
        };
        let width = width as usize;
        let stride = width.next_multiple_of(CHUNK);
        let room = window.lines.next_multiple_of(ROWS);
        grow(
            &mut self.columns,
            ROWS * window.bytes.next_multiple_of(CHUNK),
        );
        grow(&mut self.filtered, ROWS * stride * C);
        grow(&mut self.rows, room * stride * C);
        vectorized(Job::<C> {
            resampler: self,
            window,
            width,
            flip,
            out,
        });
    }

    #[inline(always)]
    fn first_pass<const C: usize>(
        &mut self,
        lanes: impl Lanes,
        window: &Window<'_>,
        width: usize,
        flip: bool,
    ) {
        let stride = width.next_multiple_of(CHUNK);
        let room = window.lines.next_multiple_of(ROWS);
        for block in (0..window.lines).step_by(ROWS) {
            let mut lines = [window.line(block); ROWS];
            for (i, line) in lines.iter_mut().enumerate() {
                // The last block is filled up with the last row.
                *line = window.line((block + i).min(window.lines - 1));
            }
            transpose_lines(lanes, lines, &mut self.columns);

            let (columns, _) = self.columns.as_chunks::<ROWS>();
            let (filtered, _) = self.filtered.as_chunks_mut::<ROWS>();
            for (x, (first, weights)) in self.horizontal.iter().enumerate() {
                let x = if flip { width - 1 - x } else { x };
                let taps = &columns[first * C..][..weights.len() * C];
                let sums = match *weights {
                    [a, b] => sum::<C, 2>(taps, [a, b]),
                    [a, b, c] => sum(taps, [a, b, c]),
                    [a, b, c, d] => sum(taps, [a, b, c, d]),
                    _ => sum_many(taps, weights),
                };
                for (c, sums) in sums.iter().enumerate() {
                    filtered[c * stride + x] = *sums;
                }
            }

            let planes = filtered.chunks_exact(stride).take(C);
            for (plane, filtered) in planes.enumerate() {
                let rows = &mut self.rows[(plane * room + block) * stride..][..ROWS * stride];
                transpose_columns(lanes, filtered, rows);
            }
        }
    }

    #[inline(always)]
    fn second_pass(&self, width: usize, room: usize, out: &mut [u8]) {
        let stride = width.next_multiple_of(CHUNK);
        let planes = out.chunks_exact_mut(width * self.vertical.len());
        for (out, rows) in planes.zip(self.rows.chunks_exact(room * stride)) {
            for (out, (first, weights)) in out.chunks_exact_mut(width).zip(self.vertical.iter()) {
                let lines = &rows[first * stride..][..weights.len() * stride];
                match *weights {
                    [a] => weigh(out, lines, stride, [a]),
                    [a, b] => weigh(out, lines, stride, [a, b]),
                    [a, b, c] => weigh(out, lines, stride, [a, b, c]),
                    [a, b, c, d] => weigh(out, lines, stride, [a, b, c, d]),
                    [a, b, c, d, e] => weigh(out, lines, stride, [a, b, c, d, e]),
                    _ => weigh_many(out, lines, stride, weights),
                }
            }
        }
    }
}

/// The weighted sum of `N` columns of sixteen pixels of `C` channels.
#[inline(always)]
fn sum<const C: usize, const N: usize>(taps: &[[u8; ROWS]], weights: [u32; N]) -> [[u8; ROWS]; C] {
    let mut out = [[0; ROWS]; C];
    for (c, out) in out.iter_mut().enumerate() {
        let mut sums = [HALF; ROWS];
        for (k, weight) in weights.into_iter().enumerate() {
            for (sum, &v) in sums.iter_mut().zip(&taps[k * C + c]) {
                *sum = sum.wrapping_add(u32::from(v).wrapping_mul(weight));
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            // So few weights sum to 1 so nearly that this is at most 255.
            *out = (sum >> BITS) as u8;
        }
    }
    out
}

/// The same of any number of columns.
#[inline(always)]
fn sum_many<const C: usize>(taps: &[[u8; ROWS]], weights: &[u32]) -> [[u8; ROWS]; C] {
    let mut sums = [[HALF; ROWS]; C];
    for (tap, &weight) in taps.chunks_exact(C).zip(weights) {
        for (sums, tap) in sums.iter_mut().zip(tap) {
            for (sum, &v) in sums.iter_mut().zip(tap) {
                *sum = sum.wrapping_add(u32::from(v).wrapping_mul(weight));
            }
        }
    }
    let mut out = [[0; ROWS]; C];
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum >> BITS).min(255) as u8;
        }
    }
    out
}

/// Sixteen lines of equal length, transposed.
#[inline(always)]
fn transpose_lines(lanes: impl Lanes, lines: [&[u8]; ROWS], columns: &mut [u8]) {
    let (columns, _) = columns.as_chunks_mut::<SQUARES>();
    let (whole, rest) = lines[0].as_chunks::<CHUNK>();
    let mut squares = [[0; CHUNK]; ROWS];
    for (i, columns) in columns[..whole.len()].iter_mut().enumerate() {
        for (to, line) in squares.iter_mut().zip(lines) {
            to.copy_from_slice(&line[i * CHUNK..][..CHUNK]);
        }
        write_columns(lanes, &squares, columns);
    }
    if !rest.is_empty() {
        for (to, line) in squares.iter_mut().zip(lines) {
            to[..rest.len()].copy_from_slice(&line[whole.len() * CHUNK..]);
        }
        write_columns(lanes, &squares, &mut columns[whole.len()]);
    }
}

#[inline(always)]
fn write_columns(lanes: impl Lanes, squares: &[[u8; CHUNK]; ROWS], columns: &mut [u8; SQUARES]) {
    let (columns, _) = columns.as_chunks_mut::<ROWS>();
    let (left, right) = columns.split_at_mut(ROWS);
    let turned = lanes.transpose(*squares);
    for ((turned, left), right) in turned.iter().zip(left).zip(right) {
        left.copy_from_slice(&turned[..ROWS]);
        right.copy_from_slice(&turned[ROWS..]);
    }
}

/// Columns of sixteen bytes, a whole number of chunks of them, as rows.
#[inline(always)]
fn transpose_columns(lanes: impl Lanes, columns: &[[u8; ROWS]], rows: &mut [u8]) {
    let stride = columns.len();
    for (i, columns) in columns.as_chunks::<CHUNK>().0.iter().enumerate() {
        let mut squares = [[0; CHUNK]; ROWS];
        let (left, right) = columns.split_at(ROWS);
        for ((to, left), right) in squares.iter_mut().zip(left).zip(right) {
            to[..ROWS].copy_from_slice(left);
            to[ROWS..].copy_from_slice(right);
        }
        let turned = lanes.transpose(squares);
        for (row, turned) in rows.chunks_exact_mut(stride).zip(&turned) {
            row[i * CHUNK..][..CHUNK].copy_from_slice(turned);
        }
    }
}

/// The weighted sum of `N` lines.
#[inline(always)]
fn weigh<const N: usize>(out: &mut [u8], lines: &[u8], stride: usize, weights: [u32; N]) {
    let n = out.len();
    let mut taps = [lines; N];
    for (k, tap) in taps.iter_mut().enumerate() {
        *tap = &lines[k * stride..][..n];
    }
    for (i, out) in out.iter_mut().enumerate() {
        let mut sum = HALF;
        for k in 0..N {
            sum = sum.wrapping_add(u32::from(taps[k][i]).wrapping_mul(weights[k]));
        }
        // So few weights sum to 1 so nearly that this is at most 255.
        *out = (sum >> BITS) as u8;
    }
}

/// The same of any number of lines, of whole chunks.
#[inline(always)]
fn weigh_many(out: &mut [u8], lines: &[u8], stride: usize, weights: &[u32]) {
    for (i, out) in out.chunks_mut(CHUNK).enumerate() {
        let mut sums = [HALF; CHUNK];
        for (line, &weight) in lines.chunks_exact(stride).zip(weights) {
            let (chunks, _) = line.as_chunks::<CHUNK>();
            for (sum, &v) in sums.iter_mut().zip(&chunks[i]) {
                *sum = sum.wrapping_add(u32::from(v).wrapping_mul(weight));
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = (sum >> BITS).min(255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::rng::{below, stream, uniform};

    /// PIL's two passes, pixel by pixel.
    fn naive<const C: usize>(
        source: Source<'_>,
        crop: &BBox,
        (width, height): (u32, u32),
        flip: bool,
    ) -> Vec<u8> {
        let (left, top) = (crop.x0.floor(), crop.y0.floor());
        let (right, bottom) = (crop.x1.ceil(), crop.y1.ceil());
        let (columns, lines) = ((right - left) as u32, (bottom - top) as u32);
        let (mut across, mut down) = (Taps::default(), Taps::default());
        across.set(columns, crop.x0 - left, crop.x1 - left, width);
        down.set(lines, crop.y0 - top, crop.y1 - top, height);
        let level = |sum: u64| ((sum + u64::from(HALF)) >> BITS).min(255) as u8;
        let mut out = Vec::new();
        for c in 0..C {
            let filtered = |x: usize, y: usize| {
                let x = if flip { width as usize - 1 - x } else { x };
                let (first, weights) = across.iter().nth(x).unwrap();
                let row = (y + top as usize) * source.width as usize;
                let pixel = |k: usize| source.pixels[(row + left as usize + first + k) * C + c];
                let taps = weights.iter().enumerate();
                level(taps.map(|(k, &w)| u64::from(w) * u64::from(pixel(k))).sum())
            };
            let rows: Vec<Vec<u8>> = (0..lines as usize)
                .map(|y| (0..width as usize).map(|x| filtered(x, y)).collect())
                .collect();
            for (first, weights) in down.iter() {
                let taps = || weights.iter().zip(&rows[first..]);
                out.extend((0..width as usize).map(|x| {
                    level(
                        taps()
                            .map(|(&w, row)| u64::from(w) * u64::from(row[x]))
                            .sum(),
                    )
                }));
            }
        }
        out
    }

    fn check<const C: usize>(resampler: &mut Resampler, seed: u64) {
        let mut rng = stream(seed, &[C as u64]);
        let mut side = |most: u32| 1 + below(&mut rng, most as usize) as u32;
        let (source_width, source_height) = (side(150), side(60));
        let output = (side(100), side(50));
        let mut pixels = vec![0; (source_width * source_height) as usize * C];
        rng.fill_bytes(&mut pixels);
        // Some of only the brightest, which no sum may exceed.
        if seed.is_multiple_of(4) {
            pixels.fill(255);
        }
        let mut edges = |side: u32| {
            let low = uniform(&mut rng, 0.0, f64::from(side) * 0.7);
            let high = uniform(&mut rng, low + 0.1, f64::from(side));
            match seed % 3 {
                0 => (0.0, side as f32),
                _ => (low as f32, high.min(f64::from(side)) as f32),
            }
        };
        let ((x0, x1), (y0, y1)) = (edges(source_width), edges(source_height));
        let crop = BBox::new(x0, y0, x1, y1);
        let source = Source {
            pixels: &pixels,
            width: source_width,
            height: source_height,
        };
        let flip = seed.is_multiple_of(2);
        let mut out = vec![0; (output.0 * output.1) as usize * C];
        resampler.run::<C>(source, &crop, output, flip, &mut out);
        assert!(
            out == naive::<C>(source, &crop, output, flip),
            "{C} channels, {source_width} x {source_height} px, {crop:?} to {output:?}"
        );
    }

    #[test]
    fn both_passes_are_the_naive_ones() {
        let mut resampler = Resampler::default();
        for seed in 0..120 {
            check::<3>(&mut resampler, seed);
            check::<1>(&mut resampler, seed);
        }
    }
}
