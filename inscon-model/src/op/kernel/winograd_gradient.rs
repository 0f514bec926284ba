//! The gradient of a 3×3 weight by the tiles of [`super::winograd`]: the transpose of
//! F(4×4, 3×3) in its weight.
//!
//! ```text
//! dg = Gᵀ [ Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ d B) ] G
//! ```
//! For each of the 36 points that is a product over tiles; the sums stay in the points' domain until
//! the end.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Cpu;
use super::gather::{COPY, Gather, Planes};
use super::product::{SCRATCH, Scratch, Spare, grown, tile_rows_of};
use super::tile::{PANEL, product_into};
use super::winograd::{IN, OUT, POINTS, Winograd, input_1d, load};

/// Tiles of a block: the depth of one product.
const BLOCK: usize = 64;

/// Values of the blocks that are held at a time.
const HELD: usize = 6 << 20;

impl Cpu {
    /// Writes the gradient `[rows, channels, 9]` of the convolution `conv` (forward, not flipped).
    pub(super) fn winograd_gradient(
        self,
        conv: &Winograd<'_>,
        planes: &Planes<'_>,
        gradients: &Planes<'_>,
        dweight: &mut [f32],
    ) {
        let tile = tile_rows_of(self);
        let lanes = self.dispatch(Lanes);
        let width = PANEL * lanes;
        let layout = Layout {
            conv,
            inputs: conv.gather(),
            slopes: slopes_gather(conv),
            planes,
            gradients,
            panels: conv.channels.div_ceil(width),
            row_tiles: conv.rows.div_ceil(tile),
            width,
            tile,
        };
        let tiles = layout.inputs.pixels();
        let blocks: Vec<Range<usize>> = (0..tiles)
            .step_by(BLOCK)
            .map(|start| start..(start + BLOCK).min(tiles))
            .collect();
        let (inputs_len, slopes_len) = (layout.inputs_len(), layout.slopes_len());
        let at_once = (HELD / (inputs_len + slopes_len)).max(2).min(blocks.len());
        let mut inputs = Spare::new(at_once * inputs_len);
        let mut slopes = Spare::new(at_once * slopes_len);
        // [tile of rows, panel, point, row, lane].
        let sums_len = tile * width;
        let mut sums = Spare::new(layout.row_tiles * layout.panels * POINTS * sums_len);
        for (group, blocks) in blocks.chunks(at_once).enumerate() {
            inputs
                .par_chunks_mut(inputs_len)
                .zip(slopes.par_chunks_mut(slopes_len))
                .zip(blocks)
                .with_max_len(1)
                .for_each(|((inputs, slopes), block)| {
                    self.dispatch(Transform {
                        layout: &layout,
                        block: block.clone(),
                        inputs,
                        slopes,
                    });
                });
            sums.par_chunks_mut(layout.panels * POINTS * sums_len)
                .enumerate()
                .with_max_len(1)
                .for_each(|(row_tile, sums)| {
                    self.dispatch(Accumulate {
                        layout: &layout,
                        first: group == 0,
                        blocks,
                        inputs: &inputs,
                        slopes: &slopes,
                        row_tile,
                        sums,
                    });
                });
        }
        dweight
            .par_chunks_mut(tile * conv.channels * 9)
            .zip(sums.par_chunks(layout.panels * POINTS * sums_len))
            .for_each(|(dweight, sums)| {
                self.dispatch(Finish {
                    layout: &layout,
                    sums,
                    dweight,
                });
            });
    }
}

/// The 4×4 gradients of each tile as the taps of a gather.
fn slopes_gather(conv: &Winograd<'_>) -> Gather {
    let tap = |at: usize| [(at / OUT) as isize, (at % OUT) as isize];
    Gather {
        channels: conv.rows,
        input: conv.output,
        taps: (0..OUT * OUT).map(tap).collect(),
        ..conv.gather()
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Layout<'a> {
    conv: &'a Winograd<'a>,
    inputs: Gather,
    slopes: Gather,
    planes: &'a Planes<'a>,
    gradients: &'a Planes<'a>,
    /// Panels of channels.
    panels: usize,
    /// Tiles of rows.
    row_tiles: usize,
    width: usize,
    tile: usize,
}

impl Layout<'_> {
    /// `[panel, point, tile, lane]` of one block.
    fn inputs_len(&self) -> usize {
        self.panels * POINTS * BLOCK * self.width
    }

    /// `[tile of rows, point, tile, row]` of one block.
    fn slopes_len(&self) -> usize {
        self.row_tiles * POINTS * BLOCK * self.tile
    }
}

/// Inputs and gradients of one block of tiles, in the points' domain.
struct Transform<'a> {
    layout: &'a Layout<'a>,
    block: Range<usize>,
    inputs: &'a mut [f32],
    slopes: &'a mut [f32],
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut scratch = SCRATCH.take();
        let layout = self.layout;
        let block = &self.block;
        let inputs = Side {
            gather: &layout.inputs,
            planes: layout.planes,
            width: layout.width,
        };
        inputs.run::<S, IN>(simd, block, self.inputs, &mut scratch);
        let slopes = Side {
            gather: &layout.slopes,
            planes: layout.gradients,
            width: layout.tile,
        };
        slopes.run::<S, OUT>(simd, block, self.slopes, &mut scratch);
        SCRATCH.set(scratch);
    }
}

/// Inputs (6×6 taps) or gradients (4×4) to be transformed.
struct Side<'a> {
    gather: &'a Gather,
    planes: &'a Planes<'a>,
    /// Channels side by side in the output.
    width: usize,
}

impl Side<'_> {
    #[inline(always)]
    fn run<S: Simd, const SIDE: usize>(
        &self,
        simd: S,
        block: &Range<usize>,
        to: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (lanes, width) = (S::F32_LANES, self.width);
        let tiles = block.len();
        let reading = self.gather.reading(self.planes, block.clone());
        let places: Vec<usize> = reading.pixels().collect();
        let stride = BLOCK + COPY;
        let taps = grown(&mut scratch.rows, SIDE * SIDE * stride);
        for channel in 0..self.gather.channels {
            let source = reading.channel(self.gather, self.planes, channel, &mut scratch.padded);
            for (tap, row) in taps.chunks_exact_mut(stride).enumerate() {
                reading.copy(tap, source, row, &places);
            }
            let to = &mut to[channel / width * POINTS * BLOCK * width..];
            let to = &mut to[channel % width..];
            for start in (0..tiles).step_by(lanes) {
                let zero = simd.splat_f32s(0.0);
                let mut columns = [[zero; IN]; SIDE];
                for (x, column) in columns.iter_mut().enumerate() {
                    let mut values = [zero; SIDE];
                    for (y, value) in values.iter_mut().enumerate() {
                        *value = load::<S>(taps, (y * SIDE + x) * stride + start);
                    }
                    *column = transform::<S, SIDE>(simd, values);
                }
                let held = lanes.min(tiles - start);
                for y in 0..IN {
                    let mut values = [zero; SIDE];
                    for (value, column) in values.iter_mut().zip(&columns) {
                        *value = column[y];
                    }
                    let row = transform::<S, SIDE>(simd, values);
                    for (x, value) in row.iter().enumerate() {
                        let point = &mut to[((y * IN + x) * BLOCK + start) * width..];
                        let values: &[f32] = bytemuck::cast_slice(std::slice::from_ref(value));
                        for (tile, &value) in values[..held].iter().enumerate() {
                            point[tile * width] = value;
                        }
                    }
                }
            }
        }
    }
}

/// `Bᵀ` for six values, `A` for four.
#[inline(always)]
fn transform<S: Simd, const SIDE: usize>(simd: S, values: [S::f32s; SIDE]) -> [S::f32s; IN] {
    let zero = simd.splat_f32s(0.0);
    let mut padded = [zero; IN];
    for (to, from) in padded.iter_mut().zip(values) {
        *to = from;
    }
    if SIDE == IN {
        return input_1d(simd, padded);
    }
    let [a, b, c, d, ..] = padded;
    let two = simd.splat_f32s(2.0);
    let four = simd.splat_f32s(4.0);
    let (even, odd) = (simd.add_f32s(a, c), simd.add_f32s(b, d));
    let even_far = simd.mul_add_f32s(four, c, a);
    let odd_far = simd.mul_f32s(two, simd.mul_add_f32s(four, d, b));
    [
        a,
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(even_far, odd_far),
        simd.sub_f32s(even_far, odd_far),
        d,
    ]
}

/// Adds the products of some blocks for one tile of rows.
struct Accumulate<'a> {
    layout: &'a Layout<'a>,
    first: bool,
    blocks: &'a [Range<usize>],
    inputs: &'a [f32],
    slopes: &'a [f32],
    row_tile: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let layout = self.layout;
        let (width, tile) = (layout.width, layout.tile);
        let (inputs_len, slopes_len) = (layout.inputs_len(), layout.slopes_len());
        for (index, sums) in self.sums.chunks_exact_mut(tile * width).enumerate() {
            let (panel, point) = (index / POINTS, index % POINTS);
            let channels = width.min(layout.conv.channels - panel * width);
            let vectors = channels.div_ceil(S::F32_LANES);
            for (at, block) in self.blocks.iter().enumerate() {
                let inputs = &self.inputs[at * inputs_len..];
                let inputs = &inputs[(panel * POINTS + point) * BLOCK * width..];
                let inputs = &inputs[..block.len() * width];
                let slopes = &self.slopes[at * slopes_len..];
                let slopes = &slopes[(self.row_tile * POINTS + point) * BLOCK * tile..];
                let slopes = &slopes[..block.len() * tile];
                let add = at > 0 || !self.first;
                product_into(simd, slopes, inputs, vectors, add, sums);
            }
        }
    }
}

/// The way back from the points' domain, for one tile of rows.
struct Finish<'a> {
    layout: &'a Layout<'a>,
    sums: &'a [f32],
    dweight: &'a mut [f32],
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, tile) = (self.layout.width, self.layout.tile);
        let channels = self.layout.conv.channels;
        let sums_len = tile * width;
        for (row, dweight) in self.dweight.chunks_exact_mut(channels * 9).enumerate() {
            for start in (0..channels).step_by(S::F32_LANES) {
                let (panel, lane) = (start / width, start % width);
                let zero = simd.splat_f32s(0.0);
                let mut columns = [[zero; 3]; IN];
                for (x, column) in columns.iter_mut().enumerate() {
                    let mut values = [zero; IN];
                    for (y, value) in values.iter_mut().enumerate() {
                        let point = y * IN + x;
                        let at = (panel * POINTS + point) * sums_len + row * width + lane;
                        *value = load::<S>(self.sums, at);
                    }
                    *column = weight_back(simd, values);
                }
                let held = S::F32_LANES.min(channels - start);
                for y in 0..3 {
                    let mut values = [zero; IN];
                    for (value, column) in values.iter_mut().zip(&columns) {
                        *value = column[y];
                    }
                    for (x, value) in weight_back(simd, values).iter().enumerate() {
                        let values: &[f32] = bytemuck::cast_slice(std::slice::from_ref(value));
                        let to = &mut dweight[start * 9 + y * 3 + x..];
                        for (channel, &value) in values[..held].iter().enumerate() {
                            to[channel * 9] = value;
                        }
                    }
                }
            }
        }
    }
}

/// `Gᵀ` applied to six values.
#[inline(always)]
fn weight_back<S: Simd>(simd: S, u: [S::f32s; IN]) -> [S::f32s; 3] {
    let [u0, u1, u2, u3, u4, u5] = u;
    let sixth = simd.splat_f32s(1.0 / 6.0);
    let (near_sum, near_gap) = (simd.add_f32s(u1, u2), simd.sub_f32s(u2, u1));
    let (far_sum, far_gap) = (simd.add_f32s(u3, u4), simd.sub_f32s(u3, u4));
    // a/4 − (u1 + u2)/6 + (u3 + u4)/24 and so on.
    let half = simd.splat_f32s(0.5);
    let quarter = simd.splat_f32s(0.25);
    let first = simd.mul_f32s(quarter, simd.mul_add_f32s(sixth, far_sum, u0));
    [
        simd.sub_f32s(first, simd.mul_f32s(sixth, near_sum)),
        simd.mul_f32s(sixth, simd.mul_add_f32s(half, far_gap, near_gap)),
        simd.mul_add_f32s(sixth, simd.sub_f32s(far_sum, near_sum), u5),
    ]
}
