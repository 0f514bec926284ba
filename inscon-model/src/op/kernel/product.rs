//! A matrix times the columns of a gather, in panels that stay in cache.

use std::array::from_fn;
use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Cpu;
use super::gather::{COPY, Gather, Planes};
use super::tile::{PANEL, product_into, tile_rows};

/// A matrix `[rows, outers · inner]` within a larger tensor: entry (row, (o, i)) lies at
/// `row·row_stride + o·outer_stride + inner[i]`.
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) row_stride: usize,
    pub(super) outers: usize,
    pub(super) outer_stride: usize,
    pub(super) inner: Inner<'a>,
}

/// Offsets of a matrix's inner index.
#[derive(Clone, Copy)]
pub(super) enum Inner<'a> {
    /// 0, 1, 2, … up to a length.
    Run(usize),
    /// Any.
    Offsets(&'a [usize]),
}

impl Matrix<'_> {
    fn depth(&self) -> usize {
        let inner = match self.inner {
            Inner::Run(len) => len,
            Inner::Offsets(offsets) => offsets.len(),
        };
        self.outers * inner
    }

    /// Rows `first..` as a tile `[K, TILE]`; rows that are missing repeat the last, and their
    /// products are not used.
    #[inline(always)]
    fn pack<const TILE: usize>(&self, first: usize, packed: &mut [f32]) {
        let (mut packed, _) = packed.as_chunks_mut::<TILE>();
        if let (1, Inner::Offsets(&[offset]), true) =
            (self.row_stride, self.inner, first + TILE <= self.rows)
        {
            // The rows lie side by side.
            for (outer, to) in packed.iter_mut().enumerate() {
                let at = outer * self.outer_stride + offset + first;
                to.copy_from_slice(&self.values[at..at + TILE]);
            }
            return;
        }
        for outer in 0..self.outers {
            let rows: [&[f32]; TILE] = from_fn(|row| {
                let row = (first + row).min(self.rows - 1);
                &self.values[row * self.row_stride + outer * self.outer_stride..]
            });
            match self.inner {
                Inner::Run(len) => {
                    let rows = rows.map(|row| row[..len].as_chunks::<COPY>());
                    let (head, tail) = packed.split_at_mut(len);
                    packed = tail;
                    let (wide, rest) = head.as_chunks_mut::<COPY>();
                    for (at, block) in wide.iter_mut().enumerate() {
                        let rows = rows.map(|(wide, _)| &wide[at]);
                        for (k, to) in block.iter_mut().enumerate() {
                            *to = from_fn(|row| rows[row][k]);
                        }
                    }
                    for (k, to) in rest.iter_mut().enumerate() {
                        *to = from_fn(|row| rows[row].1[k]);
                    }
                }
                Inner::Offsets(offsets) => {
                    let (head, tail) = packed.split_at_mut(offsets.len());
                    packed = tail;
                    for (to, &offset) in head.iter_mut().zip(offsets) {
                        *to = from_fn(|row| rows[row][offset]);
                    }
                }
            }
        }
    }
}

/// A [`Matrix`] as tiles `[K, tile rows]`.
pub(super) struct Packed {
    values: Spare,
    rows: usize,
}

/// A buffer of any content that the thread keeps for its next call: pages once touched.
pub(super) struct Spare {
    values: Vec<f32>,
    len: usize,
}

thread_local! {
    static SPARES: RefCell<Vec<Vec<f32>>> = RefCell::default();
}

impl Spare {
    pub(super) fn new(len: usize) -> Self {
        let spare = SPARES.with_borrow_mut(Vec::pop);
        let mut values = spare.unwrap_or_default();
        if values.len() < len {
            values.resize(len, 0.0);
        }
        Self { values, len }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        // A thread that ends has no more calls to keep it for.
        let _ = SPARES.try_with(|spares| spares.borrow_mut().push(values));
    }
}

impl std::ops::Deref for Spare {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl std::ops::DerefMut for Spare {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

struct PackTile<'a> {
    matrix: &'a Matrix<'a>,
    first: usize,
    packed: &'a mut [f32],
}

impl WithSimd for PackTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if tile_rows::<S>() == 8 {
            self.matrix.pack::<8>(self.first, self.packed);
        } else {
            self.matrix.pack::<4>(self.first, self.packed);
        }
    }
}

struct TileRows;

impl WithSimd for TileRows {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        tile_rows::<S>()
    }
}

/// Columns that a matrix is multiplied with: `[K, pixels]`, made piece by piece.
pub(super) trait Columns: Sync {
    /// K.
    fn depth(&self) -> usize;

    /// Number of columns.
    fn pixels(&self) -> usize;

    /// Columns whose products are contiguous in each row of the output.
    fn plane(&self) -> usize;

    /// Longest part of the depth that a panel holds; longer sums are added up.
    fn most_depth(&self) -> usize {
        usize::MAX
    }

    /// Writes part `depth` of the columns of `range` to panels of `width`: entry (k, pixel) to
    /// `pixel / width · panel + (k − depth.start)·width + pixel % width`. Values between are free.
    fn fill(
        &self,
        range: Range<usize>,
        depth: Range<usize>,
        width: usize,
        panel: usize,
        columns: &mut [f32],
        scratch: &mut Vec<f32>,
    );
}

/// The columns of a gather: what each output pixel reads.
pub(super) struct Gathered<'a> {
    pub(super) gather: &'a Gather,
    pub(super) planes: Planes<'a>,
}

impl Columns for Gathered<'_> {
    fn depth(&self) -> usize {
        self.gather.depth()
    }

    fn pixels(&self) -> usize {
        self.gather.pixels()
    }

    fn plane(&self) -> usize {
        self.gather.plane()
    }

    #[inline(always)]
    fn fill(
        &self,
        range: Range<usize>,
        _: Range<usize>,
        width: usize,
        panel: usize,
        columns: &mut [f32],
        scratch: &mut Vec<f32>,
    ) {
        let taps = self.gather.taps.len();
        let mut reading = self.gather.reading(&self.planes, range);
        reading.cut(width);
        // Columns that no piece needs to divide for.
        let places: Vec<usize> = reading
            .pixels()
            .map(|pixel| pixel / width * panel + pixel % width)
            .collect();
        for channel in 0..self.gather.channels {
            let source = reading.channel(self.gather, &self.planes, channel, scratch);
            for tap in 0..taps {
                let row = (channel * taps + tap) * width;
                reading.copy(tap, source, &mut columns[row..], &places);
            }
        }
    }
}

/// Columns are cut in multiples of this, whatever the vectors' width.
const QUANTUM: usize = 16;

/// Bytes of columns that one task makes at a time: part of a small second-level cache.
const COLUMNS: usize = 400 << 10;

/// Runs of columns of equal length, whatever the number of threads.
fn pixel_ranges(pixels: usize, depth: usize) -> Vec<Range<usize>> {
    let most = (COLUMNS / (4 * depth) / (3 * QUANTUM) * 3 * QUANTUM).clamp(3 * QUANTUM, 960);
    let quanta = pixels.div_ceil(QUANTUM);
    let least = pixels.div_ceil(most).max(quanta.div_ceil(6).min(16));
    if pixels == 0 {
        return Vec::new();
    }
    let count = least.next_multiple_of(2);
    even_ranges(pixels, QUANTUM, count)
}

/// `0..len` in `count` runs of about equal length, multiples of `quantum`.
pub(super) fn even_ranges(len: usize, quantum: usize, count: usize) -> Vec<Range<usize>> {
    let quanta = len.div_ceil(quantum);
    let count = count.clamp(1, quanta.max(1));
    let at = |index: usize| (index * quanta / count * quantum).min(len);
    (0..count).map(|index| at(index)..at(index + 1)).collect()
}

#[derive(Default)]
pub(super) struct Scratch {
    pub(super) padded: Vec<f32>,
    pub(super) columns: Vec<f32>,
    pub(super) rows: Vec<f32>,
    pub(super) sums: Vec<f32>,
}

thread_local! {
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// `len` values of a buffer that only grows, from a cache line's start: no vector of 16 lies in two
/// lines.
pub(super) fn grown(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len + COPY {
        buffer.resize(len + COPY, 0.0);
    }
    let skip = buffer.as_ptr().align_offset(64).min(COPY);
    &mut buffer[skip..skip + len]
}

impl Cpu {
    /// The matrix in tiles.
    pub(super) fn pack(self, matrix: &Matrix<'_>) -> Packed {
        let tile = tile_rows_of(self);
        let len = matrix.depth() * tile;
        let mut values = Spare::new(matrix.rows.div_ceil(tile) * len);
        values
            .par_chunks_mut(len)
            .with_min_len(super::items_of(len))
            .enumerate()
            .for_each(|(index, packed)| {
                self.dispatch(PackTile {
                    matrix,
                    first: index * tile,
                    packed,
                });
            });
        Packed {
            values,
            rows: matrix.rows,
        }
    }

    /// `out[image][first + row] = Σ_k matrix[row][k] · columns[k]` (+ bias), where `out` is
    /// `[images, channels, plane]`, `[channels, first]` the window; pixels count over images. The
    /// sum runs over `depth` only.
    pub(super) fn product(
        self,
        matrix: &Packed,
        columns: &impl Columns,
        depth: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut [f32],
        [channels, first]: [usize; 2],
    ) {
        let rows = matrix.rows;
        let plane = columns.plane();
        let ranges = pixel_ranges(columns.pixels(), depth.len().min(columns.most_depth()));
        let tasks = split(out, ranges, plane, [channels, first], rows);
        tasks
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(range, out)| {
                self.dispatch(Task {
                    matrix,
                    columns,
                    depth: depth.clone(),
                    bias,
                    range,
                    out,
                });
            });
    }
}

/// Gives each range of pixels (over images) the runs of `out` that it writes, for each of its images
/// and each row: `out` is `[images, channels, plane]`, the rows start at channel `first`.
pub(super) fn split(
    out: &mut [f32],
    ranges: Vec<Range<usize>>,
    plane: usize,
    [channels, first]: [usize; 2],
    rows: usize,
) -> Vec<(Range<usize>, Vec<&mut [f32]>)> {
    let mut tasks: Vec<(Range<usize>, Vec<&mut [f32]>)> = ranges
        .into_iter()
        .map(|range| (range, Vec::new()))
        .collect();
    let mut open = 0;
    for (image, values) in out.chunks_exact_mut(plane * channels).enumerate() {
        let (start, end) = (image * plane, (image + 1) * plane);
        while tasks[open].0.end <= start {
            open += 1;
        }
        for values in values[first * plane..(first + rows) * plane].chunks_exact_mut(plane) {
            let mut values = values;
            for (range, slices) in &mut tasks[open..] {
                if range.start >= end {
                    break;
                }
                let len = range.end.min(end) - range.start.max(start);
                let (head, tail) = values.split_at_mut(len);
                slices.push(head);
                values = tail;
            }
        }
    }
    tasks
}

/// Rows of a register tile.
pub(super) fn tile_rows_of(cpu: Cpu) -> usize {
    cpu.dispatch(TileRows)
}

/// One task of [`Cpu::product`].
struct Task<'a, C> {
    matrix: &'a Packed,
    columns: &'a C,
    depth: Range<usize>,
    bias: Option<&'a [f32]>,
    range: Range<usize>,
    /// `[images of the range, rows]` runs of pixels.
    out: Vec<&'a mut [f32]>,
}

impl<C: Columns> WithSimd for Task<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut scratch = SCRATCH.take();
        self.run(simd, &mut scratch);
        SCRATCH.set(scratch);
    }
}

impl<C: Columns> Task<'_, C> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, scratch: &mut Scratch) {
        let (lanes, tile) = (S::F32_LANES, tile_rows::<S>());
        let (whole, rows) = (self.columns.depth(), self.matrix.rows);
        let range = self.range.clone();
        let width = PANEL * lanes;
        let panels = range.len().div_ceil(width);
        let runs = runs(&range, self.columns.plane(), width);
        let mut buffer = [0.0f32; 8 * PANEL * 16];
        let buffer = &mut buffer[..tile * width];
        let parts = self.depth.len().div_ceil(self.columns.most_depth()).max(1);
        for part in 0..parts {
            let at = |part: usize| self.depth.start + part * self.depth.len() / parts;
            let depth = at(part)..at(part + 1);
            let panel = depth.len() * width + COPY;
            let columns = grown(&mut scratch.columns, panels * panel);
            let padded = &mut scratch.padded;
            self.columns
                .fill(range.clone(), depth.clone(), width, panel, columns, padded);
            for (index, matrix) in self.matrix.values.chunks_exact(whole * tile).enumerate() {
                let matrix = &matrix[depth.start * tile..depth.end * tile];
                let first = index * tile;
                let held = tile.min(rows - first);
                for at in 0..panels {
                    let pixels = width.min(range.len() - at * width);
                    let columns = &columns[at * panel..(at + 1) * panel];
                    product_into(simd, matrix, columns, pixels.div_ceil(lanes), false, buffer);
                    for (row, sums) in buffer.chunks_exact(width).take(held).enumerate() {
                        let bias = self.bias.map_or(0.0, |bias| bias[first + row]);
                        for run in &runs[at] {
                            let out = &mut self.out[run.image * rows + first + row];
                            let out = &mut out[run.offset..run.offset + run.len];
                            let sums = &sums[run.lane..run.lane + run.len];
                            if part == 0 {
                                for (out, sum) in out.iter_mut().zip(sums) {
                                    *out = sum + bias;
                                }
                            } else {
                                for (out, sum) in out.iter_mut().zip(sums) {
                                    *out += sum;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Pixels of one panel that lie in one image.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Counted from the first image of the range.
    image: usize,
    /// In that image's run of the range.
    offset: usize,
    lane: usize,
    len: usize,
}

/// The runs of each panel of a range.
fn runs(range: &Range<usize>, plane: usize, width: usize) -> Vec<Vec<Run>> {
    let first_image = range.start / plane;
    (range.start..range.end)
        .step_by(width)
        .map(|start| {
            let end = (start + width).min(range.end);
            let mut runs = Vec::new();
            let mut at = start;
            while at < end {
                let image = at / plane;
                let to = end.min((image + 1) * plane);
                runs.push(Run {
                    image: image - first_image,
                    offset: at - range.start.max(image * plane),
                    lane: at - start,
                    len: to - at,
                });
                at = to;
            }
            runs
        })
        .collect()
}
