//! Images in several scans: all coefficients are kept until the last scan is read.

use pulp::Arch;

use super::JpegError;
use super::bits::{Bits, ScanData};
use super::header::{Color, Frame, Header, Process, Scan};
use super::huffman::{Tables, Use};
use super::output::Output;
use super::passes::{AcFirst, AcRefine, DcFirst, DcRefine, Pass, Whole};
use super::plan::Plan;
use super::scan::Fault;
use crate::lanes::{Lanes, Run, dispatch};
use crate::planes::refill;

/// The coefficients of an image as far down as it is needed, kept from image to image.
pub(super) struct Coefficients {
    blocks: Vec<[i16; 64]>,
    /// For each block, the last coefficient in zigzag order that may be other than zero.
    lasts: Vec<u8>,
    /// Where the blocks of each component begin, and how many are in a row.
    starts: [usize; 3],
    widths: [usize; 3],
    /// Bits still to come of each component's coefficients; [`UNKNOWN`] before the first scan.
    progress: [[u8; 64]; 3],
    /// The table that was in force at each component's first scan.
    quantization: [Option<[u16; 64]>; 3],
}

/// A coefficient of which no scan has said anything.
const UNKNOWN: u8 = 0xff;

impl Coefficients {
    pub(super) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            lasts: Vec::new(),
            starts: [0; 3],
            widths: [0; 3],
            progress: [[UNKNOWN; 64]; 3],
            quantization: [None; 3],
        }
    }

    /// Makes room for the rows of MCUs that the plan needs and those above them.
    pub(super) fn start(
        &mut self,
        frame: &Frame,
        plan: &Plan,
        limit: u64,
    ) -> Result<(), JpegError> {
        let mut count = 0;
        for (index, component) in plan.components().iter().enumerate() {
            let size = [plan.mcus[0], plan.mcu_rows.end];
            let [width, height] = [0, 1].map(|a| (size[a] * component.sampling[a]) as usize);
            self.starts[index] = count;
            self.widths[index] = width;
            count += width * height;
        }
        let needed = 129 * count as u64;
        if needed > limit {
            let [width, height] = frame.size;
            return Err(JpegError::TooLarge {
                width,
                height,
                needed,
                limit,
            });
        }
        refill(&mut self.blocks, count, [0; 64]);
        refill(&mut self.lasts, count, 0);
        self.progress = [[UNKNOWN; 64]; 3];
        self.quantization = [None; 3];
        Ok(())
    }

    /// Takes note of a scan before its data are read: which coefficients it will say something of,
    /// and that it may.
    pub(super) fn announce(
        &mut self,
        header: &Header,
        frame: &Frame,
        scan: &Scan,
    ) -> Result<(), &'static str> {
        let [first, last] = match frame.process {
            Process::Sequential => [0, 63],
            Process::Progressive => scan.band.map(usize::from),
        };
        let (high, low) = match frame.process {
            Process::Sequential => (0, 0),
            Process::Progressive => (scan.high, scan.low),
        };
        if frame.process == Process::Progressive {
            let dc = first == 0 && last == 0;
            let ac = (1..64).contains(&last)
                && (1..=last).contains(&first)
                && scan.components().len() == 1;
            if !dc && !ac {
                return Err("a band of coefficients that a scan cannot have");
            }
            if low > 13 || high > 0 && low + 1 != high {
                return Err("a successive approximation that a scan cannot have");
            }
        }
        for component in scan.components() {
            let expected = if high == 0 { UNKNOWN } else { high };
            let progress = &mut self.progress[component.index][first..=last];
            if progress.iter().any(|&p| p != expected) {
                return Err("a scan that does not continue those before it");
            }
            progress.fill(low);
            let of = frame.components[component.index].quantization;
            let table = header.quantization.get(usize::from(of)).copied().flatten();
            if self.quantization[component.index].is_none() {
                self.quantization[component.index] = table;
            }
        }
        Ok(())
    }

    /// Reads a scan, as far as the plan needs it.
    pub(super) fn read(
        &mut self,
        arch: Arch,
        (frame, plan, scan): (&Frame, &Plan, &Scan),
        (header, tables): (&Header, &mut Tables),
        data: &ScanData,
    ) -> Result<(), JpegError> {
        let sequential = frame.process == Process::Sequential;
        let (dc, refine) = (scan.band[0] == 0, scan.high > 0);
        for component in scan.components() {
            if sequential || dc && !refine {
                tables.prepare(Use::Dc, component.dc, &header.dc)?;
            }
            if sequential {
                tables.prepare(Use::Ac, component.ac, &header.ac)?;
            } else if !dc {
                tables.prepare(Use::Band, component.ac, &header.ac)?;
            }
        }
        let walk = Walk {
            coefficients: self,
            frame,
            plan,
            scan,
            interval: header.restart_interval,
            data,
        };
        let component = scan.components()[0];
        match (sequential, dc, refine) {
            (true, ..) => dispatch(arch, Scanning(walk, Whole::new(scan, tables))),
            (_, true, false) => dispatch(arch, Scanning(walk, DcFirst::new(scan, tables))),
            (_, true, true) => dispatch(arch, Scanning(walk, DcRefine::new(scan))),
            (_, false, false) => {
                let table = tables.ac(component.ac);
                dispatch(arch, Scanning(walk, AcFirst::new(scan, table)))
            }
            (_, false, true) => {
                let table = tables.ac(component.ac);
                dispatch(arch, Scanning(walk, AcRefine::new(scan, table)))
            }
        }
    }

    /// Whether the scans left some of the low coefficients of `frame`'s components unfinished or
    /// unsaid. libjpeg then makes values up for them from the blocks around (its `smoothing_ok`).
    pub(super) fn unfinished(&self, frame: &Frame) -> bool {
        /// Zigzag order; those that libjpeg looks at.
        const LOW: usize = 10;
        let mut low = self.progress[..frame.count].iter().map(|p| &p[..LOW]);
        low.any(|low| low.iter().any(|&bits| bits != 0))
    }

    /// The quantisation table of each component of `frame`, if each had a scan and a table.
    pub(super) fn quantization(&self, frame: &Frame) -> Option<[&[u16; 64]; 3]> {
        let mut tables = [&[0; 64]; 3];
        for (table, own) in tables[..frame.count].iter_mut().zip(&self.quantization) {
            *table = own.as_ref()?;
        }
        Some(tables)
    }

    /// Makes the pixels of the plan's rectangle.
    pub(super) fn finish(&self, arch: Arch, plan: &Plan, color: Color, output: &mut Output) {
        for mcu_row in plan.mcu_rows.clone() {
            let row = BlockRow {
                coefficients: self,
                plan,
                mcu_row,
                output: &mut *output,
            };
            dispatch(arch, row);
            output.finish_mcu_row(arch, plan, color, mcu_row);
        }
    }

    /// Bytes in all buffers.
    pub(super) fn capacity(&self) -> usize {
        128 * self.blocks.capacity() + self.lasts.capacity()
    }
}

/// Transforms the blocks of a row of MCUs.
struct BlockRow<'a> {
    coefficients: &'a Coefficients,
    plan: &'a Plan,
    mcu_row: u32,
    output: &'a mut Output,
}

impl Run for BlockRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: impl Lanes) {
        let Coefficients {
            blocks,
            lasts,
            starts,
            widths,
            ..
        } = self.coefficients;
        for (index, component) in self.plan.components().iter().enumerate() {
            let height = component.sampling[1];
            for y in 0..height {
                let row = self.mcu_row * height + y;
                if !component.rows.contains(&row) {
                    continue;
                }
                let start = starts[index] + row as usize * widths[index];
                for x in component.columns.clone() {
                    let at = start + x as usize;
                    let last = u32::from(lasts[at]);
                    self.output
                        .put(lanes, component, index, [x, y], &blocks[at], last);
                }
            }
        }
    }
}

/// One way through the blocks of a scan.
struct Walk<'a> {
    coefficients: &'a mut Coefficients,
    frame: &'a Frame,
    plan: &'a Plan,
    scan: &'a Scan,
    /// MCUs between restart markers; 0 for none.
    interval: u32,
    data: &'a ScanData,
}

struct Scanning<'a, P>(Walk<'a>, P);

impl<P: Pass> Run for Scanning<'_, P> {
    type Output = Result<(), JpegError>;

    #[inline(always)]
    fn run(self, _: impl Lanes) -> Self::Output {
        let Self(walk, mut pass) = self;
        let plan = walk.plan;
        let components = walk.scan.components();
        let [width, height] = match components {
            // A lone component has no blocks that pad MCUs.
            [component] => {
                let [width, height] = walk.frame.blocks(component.index);
                let rows = plan.mcu_rows.end * plan.components[component.index].sampling[1];
                [width, height.min(rows)]
            }
            _ => [plan.mcus[0], plan.mcu_rows.end],
        };
        let (mut segment, mut left) = (0, u64::from(walk.interval));
        let enter = |segment: usize, mcu: u64| {
            let range = walk
                .data
                .segment(segment)
                .ok_or_else(|| Fault::Segment.at(mcu))?;
            Ok::<_, JpegError>(Bits::new(walk.data.bytes(), range))
        };
        let mut bits = enter(0, 0)?;
        let Coefficients {
            blocks,
            lasts,
            starts,
            widths,
            ..
        } = walk.coefficients;
        for row in 0..height {
            for column in 0..width {
                let mcu = || u64::from(row) * u64::from(width) + u64::from(column);
                if walk.interval > 0 {
                    if left == 0 {
                        segment += 1;
                        bits = enter(segment, mcu())?;
                        pass.restart();
                        left = u64::from(walk.interval);
                    }
                    left -= 1;
                }
                for (position, component) in components.iter().enumerate() {
                    let index = component.index;
                    let [across, down] = match components.len() {
                        1 => [1, 1],
                        _ => plan.components[index].sampling,
                    };
                    for y in 0..down {
                        let start = starts[index] + (row * down + y) as usize * widths[index];
                        for x in 0..across {
                            let at = start + (column * across + x) as usize;
                            pass.block(&mut bits, position, &mut blocks[at], &mut lasts[at])
                                .map_err(|fault| fault.at(mcu()))?;
                        }
                    }
                }
                if bits.overrun() {
                    return Err(Fault::Overrun.at(mcu()));
                }
            }
        }
        Ok(())
    }
}
