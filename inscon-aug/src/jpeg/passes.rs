//! What the scans of an image in several scans say of a block.

use super::bits::Bits;
use super::header::Scan;
use super::huffman::{Table, Tables, extend};
use super::idct::{Block, PLACES};
use super::scan::{Fault, read_block, read_difference};

/// A kind of scan.
pub(super) trait Pass {
    /// Reads what comes next to a block of the scan's component `component`; `last` is the last
    /// coefficient in zigzag order that may be other than zero.
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        component: usize,
        block: &mut [i16; 64],
        last: &mut u8,
    ) -> Result<(), Fault>;

    /// Forgets what restart markers make forget.
    fn restart(&mut self);
}

/// Where coefficient `k` is stored.
#[inline(always)]
fn place(k: u32) -> usize {
    usize::from(PLACES[k as usize & 63] & 63)
}

/// Whole blocks, of a sequential scan with some of the components.
pub(super) struct Whole<'t> {
    tables: [Option<(&'t Table, &'t Table)>; 3],
    predictions: [i32; 3],
    block: Block,
}

impl<'t> Whole<'t> {
    pub(super) fn new(scan: &Scan, tables: &'t Tables) -> Self {
        let mut own = [None; 3];
        for (own, component) in own.iter_mut().zip(scan.components()) {
            *own = tables.dc(component.dc).zip(tables.ac(component.ac));
        }
        Self {
            tables: own,
            predictions: [0; 3],
            block: [0; 256],
        }
    }
}

impl Pass for Whole<'_> {
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        component: usize,
        block: &mut [i16; 64],
        last: &mut u8,
    ) -> Result<(), Fault> {
        let (dc, ac) = self.tables[component].ok_or(Fault::Code)?;
        let prediction = &mut self.predictions[component];
        self.block[..64].fill(0);
        *last = read_block(bits, dc, ac, prediction, &mut self.block)? as u8;
        block.copy_from_slice(&self.block[..64]);
        Ok(())
    }

    fn restart(&mut self) {
        self.predictions = [0; 3];
    }
}

/// The high bits of DC coefficients.
pub(super) struct DcFirst<'t> {
    tables: [Option<&'t Table>; 3],
    predictions: [i32; 3],
    low: u8,
}

impl<'t> DcFirst<'t> {
    pub(super) fn new(scan: &Scan, tables: &'t Tables) -> Self {
        let mut own = [None; 3];
        for (own, component) in own.iter_mut().zip(scan.components()) {
            *own = tables.dc(component.dc);
        }
        Self {
            tables: own,
            predictions: [0; 3],
            low: scan.low,
        }
    }
}

impl Pass for DcFirst<'_> {
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        component: usize,
        block: &mut [i16; 64],
        _: &mut u8,
    ) -> Result<(), Fault> {
        let difference = read_difference(bits, self.tables[component].ok_or(Fault::Code)?)?;
        let prediction = &mut self.predictions[component];
        *prediction = prediction.wrapping_add(difference);
        block[0] = (*prediction << self.low) as i16;
        Ok(())
    }

    fn restart(&mut self) {
        self.predictions = [0; 3];
    }
}

/// One more bit of DC coefficients.
pub(super) struct DcRefine {
    bit: i16,
}

impl DcRefine {
    pub(super) fn new(scan: &Scan) -> Self {
        Self { bit: 1 << scan.low }
    }
}

impl Pass for DcRefine {
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        _: usize,
        block: &mut [i16; 64],
        _: &mut u8,
    ) -> Result<(), Fault> {
        if bits.bit() {
            block[0] |= self.bit;
        }
        Ok(())
    }

    fn restart(&mut self) {}
}

/// The high bits of a band of AC coefficients.
pub(super) struct AcFirst<'t> {
    table: Option<&'t Table>,
    band: [u32; 2],
    low: u8,
    /// Blocks of which nothing will be said.
    run: u32,
}

impl<'t> AcFirst<'t> {
    pub(super) fn new(scan: &Scan, table: Option<&'t Table>) -> Self {
        Self {
            table,
            band: scan.band.map(u32::from),
            low: scan.low,
            run: 0,
        }
    }
}

impl Pass for AcFirst<'_> {
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        _: usize,
        block: &mut [i16; 64],
        last: &mut u8,
    ) -> Result<(), Fault> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let table = self.table.ok_or(Fault::Code)?;
        let mut k = self.band[0] - 1;
        loop {
            bits.refill();
            let symbol = table.symbol(bits.buffer).ok_or(Fault::Code)?;
            if symbol.size() == 0 && symbol.value < 0xf0 {
                bits.consume(symbol.length);
                self.run = bits.end_run(symbol.value >> 4) - 1;
                return Ok(());
            }
            let value = extend(bits.buffer << symbol.length, symbol.size());
            bits.consume(symbol.length + symbol.size());
            k += u32::from(symbol.value >> 4) + 1;
            if k > self.band[1] {
                return Err(Fault::Run);
            }
            if value != 0 {
                block[place(k)] = (value << self.low) as i16;
                *last = (*last).max(k as u8);
            }
            if k == self.band[1] {
                return Ok(());
            }
        }
    }

    fn restart(&mut self) {
        self.run = 0;
    }
}

/// One more bit of a band of AC coefficients.
pub(super) struct AcRefine<'t> {
    table: Option<&'t Table>,
    band: [u32; 2],
    bit: i16,
    /// Blocks in which no coefficient becomes other than zero.
    run: u32,
}

impl<'t> AcRefine<'t> {
    pub(super) fn new(scan: &Scan, table: Option<&'t Table>) -> Self {
        Self {
            table,
            band: scan.band.map(u32::from),
            bit: 1 << scan.low,
            run: 0,
        }
    }

    /// Reads the next bit of a coefficient other than zero.
    #[inline(always)]
    fn refine(&self, bits: &mut Bits<'_>, value: &mut i16) {
        if bits.bit() && *value & self.bit == 0 {
            let bit = if *value >= 0 { self.bit } else { -self.bit };
            *value = value.wrapping_add(bit);
        }
    }
}

impl Pass for AcRefine<'_> {
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        _: usize,
        block: &mut [i16; 64],
        last: &mut u8,
    ) -> Result<(), Fault> {
        let table = self.table.ok_or(Fault::Code)?;
        let [mut k, end] = self.band;
        while self.run == 0 && k <= end {
            bits.refill();
            let symbol = table.symbol(bits.buffer).ok_or(Fault::Code)?;
            bits.consume(symbol.length);
            let mut zeros = symbol.value >> 4;
            let new = match symbol.size() {
                0 if zeros < 15 => {
                    self.run = bits.end_run(zeros);
                    break;
                }
                0 => 0,
                1 if bits.bit() => self.bit,
                1 => -self.bit,
                _ => return Err(Fault::Size),
            };
            // Over coefficients that are known already, and so many zeros.
            while k <= end {
                let value = &mut block[place(k)];
                if *value != 0 {
                    self.refine(bits, value);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if new != 0 {
                if k > end {
                    return Err(Fault::Run);
                }
                block[place(k)] = new;
                *last = (*last).max(k as u8);
            }
            k += 1;
        }
        if self.run > 0 {
            self.run -= 1;
            // Zeros behind the last coefficient are not looked at.
            for k in k..=end.min(u32::from(*last)) {
                let value = &mut block[place(k)];
                if *value != 0 {
                    self.refine(bits, value);
                }
            }
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.run = 0;
    }
}
