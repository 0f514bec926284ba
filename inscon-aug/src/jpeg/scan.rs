//! Sequential scans: from bits to blocks, block after block, only as far as needed.

use pulp::Arch;

use super::JpegError;
use super::bits::{Bits, ScanData};
use super::header::{Color, Scan};
use super::huffman::{END, Leap, Pair, Table, Tables, extend};
use super::idct::{Block, PLACES};
use super::output::Output;
use super::plan::Plan;
use crate::lanes::{Lanes, Run, dispatch};

/// Why a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Code,
    Run,
    Size,
    Overrun,
    Segment,
}

impl Fault {
    pub(super) fn at(self, mcu: u64) -> JpegError {
        let what = match self {
            Self::Code => "no such Huffman code",
            Self::Run => "a run beyond the end of its block",
            Self::Size => "a new coefficient of more than one bit in a refining scan",
            Self::Overrun => "the data end before it",
            Self::Segment => "a restart marker is missing",
        };
        JpegError::Entropy { mcu, what }
    }
}

/// Reads a DC difference.
#[inline(always)]
pub(super) fn read_difference(bits: &mut Bits<'_>, table: &Table) -> Result<i32, Fault> {
    bits.refill();
    let symbol = table.symbol(bits.buffer).ok_or(Fault::Code)?;
    let value = extend(bits.buffer << symbol.length, symbol.size());
    bits.consume(symbol.length + symbol.size());
    Ok(value)
}

/// Where the coefficients go that are read.
pub(super) trait Target {
    fn set(&mut self, k: u32, value: i16);
}

impl Target for Block {
    #[inline(always)]
    fn set(&mut self, k: u32, value: i16) {
        self[usize::from(PLACES[usize::from(k as u8)])] = value;
    }
}

/// Makes a block zero, without calling a function for it.
#[inline(always)]
pub(super) fn clear(block: &mut Block) {
    if let Some(used) = block.first_chunk_mut::<64>() {
        *used = [0; 64];
    }
}

/// Nowhere.
struct Skipped;

impl Target for Skipped {
    #[inline(always)]
    fn set(&mut self, _: u32, _: i16) {}
}

/// Reads a block to `block`, which is zero, and returns the last coefficient in zigzag order that
/// may be other than zero.
#[inline(always)]
pub(super) fn read_block(
    bits: &mut Bits<'_>,
    dc: &Table,
    ac: &Table,
    prediction: &mut i32,
    block: &mut impl Target,
) -> Result<u32, Fault> {
    *prediction = prediction.wrapping_add(read_difference(bits, dc)?);
    block.set(0, *prediction as i16);
    let mut k = 0;
    loop {
        bits.refill();
        // Each takes 25 bits at most, and 56 are there.
        for _ in 0..2 {
            let buffer = bits.buffer;
            let pair = ac.pair(buffer);
            if pair == Pair::NONE {
                let symbol = ac.symbol(buffer).ok_or(Fault::Code)?;
                let value = extend(buffer << symbol.length, symbol.size());
                bits.consume(symbol.length + symbol.size());
                k += symbol.step();
                block.set(k, value as i16);
                if k >= 63 {
                    return end_of_block(k, symbol.step());
                }
                break;
            }
            bits.consume(pair.length());
            block.set(k + pair.first_step(), pair.first_value());
            k += pair.step();
            block.set(k, pair.value(buffer));
            if k >= 63 {
                if (END..END + 63).contains(&k) {
                    return Ok(k - END);
                }
                let first = k - pair.step() + pair.first_step();
                if !pair.is_two() || first < 63 {
                    return end_of_block(k, pair.step());
                }
                // The first symbol reaches the end, and the second is the next block's.
                *bits = bits.rewind(pair.length());
                let symbol = ac.symbol(bits.buffer).ok_or(Fault::Code)?;
                bits.consume(symbol.length + symbol.size());
                return end_of_block(first, symbol.step());
            }
        }
    }
}

/// Passes over a block of which only the DC coefficient counts, for the blocks behind it.
#[inline(always)]
fn skip_block(
    bits: &mut Bits<'_>,
    dc: &Table,
    ac: &Table,
    prediction: &mut i32,
) -> Result<(), Fault> {
    *prediction = prediction.wrapping_add(read_difference(bits, dc)?);
    let mut k = 0;
    loop {
        bits.refill();
        // Each takes 27 bits at most, and 56 are there.
        for _ in 0..2 {
            let leap = ac.leap(bits.buffer);
            let to = k + leap.step();
            if to >= 63 || leap == Leap::NONE {
                if (END..END + 63).contains(&to) {
                    bits.consume(leap.length());
                    return Ok(());
                }
                // The block may end before the last of these symbols.
                let symbol = ac.symbol(bits.buffer).ok_or(Fault::Code)?;
                bits.consume(symbol.length + symbol.size());
                k += symbol.step();
                if k >= 63 {
                    return end_of_block(k, symbol.step()).map(|_| ());
                }
                break;
            }
            bits.consume(leap.length());
            k = to;
        }
    }
}

/// The last coefficient of a block, where `step` has led to `k`.
#[inline(always)]
fn end_of_block(k: u32, step: u32) -> Result<u32, Fault> {
    match (k, step) {
        (63, _) => Ok(63),
        (_, END) => Ok(k - END),
        _ => Err(Fault::Run),
    }
}

/// A block on cache lines of its own: vectors across two lines are slow to write.
#[repr(align(64))]
struct Line(Block);

/// A block of an MCU.
#[derive(Clone, Copy)]
struct McuBlock<'t> {
    component: usize,
    /// Column and row within the MCU.
    place: [u32; 2],
    dc: &'t Table,
    ac: &'t Table,
}

/// Where the reading of a scan stands.
struct State<'a> {
    bits: Bits<'a>,
    predictions: [i32; 3],
    /// Which segment between restart markers.
    segment: usize,
    /// MCUs left in it.
    left: u64,
    /// Whether nothing in it is needed.
    idle: bool,
}

/// The only scan of an image.
pub(super) struct Sequential<'a> {
    pub(super) plan: &'a Plan,
    pub(super) scan: &'a Scan,
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: u32,
    pub(super) color: Color,
    pub(super) tables: &'a Tables,
    pub(super) data: &'a ScanData,
}

/// One row of MCUs.
struct Row<'r, 'a> {
    of: &'r Sequential<'a>,
    blocks: &'r [Option<McuBlock<'a>>; 10],
    mcu_row: u32,
    state: &'r mut State<'a>,
    output: &'r mut Output,
}

impl Run for Row<'_, '_> {
    type Output = Result<(), JpegError>;

    #[inline(always)]
    fn run(self, lanes: impl Lanes) -> Self::Output {
        self.of
            .row(lanes, self.blocks, self.mcu_row, self.state, self.output)
    }
}

impl<'a> Sequential<'a> {
    /// Decodes the scan as far as the plan needs it.
    pub(super) fn decode(&self, arch: Arch, output: &mut Output) -> Result<(), JpegError> {
        let mut blocks = [None; 10];
        let mut free = blocks.iter_mut();
        for component in self.scan.components() {
            let tables = self
                .tables
                .dc(component.dc)
                .zip(self.tables.ac(component.ac));
            let (dc, ac) = tables.ok_or(JpegError::MissingTable {
                kind: "Huffman",
                index: component.dc,
            })?;
            let [width, height] = self.plan.components[component.index].sampling;
            for (i, block) in (0..width * height).zip(free.by_ref()) {
                *block = Some(McuBlock {
                    component: component.index,
                    place: [i % width, i / width],
                    dc,
                    ac,
                });
            }
        }
        let mut state = self.enter(0, 0)?;
        for mcu_row in 0..self.plan.mcu_rows.end {
            let row = Row {
                of: self,
                blocks: &blocks,
                mcu_row,
                state: &mut state,
                output,
            };
            dispatch(arch, row)?;
            if mcu_row >= self.plan.mcu_rows.start {
                output.finish_mcu_row(arch, self.plan, self.color, mcu_row);
            }
        }
        Ok(())
    }

    /// The beginning of a segment, whose first MCU is `mcu`.
    fn enter(&self, segment: usize, mcu: u64) -> Result<State<'a>, JpegError> {
        let range = self
            .data
            .segment(segment)
            .ok_or_else(|| Fault::Segment.at(mcu))?;
        let left = match self.restart_interval {
            0 => u64::MAX,
            interval => u64::from(interval),
        };
        Ok(State {
            bits: Bits::new(self.data.bytes(), range),
            predictions: [0; 3],
            segment,
            left,
            idle: !self.needs(mcu, mcu.saturating_add(left - 1)),
        })
    }

    /// Whether any of the MCUs `first..=last` is needed.
    fn needs(&self, first: u64, last: u64) -> bool {
        let width = u64::from(self.plan.mcus[0]);
        let (columns, rows) = (&self.plan.mcu_columns, &self.plan.mcu_rows);
        if first / width == last / width {
            rows.contains(&((first / width) as u32))
                && first % width < u64::from(columns.end)
                && last % width >= u64::from(columns.start)
        } else {
            first / width < u64::from(rows.end) && last / width >= u64::from(rows.start)
        }
    }

    /// One row of MCUs.
    #[inline(always)]
    fn row(
        &self,
        lanes: impl Lanes,
        blocks: &[Option<McuBlock<'_>>; 10],
        mcu_row: u32,
        state: &mut State<'a>,
        output: &mut Output,
    ) -> Result<(), JpegError> {
        let plan = self.plan;
        let mut bits = state.bits;
        let Line(block) = &mut Line([0; 256]);
        for mcu_column in 0..plan.mcus[0] {
            let mcu = || u64::from(mcu_row) * u64::from(plan.mcus[0]) + u64::from(mcu_column);
            if state.left == 0 {
                *state = self.enter(state.segment + 1, mcu())?;
                bits = state.bits;
            }
            state.left -= 1;
            if state.idle {
                continue;
            }
            let needed = plan.mcu_rows.contains(&mcu_row) && plan.mcu_columns.contains(&mcu_column);
            for b in blocks.iter().flatten() {
                let prediction = &mut state.predictions[b.component];
                let of = &plan.components[b.component];
                let x = mcu_column * of.sampling[0] + b.place[0];
                let y = mcu_row * of.sampling[1] + b.place[1];
                let needed = needed && of.columns.contains(&x) && of.rows.contains(&y);
                let read = if needed && of.side > 1 {
                    clear(block);
                    read_block(&mut bits, b.dc, b.ac, prediction, block)
                } else {
                    let skipped = if b.ac.has_leaps() {
                        skip_block(&mut bits, b.dc, b.ac, prediction).map(|()| 0)
                    } else {
                        read_block(&mut bits, b.dc, b.ac, prediction, &mut Skipped)
                    };
                    block[0] = *prediction as i16;
                    skipped
                };
                let last = read.map_err(|fault| fault.at(mcu()))?;
                if needed && let Some(block) = block.first_chunk() {
                    output.put(lanes, of, b.component, [x, b.place[1]], block, last);
                }
            }
            if bits.overrun() {
                return Err(Fault::Overrun.at(mcu()));
            }
        }
        state.bits = bits;
        Ok(())
    }
}
