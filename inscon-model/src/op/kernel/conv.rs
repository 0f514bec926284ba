//! Convolution on slices: forward and input gradient.

use rayon::prelude::*;

use super::Cpu;
use super::gather::{Gather, Planes};
use super::product::{Gathered, Inner, Matrix};
use super::winograd::Winograd;

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

    pub(super) fn check(&self, x: usize, weight: usize, y: usize) {
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

    /// Whether forward, input gradient and weight gradient go by Winograd's tiles. Their errors
    /// are about ten times those of direct sums, and a NaN or ∞ spreads over its tile of 4×4.
    #[must_use]
    pub fn by_tiles(&self) -> [bool; 3] {
        [
            self.winograd(&[]).is_some(),
            self.winograd_back(&[]).is_some(),
            self.winograd_gradient().is_some(),
        ]
    }

    /// The forward pass of one group by tiles, where that pays.
    fn winograd<'a>(&self, weight: &'a [f32]) -> Option<Winograd<'a>> {
        let channels = self.input / self.groups;
        let winograd = Winograd {
            images: self.images,
            channels,
            rows: self.output / self.groups,
            input: self.size,
            output: self.output_size(),
            origin: self.padding.map(|padding| -(padding as isize)),
            weight,
            row_stride: channels * 9,
            channel_stride: 9,
            flip: false,
        };
        (self.is_3x3() && winograd.pays()).then_some(winograd)
    }

    /// The input's gradient of one group by tiles, where that pays.
    fn winograd_back<'a>(&self, weight: &'a [f32]) -> Option<Winograd<'a>> {
        let channels = self.input / self.groups;
        let winograd = Winograd {
            images: self.images,
            channels: self.output / self.groups,
            rows: channels,
            input: self.output_size(),
            output: self.size,
            origin: self.padding.map(|padding| padding as isize - 2),
            weight,
            row_stride: 9,
            channel_stride: channels * 9,
            flip: true,
        };
        (self.is_3x3() && winograd.pays()).then_some(winograd)
    }

    /// The weight's gradient of one group by tiles, where that pays: with fewer channels or tiles
    /// the transforms cost what the products save.
    pub(super) fn winograd_gradient(&self) -> Option<Winograd<'static>> {
        self.winograd(&[])
            .filter(|winograd| winograd.rows.min(winograd.channels) >= 64)
            .filter(|winograd| winograd.all_tiles() >= 64)
    }

    /// Whether Winograd's tiles fit: 3×3, stride 1, dilation 1.
    fn is_3x3(&self) -> bool {
        self.kernel == [3, 3] && self.stride == [1, 1] && self.dilation == [1, 1]
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, columns] = self.kernel;
        (0..rows).flat_map(move |y| (0..columns).map(move |x| [y, x]))
    }

    pub(super) fn gather(&self) -> Gather {
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
        if let Some(bias) = bias {
            assert_eq!(bias.len(), shape.output, "{shape:?}: bias");
        }
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
            let bias = bias.map(|bias| &bias[group * rows..(group + 1) * rows]);
            let window = [shape.output, group * rows];
            if let Some(winograd) = shape.winograd(weight) {
                self.winograd(&winograd, &planes, bias, y, window);
                continue;
            }
            let packed = self.pack(&Matrix {
                values: weight,
                rows,
                row_stride: depth,
                outers: 1,
                outer_stride: 0,
                inner: Inner::Run(depth),
            });
            let columns = Gathered {
                gather: &gather,
                planes,
            };
            self.product(&packed, &columns, 0..depth, bias, y, window);
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
                    let weight = &weight[group * rows * channels * taps_all..];
                    let window = [shape.input, group * channels];
                    if let Some(winograd) = shape.winograd_back(weight) {
                        self.winograd(&winograd, &planes, None, dx, window);
                        continue;
                    }
                    let packed = self.pack(&Matrix {
                        values: weight,
                        rows: channels,
                        row_stride: taps_all,
                        outers: rows,
                        outer_stride: channels * taps_all,
                        inner: Inner::Offsets(&taps),
                    });
                    let columns = Gathered {
                        gather: &gather,
                        planes,
                    };
                    let window = [shape.input, group * channels];
                    let target = if whole { &mut *dx } else { &mut part };
                    self.product(&packed, &columns, 0..gather.depth(), None, target, window);
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
}
