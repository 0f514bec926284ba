//! The compressed text of run lengths: 5 bits a character, offset 48, deltas against two runs ago.

use std::fmt;

use crate::RleError;

/// Writes `counts` as pycocotools does; run `i > 2` as the difference from run `i - 2`.
pub(super) fn write(counts: &[u32], f: &mut impl fmt::Write) -> fmt::Result {
    for (i, &count) in counts.iter().enumerate() {
        let mut x = i64::from(count) - if i > 2 { i64::from(counts[i - 2]) } else { 0 };
        loop {
            let bits = (x & 0x1f) as u8;
            x >>= 5;
            // The sign is bit 4 of the last character.
            let more = if bits & 0x10 == 0 { x != 0 } else { x != -1 };
            f.write_char(char::from(48 + (bits | if more { 0x20 } else { 0 })))?;
            if !more {
                break;
            }
        }
    }
    Ok(())
}

/// Reads what [`write`] writes.
pub(super) fn read(text: &str) -> Result<Vec<u32>, RleError> {
    let mut counts: Vec<u32> = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some(first) = bytes.next() {
        let mut next = Some(first);
        let mut x = 0_i64;
        let mut shift = 0;
        loop {
            let (position, byte) = next.ok_or(RleError::Truncated)?;
            if !(48..48 + 64).contains(&byte) {
                return Err(RleError::Alphabet { byte, position });
            }
            let bits = byte - 48;
            x |= i64::from(bits & 0x1f) << shift;
            shift += 5;
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 {
                    x |= -1 << shift;
                }
                break;
            }
            // Seven characters hold 35 bits, more than any difference of two 32-bit counts needs.
            if shift > 30 {
                return Err(RleError::Run {
                    index: counts.len(),
                    value: x,
                });
            }
            next = bytes.next();
        }
        let index = counts.len();
        if index > 2 {
            x += i64::from(counts[index - 2]);
        }
        counts.push(u32::try_from(x).map_err(|_| RleError::Run { index, value: x })?);
    }
    Ok(counts)
}
