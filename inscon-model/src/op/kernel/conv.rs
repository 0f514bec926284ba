//! Convolution on slices: forward, input gradient, weight gradient.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Cpu;
use super::gather::{COPY, Gather, Planes, copy_over};
use super::tile::{PANEL, dot_rows, dots, product_into, tile_rows};

/// Sizes of a two-dimensional convolution, PyTorch's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub images: usize,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step of the kernel.
    pub stride: [usize; 2],
    /// Zeros on every side.
    pub padding: [usize; 2],
    /// Spacing of the taps.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix.
    pub groups: usize,
}

impl ConvShape {
    /// One channel each way, stride 1, no padding, no dilation, one group, for images of 1×1 px:
    /// a start for struct update syntax.
    #[must_use]
    pub fn new(images: usize, kernel: [usize; 2]) -> Self {
        Self {
            images,
            input: 1,
            output: 1,
            size: [1, 1],
            kernel,
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// Height and width of the output.
    #[must_use]
    pub fn output_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (self.size[axis] + 2 * self.padding[axis] - span) / self.stride[axis] + 1
        })
    }

    /// Multiplications and additions of one forward pass.
    #[must_use]
    pub fn operations(&self) -> usize {
        let [height, width] = self.output_size();
        2 * self.images * height * width * self.output * self.depth()
    }

    /// Length of the sum of one output value.
    fn depth(&self) -> usize {
        self.input / self.groups * self.kernel[0] * self.kernel[1]
    }

    fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn output_plane(&self) -> usize {
        let [height, width] = self.output_size();
        height * width
    }

    fn check(&self, x: usize, weight: usize, y: usize) {
        assert!(
            self.groups > 0
                && self.input.is_multiple_of(self.groups)
                && self.output.is_multiple_of(self.groups),
            "{self:?}: the groups do not divide the channels"
        );
        assert_eq!(
            x,
            self.images * self.input * self.plane(),
            "{self:?}: input"
        );
        assert_eq!(weight, self.output * self.depth(), "{self:?}: weight");
        assert_eq!(
            y,
            self.images * self.output * self.output_plane(),
            "{self:?}: output"
        );
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, columns] = self.kernel;
        (0..rows).flat_map(move |y| (0..columns).map(move |x| [y, x]))
    }

    fn gather(&self) -> Gather {
        let tap = |axis: usize, at: usize| {
            (at * self.dilation[axis]) as isize - self.padding[axis] as isize
        };
        Gather {
            images: self.images,
            channels: self.input / self.groups,
            input: self.size,
            output: self.output_size(),
            stride: self.stride,
            taps: self.taps().map(|[y, x]| [tap(0, y), tap(1, x)]).collect(),
        }
        .flattened()
    }
}

impl Cpu {
    /// `y[n][m] = Σ_c weight[m][c] ∗ x[n][c]`, plus a bias: `y` is `[N, M, H', W']`, every value is
    /// overwritten.
    ///
    /// # Panics
    /// If a slice's length is not that of the shape.
    pub fn conv2d_forward(
        self,
        shape: &ConvShape,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) {
        shape.check(x.len(), weight.len(), y.len());
        let gather = shape.gather();
        let (channels, rows) = (shape.input / shape.groups, shape.output / shape.groups);
        let depth = gather.depth();
        for group in 0..shape.groups {
            let planes = Planes {
                values: x,
                channels: shape.input,
                first: group * channels,
            };
            let weight = &weight[group * rows * depth..(group + 1) * rows * depth];
            let packed = self.pack_rows(rows, depth, |row, k| weight[row * depth + k]);
            let bias = bias.map(|bias| &bias[group * rows..(group + 1) * rows]);
            let window = [shape.output, group * rows];
            self.run(&gather, &planes, &packed, rows, bias, y, window);
        }
    }

    /// The gradient of the input, `dx` `[N, C, H, W]`, from that of the output: every value is
    /// overwritten. For each phase of the stride it is a convolution of `dy` with the taps that reach
    /// that phase.
    ///
    /// # Panics
    /// If a slice's length is not that of the shape.
    pub fn conv2d_input_gradient(
        self,
        shape: &ConvShape,
        weight: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) {
        shape.check(dx.len(), weight.len(), dy.len());
        let (channels, rows) = (shape.input / shape.groups, shape.output / shape.groups);
        let taps_all = shape.kernel[0] * shape.kernel[1];
        let whole = shape.stride == [1, 1];
        if !whole {
            dx.par_chunks_mut(1 << 16).for_each(|dx| dx.fill(0.0));
        }
        for phase_y in 0..shape.stride[0] {
            for phase_x in 0..shape.stride[1] {
                let phase = [phase_y, phase_x];
                let (mut offsets, mut taps) = (Vec::new(), Vec::new());
                for (index, tap) in shape.taps().enumerate() {
                    let offset = |axis: usize| {
                        let at = (phase[axis] + shape.padding[axis]) as isize
                            - (tap[axis] * shape.dilation[axis]) as isize;
                        let stride = shape.stride[axis] as isize;
                        (at % stride == 0).then_some(at / stride)
                    };
                    if let (Some(y), Some(x)) = (offset(0), offset(1)) {
                        offsets.push([y, x]);
                        taps.push(index);
                    }
                }
                let size = [0, 1].map(|axis| {
                    shape.size[axis]
                        .saturating_sub(phase[axis])
                        .div_ceil(shape.stride[axis])
                });
                if taps.is_empty() || size.contains(&0) {
                    continue;
                }
                let gather = Gather {
                    images: shape.images,
                    channels: rows,
                    input: shape.output_size(),
                    output: size,
                    stride: [1, 1],
                    taps: offsets,
                }
                .flattened();
                let plane = gather.plane();
                let mut part = if whole {
                    Vec::new()
                } else {
                    vec![0.0; shape.images * shape.input * plane]
                };
                for group in 0..shape.groups {
                    let planes = Planes {
                        values: dy,
                        channels: shape.output,
                        first: group * rows,
                    };
                    let depth = gather.depth();
                    let weight = &weight[group * rows * channels * taps_all..];
                    let packed = self.pack_rows(channels, depth, |channel, k| {
                        let (row, tap) = (k / taps.len(), taps[k % taps.len()]);
                        weight[(row * channels + channel) * taps_all + tap]
                    });
                    let window = [shape.input, group * channels];
                    let target = if whole { &mut *dx } else { &mut part };
                    self.run(&gather, &planes, &packed, channels, None, target, window);
                }
                if !whole {
                    let ([_, width], [rows, columns]) = (shape.size, size);
                    let scatter = |(dx, part): (&mut [f32], &[f32])| {
                        for y in 0..rows {
                            let row = &mut dx[(y * shape.stride[0] + phase_y) * width + phase_x..];
                            let part = &part[y * columns..(y + 1) * columns];
                            for (to, &from) in row.iter_mut().step_by(shape.stride[1]).zip(part) {
                                *to = from;
                            }
                        }
                    };
                    dx.par_chunks_mut(shape.plane())
                        .zip(part.par_chunks(plane))
                        .with_min_len(64)
                        .for_each(scatter);
                }
            }
        }
    }

    /// The gradient of the weight, `dweight` `[M, C / groups, KH, KW]`, from input and gradient of the
    /// output: every value is overwritten.
    ///
    /// # Panics
    /// If a slice's length is not that of the shape.
    pub fn conv2d_weight_gradient(
        self,
        shape: &ConvShape,
        x: &[f32],
        dy: &[f32],
        dweight: &mut [f32],
    ) {
        shape.check(x.len(), dweight.len(), dy.len());
        let gather = shape.gather();
        let (channels, rows) = (shape.input / shape.groups, shape.output / shape.groups);
        let (depth, pixels, plane) = (gather.depth(), gather.pixels(), gather.plane());
        // Not a power of two: rows at the same place of many pages evict each other.
        let stride = pixels.next_multiple_of(COPY) + COPY;
        for group in 0..shape.groups {
            let planes = Planes {
                values: x,
                channels: shape.input,
                first: group * channels,
            };
            let mut gradients = vec![0.0f32; rows * stride];
            gradients
                .par_chunks_mut(stride)
                .enumerate()
                .for_each(|(row, gradients)| {
                    for image in 0..shape.images {
                        let from = (image * shape.output + group * rows + row) * plane;
                        copy_over(gradients, image * plane, dy, from, plane);
                    }
                    gradients[pixels..].fill(0.0);
                });
            let ranges = depth_ranges(depth);
            let parts: Vec<Vec<f32>> = ranges
                .par_iter()
                .with_max_len(1)
                .map(|range| {
                    self.dispatch(WeightGradient {
                        gather: &gather,
                        planes: &planes,
                        gradients: &gradients,
                        stride,
                        rows,
                        range: range.clone(),
                    })
                })
                .collect();
            dweight[group * rows * depth..(group + 1) * rows * depth]
                .par_chunks_mut(depth)
                .with_min_len(8)
                .enumerate()
                .for_each(|(row, dweight)| {
                    for (range, part) in ranges.iter().zip(&parts) {
                        let len = range.len();
                        dweight[range.clone()].copy_from_slice(&part[row * len..(row + 1) * len]);
                    }
                });
        }
    }

    /// The weight as tiles `[K, tile_rows]`, missing rows zero.
    fn pack_rows(
        self,
        rows: usize,
        depth: usize,
        weight: impl Fn(usize, usize) -> f32 + Sync,
    ) -> Vec<f32> {
        let tile = self.dispatch(TileRows);
        let mut packed = vec![0.0f32; rows.div_ceil(tile) * depth * tile];
        packed
            .par_chunks_mut(depth * tile)
            .enumerate()
            .for_each(|(index, packed)| {
                let first = index * tile;
                let held = tile.min(rows - first);
                for (k, packed) in packed.chunks_exact_mut(tile).enumerate() {
                    for (row, packed) in packed[..held].iter_mut().enumerate() {
                        *packed = weight(first + row, k);
                    }
                }
            });
        packed
    }

    /// Runs a gather over all pixels; `window` are the channels of `out` and the group's first.
    fn run(
        self,
        gather: &Gather,
        planes: &Planes<'_>,
        packed: &[f32],
        rows: usize,
        bias: Option<&[f32]>,
        out: &mut [f32],
        [channels, first]: [usize; 2],
    ) {
        let ranges = pixel_ranges(gather.pixels(), gather.depth());
        let plane = gather.plane();
        // Each task owns, for each of its images and each row, the run of the plane that it writes.
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
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(range, out)| {
                self.dispatch(Product {
                    gather,
                    planes,
                    packed,
                    rows,
                    bias,
                    range,
                    out,
                });
            });
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

/// Pixels are cut in multiples of this, whatever the vectors' width.
const QUANTUM: usize = 16;

/// Bytes of columns that one task makes at a time: half of a small second-level cache.
const COLUMNS: usize = 400 << 10;

/// Runs of pixels of equal length, whatever the number of threads.
fn pixel_ranges(pixels: usize, depth: usize) -> Vec<Range<usize>> {
    let most = (COLUMNS / (4 * depth) / (3 * QUANTUM) * 3 * QUANTUM).clamp(3 * QUANTUM, 960);
    let quanta = pixels.div_ceil(QUANTUM);
    let least = pixels.div_ceil(most).max(quanta.div_ceil(6).min(16));
    let count = least.next_multiple_of(2).min(quanta).max(1);
    (0..count)
        .map(|index| {
            let at = |index: usize| (index * quanta / count * QUANTUM).min(pixels);
            at(index)..at(index + 1)
        })
        .filter(|range| !range.is_empty())
        .collect()
}

/// Runs of the weight's second axis for the tasks of a weight gradient.
fn depth_ranges(depth: usize) -> Vec<Range<usize>> {
    // 12 rows are a whole number of tiles on every machine.
    let quanta = depth.div_ceil(12);
    let count = quanta.div_ceil(6).max(quanta.min(8));
    let count = count.next_multiple_of(2).min(quanta);
    (0..count)
        .map(|index| {
            let at = |index: usize| (index * quanta / count * 12).min(depth);
            at(index)..at(index + 1)
        })
        .collect()
}

#[derive(Default)]
struct Scratch {
    padded: Vec<f32>,
    columns: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One task of [`Cpu::run`].
struct Product<'a> {
    gather: &'a Gather,
    planes: &'a Planes<'a>,
    packed: &'a [f32],
    rows: usize,
    bias: Option<&'a [f32]>,
    range: Range<usize>,
    /// `[images of the range, rows]` runs of pixels.
    out: Vec<&'a mut [f32]>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut scratch = SCRATCH.take();
        self.run(simd, &mut scratch);
        SCRATCH.set(scratch);
    }
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, scratch: &mut Scratch) {
        let Self {
            gather,
            planes,
            packed,
            rows,
            bias,
            range,
            out,
        } = self;
        let (lanes, tile) = (S::F32_LANES, tile_rows::<S>());
        let (depth, taps) = (gather.depth(), gather.taps.len());
        let width = PANEL * lanes;
        let panel = depth * width + COPY;
        let panels = range.len().div_ceil(width);
        let Scratch { padded, columns } = scratch;
        if columns.len() < panels * panel {
            columns.resize(panels * panel, 0.0);
        }

        let mut reading = gather.reading(planes, range.clone());
        reading.cut(width);
        for channel in 0..gather.channels {
            let source = reading.channel(gather, planes, channel, padded);
            for tap in 0..taps {
                let row = (channel * taps + tap) * width;
                reading.copy(tap, source, columns, |pixel| {
                    pixel / width * panel + row + pixel % width
                });
            }
        }

        let plane = gather.plane();
        let runs = runs(range, plane, width);
        let mut buffer = [0.0f32; 8 * PANEL * 16];
        let buffer = &mut buffer[..tile * width];
        for (index, weight) in packed.chunks_exact(depth * tile).enumerate() {
            let first = index * tile;
            let held = tile.min(*rows - first);
            for at in 0..panels {
                let pixels = width.min(range.len() - at * width);
                let columns = &columns[at * panel..(at + 1) * panel];
                product_into(simd, weight, columns, pixels.div_ceil(lanes), buffer);
                for (row, sums) in buffer.chunks_exact(width).take(held).enumerate() {
                    let bias = bias.map_or(0.0, |bias| bias[first + row]);
                    for run in &runs[at] {
                        let out = &mut out[run.image * *rows + first + row];
                        let out = &mut out[run.offset..run.offset + run.len];
                        let sums = &sums[run.lane..run.lane + run.len];
                        for (out, sum) in out.iter_mut().zip(sums) {
                            *out = sum + bias;
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

/// Pixels whose columns a weight gradient holds at a time.
const CHUNK: usize = 768;

/// One task of [`Cpu::conv2d_weight_gradient`]: `[rows, range]` of the weight.
struct WeightGradient<'a> {
    gather: &'a Gather,
    planes: &'a Planes<'a>,
    /// `[rows, stride]`.
    gradients: &'a [f32],
    stride: usize,
    rows: usize,
    range: Range<usize>,
}

impl WithSimd for WeightGradient<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let mut scratch = SCRATCH.take();
        let sums = self.run(simd, &mut scratch);
        SCRATCH.set(scratch);
        sums
    }
}

impl WeightGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, scratch: &mut Scratch) -> Vec<f32> {
        let Self {
            gather,
            planes,
            gradients,
            stride,
            rows,
            ref range,
        } = *self;
        let depth = range.len();
        let taps = gather.taps.len();
        let [tile_rows, tile_depth] = dot_rows::<S>();
        let Scratch { padded, columns } = scratch;
        let row_len = CHUNK + COPY;
        if columns.len() < depth * row_len + COPY {
            columns.resize(depth * row_len + COPY, 0.0);
        }
        let mut sums = vec![0.0f32; rows * depth];
        for start in (0..gather.pixels()).step_by(CHUNK) {
            let end = (start + CHUNK).min(gather.pixels());
            let len = (end - start).next_multiple_of(COPY);
            let reading = gather.reading(planes, start..end);
            for channel in range.start / taps..range.end.div_ceil(taps) {
                let source = reading.channel(gather, planes, channel, padded);
                for tap in 0..taps {
                    let k = channel * taps + tap;
                    if range.contains(&k) {
                        let row = (k - range.start) * row_len;
                        reading.copy(tap, source, columns, |pixel| row + pixel);
                        columns[row + end - start..row + len].fill(0.0);
                    }
                }
            }
            let columns = &*columns;
            for k in (0..depth).step_by(tile_depth) {
                for row in (0..rows).step_by(tile_rows) {
                    dots(
                        simd,
                        len,
                        |a| &gradients[(row + a).min(rows - 1) * stride + start..],
                        |b| &columns[(k + b).min(depth - 1) * row_len..],
                        |a, b, sum| {
                            if row + a < rows && k + b < depth {
                                sums[(row + a) * depth + k + b] += sum;
                            }
                        },
                    );
                }
            }
        }
        sums
    }
}
