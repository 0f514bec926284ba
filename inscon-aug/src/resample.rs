//! Bilinear resampling with antialiasing as PIL does it, to the last bit: rows first, then columns,
//! weights of 22 bits after the point, each pass rounded to bytes.
//!
//! Both passes are plain loops over neighbouring bytes, which vectorise. For that the first works
//! on sixteen rows at a time, transposed: a column of them is sixteen neighbouring bytes.

use crate::BBox;
use crate::lanes::{Lanes, Run, vectorized};
use crate::planes::{grow, interleave4, split4};

/// Rows that the first pass takes at a time.
const LANES: usize = 16;
/// Bytes that the second pass takes at a time.
const RUN: usize = 64;
/// Bits of a weight after the point.
const BITS: u32 = 22;

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
    /// Sixteen rows, interleaved by four.
    quarters: Vec<u8>,
    /// Sixteen rows, transposed.
    columns: Vec<u8>,
    /// The same after the first pass, channel by channel.
    filtered: Vec<u8>,
    /// The result of the first pass: planes of whole rows.
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
    row: usize,
    room: usize,
    flip: bool,
    out: &'a mut [u8],
}

impl<const C: usize> Run for Job<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run(self, _: impl Lanes) {
        let (row, room) = (self.row, self.room);
        self.resampler
            .first_pass::<C>(&self.window, row, room, self.flip);
        self.resampler.second_pass(row, room, self.out);
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
        let (row, room) = (width as usize, (lines as usize).next_multiple_of(LANES));
        grow(&mut self.quarters, LANES * row.max(columns as usize * C));
        grow(&mut self.columns, LANES * columns as usize * C);
        grow(&mut self.filtered, LANES * row * C);
        grow(&mut self.rows, room * row * C);
        vectorized(Job::<C> {
            resampler: self,
            window,
            row,
            room,
            flip,
            out,
        });
    }

    #[inline(always)]
    fn first_pass<const C: usize>(
        &mut self,
        window: &Window<'_>,
        row: usize,
        room: usize,
        flip: bool,
    ) {
        let bytes = window.bytes;
        for block in (0..window.lines).step_by(LANES) {
            let mut lines = [window.line(block); LANES];
            for (i, line) in lines.iter_mut().enumerate() {
                // The last block is filled up with the last row.
                *line = window.line((block + i).min(window.lines - 1));
            }
            let quarters = &mut self.quarters[..LANES * bytes];
            for (g, quarter) in quarters.chunks_exact_mut(4 * bytes).enumerate() {
                interleave4([0, 4, 8, 12].map(|m| lines[g + m]), quarter);
            }
            let columns = &mut self.columns[..LANES * bytes];
            interleave4(
                [0, 1, 2, 3].map(|g| &quarters[g * 4 * bytes..][..4 * bytes]),
                columns,
            );

            let filtered = &mut self.filtered[..LANES * row * C];
            for (x, (first, weights)) in self.horizontal.iter().enumerate() {
                let x = if flip { row - 1 - x } else { x };
                let taps = columns[first * LANES * C..].chunks_exact(LANES * C);
                let mut sums = [[1u32 << (BITS - 1); LANES]; C];
                for (tap, &weight) in taps.zip(weights) {
                    let (tap, _) = tap.as_chunks::<LANES>();
                    for (sums, tap) in sums.iter_mut().zip(tap) {
                        for (sum, &v) in sums.iter_mut().zip(tap) {
                            *sum = sum.wrapping_add(u32::from(v).wrapping_mul(weight));
                        }
                    }
                }
                for (c, sums) in sums.iter().enumerate() {
                    let place = &mut filtered[(c * row + x) * LANES..][..LANES];
                    for (out, &sum) in place.iter_mut().zip(sums) {
                        *out = (sum >> BITS).min(255) as u8;
                    }
                }
            }

            let quarters = &mut self.quarters;
            let (a, rest) = quarters.split_at_mut(4 * row);
            let (b, rest) = rest.split_at_mut(4 * row);
            let (c, rest) = rest.split_at_mut(4 * row);
            let d = &mut rest[..4 * row];
            for (plane, filtered) in filtered.chunks_exact(LANES * row).enumerate() {
                split4(filtered, [a, b, c, d]);
                let place = &mut self.rows[(plane * room + block) * row..][..LANES * row];
                for (g, quarter) in [&*a, b, c, d].into_iter().enumerate() {
                    let mut rows = place.chunks_exact_mut(row).skip(g).step_by(4);
                    let rows = [(); 4].map(|()| rows.next().expect("sixteen rows"));
                    split4(quarter, rows);
                }
            }
        }
    }

    #[inline(always)]
    fn second_pass(&self, row: usize, room: usize, out: &mut [u8]) {
        let height = self.vertical.len();
        let planes = out.chunks_exact_mut(row * height);
        for (out, rows) in planes.zip(self.rows.chunks_exact(room * row)) {
            for (out, (first, weights)) in out.chunks_exact_mut(row).zip(self.vertical.iter()) {
                let rows = &rows[first * row..][..weights.len() * row];
                let (runs, rest) = out.as_chunks_mut::<RUN>();
                for (i, run) in runs.iter_mut().enumerate() {
                    *run = weigh(rows, row, i * RUN, weights);
                }
                let start = row - rest.len();
                let (runs, rest) = rest.as_chunks_mut::<8>();
                for (i, run) in runs.iter_mut().enumerate() {
                    *run = weigh(rows, row, start + i * 8, weights);
                }
                let start = row - rest.len();
                for (i, out) in rest.iter_mut().enumerate() {
                    [*out] = weigh(rows, row, start + i, weights);
                }
            }
        }
    }
}

/// The weighted sum of `N` neighbouring bytes of several rows.
#[inline(always)]
fn weigh<const N: usize>(rows: &[u8], row: usize, start: usize, weights: &[u32]) -> [u8; N] {
    let mut sums = [1u32 << (BITS - 1); N];
    for (line, &weight) in rows.chunks_exact(row).zip(weights) {
        let Some(line) = line[start..].first_chunk::<N>() else {
            unreachable!("a run ends in its row")
        };
        for (sum, &v) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(u32::from(v).wrapping_mul(weight));
        }
    }
    sums.map(|sum| (sum >> BITS).min(255) as u8)
}
