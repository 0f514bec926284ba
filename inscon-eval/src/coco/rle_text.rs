//! The compressed text of run lengths: 5 bits a character, offset 48, deltas against two runs ago.

use std::fmt;

use crate::RleError;

/// Writes `counts` as pycocotools does; run `i > 2` as the difference from run `i - 2`.
pub(super) fn encode(counts: &[u32], out: &mut Vec<u8>) {
    for (i, &count) in counts.iter().enumerate() {
        let mut x = i64::from(count) - if i > 2 { i64::from(counts[i - 2]) } else { 0 };
        loop {
            let bits = (x & 0x1f) as u8;
            x >>= 5;
            // The sign is bit 4 of the last character.
            let more = if bits & 0x10 == 0 { x != 0 } else { x != -1 };
            out.push(48 + (bits | if more { 0x20 } else { 0 }));
            if !more {
                break;
            }
        }
    }
}

/// [`encode`]d text.
pub(super) fn write(counts: &[u32], f: &mut impl fmt::Write) -> fmt::Result {
    let mut text = Vec::with_capacity(counts.len() * 2);
    encode(counts, &mut text);
    text.into_iter().try_for_each(|b| f.write_char(b.into()))
}

/// Reads what [`encode`] writes.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u32>, RleError> {
    let mut counts = Vec::with_capacity(text.len());
    decode_into(text, &mut counts)?;
    Ok(counts)
}

/// [`decode`] into a vector that is emptied first.
pub(super) fn decode_into(text: &[u8], counts: &mut Vec<u32>) -> Result<(), RleError> {
    counts.clear();
    let mut at = 0;
    while at < text.len() {
        let (mut x, mut shift) = (0_i64, 0);
        // Most runs are one character: five bits, the topmost the sign.
        let short = text[at].wrapping_sub(48);
        if short < 32 {
            at += 1;
            x = (i64::from(short) ^ 16) - 16;
            shift = -1;
        }
        while shift >= 0 {
            let &byte = text.get(at).ok_or(RleError::Truncated)?;
            let bits = byte.wrapping_sub(48);
            if bits > 63 {
                return Err(RleError::Alphabet { byte, position: at });
            }
            at += 1;
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
        }
        let index = counts.len();
        if index > 2 {
            x += i64::from(counts[index - 2]);
        }
        counts.push(u32::try_from(x).map_err(|_| RleError::Run { index, value: x })?);
    }
    Ok(())
}
