//! Entropy-coded data: freed of stuffed bytes, cut at restart markers, read bit by bit.

use std::ops::Range;

use super::JpegError;
use super::header::find_ff;

/// Zero bytes behind the data, so that the last bits are read like the others.
const PADDING: usize = 16;

/// The entropy-coded data of one scan.
#[derive(Default)]
pub(super) struct ScanData {
    bytes: Vec<u8>,
    /// Where each segment, from restart marker to restart marker, ends in `bytes`.
    ends: Vec<usize>,
}

impl ScanData {
    /// Takes the data from `position` on, up to a marker other than a restart marker, whose
    /// position is returned. At most `segments` segments are kept: more say nothing.
    pub(super) fn load(
        &mut self,
        file: &[u8],
        position: usize,
        segments: usize,
    ) -> Result<usize, JpegError> {
        self.bytes.clear();
        self.ends.clear();
        let mut rest = file.get(position..).unwrap_or_default();
        if self.bytes.capacity() < rest.len() + PADDING {
            self.bytes = Vec::new();
            self.bytes.reserve_exact(rest.len() + PADDING);
        }
        loop {
            let start = find_ff(rest).ok_or(JpegError::Truncated)?;
            let fill = rest[start..].iter().position(|&b| b != 0xff);
            let at = start + fill.ok_or(JpegError::Truncated)?;
            if self.ends.len() < segments {
                self.bytes.extend_from_slice(&rest[..start]);
            }
            match rest[at] {
                0 if self.ends.len() < segments => self.bytes.push(0xff),
                0 => {}
                marker @ 0xd0..=0xd7 => {
                    if self.ends.len() < segments {
                        let expected = 0xd0 + (self.ends.len() & 7) as u8;
                        if marker != expected && self.ends.len() + 1 < segments {
                            return Err(JpegError::Segment {
                                marker,
                                position: file.len() - rest.len() + at - 1,
                                what: "not the restart marker that comes next",
                            });
                        }
                        self.ends.push(self.bytes.len());
                    }
                }
                _ => {
                    if self.ends.len() < segments {
                        self.ends.push(self.bytes.len());
                    }
                    self.bytes.resize(self.bytes.len() + PADDING, 0);
                    return Ok(file.len() - rest.len() + start);
                }
            }
            rest = &rest[at + 1..];
        }
    }

    /// Segment `index`, if the file has it.
    pub(super) fn segment(&self, index: usize) -> Option<Range<usize>> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(start..end)
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + size_of::<usize>() * self.ends.capacity()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads bits, the most significant first.
///
/// Behind the last byte it reads zeros; [`Bits::overrun`] tells.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The bytes still to take.
    rest: &'a [u8],
    /// Bytes behind the last one that were taken as zeros.
    beyond: usize,
    /// Where the segment ends.
    end: usize,
    /// The next bits, the first at the top.
    pub(super) buffer: u64,
    /// How many of them.
    count: u32,
}

impl<'a> Bits<'a> {
    /// `segment` within `bytes`, which go on behind it by 16 or more.
    pub(super) fn new(bytes: &'a [u8], segment: Range<usize>) -> Self {
        Self {
            bytes,
            rest: bytes.get(segment.start..).unwrap_or_default(),
            beyond: 0,
            end: segment.end,
            buffer: 0,
            count: 0,
        }
    }

    /// Fills the buffer to at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let taken = (63 - (self.count & 63) as usize) >> 3;
        if let Some(next) = self.rest.first_chunk() {
            self.buffer |= u64::from_be_bytes(*next) >> (self.count & 63);
            self.rest = &self.rest[taken..];
        } else {
            self.beyond += taken;
        }
        self.count |= 56;
    }

    /// Bits consumed, counted from the first byte.
    #[inline(always)]
    fn position(&self) -> usize {
        8 * (self.bytes.len() - self.rest.len() + self.beyond) - self.count as usize
    }

    /// Drops bits that are in the buffer.
    #[inline(always)]
    pub(super) fn consume(&mut self, bits: u32) {
        self.buffer <<= bits & 63;
        self.count -= bits;
    }

    /// Goes back by some bits.
    #[inline(never)]
    pub(super) fn rewind(self, bits: u32) -> Self {
        let position = self.position() - bits as usize;
        let mut earlier = Self::new(self.bytes, position / 8..self.end);
        earlier.refill();
        earlier.consume(position as u32 % 8);
        earlier
    }

    /// Takes 1 to 16 bits that are in the buffer.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        let value = (self.buffer >> (64 - bits)) as u32;
        self.consume(bits);
        value
    }

    /// Takes a bit, whether or not it is in the buffer.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        if self.count == 0 {
            self.refill();
        }
        self.take(1) == 1
    }

    /// Takes what follows the symbol of an end of block with a run of class `class`, up to 14, and
    /// returns the run: blocks from this one on that end here.
    #[inline(always)]
    pub(super) fn end_run(&mut self, class: u8) -> u32 {
        match u32::from(class) {
            0 => 1,
            class => (1 << class) + self.take(class),
        }
    }

    /// Whether more bits were read than there are.
    #[inline(always)]
    pub(super) fn overrun(&self) -> bool {
        self.position() > 8 * self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_and_markers_are_taken_out() {
        let mut data = ScanData::default();
        let file = [
            9, 1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xff, 0xd1, 0xff, 0xd9, 7,
        ];
        assert_eq!(data.load(&file, 1, 9), Ok(11));
        assert_eq!(data.segment(0), Some(0..3));
        assert_eq!(data.segment(1), Some(3..4));
        assert_eq!(data.segment(2), Some(4..4));
        assert_eq!(data.segment(3), None);
        assert_eq!(data.bytes()[..5], [1, 0xff, 2, 3, 0]);
        assert_eq!(data.load(&file[..11], 1, 9), Err(JpegError::Truncated));
        // What follows the segments that are needed does not matter.
        assert_eq!(data.load(&file, 1, 1), Ok(11));
        assert_eq!(data.segment(1), None);
    }

    #[test]
    fn bits_come_in_order_and_end() {
        let bytes: Vec<u8> = (0..40u8).map(|v| v.wrapping_mul(37)).collect();
        let mut padded = bytes.clone();
        padded.resize(40 + PADDING, 0);
        let mut bits = Bits::new(&padded, 0..40);
        let mut at = 0;
        for i in 0.. {
            let n = 1 + i % 16;
            if at + n as usize > 320 {
                break;
            }
            bits.refill();
            let expected = (0..n as usize).fold(0, |v, b| {
                let b = at + b;
                v << 1 | u32::from(bytes[b / 8] >> (7 - b % 8) & 1)
            });
            assert_eq!(bits.take(n), expected, "bit {at}");
            at += n as usize;
            let mut earlier = bits.rewind(n);
            assert_eq!(earlier.take(n), expected, "bit {at}, again");
        }
        assert!(!bits.overrun());
        bits.refill();
        bits.take(16);
        assert!(bits.overrun());
    }
}
