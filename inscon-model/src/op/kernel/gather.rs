//! A convolution as a gather: which input value each output pixel reads at each tap.

use std::ops::Range;

/// One group of a convolution, or one phase of its transpose:
///
/// ```text
/// out[m][i][j] = Σ_c Σ_t weight[m][c·T + t] · in[c][i·stride_y + tap_t.y][j·stride_x + tap_t.x]
/// ```
/// with zeros outside the input. Forward passes, and input gradients of any stride, have this form.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    pub(super) images: usize,
    /// Channels that are summed over.
    pub(super) channels: usize,
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Height and width of the output.
    pub(super) output: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Offsets (y, x) into the input, in the order of the weight.
    pub(super) taps: Vec<[isize; 2]>,
}

/// Where the channels of one group lie in a batch `[N, C, H, W]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) values: &'a [f32],
    /// Channels of the whole tensor.
    pub(super) channels: usize,
    /// First channel of the group.
    pub(super) first: usize,
}

/// A run of pixels of one output row whose inputs are contiguous at every tap.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Offset of the first pixel's input at the tap of least offset.
    source: usize,
    /// Position in the range of pixels.
    pixel: usize,
    len: usize,
}

/// Rows of one image that a range of pixels reads, in the padded scratch.
#[derive(Debug, Clone, Copy)]
struct Segment {
    image: usize,
    /// First input row; rows outside the image are zero.
    first: isize,
    rows: usize,
    base: usize,
}

/// How a range of output pixels, counted over (image, y, x), reads the input.
#[derive(Debug)]
pub(super) struct Reading {
    pieces: Vec<Piece>,
    /// Empty where the input is read in place.
    segments: Vec<Segment>,
    /// Offset of each tap.
    taps: Vec<usize>,
    padded: Padded,
}

/// Layout of a padded row: one run for each phase of the stride.
#[derive(Debug, Clone, Copy)]
struct Padded {
    /// First input column.
    first: isize,
    /// Input columns.
    columns: usize,
    phases: usize,
    /// Columns of one phase.
    width: usize,
}

/// Longest copy of the inner loops: one AVX-512 register. Copies run over the end of a piece; the
/// next piece overwrites what is too much.
pub(super) const COPY: usize = 16;

impl Gather {
    /// Pixels of all images.
    pub(super) fn pixels(&self) -> usize {
        self.images * self.plane()
    }

    /// Pixels of one output plane.
    pub(super) fn plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Length of the sum.
    pub(super) fn depth(&self) -> usize {
        self.channels * self.taps.len()
    }

    /// A pointwise gather of stride 1 as one long row: no row ends.
    pub(super) fn flattened(mut self) -> Self {
        if self.taps == [[0, 0]] && self.stride == [1, 1] && self.input == self.output {
            self.input = [1, self.plane()];
            self.output = self.input;
        }
        self
    }

    fn bounds(&self, axis: usize) -> [isize; 2] {
        let offsets = || self.taps.iter().map(|tap| tap[axis]);
        [offsets().min().unwrap_or(0), offsets().max().unwrap_or(0)]
    }

    /// What `range` reads.
    pub(super) fn reading(&self, planes: &Planes<'_>, range: Range<usize>) -> Reading {
        let [height, width] = self.input;
        let ([min_y, max_y], [min_x, max_x]) = (self.bounds(0), self.bounds(1));
        let [rows, columns] = self.output;
        let [stride_y, stride_x] = self.stride;
        let span = |len: usize, stride: usize, min: isize, max: isize| {
            (len - 1) * stride + (max - min) as usize + 1
        };
        let inside = |min: isize, span: usize, len: usize| min >= 0 && min as usize + span <= len;
        let span_x = span(columns, stride_x, min_x, max_x);
        let direct = stride_x == 1
            && inside(min_y, span(rows, stride_y, min_y, max_y), height)
            && inside(min_x, span_x, width);
        let padded = if direct {
            Padded {
                first: 0,
                columns: width,
                phases: 1,
                width,
            }
        } else {
            Padded {
                first: min_x,
                columns: span_x,
                phases: stride_x,
                width: span_x.div_ceil(stride_x),
            }
        };
        let row_len = padded.phases * padded.width;
        let (origin_y, origin_x) = if direct { (0, 0) } else { (min_y, min_x) };
        let taps = self
            .taps
            .iter()
            .map(|&[y, x]| {
                let (y, x) = ((y - origin_y) as usize, (x - origin_x) as usize);
                y * row_len + x % padded.phases * padded.width + x / padded.phases
            })
            .collect();

        let plane = self.plane();
        let (mut pieces, mut segments) = (Vec::new(), Vec::new());
        let mut base = 0;
        let mut at = range.start;
        while at < range.end {
            let (image, pixel) = (at / plane, at % plane);
            let end = (at - pixel + plane).min(range.end) - (at - pixel);
            let (first_row, last_row) = (pixel / columns, (end - 1) / columns);
            let origin = if direct {
                (image * planes.channels + planes.first) * height * width
                    + first_row * stride_y * row_len
            } else {
                let rows = (last_row - first_row) * stride_y + (max_y - min_y) as usize + 1;
                segments.push(Segment {
                    image,
                    first: (first_row * stride_y) as isize + min_y,
                    rows,
                    base,
                });
                base += rows * row_len;
                base - rows * row_len
            };
            for row in first_row..=last_row {
                let from = pixel.max(row * columns);
                let to = end.min((row + 1) * columns);
                pieces.push(Piece {
                    source: origin
                        + (row - first_row) * stride_y * row_len
                        + (from - row * columns),
                    pixel: at - range.start + (from - pixel),
                    len: to - from,
                });
            }
            at += end - pixel;
        }
        Reading {
            pieces,
            segments,
            taps,
            padded,
        }
    }
}

impl Reading {
    /// Cuts the pieces where a panel of `width` pixels ends.
    pub(super) fn cut(&mut self, width: usize) {
        let mut cut = Vec::with_capacity(self.pieces.len() * 2);
        for &Piece { source, pixel, len } in &self.pieces {
            let mut done = 0;
            while done < len {
                let pixel = pixel + done;
                let part = (len - done).min(width - pixel % width);
                cut.push(Piece {
                    source: source + done,
                    pixel,
                    len: part,
                });
                done += part;
            }
        }
        self.pieces = cut;
    }

    /// The values of channel `channel` of the group that [`Self::copy`] reads: the input itself, or
    /// its rows in `scratch`, padded with zeros and split by the phase of the stride.
    #[inline(always)]
    pub(super) fn channel<'s>(
        &self,
        gather: &Gather,
        planes: &Planes<'s>,
        channel: usize,
        scratch: &'s mut Vec<f32>,
    ) -> &'s [f32] {
        let [height, width] = gather.input;
        let plane = height * width;
        if self.segments.is_empty() {
            return &planes.values[channel * plane..];
        }
        let Padded {
            first,
            columns,
            phases,
            width: phase_width,
        } = self.padded;
        let row_len = phases * phase_width;
        let len = self
            .segments
            .last()
            .map_or(0, |last| last.base + last.rows * row_len);
        if scratch.len() < len + COPY {
            scratch.resize(len + COPY, 0.0);
        }
        // Columns of the input that a padded row holds.
        let left = (-first).clamp(0, columns as isize) as usize;
        let source_left = first.max(0) as usize;
        let held = width.saturating_sub(source_left).min(columns - left);
        for segment in &self.segments {
            let image = segment.image * planes.channels + planes.first + channel;
            let source = &planes.values[image * plane..(image + 1) * plane];
            let rows = &mut scratch[segment.base..segment.base + segment.rows * row_len];
            for (index, row) in rows.chunks_exact_mut(row_len).enumerate() {
                let y = segment.first + index as isize;
                if y < 0 || y >= height as isize || held == 0 {
                    row.fill(0.0);
                    continue;
                }
                let source = &source[y as usize * width + source_left..][..held];
                if phases == 1 {
                    row[..left].fill(0.0);
                    row[left + held..].fill(0.0);
                    let row = &mut row[left..left + held];
                    let (wide, rest) = row.as_chunks_mut::<COPY>();
                    let (wide_source, rest_source) = source.as_chunks::<COPY>();
                    for (to, from) in wide.iter_mut().zip(wide_source) {
                        *to = *from;
                    }
                    for (to, from) in rest.iter_mut().zip(rest_source) {
                        *to = *from;
                    }
                } else {
                    row.fill(0.0);
                    for phase in 0..phases {
                        // Columns left + x with (left + x) % phases == phase.
                        let skip = (phase + phases - left % phases) % phases;
                        let row = &mut row[phase * phase_width..(phase + 1) * phase_width];
                        let row = &mut row[(left + skip) / phases..];
                        let from = source.get(skip..).unwrap_or_default();
                        if phases == 2 {
                            let pairs = from.len().div_ceil(2);
                            for (x, to) in row[..pairs].iter_mut().enumerate() {
                                *to = from[2 * x];
                            }
                        } else {
                            for (to, from) in row.iter_mut().zip(from.iter().step_by(phases)) {
                                *to = *from;
                            }
                        }
                    }
                }
            }
        }
        scratch
    }

    /// Positions of the pieces' first pixels in the range.
    pub(super) fn pixels(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().map(|piece| piece.pixel)
    }

    /// What the last [`Self::channel`] returned, for the same channel and scratch.
    #[inline(always)]
    pub(super) fn again<'s>(
        &self,
        gather: &Gather,
        planes: &Planes<'s>,
        channel: usize,
        scratch: &'s [f32],
    ) -> &'s [f32] {
        if self.segments.is_empty() {
            &planes.values[channel * gather.input[0] * gather.input[1]..]
        } else {
            scratch
        }
    }

    /// Copies what tap `tap` reads from `source` (see [`Self::channel`]), each piece to its place
    /// in `columns`. Up to [`COPY`] − 1 values after a piece are overwritten.
    #[inline(always)]
    pub(super) fn copy(&self, tap: usize, source: &[f32], columns: &mut [f32], places: &[usize]) {
        let source = source.get(self.taps[tap]..).unwrap_or_default();
        for (piece, &to) in self.pieces.iter().zip(places) {
            copy_over(columns, to, source, piece.source, piece.len);
        }
    }
}

/// `to[at..at + len] = from[start..start + len]`, in whole [`COPY`]s where both have room.
#[inline(always)]
pub(super) fn copy_over(to: &mut [f32], at: usize, from: &[f32], start: usize, len: usize) {
    let mut done = 0;
    while done < len {
        let wide_to = to.get_mut(at + done..).and_then(<[f32]>::first_chunk_mut);
        let wide_from: Option<&[f32; COPY]> =
            from.get(start + done..).and_then(<[f32]>::first_chunk);
        match (wide_to, wide_from) {
            (Some(to), Some(from)) => *to = *from,
            _ => {
                to[at + done..at + len].copy_from_slice(&from[start + done..start + len]);
                return;
            }
        }
        done += COPY;
    }
}
