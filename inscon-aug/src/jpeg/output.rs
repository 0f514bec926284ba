//! From blocks to pixels, one row of MCUs after the other: upsampling and colour conversion.

use std::ops::Range;

use pulp::Arch;

use super::header::Color;
use super::idct::{stored_quantization, transform};
use super::plan::{ComponentPlan, Plan, Upsample};
use crate::lanes::{CHUNK, Lanes, Run, dispatch};
use crate::planes::grow;

/// The samples of one component in the current row of MCUs.
struct Strip {
    /// The first row is the last one of the row of MCUs before.
    samples: Vec<u8>,
    stride: usize,
    quantization: [i16; 64],
    /// An upsampled row.
    row: Vec<u8>,
    /// The weighted sums of the two rows that a row lies between, with a column on either side.
    sums: Vec<u16>,
}

/// Buffers between blocks and pixels, kept from image to image.
pub(super) struct Output {
    strips: [Strip; 3],
    pixels: Vec<u8>,
    /// The next row of the rectangle.
    next: u32,
}

/// Rows of pixels up to row `end` of the image.
struct Rows<'a> {
    output: &'a mut Output,
    plan: &'a Plan,
    color: Color,
    mcu_row: u32,
    end: u32,
}

impl Run for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: impl Lanes) {
        let Self { plan, mcu_row, .. } = self;
        let bytes = 3 * plan.x.len();
        for y in self.output.next..self.end {
            let Output { strips, pixels, .. } = &mut *self.output;
            for (strip, plan_of) in strips.iter_mut().zip(plan.components()) {
                strip.upsample(plan_of, &plan.x, y, mcu_row);
            }
            let at = (y - plan.y.start) as usize * bytes;
            let out = &mut pixels[at..at + bytes];
            let row = |i: usize| strips[i].row(&plan.components[i], &plan.x, y, mcu_row);
            match self.color {
                Color::Grey => convert(lanes, out, [row(0); 3], |rgb| rgb),
                Color::Rgb => convert(lanes, out, [row(0), row(1), row(2)], |rgb| rgb),
                Color::Ycc => convert(lanes, out, [row(0), row(1), row(2)], ycc_to_rgb),
            }
        }
    }
}

/// Samples of a row of a component's strip, and rows of it.
fn strip_size(plan: &ComponentPlan) -> (usize, usize) {
    let samples = plan.columns.len() * plan.side as usize;
    let rows = (plan.sampling[1] * plan.side + 1) as usize;
    (samples.next_multiple_of(CHUNK) + CHUNK, rows)
}

/// Samples of an upsampled row.
fn row_size(plan: &Plan) -> usize {
    plan.x.len().next_multiple_of(CHUNK) + CHUNK
}

/// Bytes of all that is kept of the current row of MCUs.
pub(super) fn strip_bytes(plan: &Plan) -> u64 {
    let of = |component: &ComponentPlan| {
        let (stride, rows) = strip_size(component);
        let upsampled = 3 * row_size(plan);
        (stride * rows + upsampled) as u64
    };
    plan.components().iter().map(of).sum()
}

impl Output {
    pub(super) fn new() -> Self {
        let strip = || Strip {
            samples: Vec::new(),
            stride: 0,
            quantization: [0; 64],
            row: Vec::new(),
            sums: Vec::new(),
        };
        Self {
            strips: [strip(), strip(), strip()],
            pixels: Vec::new(),
            next: 0,
        }
    }

    /// Makes ready for the first row of MCUs; `quantization` is one table for each component.
    pub(super) fn start(&mut self, plan: &Plan, quantization: [&[u16; 64]; 3]) {
        let width = row_size(plan);
        for ((strip, plan), table) in self
            .strips
            .iter_mut()
            .zip(plan.components())
            .zip(quantization)
        {
            strip.quantization = stored_quantization(table);
            let (stride, rows) = strip_size(plan);
            strip.stride = stride;
            grow(&mut strip.samples, stride * rows);
            if plan.upsample != Upsample::None {
                grow(&mut strip.row, width);
                grow(&mut strip.sums, width);
            }
        }
        grow(&mut self.pixels, 3 * plan.x.len() * plan.y.len());
        self.next = plan.y.start;
    }

    /// Transforms a block that the plan needs: column `x`, and row `y` within the row of MCUs.
    #[inline(always)]
    pub(super) fn put(
        &mut self,
        lanes: impl Lanes,
        plan: &ComponentPlan,
        component: usize,
        [x, y]: [u32; 2],
        block: &[i16; 64],
        last: u32,
    ) {
        let strip = &mut self.strips[component];
        let row = (1 + y * plan.side) as usize;
        let column = ((x - plan.columns.start) * plan.side) as usize;
        transform(
            lanes,
            block,
            &strip.quantization,
            last,
            plan.side,
            &mut strip.samples[row * strip.stride + column..],
            strip.stride,
        );
    }

    /// Makes the pixels that the MCUs of row `mcu_row` and those before allow.
    pub(super) fn finish_mcu_row(&mut self, arch: Arch, plan: &Plan, color: Color, mcu_row: u32) {
        let after = mcu_row + 1;
        let waiting = plan
            .components()
            .iter()
            .any(|c| c.upsample.needs_neighbour_rows());
        let end = if after >= plan.mcu_rows.end {
            plan.y.end
        } else {
            plan.y.end.min(after * plan.mcu_height - u32::from(waiting))
        };
        let rows = Rows {
            output: self,
            plan,
            color,
            mcu_row,
            end,
        };
        dispatch(arch, rows);
        self.next = self.next.max(end);
        for (strip, plan) in self.strips.iter_mut().zip(plan.components()) {
            let last = (plan.sampling[1] * plan.side) as usize * strip.stride;
            strip.samples.copy_within(last..last + strip.stride, 0);
        }
    }

    /// The rectangle, `height · width · 3` bytes.
    pub(super) fn pixels(&self, plan: &Plan) -> &[u8] {
        &self.pixels[..3 * plan.x.len() * plan.y.len()]
    }

    /// Bytes in all buffers.
    pub(super) fn capacity(&self) -> usize {
        let strips = self.strips.iter();
        let strips =
            strips.map(|s| s.samples.capacity() + s.row.capacity() + 2 * s.sums.capacity());
        self.pixels.capacity() + strips.sum::<usize>()
    }
}

impl Strip {
    /// Row `y` of the component, which is at hand in row `mcu_row` of MCUs.
    #[inline(always)]
    fn line<'a>(
        samples: &'a [u8],
        stride: usize,
        plan: &ComponentPlan,
        y: u32,
        mcu_row: u32,
    ) -> &'a [u8] {
        let index = (y + 1 - mcu_row * plan.sampling[1] * plan.side) as usize;
        &samples[index * stride..][..stride]
    }

    /// The component's values for row `y` of the image from column `x.start` on, and more.
    #[inline(always)]
    fn row(&self, plan: &ComponentPlan, x: &Range<u32>, y: u32, mcu_row: u32) -> &[u8] {
        match plan.upsample {
            Upsample::None => {
                let line = Self::line(&self.samples, self.stride, plan, y, mcu_row);
                &line[(x.start - plan.columns.start * plan.side) as usize..]
            }
            Upsample::Columns | Upsample::Both => &self.row[x.start as usize % 2..],
            Upsample::Rows | Upsample::Repeat => &self.row,
        }
    }

    /// Fills `row` for row `y` of the image, if the component has less samples than the image.
    #[inline(always)]
    fn upsample(&mut self, plan: &ComponentPlan, x: &Range<u32>, y: u32, mcu_row: u32) {
        let Self {
            samples,
            stride,
            row,
            sums,
            ..
        } = self;
        // The row that a row of the image lies in, and the one that it is next to.
        let here = y / plan.factors[1];
        let beside = if y.is_multiple_of(2) {
            here.saturating_sub(1)
        } else {
            (here + 1).min(plan.size[1] - 1)
        };
        let near = Self::line(samples, *stride, plan, here, mcu_row);
        let start = plan.columns.start * plan.side;
        let (first, last) = (x.start / plan.factors[0], (x.end - 1) / plan.factors[0]);
        let at = (first - start) as usize;
        let count = (last - first + 1) as usize;
        match plan.upsample {
            Upsample::None => {}
            Upsample::Repeat => {
                for (to, column) in row.iter_mut().zip(x.clone()) {
                    *to = near[(column / plan.factors[0] - start) as usize];
                }
            }
            Upsample::Rows => {
                let far = Self::line(samples, *stride, plan, beside, mcu_row);
                let bias = 1 + (y % 2) as u16;
                let samples = near[at..at + count].iter().zip(&far[at..at + count]);
                for (to, (&near, &far)) in row.iter_mut().zip(samples) {
                    *to = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Upsample::Columns | Upsample::Both => {
                let both = plan.upsample == Upsample::Both;
                let sums = &mut sums[..count + 2];
                // Where there is no column beside, the last one stands for it.
                let before = usize::from(first > 0);
                let behind = usize::from(last + 1 < plan.size[0]);
                let used = at - before..at + count + behind;
                let targets = &mut sums[1 - before..][..used.len()];
                if both {
                    let far = Self::line(samples, *stride, plan, beside, mcu_row);
                    let samples = near[used.clone()].iter().zip(&far[used]);
                    for (to, (&near, &far)) in targets.iter_mut().zip(samples) {
                        *to = 3 * u16::from(near) + u16::from(far);
                    }
                } else {
                    for (to, &near) in targets.iter_mut().zip(&near[used]) {
                        *to = u16::from(near);
                    }
                }
                if before == 0 {
                    sums[0] = sums[1];
                }
                if behind == 0 {
                    sums[count + 1] = sums[count];
                }
                let targets = &mut row.as_chunks_mut::<2>().0[..count];
                if both {
                    widen::<4>(targets, sums, [8, 7]);
                } else {
                    widen::<2>(targets, sums, [1, 2]);
                }
            }
        }
    }
}

/// Two values from each of the `sums` but the first and last: three quarters of it and a quarter of
/// the one before or behind, divided by 2^`SHIFT` with these roundings.
#[inline(always)]
fn widen<const SHIFT: u32>(targets: &mut [[u8; 2]], sums: &[u16], round: [u16; 2]) {
    let count = targets.len();
    let (before, here, behind) = (&sums[..count], &sums[1..=count], &sums[2..count + 2]);
    for (((to, before), here), behind) in targets.iter_mut().zip(before).zip(here).zip(behind) {
        *to = [
            ((3 * here + before + round[0]) >> SHIFT) as u8,
            ((3 * here + behind + round[1]) >> SHIFT) as u8,
        ];
    }
}

/// Makes pixels of three rows of samples, at least `out.len() / 3` of each and up to a multiple of
/// [`CHUNK`].
#[inline(always)]
fn convert(
    lanes: impl Lanes,
    out: &mut [u8],
    rows: [&[u8]; 3],
    color: impl Fn([[u8; CHUNK]; 3]) -> [[u8; CHUNK]; 3],
) {
    let [a, b, c] = rows;
    let (a, b, c) = (a.as_chunks().0, b.as_chunks().0, c.as_chunks().0);
    let (whole, rest) = out.as_chunks_mut::<{ 3 * CHUNK }>();
    for (((to, a), b), c) in whole.iter_mut().zip(a).zip(b).zip(c) {
        *to = lanes.interleave(color([*a, *b, *c]));
    }
    if !rest.is_empty() {
        let last = whole.len();
        let pixels = lanes.interleave(color([a[last], b[last], c[last]]));
        rest.copy_from_slice(&pixels[..rest.len()]);
    }
}

/// JFIF's colours by libjpeg's fixed-point arithmetic, in units of 2⁻¹⁶.
///
/// Products are split so that all but one sum fit in 16 bits: 1.402 is 1 + 0.402, 1.772 is
/// 2 − 0.228 and −0.71414 is 0.28586 − 1.
#[inline(always)]
fn ycc_to_rgb([y, cb, cr]: [[u8; CHUNK]; 3]) -> [[u8; CHUNK]; 3] {
    // Half a product of 17 bits, rounded.
    let product = |x: i16, factor: i16| {
        let high = (i32::from(2 * x) * i32::from(factor)) >> 16;
        (high as i16 + 1) >> 1
    };
    let mut rgb = [[0; CHUNK]; 3];
    for i in 0..CHUNK {
        let [y, cb, cr] = [
            i16::from(y[i]),
            i16::from(cb[i]) - 128,
            i16::from(cr[i]) - 128,
        ];
        let red = y + cr + product(cr, 26345);
        let green = (i32::from(cb) * -22554 + i32::from(cr) * 18734 + (1 << 15)) >> 16;
        let green = y + green as i16 - cr;
        let blue = y + cb + cb + product(cb, -14942);
        for (channel, value) in rgb.iter_mut().zip([red, green, blue]) {
            channel[i] = value.clamp(0, 255) as u8;
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    /// jdcolor.c's tables.
    #[test]
    fn colours_are_libjpegs() {
        const HALF: i32 = 1 << 15;
        for cb in 0..=255 {
            for cr in 0..=255u8 {
                let ys: [u8; CHUNK] = std::array::from_fn(|i| (i * 255 / (CHUNK - 1)) as u8);
                let rgb = ycc_to_rgb([ys, [cb; CHUNK], [cr; CHUNK]]);
                let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
                for (i, y) in ys.into_iter().enumerate() {
                    let red = (91881 * cr + HALF) >> 16;
                    let green = (-22554 * cb - 46802 * cr + HALF) >> 16;
                    let blue = (116_130 * cb + HALF) >> 16;
                    let expected =
                        [red, green, blue].map(|v| (i32::from(y) + v).clamp(0, 255) as u8);
                    assert_eq!([rgb[0][i], rgb[1][i], rgb[2][i]], expected, "{y} {cb} {cr}");
                }
            }
        }
    }
}
