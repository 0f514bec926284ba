//! RoIAlign and its gradient.
//!
//! A block of channels at a time is laid out cell by cell, so that a vector holds the channels of
//! a cell and every weight is a factor for whole vectors, whatever the box. A row of cells is
//! pooled along x into a line of bins, and the line is added to the bins of the rows it weighs in.
//! The gradient takes the same way back.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Cpu;
use super::product::Spare;
use crate::op::roi::{RoiPlan, Tap};

/// Channels of a block: two AVX-512 registers.
const BLOCK: usize = 32;

/// Values of a piece of the gradient's block that fit the second-level cache.
const PIECE: usize = 1 << 18;

/// RoIs that are worth laying out a block once more for.
const SHARE: usize = 64;

/// Cells that are laid out at a time: they stay in the first-level cache.
const STRIP: usize = 64;

impl Cpu {
    /// `y` `[R, C, P, P]` of maps `[N, C, H, W]`, one for each of the plan. Every value of `y` is
    /// overwritten.
    ///
    /// # Panics
    /// If a length is not that of the plan.
    pub fn roi_align(self, plan: &RoiPlan, channels: usize, maps: &[&[f32]], y: &mut [f32]) {
        assert_eq!(maps.len(), plan.maps().len(), "RoIAlign: maps");
        for (map, shape) in maps.iter().zip(plan.maps()) {
            let len = shape.images * channels * shape.plane();
            assert_eq!(map.len(), len, "{shape:?}: length");
        }
        let bins = plan.output() * plan.output();
        assert_eq!(y.len(), plan.rois() * channels * bins, "RoIAlign: output");
        let blocks = channels.div_ceil(BLOCK);
        // The same sums are made however the RoIs are shared out.
        let groups: usize = (0..maps.len())
            .map(|level| plan.groups_of(level).len())
            .sum();
        let wanted = (2 * rayon::current_num_threads()).div_ceil((groups * blocks).max(1));
        let mut tasks = Vec::new();
        // The first task of each (map, image), and how many RoIs each of its tasks takes.
        let mut firsts = Vec::with_capacity(groups);
        for (level, (&map, shape)) in maps.iter().zip(plan.maps()).enumerate() {
            let len = channels * shape.plane();
            for (image, group) in plan.groups_of(level).enumerate() {
                let image = &map[image * len..][..len];
                let members = plan.members(group);
                let share = members.len().div_ceil(wanted).max(SHARE);
                firsts.push((tasks.len(), share));
                for members in members.chunks(share) {
                    for block in 0..blocks {
                        let first = block * BLOCK * shape.plane();
                        let end = (first + BLOCK * shape.plane()).min(len);
                        tasks.push(Pooling {
                            plan,
                            size: shape.size,
                            planes: &image[first..end],
                            members,
                            outputs: Vec::with_capacity(members.len()),
                        });
                    }
                }
            }
        }
        let mut seen = vec![0; firsts.len()];
        for (roi, y) in y.chunks_exact_mut((channels * bins).max(1)).enumerate() {
            let group = plan.group(roi);
            let (first, share) = firsts[group];
            let first = first + seen[group] / share * blocks;
            seen[group] += 1;
            for (block, y) in y.chunks_mut(BLOCK * bins).enumerate() {
                tasks[first + block].outputs.push(y);
            }
        }
        tasks
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| self.dispatch(task));
    }

    /// The gradient `dx` `[N, C, H, W]` of map `level`, from that of the output, `dy`
    /// `[R, C, P, P]`. Every value of `dx` is overwritten.
    ///
    /// # Panics
    /// If a length is not that of the plan.
    pub fn roi_align_gradient(
        self,
        plan: &RoiPlan,
        channels: usize,
        level: usize,
        dy: &[f32],
        dx: &mut [f32],
    ) {
        let shape = plan.maps()[level];
        let [height, width] = shape.size;
        let (plane, bins) = (shape.plane(), plan.output() * plan.output());
        assert_eq!(dy.len(), plan.rois() * channels * bins, "RoIAlign: output");
        assert_eq!(dx.len(), shape.images * channels * plane, "{shape:?}");
        if dx.is_empty() {
            return;
        }
        let blocks = channels.div_ceil(BLOCK);
        // Each cell's sum is made by one task, over the RoIs in order, however rows are cut.
        let wanted = (2 * rayon::current_num_threads()).div_ceil(shape.images * blocks);
        let rows = (PIECE / (width * BLOCK)).min(height.div_ceil(wanted));
        let rows = rows.clamp(1, height);
        let pieces = height.div_ceil(rows);
        let mut tasks = Vec::with_capacity(shape.images * blocks * pieces);
        for group in plan.groups_of(level) {
            for block in 0..blocks {
                for piece in 0..pieces {
                    tasks.push(Spreading {
                        plan,
                        width,
                        rows: piece * rows..((piece + 1) * rows).min(height),
                        members: plan.members(group),
                        dy,
                        channels,
                        first: block * BLOCK,
                        outputs: Vec::with_capacity(BLOCK),
                    });
                }
            }
        }
        for (index, dx) in dx.chunks_exact_mut(plane).enumerate() {
            let (image, channel) = (index / channels, index % channels);
            let first = (image * blocks + channel / BLOCK) * pieces;
            for (piece, dx) in dx.chunks_mut(rows * width).enumerate() {
                tasks[first + piece].outputs.push(dx);
            }
        }
        tasks
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| self.dispatch(task));
    }
}

/// The RoIs of an image, a block of channels.
struct Pooling<'a> {
    plan: &'a RoiPlan,
    size: [usize; 2],
    /// The block of the map.
    planes: &'a [f32],
    members: &'a [u32],
    /// The block of each member's output.
    outputs: Vec<&'a mut [f32]>,
}

/// Vectors that hold a block of channels.
macro_rules! with_vectors {
    ($simd:expr, $run:ident, $($argument:expr),*) => {
        match S::F32_LANES {
            16 => $run::<S, { BLOCK / 16 }>($simd, $($argument),*),
            8 => $run::<S, { BLOCK / 8 }>($simd, $($argument),*),
            4 => $run::<S, { BLOCK / 4 }>($simd, $($argument),*),
            2 => $run::<S, { BLOCK / 2 }>($simd, $($argument),*),
            _ => $run::<S, BLOCK>($simd, $($argument),*),
        }
    };
}

impl WithSimd for Pooling<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let plan = self.plan;
        let [height, width] = self.size;
        // Rows that any of the RoIs reads.
        let spans = || {
            self.members
                .iter()
                .map(|&roi| plan.y.cells_of(roi as usize))
        };
        let first = spans()
            .filter(|span| !span.is_empty())
            .map(|span| span.start);
        let first = first.min().unwrap_or(0);
        let end = spans().map(|span| span.end).max().unwrap_or(0).max(first);
        let mut block = Aligned::new((end - first) * width * BLOCK);
        let block = block.values();
        let planes = self.planes.chunks_exact((height * width).max(1));
        gather(planes, first * width, block);

        let side = plan.output();
        let (mut bins, mut line) = (
            Aligned::new(side * side * BLOCK),
            Aligned::new(side * BLOCK),
        );
        let (bins, line) = (bins.values(), line.values());
        for (&roi, y) in self.members.iter().zip(&mut self.outputs) {
            let roi = roi as usize;
            bins.fill(0.0);
            for row in plan.y.cells_of(roi) {
                let weights = plan.y.of_cell(roi, row);
                if weights.is_empty() {
                    continue;
                }
                let cells = &block[(row - first) * width * BLOCK..][..width * BLOCK];
                with_vectors!(simd, pool_row, plan, roi, cells, line);
                with_vectors!(simd, add_line, weights, line, bins);
            }
            for (channel, y) in y.chunks_exact_mut(side * side).enumerate() {
                scatter(bins, channel, y);
            }
        }
    }
}

/// `line[j] = Σ_u Wx[j, u] · cells[u]`.
#[inline(always)]
fn pool_row<S: Simd, const VECTORS: usize>(
    simd: S,
    plan: &RoiPlan,
    roi: usize,
    cells: &[f32],
    line: &mut [f32],
) {
    let side = plan.output();
    let cells = vectors::<S, VECTORS>(cells);
    for (bin, line) in vectors_mut::<S, VECTORS>(line).iter_mut().enumerate() {
        *line = weigh(
            simd,
            plan.x.of_bin(roi * side + bin),
            |cell| cells[cell],
            [simd.splat_f32s(0.0); VECTORS],
        );
    }
}

/// `bins[i] += Wy[i] · line` for the rows of bins that a row of cells weighs in.
#[inline(always)]
fn add_line<S: Simd, const VECTORS: usize>(
    simd: S,
    weights: &[Tap],
    line: &[f32],
    bins: &mut [f32],
) {
    let line = vectors::<S, VECTORS>(line);
    let bins = vectors_mut::<S, VECTORS>(bins);
    for tap in weights {
        let weight = simd.splat_f32s(tap.weight);
        let bins = &mut bins[tap.at as usize * line.len()..][..line.len()];
        for (bin, from) in bins.iter_mut().zip(line) {
            for (bin, &from) in bin.iter_mut().zip(from) {
                *bin = simd.mul_add_f32s(weight, from, *bin);
            }
        }
    }
}

/// `sums + Σ weight · source(at)`.
#[inline(always)]
fn weigh<S: Simd, const VECTORS: usize>(
    simd: S,
    taps: &[Tap],
    source: impl Fn(usize) -> [S::f32s; VECTORS],
    mut sums: [S::f32s; VECTORS],
) -> [S::f32s; VECTORS] {
    for tap in taps {
        let weight = simd.splat_f32s(tap.weight);
        let source = source(tap.at as usize);
        for (sum, source) in sums.iter_mut().zip(source) {
            *sum = simd.mul_add_f32s(weight, source, *sum);
        }
    }
    sums
}

/// Rows of an image's gradient, a block of channels.
struct Spreading<'a> {
    plan: &'a RoiPlan,
    width: usize,
    rows: Range<usize>,
    members: &'a [u32],
    dy: &'a [f32],
    channels: usize,
    /// First channel of the block.
    first: usize,
    /// The rows of each channel.
    outputs: Vec<&'a mut [f32]>,
}

impl WithSimd for Spreading<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (plan, width, side) = (self.plan, self.width, self.plan.output());
        let mut block = Aligned::new(self.rows.len() * width * BLOCK);
        let (mut bins, mut line) = (
            Aligned::new(side * side * BLOCK),
            Aligned::new(side * BLOCK),
        );
        let (block, bins, line) = (block.values(), bins.values(), line.values());
        block.fill(0.0);
        let used = self.outputs.len() * side * side;
        for &roi in self.members {
            let roi = roi as usize;
            let span = plan.y.cells_of(roi);
            let span = span.start.max(self.rows.start)..span.end.min(self.rows.end);
            if span.is_empty() || plan.x.cells_of(roi).is_empty() {
                continue;
            }
            let dy = &self.dy[(roi * self.channels + self.first) * side * side..][..used];
            gather(dy.chunks_exact(side * side), 0, bins);
            for row in span {
                let weights = plan.y.of_cell(roi, row);
                if weights.is_empty() {
                    continue;
                }
                let cells = &mut block[(row - self.rows.start) * width * BLOCK..][..width * BLOCK];
                with_vectors!(simd, line_of, weights, bins, line);
                with_vectors!(simd, spread_row, plan, roi, line, cells);
            }
        }
        for (strip, cells) in block.chunks(STRIP * BLOCK).enumerate() {
            for (channel, dx) in self.outputs.iter_mut().enumerate() {
                scatter(cells, channel, &mut dx[strip * STRIP..]);
            }
        }
    }
}

/// `line = Σ_i Wy[i] · bins[i]`.
#[inline(always)]
fn line_of<S: Simd, const VECTORS: usize>(
    simd: S,
    weights: &[Tap],
    bins: &[f32],
    line: &mut [f32],
) {
    let bins = vectors::<S, VECTORS>(bins);
    let line = vectors_mut::<S, VECTORS>(line);
    let side = line.len();
    for (bin, line) in line.iter_mut().enumerate() {
        let zero = [simd.splat_f32s(0.0); VECTORS];
        *line = weigh(simd, weights, |row| bins[row * side + bin], zero);
    }
}

/// `cells[u] += Σ_j Wx[j, u] · line[j]`.
#[inline(always)]
fn spread_row<S: Simd, const VECTORS: usize>(
    simd: S,
    plan: &RoiPlan,
    roi: usize,
    line: &[f32],
    cells: &mut [f32],
) {
    let line = vectors::<S, VECTORS>(line);
    let span = plan.x.cells_of(roi);
    let cells = &mut vectors_mut::<S, VECTORS>(cells)[span.clone()];
    for (at, cell) in span.zip(cells) {
        *cell = weigh(simd, plan.x.of_cell(roi, at), |bin| line[bin], *cell);
    }
}

/// Values in blocks of channels as vectors.
#[inline(always)]
fn vectors<S: Simd, const VECTORS: usize>(values: &[f32]) -> &[[S::f32s; VECTORS]] {
    S::as_simd_f32s(values).0.as_chunks().0
}

#[inline(always)]
fn vectors_mut<S: Simd, const VECTORS: usize>(values: &mut [f32]) -> &mut [[S::f32s; VECTORS]] {
    S::as_mut_simd_f32s(values).0.as_chunks_mut().0
}

/// `to[cell][channel] = planes[channel][first + cell]`; channels that are missing become zero.
#[inline(always)]
fn gather<'a>(planes: impl Iterator<Item = &'a [f32]> + Clone, first: usize, to: &mut [f32]) {
    for (strip, to) in to.chunks_mut(STRIP * BLOCK).enumerate() {
        let (to, _) = to.as_chunks_mut::<BLOCK>();
        let mut count = 0;
        for (channel, plane) in planes.clone().take(BLOCK).enumerate() {
            let plane = &plane[first + strip * STRIP..][..to.len()];
            for (to, &from) in to.iter_mut().zip(plane) {
                to[channel] = from;
            }
            count = channel + 1;
        }
        if count < BLOCK {
            for to in to {
                to[count..].fill(0.0);
            }
        }
    }
}

/// `plane[cell] = from[cell][channel]` for the cells of `from`.
#[inline(always)]
fn scatter(from: &[f32], channel: usize, plane: &mut [f32]) {
    let (from, _) = from.as_chunks::<BLOCK>();
    for (to, from) in plane.iter_mut().zip(from) {
        *to = from[channel];
    }
}

/// A [`Spare`] that begins where a cache line does.
struct Aligned(Spare, usize);

impl Aligned {
    fn new(len: usize) -> Self {
        Self(Spare::new(len + 16), len)
    }

    fn values(&mut self) -> &mut [f32] {
        let skip = self.0.as_ptr().align_offset(64).min(16);
        &mut self.0[skip..skip + self.1]
    }
}
