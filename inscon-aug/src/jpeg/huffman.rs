//! Huffman tables in the form in which they are read: several fields, or several symbols, by one
//! look-up.

use std::ops::Range;

use super::JpegError;

/// Bits by which [`Table::entry`] is looked up.
const LOOKUP: u32 = 10;
/// The step of an end of block: beyond every run.
pub(super) const END: u32 = 128;

/// A Huffman table as a file defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// Codes of each length from 1 to 16.
    lengths: [u8; 16],
    /// The symbols in the order of their codes; 0 behind the last one.
    symbols: [u8; 256],
}

impl Definition {
    /// `None` where the codes of a length do not fit in it. The code of only ones is not used.
    pub(super) fn new(lengths: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut code = 0u32;
        for (length, &count) in (1..).zip(lengths) {
            code += u32::from(count);
            if count > 0 && code >= 1 << length {
                return None;
            }
            code <<= 1;
        }
        let mut padded = [0; 256];
        padded.get_mut(..symbols.len())?.copy_from_slice(symbols);
        Some(Self {
            lengths: *lengths,
            symbols: padded,
        })
    }

    fn count(&self) -> usize {
        self.lengths.iter().map(|&n| usize::from(n)).sum()
    }
}

/// What a table's symbols mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Sizes of DC differences.
    Dc,
    /// Runs and sizes of a whole block's AC coefficients.
    Ac,
    /// Runs and sizes of a band in a progressive scan, where ends of block have runs as well.
    Band,
}

/// A symbol with what follows it: `length` bits together, `step` coefficients further, `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

impl Entry {
    /// No such code, or one that the look-up does not hold.
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    fn new(length: u32, step: u32, value: i32) -> Self {
        Self((value as u32) << 16 | step << 8 | length)
    }

    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        self.0 & 0xff
    }

    #[inline(always)]
    pub(super) fn step(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    #[inline(always)]
    pub(super) fn value(self) -> i32 {
        self.0 as i32 >> 16
    }
}

/// One or two entries of an AC table, by one look-up. Of one, the second has its value and no step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair(u64);

impl Pair {
    /// No such code, or one that the look-up does not hold.
    pub(super) const NONE: Self = Self(0);

    fn new(first: Entry, second: Option<Entry>) -> Self {
        let length = first.length() + second.map_or(0, Entry::length);
        let step = second.map_or(0, Entry::step);
        let value = second.unwrap_or(first).value();
        let low = length | first.length() << 8 | first.step() << 16 | step << 24;
        let high = first.value() as u16 as u32 | (value as u32) << 16;
        Self(u64::from(low) | u64::from(high) << 32)
    }

    /// Bits of both.
    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        self.0 as u32 & 0xff
    }

    /// Bits of the second.
    #[inline(always)]
    pub(super) fn second_length(self) -> u32 {
        self.length() - (self.0 as u32 >> 8 & 0xff)
    }

    #[inline(always)]
    pub(super) fn steps(self) -> [u32; 2] {
        [self.0 as u32 >> 16 & 0xff, self.0 as u32 >> 24]
    }

    #[inline(always)]
    pub(super) fn values(self) -> [i16; 2] {
        [(self.0 >> 32) as i16, (self.0 >> 48) as i16]
    }
}

/// A Huffman table, ready to be read by.
pub(super) struct Table {
    definition: Definition,
    purpose: Use,
    entries: [Entry; 1 << LOOKUP],
    /// Of tables for [`Use::Ac`].
    pairs: [Pair; 1 << LOOKUP],
    /// Symbol and length (low byte) of codes of up to [`LOOKUP`] bits; 0 for longer ones.
    short: [u16; 1 << LOOKUP],
    /// First 16 bits behind all codes of each length; a code's number is its bits plus the offset.
    limits: [u32; 17],
    offsets: [i32; 17],
}

impl Table {
    fn new(definition: Definition, purpose: Use) -> Box<Self> {
        let mut table = Box::new(Self {
            definition,
            purpose,
            entries: [Entry::NONE; 1 << LOOKUP],
            pairs: [Pair::NONE; 1 << LOOKUP],
            short: [0; 1 << LOOKUP],
            limits: [0; 17],
            offsets: [0; 17],
        });
        table.fill();
        table
    }

    fn fill(&mut self) {
        let (mut code, mut index) = (0u32, 0i32);
        for length in 1..=16 {
            let count = self.definition.lengths[length - 1];
            self.offsets[length] = index - code as i32;
            index += i32::from(count);
            code += u32::from(count);
            self.limits[length] = code << (16 - length);
            code <<= 1;
        }
        let (mut at, mut index) = (0, 0);
        for length in 1..=LOOKUP {
            for _ in 0..self.definition.lengths[length as usize - 1] {
                let symbol = self.definition.symbols[index];
                index += 1;
                let next = at + (1 << (LOOKUP - length));
                self.short[at..next].fill(u16::from(symbol) << 8 | length as u16);
                self.fill_entries(at..next, symbol, length);
                at = next;
            }
        }
        self.short[at..].fill(0);
        self.entries[at..].fill(Entry::NONE);
        if self.purpose == Use::Ac {
            self.fill_pairs();
        }
    }

    /// The entries that begin with a code of `length` bits.
    fn fill_entries(&mut self, range: Range<usize>, symbol: u8, length: u32) {
        let start = range.start;
        let entry = |at: usize| self.read(symbol, length, (at as u64) << (64 - LOOKUP));
        let first = entry(start);
        let entries = if first.length() <= LOOKUP && first != Entry::NONE {
            // Bits behind the symbol's own change nothing.
            let same = 1 << (LOOKUP - first.length());
            for at in range.clone().step_by(same) {
                let entry = self.read(symbol, length, (at as u64) << (64 - LOOKUP));
                self.entries[at..at + same].fill(entry);
            }
            return;
        } else {
            &mut self.entries[range]
        };
        entries.fill(Entry::NONE);
    }

    fn fill_pairs(&mut self) {
        for (bits, (pair, &first)) in self.pairs.iter_mut().zip(&self.entries).enumerate() {
            *pair = Pair::NONE;
            if first == Entry::NONE {
                continue;
            }
            let second = self.entries[bits << first.length() & ((1 << LOOKUP) - 1)];
            let fits = second != Entry::NONE
                && first.length() + second.length() <= LOOKUP
                && first.step() != END;
            *pair = Pair::new(first, fits.then_some(second));
        }
    }

    /// A symbol at the top of `buffer` with the bits behind it.
    #[inline(always)]
    fn read(&self, symbol: u8, length: u32, buffer: u64) -> Entry {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        let value = extend(buffer << length, size);
        match self.purpose {
            Use::Dc => Entry::new(length + size, 0, value),
            Use::Ac if symbol == 0xf0 => Entry::new(length, 16, 0),
            Use::Ac if size == 0 => Entry::new(length, END, 0),
            Use::Ac => Entry::new(length + size, run + 1, value),
            Use::Band if symbol == 0 => Entry::new(length, END, 0),
            Use::Band if size == 0 && run < 15 => Entry::NONE,
            Use::Band => Entry::new(length + size, run + 1, value),
        }
    }

    /// The symbol at the top of `buffer` with the bits behind it, if all is short.
    #[inline(always)]
    pub(super) fn entry(&self, buffer: u64) -> Entry {
        self.entries[(buffer >> (64 - LOOKUP)) as usize]
    }

    /// The symbol, or the two symbols, at the top of `buffer`, if all is short.
    #[inline(always)]
    pub(super) fn pair(&self, buffer: u64) -> Pair {
        self.pairs[(buffer >> (64 - LOOKUP)) as usize]
    }

    /// The symbol at the top of `buffer` with the bits behind it, however long; of `buffer`, 31
    /// bits must be there. [`Entry::NONE`] for what is no code.
    #[inline(always)]
    pub(super) fn long_entry(&self, buffer: u64) -> Entry {
        let short = self.short[(buffer >> (64 - LOOKUP)) as usize];
        if short != 0 {
            return self.read((short >> 8) as u8, u32::from(short & 0xff), buffer);
        }
        self.long_code(buffer)
    }

    #[inline(never)]
    fn long_code(&self, buffer: u64) -> Entry {
        match self.symbol(buffer) {
            Some((symbol, length)) => self.read(symbol, length, buffer),
            None => Entry::NONE,
        }
    }

    /// The symbol at the top of `buffer` and its code's length.
    #[inline]
    pub(super) fn symbol(&self, buffer: u64) -> Option<(u8, u32)> {
        let short = self.short[(buffer >> (64 - LOOKUP)) as usize];
        if short != 0 {
            return Some(((short >> 8) as u8, u32::from(short & 0xff)));
        }
        let bits = (buffer >> 48) as u32;
        for length in LOOKUP as usize + 1..=16 {
            if bits < self.limits[length] {
                let number = (bits >> (16 - length)) as i32 + self.offsets[length];
                let symbol = self.definition.symbols.get(number as usize)?;
                return Some((*symbol, length as u32));
            }
        }
        None
    }
}

/// The signed value of the top `size` bits.
#[inline(always)]
pub(super) fn extend(buffer: u64, size: u32) -> i32 {
    if size == 0 {
        return 0;
    }
    let bits = (buffer >> (64 - size)) as i32;
    let negative = bits >> (size - 1) == 0;
    bits - if negative { (1 << size) - 1 } else { 0 }
}

/// The tables in use, kept from image to image: most files have the standard's.
#[derive(Default)]
pub(super) struct Tables {
    dc: [Option<Box<Table>>; 4],
    ac: [Option<Box<Table>>; 4],
}

impl Tables {
    /// Makes table `index` ready.
    pub(super) fn prepare(
        &mut self,
        purpose: Use,
        index: u8,
        definitions: &[Option<Definition>; 4],
    ) -> Result<(), JpegError> {
        let kind = if purpose == Use::Dc { "DC" } else { "AC" };
        let missing = JpegError::MissingTable { kind, index };
        let slot = usize::from(index);
        let Some(Some(definition)) = definitions.get(slot) else {
            return Err(missing);
        };
        let symbols = &definition.symbols[..definition.count()];
        if purpose == Use::Dc && symbols.iter().any(|&s| s > 15) {
            return Err(missing);
        }
        let tables = if purpose == Use::Dc {
            &mut self.dc
        } else {
            &mut self.ac
        };
        match &mut tables[slot] {
            Some(table) if table.purpose == purpose && table.definition == *definition => {}
            Some(table) => {
                table.purpose = purpose;
                table.definition.clone_from(definition);
                table.fill();
            }
            empty => *empty = Some(Table::new(definition.clone(), purpose)),
        }
        Ok(())
    }

    /// A prepared DC table.
    pub(super) fn dc(&self, index: u8) -> Option<&Table> {
        self.dc.get(usize::from(index))?.as_deref()
    }

    /// A prepared AC table.
    pub(super) fn ac(&self, index: u8) -> Option<&Table> {
        self.ac.get(usize::from(index))?.as_deref()
    }
}

/// A table of the standard's section K.3.
pub(super) struct Standard {
    lengths: [u8; 16],
    symbols: &'static [u8],
}

impl Standard {
    pub(super) fn definition(&self) -> Option<Definition> {
        Definition::new(&self.lengths, self.symbols)
    }
}

const DC_SYMBOLS: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/// The DC and the AC table of luma, and those of chroma.
pub(super) const STANDARD_TABLES: [[Standard; 2]; 2] = [
    [
        Standard {
            lengths: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
            symbols: DC_SYMBOLS,
        },
        Standard {
            lengths: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125],
            symbols: b"\
                \x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\
                \x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\
                \x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\x29\x2a\x34\x35\x36\x37\
                \x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\
                \x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\
                \x84\x85\x86\x87\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\
                \xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\
                \xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\
                \xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa",
        },
    ],
    [
        Standard {
            lengths: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
            symbols: DC_SYMBOLS,
        },
        Standard {
            lengths: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119],
            symbols: b"\
                \x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\
                \x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\
                \x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\x27\x28\x29\x2a\x35\x36\
                \x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\
                \x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\
                \x82\x83\x84\x85\x86\x87\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\
                \xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\
                \xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\
                \xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa",
        },
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn standard_ac() -> Box<Table> {
        Table::new(STANDARD_TABLES[0][1].definition().unwrap(), Use::Ac)
    }

    #[test]
    fn values_are_sign_extended() {
        // Table F.1: size 3 is −7..=−4 and 4..=7.
        let values: Vec<i32> = (0..8).map(|v| extend(v << 61, 3)).collect();
        assert_eq!(values, [-7, -6, -5, -4, 4, 5, 6, 7]);
        assert_eq!((extend(u64::MAX, 15), extend(0, 15)), (32767, -32767));
        assert_eq!(extend(u64::MAX, 0), 0);
    }

    #[test]
    fn short_and_long_look_ups_agree() {
        let table = standard_ac();
        let mut found = 0;
        for bits in 0..1u64 << 16 {
            let buffer = bits << 48 | 0x5a5a_5a5a_5a5a;
            let (short, long) = (table.entry(buffer), table.long_entry(buffer));
            if short != Entry::NONE {
                assert_eq!(short, long, "{bits:016b}");
                found += 1;
            }
        }
        assert!(found > 50_000, "{found} of 65536 are short");
        // 1010 is the end of block, 11111111001 a run of 15 zeros and one more.
        assert_eq!(table.entry(0b1010 << 60), Entry::new(4, END, 0));
        assert_eq!(
            table.long_entry(0b111_1111_1001 << 53),
            Entry::new(11, 16, 0)
        );
        // Only ones are no code.
        assert_eq!(table.long_entry(u64::MAX), Entry::NONE);
    }

    #[test]
    fn a_pair_is_two_entries() {
        let table = standard_ac();
        let mut pairs = 0;
        for bits in 0..1u64 << LOOKUP {
            let buffer = bits << (64 - LOOKUP);
            let pair = table.pair(buffer);
            if pair == Pair::NONE {
                continue;
            }
            let first = table.long_entry(buffer);
            let mut expected = Pair::new(first, None);
            if pair.second_length() > 0 {
                pairs += 1;
                let second = table.long_entry(buffer << first.length());
                assert_eq!(pair.steps(), [first.step(), second.step()]);
                assert_eq!(pair.values().map(i32::from), [first.value(), second.value()]);
                expected = Pair::new(first, Some(second));
            }
            assert_eq!(pair, expected, "{bits:010b}");
        }
        assert!(pairs > 400, "{pairs} pairs");
    }

    #[test]
    fn codes_that_do_not_fit_are_refused() {
        let mut lengths = [0; 16];
        lengths[0] = 2;
        assert_eq!(Definition::new(&lengths, &[0, 1]), None);
        lengths[0] = 1;
        assert!(Definition::new(&lengths, &[0]).is_some());
    }
}
