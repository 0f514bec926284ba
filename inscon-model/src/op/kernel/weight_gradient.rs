//! The gradient of a convolution's weight.

use std::array::from_fn;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::gather::{COPY, Gather, Planes, copy_over};
use super::product::{Columns, Inner, Matrix, SCRATCH, Scratch, even_ranges, grown};
use super::tile::{dot_rows, dots};
use super::{ConvShape, Cpu};

/// Pixels up to which the sum over them is one panel deep.
const SHORT: usize = 1024;

/// Rows and columns of the weight from which transposed columns are worth making.
const WIDE: usize = 128;

impl Cpu {
    /// The gradient of the weight, `dweight` `[M, C / groups, KH, KW]`, from input and gradient of
    /// the output: every value is overwritten.
    ///
    /// It is a product of gradients and transposed columns, or, where a long sum has few rows to
    /// make those worth it, dot products of gradients and columns.
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
        let (depth, plane) = (gather.depth(), gather.plane());
        if gather.pixels() == 0 {
            dweight.fill(0.0);
            return;
        }
        for group in 0..shape.groups {
            let planes = Planes {
                values: x,
                channels: shape.input,
                first: group * channels,
            };
            let dweight = &mut dweight[group * rows * depth..(group + 1) * rows * depth];
            if let Some(winograd) = shape.winograd_gradient() {
                let slopes = Planes {
                    values: dy,
                    channels: shape.output,
                    first: group * rows,
                };
                self.winograd_gradient(&winograd, &planes, &slopes, dweight);
                continue;
            }
            let gradients = &dy[group * rows * plane..];
            if gather.pixels() <= SHORT || rows.min(depth) >= WIDE {
                self.wide_gradient(
                    &gather,
                    planes,
                    gradients,
                    shape.output * plane,
                    rows,
                    dweight,
                );
            } else {
                let long = Long {
                    gather: &gather,
                    planes,
                    gradients,
                    image_stride: shape.output * plane,
                    rows,
                };
                self.long_gradient(&long, dweight);
            }
        }
    }

    fn wide_gradient(
        self,
        gather: &Gather,
        planes: Planes<'_>,
        gradients: &[f32],
        image_stride: usize,
        rows: usize,
        dweight: &mut [f32],
    ) {
        let (pixels, depth) = (gather.pixels(), gather.depth());
        let matrix = self.pack(&Matrix {
            values: gradients,
            rows,
            row_stride: gather.plane(),
            outers: gather.images,
            outer_stride: image_stride,
            inner: Inner::Run(gather.plane()),
        });
        let columns = Transposed { gather, planes };
        // Where the columns are few, parts of the sum are tasks as well.
        let parts = (8 * 48 / depth.max(1)).clamp(1, pixels.div_ceil(SHORT));
        let ranges = even_ranges(pixels, COPY, parts);
        let Some((first, others)) = ranges.split_first() else {
            return dweight.fill(0.0);
        };
        let mut sums = vec![0.0f32; others.len() * dweight.len()];
        std::iter::once((first, &mut *dweight))
            .chain(others.iter().zip(sums.chunks_exact_mut(rows * depth)))
            .collect::<Vec<_>>()
            .into_par_iter()
            .for_each(|(range, out)| {
                self.product(&matrix, &columns, range.clone(), None, out, [rows, 0]);
            });
        for sums in sums.chunks_exact(rows * depth) {
            for (dweight, sum) in dweight.iter_mut().zip(sums) {
                *dweight += sum;
            }
        }
    }

    fn long_gradient(self, long: &Long<'_>, dweight: &mut [f32]) {
        let depth = long.gather.depth();
        let depths = even_ranges(depth, 12, depth.div_ceil(96));
        let pixels = long.gather.pixels();
        // Enough tasks for a few threads, an even number of them.
        let most = pixels.div_ceil(LEAST_CHUNK);
        let mut parts = 8usize.div_ceil(depths.len()).min(most);
        if depths.len() * parts % 2 == 1 && parts < most {
            parts += 1;
        }
        let parts = even_ranges(pixels, COPY, parts);
        let tasks: Vec<(Range<usize>, Range<usize>)> = depths
            .iter()
            .flat_map(|depth| parts.iter().map(|part| (depth.clone(), part.clone())))
            .collect();
        let sums: Vec<Vec<f32>> = tasks
            .into_par_iter()
            .with_max_len(1)
            .map(|(depth, pixels)| {
                self.dispatch(LongTask {
                    long,
                    depth,
                    pixels,
                })
            })
            .collect();
        dweight
            .par_chunks_mut(depth)
            .with_min_len(super::items_of(depth))
            .enumerate()
            .for_each(|(row, dweight)| {
                for (range, sums) in depths.iter().zip(sums.chunks_exact(parts.len())) {
                    let len = range.len();
                    let dweight = &mut dweight[range.clone()];
                    for (part, sums) in sums.iter().enumerate() {
                        let sums = &sums[row * len..(row + 1) * len];
                        if part == 0 {
                            dweight.copy_from_slice(sums);
                        } else {
                            for (dweight, sum) in dweight.iter_mut().zip(sums) {
                                *dweight += sum;
                            }
                        }
                    }
                }
            });
    }
}

/// Columns of a gather with pixels and depth exchanged: "pixel" k is what all pixels read at k.
struct Transposed<'a> {
    gather: &'a Gather,
    planes: Planes<'a>,
}

impl Columns for Transposed<'_> {
    fn depth(&self) -> usize {
        self.gather.pixels()
    }

    fn pixels(&self) -> usize {
        self.gather.depth()
    }

    fn plane(&self) -> usize {
        self.gather.depth()
    }

    fn most_depth(&self) -> usize {
        SHORT
    }

    #[inline(always)]
    fn fill(
        &self,
        range: Range<usize>,
        depth: Range<usize>,
        width: usize,
        panel: usize,
        columns: &mut [f32],
        scratch: &mut Vec<f32>,
    ) {
        let (taps, pixels) = (self.gather.taps.len(), depth.len());
        let reading = self.gather.reading(&self.planes, depth);
        let places: Vec<usize> = reading.pixels().collect();
        let stride = pixels.next_multiple_of(COPY) + COPY;
        // A block of rows, then transposed: the panel is written a run at a time.
        let mut block = vec![0.0f32; COPY * stride];
        let mut open = None;
        for start in range.clone().step_by(COPY) {
            let held = COPY.min(range.end - start);
            for (row, block) in block.chunks_exact_mut(stride).take(held).enumerate() {
                let (channel, tap) = ((start + row) / taps, (start + row) % taps);
                // The padded rows of a channel serve all its taps.
                let source = if open == Some(channel) {
                    reading.again(self.gather, &self.planes, channel, scratch)
                } else {
                    reading.channel(self.gather, &self.planes, channel, scratch)
                };
                open = Some(channel);
                reading.copy(tap, source, block, &places);
            }
            // Panels are multiples of the block wide or the block of the panels.
            let rows: [&[f32]; COPY] = from_fn(|row| &block[row * stride..][..pixels]);
            let lane = start - range.start;
            if width.is_multiple_of(COPY) {
                let at = lane / width * panel + lane % width;
                for pixel in 0..pixels {
                    let to = &mut columns[at + pixel * width..][..COPY];
                    for (to, row) in to.iter_mut().zip(&rows) {
                        *to = row[pixel];
                    }
                }
            } else {
                for (row, values) in rows.iter().take(held).enumerate() {
                    let lane = lane + row;
                    let at = lane / width * panel + lane % width;
                    for (pixel, &value) in values.iter().enumerate() {
                        columns[at + pixel * width] = value;
                    }
                }
            }
        }
    }
}

/// A gradient as dot products.
struct Long<'a> {
    gather: &'a Gather,
    planes: Planes<'a>,
    /// From the group's first channel of the first image.
    gradients: &'a [f32],
    image_stride: usize,
    rows: usize,
}

/// Most pixels whose columns and gradients a task holds at a time.
const MOST_CHUNK: usize = 768;

/// Fewest, so that the sums over the lanes at the end of a dot product weigh little.
const LEAST_CHUNK: usize = 256;

/// Values that a task holds at a time: part of a small second-level cache.
const HELD: usize = 150 << 10;

/// Range of the depth and of the pixels of one task.
struct LongTask<'a> {
    long: &'a Long<'a>,
    depth: Range<usize>,
    pixels: Range<usize>,
}

impl WithSimd for LongTask<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let mut scratch = SCRATCH.take();
        let sums = self.run(simd, &mut scratch);
        SCRATCH.set(scratch);
        sums
    }
}

impl LongTask<'_> {
    /// `[rows, depth]`.
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, scratch: &mut Scratch) -> Vec<f32> {
        let Long {
            gather,
            ref planes,
            gradients,
            image_stride,
            rows,
        } = *self.long;
        let (taps, plane) = (gather.taps.len(), gather.plane());
        let depth = self.depth.len();
        let [tile_rows, tile_depth] = dot_rows::<S>();
        let chunk = (HELD / (depth + rows) / COPY * COPY).clamp(LEAST_CHUNK, MOST_CHUNK);
        // Not a power of two: rows at the same place of many pages evict each other.
        let stride = chunk + COPY;
        let columns = grown(&mut scratch.columns, depth * stride + COPY);
        let slopes = grown(&mut scratch.rows, rows * stride + COPY);
        let mut sums = vec![0.0f32; rows * depth];
        for start in self.pixels.clone().step_by(chunk) {
            let end = (start + chunk).min(self.pixels.end);
            let len = (end - start).next_multiple_of(COPY);
            for (row, slopes) in slopes.chunks_exact_mut(stride).take(rows).enumerate() {
                let mut at = start;
                while at < end {
                    let (image, pixel) = (at / plane, at % plane);
                    let run = (plane - pixel).min(end - at);
                    let from = image * image_stride + row * plane + pixel;
                    copy_over(slopes, at - start, gradients, from, run);
                    at += run;
                }
                slopes[end - start..len].fill(0.0);
            }
            let reading = gather.reading(planes, start..end);
            let places: Vec<usize> = reading.pixels().collect();
            for channel in self.depth.start / taps..self.depth.end.div_ceil(taps) {
                let source = reading.channel(gather, planes, channel, &mut scratch.padded);
                for tap in 0..taps {
                    let k = channel * taps + tap;
                    if self.depth.contains(&k) {
                        let row = (k - self.depth.start) * stride;
                        let columns = &mut columns[row..];
                        reading.copy(tap, source, columns, &places);
                        columns[end - start..len].fill(0.0);
                    }
                }
            }
            let (columns, slopes) = (&*columns, &*slopes);
            for k in (0..depth).step_by(tile_depth) {
                for row in (0..rows).step_by(tile_rows) {
                    dots(
                        simd,
                        len,
                        |a| &slopes[(row + a).min(rows - 1) * stride..],
                        |b| &columns[(k + b).min(depth - 1) * stride..],
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
