//! Convolutions with 3×3 kernels and stride 1 by Winograd's F(4×4, 3×3) (Lavin and Gray, arXiv
//! 1509.09308): a quarter of the multiplications.
//!
//! ```text
//! Y = Aᵀ [ Σ_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A
//! ```
//! for tiles `d` of 6×6 inputs that give 4×4 outputs. The 36 products over channels run through the
//! same register tiles as any convolution. Sums and differences of up to 10 times the input lose a
//! few bits: the error is about ten times that of the direct sum (4·10⁻⁶ against 4·10⁻⁷ of the
//! largest output at 16 to 35 channels; the tests allow 16 times).

use std::array::from_fn;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Cpu;
use super::gather::{COPY, Gather, Planes};
use super::product::{SCRATCH, Scratch, Spare, even_ranges, grown, tile_rows_of};
use super::tile::{PANEL, product_into, tile_rows};

/// Outputs of a tile on each side.
pub(super) const OUT: usize = 4;

/// Inputs of a tile on each side.
pub(super) const IN: usize = 6;

/// Products of a tile.
pub(super) const POINTS: usize = IN * IN;

/// A 3×3 convolution of stride 1, forward or towards the input.
pub(super) struct Winograd<'a> {
    pub(super) images: usize,
    /// Channels that are summed over.
    pub(super) channels: usize,
    /// Rows of the weight: channels of the output.
    pub(super) rows: usize,
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Height and width of the output.
    pub(super) output: [usize; 2],
    /// Offset of the first tap into the input: −padding.
    pub(super) origin: [isize; 2],
    /// Value of tap t of (row, channel): `row·row_stride + channel·channel_stride + t`.
    pub(super) weight: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) channel_stride: usize,
    /// Whether the taps run backwards (towards the input).
    pub(super) flip: bool,
}

impl Winograd<'_> {
    /// Tiles of an output plane, by rows and columns.
    fn tiles(&self) -> [usize; 2] {
        self.output.map(|len| len.div_ceil(OUT))
    }

    /// Tiles of all images.
    pub(super) fn all_tiles(&self) -> usize {
        let [rows, columns] = self.tiles();
        self.images * rows * columns
    }

    /// Whether the tiles are enough for the weight's transform to pay, and hold outputs enough.
    pub(super) fn pays(&self) -> bool {
        let tiles = self.all_tiles();
        let full = tiles * OUT * OUT;
        let held = self.images * self.output[0] * self.output[1];
        tiles >= 32 && held * 2 >= full && self.channels >= 16 && self.rows >= 16
    }

    /// The 6×6 inputs of each tile as the taps of a gather of stride 4.
    pub(super) fn gather(&self) -> Gather {
        let tap = |at: usize| {
            let (y, x) = ((at / IN) as isize, (at % IN) as isize);
            [self.origin[0] + y, self.origin[1] + x]
        };
        Gather {
            images: self.images,
            channels: self.channels,
            input: self.input,
            output: self.tiles(),
            stride: [OUT; 2],
            taps: (0..POINTS).map(tap).collect(),
        }
    }

    /// First pixel (over images) of tile row `row` (over images).
    fn pixel(&self, row: usize) -> usize {
        let [rows, _] = self.tiles();
        let [height, width] = self.output;
        row / rows * height * width + (row % rows * OUT).min(height) * width
    }
}

impl Cpu {
    /// Runs the convolution; `[channels, first]` as in [`Cpu::product`].
    pub(super) fn winograd(
        self,
        conv: &Winograd<'_>,
        planes: &Planes<'_>,
        bias: Option<&[f32]>,
        out: &mut [f32],
        window: [usize; 2],
    ) {
        let tile = tile_rows_of(self);
        let weight_tile = conv.channels * tile;
        let tiles = conv.rows.div_ceil(tile);
        // [tile of rows, point, channel, row].
        let mut weights = Spare::new(tiles * POINTS * weight_tile);
        weights
            .par_chunks_mut(POINTS * weight_tile)
            .enumerate()
            .for_each(|(index, packed)| {
                self.dispatch(WeightTile {
                    conv,
                    first: index * tile,
                    packed,
                });
            });

        let gather = conv.gather();
        let [tile_rows, tile_columns] = conv.tiles();
        let rows = conv.images * tile_rows;
        // About one panel of tiles a task.
        let most = (PANEL * COPY / tile_columns).max(1);
        let count = rows.div_ceil(most).next_multiple_of(2);
        let ranges = even_ranges(rows, 1, count);
        let pixels = |range: &Range<usize>| conv.pixel(range.start)..conv.pixel(range.end);
        let plane = conv.output[0] * conv.output[1];
        let slices = super::product::split(
            out,
            ranges.iter().map(pixels).collect(),
            plane,
            window,
            conv.rows,
        );
        ranges
            .into_par_iter()
            .zip(slices)
            .with_max_len(1)
            .for_each(|(range, (_, out))| {
                self.dispatch(Task {
                    conv,
                    gather: &gather,
                    planes,
                    weights: &weights,
                    bias,
                    range,
                    out,
                });
            });
    }
}

#[inline(always)]
pub(super) fn load<S: Simd>(values: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&values[at..at + S::F32_LANES]).0[0]
}

#[inline(always)]
fn store<S: Simd>(values: &mut [f32], at: usize, value: S::f32s) {
    S::as_mut_simd_f32s(&mut values[at..at + S::F32_LANES]).0[0] = value;
}

/// `Bᵀ` applied to six values.
#[inline(always)]
pub(super) fn input_1d<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
    let [d0, d1, d2, d3, d4, d5] = d;
    // 4·d0 − 5·d2 + d4 and so on.
    let even = simd.mul_add_f32s(simd.splat_f32s(-4.0), d2, d4);
    let odd = simd.mul_add_f32s(simd.splat_f32s(-4.0), d1, d3);
    let even_half = simd.sub_f32s(d4, d2);
    let odd_half = simd.mul_f32s(simd.splat_f32s(2.0), simd.sub_f32s(d3, d1));
    [
        simd.mul_add_f32s(
            simd.splat_f32s(4.0),
            d0,
            simd.mul_add_f32s(simd.splat_f32s(-5.0), d2, d4),
        ),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(even_half, odd_half),
        simd.sub_f32s(even_half, odd_half),
        simd.mul_add_f32s(
            simd.splat_f32s(4.0),
            d1,
            simd.mul_add_f32s(simd.splat_f32s(-5.0), d3, d5),
        ),
    ]
}

/// `Aᵀ` applied to six values.
#[inline(always)]
fn output_1d<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
    let [m0, m1, m2, m3, m4, m5] = m;
    let (near_sum, near_gap) = (simd.add_f32s(m1, m2), simd.sub_f32s(m1, m2));
    let (far_sum, far_gap) = (simd.add_f32s(m3, m4), simd.sub_f32s(m3, m4));
    [
        simd.add_f32s(m0, simd.add_f32s(near_sum, far_sum)),
        simd.mul_add_f32s(simd.splat_f32s(2.0), far_gap, near_gap),
        simd.mul_add_f32s(simd.splat_f32s(4.0), far_sum, near_sum),
        simd.add_f32s(
            m5,
            simd.mul_add_f32s(simd.splat_f32s(8.0), far_gap, near_gap),
        ),
    ]
}

/// `G` applied to three values.
#[inline(always)]
fn weight_1d<const N: usize>([g0, g1, g2]: [[f32; N]; 3]) -> [[f32; N]; IN] {
    let mut to = [[0.0; N]; IN];
    for at in 0..N {
        let (a, b, c) = (g0[at], g1[at], g2[at]);
        let (outer, far) = (a + c, a * (1.0 / 24.0) + c * (1.0 / 6.0));
        to[0][at] = a * 0.25;
        to[1][at] = (outer + b) * (-1.0 / 6.0);
        to[2][at] = (outer - b) * (-1.0 / 6.0);
        to[3][at] = far + b * (1.0 / 12.0);
        to[4][at] = far - b * (1.0 / 12.0);
        to[5][at] = c;
    }
    to
}

/// The transform of a tile of rows: `[point, channel, row]`.
struct WeightTile<'a> {
    conv: &'a Winograd<'a>,
    first: usize,
    packed: &'a mut [f32],
}

impl WithSimd for WeightTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if tile_rows::<S>() == 8 {
            self.run::<8>();
        } else {
            self.run::<4>();
        }
    }
}

impl WeightTile<'_> {
    #[inline(always)]
    fn run<const TILE: usize>(self) {
        let conv = self.conv;
        let (packed, _) = self.packed.as_chunks_mut::<TILE>();
        for channel in 0..conv.channels {
            // Missing rows repeat the last; their products are not used.
            let taps: [&[f32; 9]; TILE] = from_fn(|row| {
                let row = (self.first + row).min(conv.rows - 1);
                let at = row * conv.row_stride + channel * conv.channel_stride;
                conv.weight[at..].first_chunk().unwrap_or(&[0.0; 9])
            });
            let mut tap = [[0.0; TILE]; 9];
            for (at, tap) in tap.iter_mut().enumerate() {
                let at = if conv.flip { 8 - at } else { at };
                for (value, taps) in tap.iter_mut().zip(&taps) {
                    *value = taps[at];
                }
            }
            let columns = [
                weight_1d([tap[0], tap[3], tap[6]]),
                weight_1d([tap[1], tap[4], tap[7]]),
                weight_1d([tap[2], tap[5], tap[8]]),
            ];
            for y in 0..IN {
                let row = weight_1d([columns[0][y], columns[1][y], columns[2][y]]);
                for (x, values) in row.into_iter().enumerate() {
                    packed[(y * IN + x) * conv.channels + channel] = values;
                }
            }
        }
    }
}

/// A range of tile rows, over images.
struct Task<'a> {
    conv: &'a Winograd<'a>,
    gather: &'a Gather,
    planes: &'a Planes<'a>,
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    range: Range<usize>,
    /// `[images of the range, rows]` runs of pixels.
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut scratch = SCRATCH.take();
        self.run(simd, &mut scratch);
        SCRATCH.set(scratch);
    }
}

impl Task<'_> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, scratch: &mut Scratch) {
        let conv = self.conv;
        let (lanes, tile) = (S::F32_LANES, tile_rows::<S>());
        let [tile_rows, tile_columns] = conv.tiles();
        let tiles = self.range.len() * tile_columns;
        let width = PANEL * lanes;
        let panels = tiles.div_ceil(width);
        let padded_tiles = panels * width;

        // Inputs: [panel, point, channel, lane].
        let reading_range = self.range.start * tile_columns..self.range.end * tile_columns;
        let reading = self.gather.reading(self.planes, reading_range);
        let places: Vec<usize> = reading.pixels().collect();
        let stride = padded_tiles + COPY;
        let point_len = conv.channels * width;
        let inputs = grown(&mut scratch.columns, panels * POINTS * point_len);
        let block = grown(&mut scratch.rows, POINTS * stride);
        for channel in 0..conv.channels {
            let source = reading.channel(self.gather, self.planes, channel, &mut scratch.padded);
            for (tap, row) in block.chunks_exact_mut(stride).enumerate() {
                reading.copy(tap, source, row, &places);
            }
            for start in (0..tiles).step_by(lanes) {
                // Loops, not closures: every call must melt into this function's vectors.
                let zero = simd.splat_f32s(0.0);
                let mut columns = [[zero; IN]; IN];
                for (x, column) in columns.iter_mut().enumerate() {
                    let mut d = [zero; IN];
                    for (y, d) in d.iter_mut().enumerate() {
                        *d = load::<S>(block, (y * IN + x) * stride + start);
                    }
                    *column = input_1d(simd, d);
                }
                let to = start / width * POINTS * point_len + channel * width + start % width;
                for y in 0..IN {
                    let mut d = [zero; IN];
                    for (d, column) in d.iter_mut().zip(&columns) {
                        *d = column[y];
                    }
                    for (x, value) in input_1d(simd, d).into_iter().enumerate() {
                        store::<S>(inputs, to + (y * IN + x) * point_len, value);
                    }
                }
            }
        }

        // Products, then outputs, a tile of rows at a time: [point, row, lane].
        let inputs = &*inputs;
        let sums_len = tile * width;
        let sums = grown(&mut scratch.sums, POINTS * sums_len);
        let finished = &mut block[..OUT * OUT * stride];
        let weight_tile = conv.channels * tile;
        for (index, weights) in self.weights.chunks_exact(POINTS * weight_tile).enumerate() {
            let first = index * tile;
            for panel in 0..panels {
                let held = width.min(tiles - panel * width);
                for (point, weight) in weights.chunks_exact(weight_tile).enumerate() {
                    let at = (panel * POINTS + point) * point_len;
                    let columns = &inputs[at..at + point_len];
                    let sums = &mut sums[point * sums_len..(point + 1) * sums_len];
                    product_into(simd, weight, columns, held.div_ceil(lanes), false, sums);
                }
                for row in 0..tile.min(conv.rows - first) {
                    let bias = self.bias.map_or(0.0, |bias| bias[first + row]);
                    let bias = simd.splat_f32s(bias);
                    for start in (0..held).step_by(lanes) {
                        let zero = simd.splat_f32s(0.0);
                        let mut columns = [[zero; OUT]; IN];
                        for (x, column) in columns.iter_mut().enumerate() {
                            let mut m = [zero; IN];
                            for (y, m) in m.iter_mut().enumerate() {
                                let at = (y * IN + x) * sums_len + row * width + start;
                                *m = load::<S>(sums, at);
                            }
                            *column = output_1d(simd, m);
                        }
                        for y in 0..OUT {
                            let mut m = [zero; IN];
                            for (m, column) in m.iter_mut().zip(&columns) {
                                *m = column[y];
                            }
                            for (x, value) in output_1d(simd, m).into_iter().enumerate() {
                                let value = simd.add_f32s(value, bias);
                                store::<S>(finished, (y * OUT + x) * stride + start, value);
                            }
                        }
                    }
                    self.write(
                        finished,
                        stride,
                        panel * width,
                        held,
                        first + row,
                        tile_rows,
                    );
                }
            }
        }
    }

    /// Writes finished tiles `[pixel of the tile, tile]`, the range's from `start` on, to channel
    /// `row` of the output.
    #[inline(always)]
    fn write(
        &mut self,
        finished: &[f32],
        stride: usize,
        start: usize,
        held: usize,
        row: usize,
        tile_rows: usize,
    ) {
        let conv = self.conv;
        let [_, tile_columns] = conv.tiles();
        let [height, width] = conv.output;
        let first_image = self.range.start / tile_rows;
        let mut at = start;
        while at < start + held {
            let (tile_row, tile_column) = (self.range.start + at / tile_columns, at % tile_columns);
            let (image, y) = (tile_row / tile_rows, tile_row % tile_rows * OUT);
            let run = (tile_columns - tile_column).min(start + held - at);
            // The first row of the image's part that the range owns.
            let owned = if image == first_image {
                self.range.start % tile_rows * OUT
            } else {
                0
            };
            let out = &mut self.out[(image - first_image) * conv.rows + row];
            for inner in 0..OUT.min(height - y) {
                let left = tile_column * OUT;
                let right = ((tile_column + run) * OUT).min(width);
                let out = &mut out[(y + inner - owned) * width..][left..right];
                let lines: [&[f32]; OUT] =
                    from_fn(|x| &finished[(inner * OUT + x) * stride + at - start..][..run]);
                let (wide, rest) = out.as_chunks_mut::<OUT>();
                for (tile, to) in wide.iter_mut().enumerate() {
                    *to = from_fn(|x| lines[x][tile]);
                }
                let done = wide.len();
                for (x, to) in rest.iter_mut().enumerate() {
                    *to = lines[x][done];
                }
            }
            at += run;
        }
    }
}
