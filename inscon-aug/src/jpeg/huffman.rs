//! Huffman tables in the form in which they are read: several fields, or several symbols, by one
//! look-up.

use super::JpegError;

/// Bits by which symbols are looked up.
const LOOKUP: u32 = 10;
/// Bits by which symbols are looked up that are only passed over.
const FAR_LOOKUP: u32 = 12;
/// So often is a table asked for anew before its leaps are worth making: by more components than an
/// image has.
const OFTEN: u32 = 8;
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

/// The AC symbol of 16 zeros.
const ZEROS: u8 = 0xf0;

/// A symbol: its length in bits, and for AC how many coefficients it goes on, to which it gives a
/// value of how many bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) value: u8,
    pub(super) length: u32,
}

impl Symbol {
    /// Of AC coefficients.
    #[inline(always)]
    pub(super) fn step(self) -> u32 {
        match self.value {
            ZEROS => 16,
            value if value & 15 == 0 => END,
            value => u32::from(value >> 4) + 1,
        }
    }

    /// Bits of the value that follows.
    #[inline(always)]
    pub(super) fn size(self) -> u32 {
        u32::from(self.value & 15)
    }
}

/// One or two AC symbols, by one look-up. The code of the last one and all of the one before lie in
/// the bits that are looked up. The last one is no run of 16 zeros, which has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair(u64);

/// The first step of a pair of only one symbol: to no coefficient.
const NOWHERE: u32 = 0xc0;

impl Pair {
    /// No such code, or one that the look-up does not hold.
    pub(super) const NONE: Self = Self(0);

    /// `before` is the symbol before the last one with its value.
    fn new(before: Option<(Symbol, i32)>, last: Symbol) -> Self {
        let (length, step, first, value) = match before {
            Some((s, value)) => (s.length + s.size(), s.step(), s.step(), value),
            None => (0, 0, NOWHERE, 0),
        };
        let start = length + last.length;
        let bytes = [
            (start + last.size()) as u8,
            start as u8,
            64 - last.size() as u8,
            first as u8,
            (step + last.step()) as u8,
            0,
            value as u8,
            (value >> 8) as u8,
        ];
        Self(u64::from_le_bytes(bytes))
    }

    /// Bits of all.
    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        self.0 as u32 & 0xff
    }

    /// Coefficients to the first of two; else out of the block.
    #[inline(always)]
    pub(super) fn first_step(self) -> u32 {
        self.0 as u32 >> 24
    }

    /// Coefficients to the last one.
    #[inline(always)]
    pub(super) fn step(self) -> u32 {
        (self.0 >> 32) as u32 & 0xff
    }

    /// The value of the first of two.
    #[inline(always)]
    pub(super) fn first_value(self) -> i16 {
        (self.0 >> 48) as i16
    }

    /// The value of the last one, of which the bits are in `buffer`, as at the look-up. Anything
    /// for an end of block.
    #[inline(always)]
    pub(super) fn value(self, buffer: u64) -> i16 {
        let bits = buffer << (self.0 >> 8 & 63);
        // A first bit of 0 says that the value is negative, and its complement is meant.
        let negative = !(bits as i64 >> 63);
        let magnitude = (bits ^ negative as u64) >> (self.0 >> 16 & 63);
        (magnitude as i64 ^ negative).wrapping_sub(negative) as i16
    }

    /// Whether there are two.
    pub(super) fn is_two(self) -> bool {
        self.first_step() != NOWHERE
    }
}

/// As many AC symbols as are found by one look-up, to be passed over: how far they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leap(u16);

impl Leap {
    /// No such code, or one that the look-up does not hold.
    pub(super) const NONE: Self = Self(0);

    /// Bits of all, at most [`FAR_LOOKUP`] and those of a value.
    #[inline(always)]
    pub(super) fn length(self) -> u32 {
        u32::from(self.0 & 0xff)
    }

    /// Coefficients to the last one; [`END`] more if that is an end of block.
    #[inline(always)]
    pub(super) fn step(self) -> u32 {
        u32::from(self.0 >> 8)
    }
}

/// A Huffman table, ready to be read by.
pub(super) struct Table {
    definition: Definition,
    purpose: Use,
    /// Symbol and length (low byte) of codes of up to [`LOOKUP`] bits; 0 for longer ones.
    short: [u16; 1 << LOOKUP],
    /// Of tables for [`Use::Ac`].
    pairs: [Pair; 1 << LOOKUP],
    /// Filled when the same table comes again and again: that takes longer than they gain in one
    /// image, and photographs may have tables of their own.
    leaps: [Leap; 1 << FAR_LOOKUP],
    has_leaps: bool,
    /// How often the table was asked for anew.
    again: u32,
    /// First 16 bits behind all codes of each length; a code's number is its bits plus the offset.
    limits: [u32; 17],
    offsets: [i32; 17],
}

impl Table {
    fn new(definition: Definition, purpose: Use) -> Box<Self> {
        let mut table = Box::new(Self {
            definition,
            purpose,
            short: [0; 1 << LOOKUP],
            pairs: [Pair::NONE; 1 << LOOKUP],
            leaps: [Leap::NONE; 1 << FAR_LOOKUP],
            has_leaps: false,
            again: 0,
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
                at = next;
            }
        }
        self.short[at..].fill(0);
        (self.has_leaps, self.again) = (false, 0);
        if self.purpose == Use::Ac {
            self.fill_pairs();
        }
    }

    /// What is done when a component has the table that is here: of the same image, or of the next.
    fn comes_again(&mut self) {
        self.again = self.again.saturating_add(1);
        if self.purpose == Use::Ac && !self.has_leaps && self.again >= OFTEN {
            self.fill_leaps();
        }
    }

    /// Whether [`leap`](Self::leap) may be asked.
    #[inline(always)]
    pub(super) fn has_leaps(&self) -> bool {
        self.has_leaps
    }

    fn fill_leaps(&mut self) {
        self.has_leaps = true;
        for bits in 0..self.leaps.len() {
            let buffer = (bits as u64) << (64 - FAR_LOOKUP);
            let (mut length, mut step) = (0, 0);
            // No values are needed, so that the last one's bits may lie behind.
            while length < FAR_LOOKUP && step < END {
                let Some(symbol) = self.symbol(buffer << length) else {
                    break;
                };
                let goes_on = step + symbol.step() <= 63 || symbol.step() == END;
                if length + symbol.length > FAR_LOOKUP || !goes_on {
                    break;
                }
                length += symbol.length + symbol.size();
                step += symbol.step();
            }
            self.leaps[bits] = Leap((step << 8 | length) as u16);
        }
    }

    fn fill_pairs(&mut self) {
        let short = |bits: usize| {
            let short = self.short[bits & ((1 << LOOKUP) - 1)];
            let symbol = Symbol {
                value: (short >> 8) as u8,
                length: u32::from(short & 0xff),
            };
            (short != 0).then_some(symbol)
        };
        for (bits, pair) in self.pairs.iter_mut().enumerate() {
            let Some(first) = short(bits) else {
                *pair = Pair::NONE;
                continue;
            };
            let length = first.length + first.size();
            let second = if length < LOOKUP && first.step() != END {
                short(bits << length).filter(|s| length + s.length <= LOOKUP && s.value != ZEROS)
            } else {
                None
            };
            *pair = match second {
                None if first.value == ZEROS => Pair::NONE,
                Some(second) => {
                    let buffer = (bits as u64) << (64 - LOOKUP);
                    let value = extend(buffer << first.length, first.size());
                    Pair::new(Some((first, value)), second)
                }
                None => Pair::new(None, first),
            };
        }
    }

    /// The symbol, or the two symbols, at the top of `buffer`, if their codes are short.
    #[inline(always)]
    pub(super) fn pair(&self, buffer: u64) -> Pair {
        self.pairs[(buffer >> (64 - LOOKUP)) as usize]
    }

    /// The symbols at the top of `buffer`, as many as have short codes.
    #[inline(always)]
    pub(super) fn leap(&self, buffer: u64) -> Leap {
        self.leaps[(buffer >> (64 - FAR_LOOKUP)) as usize]
    }

    /// The symbol at the top of `buffer`, of which 16 bits must be there.
    #[inline(always)]
    pub(super) fn symbol(&self, buffer: u64) -> Option<Symbol> {
        let short = self.short[(buffer >> (64 - LOOKUP)) as usize];
        if short == 0 {
            return self.long_symbol(buffer);
        }
        Some(Symbol {
            value: (short >> 8) as u8,
            length: u32::from(short & 0xff),
        })
    }

    #[cold]
    #[inline(never)]
    fn long_symbol(&self, buffer: u64) -> Option<Symbol> {
        let bits = (buffer >> 48) as u32;
        let length = (1..=16).find(|&length| bits < self.limits[length])?;
        let number = (bits >> (16 - length)) as i32 + self.offsets[length];
        Some(Symbol {
            value: *self.definition.symbols.get(number as usize)?,
            length: length as u32,
        })
    }
}

/// The signed value of the top `size` bits, up to 15.
#[inline(always)]
pub(super) fn extend(buffer: u64, size: u32) -> i32 {
    let bits = (buffer >> 1 >> (63 - size)) as i32;
    // All ones where the first bit is 0.
    let negative = !(buffer as i64 >> 63) as i32;
    bits - (negative & ((1 << size) - 1))
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
            return Err(JpegError::Table {
                kind,
                index,
                what: "has a symbol above 15, which is no size of a difference",
            });
        }
        let tables = if purpose == Use::Dc {
            &mut self.dc
        } else {
            &mut self.ac
        };
        match &mut tables[slot] {
            Some(table) if table.purpose == purpose && table.definition == *definition => {
                table.comes_again();
            }
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
    fn short_and_long_codes_agree() {
        let table = standard_ac();
        for bits in 0..1u64 << 16 {
            let buffer = bits << 48 | 0x5a5a_5a5a_5a5a;
            assert_eq!(
                table.symbol(buffer),
                table.long_symbol(buffer),
                "{bits:016b}"
            );
        }
        let symbol = |value, length| Some(Symbol { value, length });
        // 1010 is the end of block, 11111111001 a run of 16 zeros.
        assert_eq!(table.symbol(0b1010 << 60), symbol(0, 4));
        assert_eq!(table.symbol(0b111_1111_1001 << 53), symbol(0xf0, 11));
        // Only ones are no code.
        assert_eq!(table.symbol(u64::MAX), None);
    }

    #[test]
    fn a_pair_is_one_or_two_symbols() {
        let table = standard_ac();
        let (mut one, mut two) = (0, 0);
        for bits in 0..1u64 << LOOKUP {
            let buffer = bits << (64 - LOOKUP) | 0x0012_3456_789a_bcde;
            let pair = table.pair(buffer);
            let first = table.symbol(buffer).unwrap();
            if pair == Pair::NONE {
                assert!(first.length > LOOKUP || first.value == ZEROS);
                continue;
            }
            let length = first.length + first.size();
            let value = extend(buffer << first.length, first.size()) as i16;
            if !pair.is_two() {
                one += 1;
                assert_eq!((pair.length(), pair.step()), (length, first.step()));
                assert!(pair.value(buffer) == value || first.step() == END);
                continue;
            }
            two += 1;
            assert_eq!(
                (pair.first_step(), pair.first_value()),
                (first.step(), value)
            );
            let rest = buffer << length;
            let last = table.symbol(rest).unwrap();
            assert_eq!(pair.length(), length + last.length + last.size());
            assert_eq!(pair.step(), first.step() + last.step());
            let value = extend(rest << last.length, last.size()) as i16;
            assert!(
                pair.value(buffer) == value || last.step() == END,
                "{bits:010b}"
            );
        }
        assert!(one > 200 && two > 500, "{one} {two}");
    }

    #[test]
    fn a_leap_is_several_symbols() {
        // The second has short codes for runs of 16 zeros, of which no more fit than in a block.
        let zeros = Definition::new(
            &[1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            b"\xf0\0\x11",
        );
        for mut table in [standard_ac(), Table::new(zeros.unwrap(), Use::Ac)] {
            for _ in 0..OFTEN {
                assert!(!table.has_leaps());
                table.comes_again();
            }
            assert!(table.has_leaps());
            let mut symbols = 0;
            for bits in 0..1u64 << FAR_LOOKUP {
                let buffer = bits << (64 - FAR_LOOKUP) | 0x000a_5a5a_5a5a_5a5a;
                let leap = table.leap(buffer);
                let (mut length, mut step, mut last) = (0, 0, 0);
                while length < leap.length() {
                    let symbol = table.symbol(buffer << length).unwrap();
                    assert!(last != END && length + symbol.length <= FAR_LOOKUP);
                    last = symbol.step();
                    length += symbol.length + symbol.size();
                    step += last;
                    symbols += 1;
                }
                assert_eq!((leap.length(), leap.step()), (length, step), "{bits:012b}");
                assert!(step - last <= 63 && (step <= 63 || last == END));
                if leap == Leap::NONE {
                    let long = |s: Symbol| s.length > FAR_LOOKUP;
                    assert!(table.symbol(buffer).is_none_or(long), "{bits:012b}");
                }
            }
            assert!(symbols > 6000, "{symbols}");
        }
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
