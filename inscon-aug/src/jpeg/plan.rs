//! Which blocks and samples a rectangle of the image needs, at which scale.

use std::ops::Range;

use super::header::Frame;

/// How samples of a component become samples of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upsample {
    /// There is one for each pixel.
    None,
    /// Twice the columns, by a triangle filter.
    Columns,
    /// Twice the rows, by a triangle filter.
    Rows,
    /// Twice the columns and rows, by a triangle filter.
    Both,
    /// Each is repeated.
    Repeat,
}

impl Upsample {
    pub(super) fn needs_neighbour_columns(self) -> bool {
        matches!(self, Self::Columns | Self::Both)
    }

    pub(super) fn needs_neighbour_rows(self) -> bool {
        matches!(self, Self::Rows | Self::Both)
    }
}

/// What is needed of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ComponentPlan {
    /// Blocks of an interleaved MCU, horizontal and vertical.
    pub(super) sampling: [u32; 2],
    /// Samples along a side of a block: 8, 4, 2 or 1.
    pub(super) side: u32,
    /// Columns and rows of the reduced component.
    pub(super) size: [u32; 2],
    pub(super) upsample: Upsample,
    /// Pixels to a sample, horizontal and vertical.
    pub(super) factors: [u32; 2],
    /// The blocks needed.
    pub(super) columns: Range<u32>,
    pub(super) rows: Range<u32>,
}

/// What is needed of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The rectangle of the reduced image.
    pub(super) x: Range<u32>,
    pub(super) y: Range<u32>,
    /// One for each component of the frame.
    pub(super) components: [ComponentPlan; 3],
    pub(super) count: usize,
    /// Interleaved MCUs along both sides.
    pub(super) mcus: [u32; 2],
    /// The MCUs needed.
    pub(super) mcu_columns: Range<u32>,
    pub(super) mcu_rows: Range<u32>,
    /// Rows of pixels in an MCU.
    pub(super) mcu_height: u32,
}

impl Plan {
    /// Columns `x` and rows `y` of the image reduced by `denominator` (1, 2, 4 or 8), neither
    /// empty, both within it.
    pub(super) fn new(frame: &Frame, denominator: u32, x: Range<u32>, y: Range<u32>) -> Self {
        let side = 8 / denominator;
        let max = frame.max_sampling().map(u32::from);
        let component = |index: usize| {
            let sampling = frame.components[index].sampling.map(u32::from);
            // As libjpeg: rather a larger inverse transform than upsampling.
            let mut own = side;
            while own < 8
                && [0, 1]
                    .iter()
                    .all(|&a| (max[a] * side).is_multiple_of(sampling[a] * own * 2))
            {
                own *= 2;
            }
            let size = [0, 1].map(|a| (frame.size[a] * sampling[a] * own).div_ceil(8 * max[a]));
            let factors = [0, 1].map(|a| max[a] * side / (sampling[a] * own));
            // libjpeg repeats samples at an eighth, and in rows of one or two.
            let smooth = side > 1;
            let upsample = match factors {
                [1, 1] => Upsample::None,
                [2, 1] if smooth && size[0] > 2 => Upsample::Columns,
                [1, 2] if smooth => Upsample::Rows,
                [2, 2] if smooth && size[0] > 2 => Upsample::Both,
                _ => Upsample::Repeat,
            };
            let blocks = |pixels: &Range<u32>, axis: usize, neighbours: bool| {
                let margin = u32::from(neighbours);
                let first = (pixels.start / factors[axis]).saturating_sub(margin);
                let last = ((pixels.end - 1) / factors[axis] + margin).min(size[axis] - 1);
                first / own..last / own + 1
            };
            ComponentPlan {
                columns: blocks(&x, 0, upsample.needs_neighbour_columns()),
                rows: blocks(&y, 1, upsample.needs_neighbour_rows()),
                sampling,
                side: own,
                size,
                upsample,
                factors,
            }
        };
        let last = frame.count - 1;
        let components = [component(0), component(last.min(1)), component(last)];
        let mcus = |axis: usize, blocks: fn(&ComponentPlan) -> &Range<u32>| {
            let of = |c: &ComponentPlan| {
                let (blocks, factor) = (blocks(c), c.sampling[axis]);
                blocks.start / factor..blocks.end.div_ceil(factor)
            };
            let used = || components[..frame.count].iter().map(of);
            let start = used().map(|r| r.start).min().unwrap_or(0);
            start..used().map(|r| r.end).max().unwrap_or(start)
        };
        Self {
            mcu_columns: mcus(0, |c| &c.columns),
            mcu_rows: mcus(1, |c| &c.rows),
            mcu_height: max[1] * side,
            mcus: frame.mcus(),
            count: frame.count,
            components,
            x,
            y,
        }
    }

    pub(super) fn components(&self) -> &[ComponentPlan] {
        &self.components[..self.count]
    }
}
