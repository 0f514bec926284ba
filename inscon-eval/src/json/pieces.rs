//! Numbers and texts within JSON.

/// A decimal number of at most 15 digits without exponent, and its length. Its digits and the power
/// of ten are exact in f64, so one division rounds correctly (Clinger 1990). `None` of anything else.
#[inline]
pub(super) fn short_decimal(text: &[u8]) -> Option<(f64, usize)> {
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let negative = *text.first()? == b'-';
    let start = usize::from(negative);
    let mut at = start;
    let mut digits = 0_u64;
    while let Some(digit) = text.get(at).map(|b| b.wrapping_sub(b'0'))
        && digit <= 9
    {
        // Wraps only beyond the 15 digits that are accepted.
        digits = digits.wrapping_mul(10).wrapping_add(digit.into());
        at += 1;
    }
    let whole = at - start;
    if whole == 0 || whole > 1 && text[start] == b'0' {
        return None;
    }
    let mut decimals = 0;
    if *text.get(at)? == b'.' {
        at += 1;
        let point = at;
        while let Some(eight) = eight_digits(text, at) {
            digits = digits.wrapping_mul(100_000_000).wrapping_add(eight);
            at += 8;
        }
        while let Some(digit) = text.get(at).map(|b| b.wrapping_sub(b'0'))
            && digit <= 9
        {
            digits = digits.wrapping_mul(10).wrapping_add(digit.into());
            at += 1;
        }
        decimals = at - point;
        if decimals == 0 {
            return None;
        }
    }
    if whole + decimals > 15 || matches!(text.get(at)?, b'.' | b'e' | b'E') {
        return None;
    }
    let value = digits as f64 / POWERS[decimals];
    Some((if negative { -value } else { value }, at))
}

/// The eight bytes from `at` on as a little-endian word.
#[inline]
fn word(text: &[u8], at: usize) -> Option<u64> {
    let bytes = text.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// The number that eight digits from `at` on are; `None` if one of the bytes is no digit. All at once
/// in one word (Lemire 2021, Number parsing at a gigabyte per second, section 4).
#[inline]
fn eight_digits(text: &[u8], at: usize) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let word = word(text, at)?;
    // Bytes 0x30 to 0x3f, and still so after adding 6: 0x30 to 0x39.
    if word & HIGH != ZEROS || word.wrapping_add(0x0606_0606_0606_0606) & HIGH != ZEROS {
        return None;
    }
    let ones = word - ZEROS;
    let tens = ones * 10 + (ones >> 8);
    let mask = 0x0000_00ff_0000_00ff;
    let low = (tens & mask).wrapping_mul(100 + (1_000_000 << 32));
    let high = (tens >> 16 & mask).wrapping_mul(1 + (10_000 << 32));
    Some(low.wrapping_add(high) >> 32)
}

/// How many bytes from `at` on come before the first quote or backslash; `None` if that is not within
/// the next eight.
#[inline]
pub(super) fn quote_within_eight(text: &[u8], at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = word(text, at)?;
    // The lowest bit that is set marks the first byte that is zero.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let found = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Whether what follows a number at the end of the bytes may be the rest of it: `e`, `e-`, `E+`.
pub(super) fn is_cut(rest: &[u8]) -> bool {
    matches!(rest, [b'e' | b'E'] | [b'e' | b'E', b'+' | b'-'])
}

pub(super) fn unescape(raw: &[u8]) -> Result<Vec<u8>, (usize, &'static str)> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let stop = memchr::memchr(b'\\', &raw[at..]).map_or(raw.len(), |offset| at + offset);
        out.extend_from_slice(&raw[at..stop]);
        let Some(&escape) = raw.get(stop + 1) else {
            break;
        };
        at = stop + 2;
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (letter, length) = unicode(&raw[at..]).map_err(|p| (stop, p))?;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                at += length;
                continue;
            }
            _ => return Err((stop, "no such escape")),
        });
    }
    Ok(out)
}

/// The letter of `XXXX` or of the pair `XXXX\uXXXX`, and how many bytes that was. Python accepts
/// lone surrogates; here they become the replacement letter.
fn unicode(raw: &[u8]) -> Result<(char, usize), &'static str> {
    let unit = |at: usize| {
        let digits = raw.get(at..at + 4).ok_or("\\u needs four digits")?;
        digits.iter().try_fold(0_u32, |sum, &b| {
            let digit = char::from(b).to_digit(16).ok_or("\\u needs four digits")?;
            Ok::<_, &'static str>(sum * 16 + digit)
        })
    };
    let first = unit(0)?;
    if (0xd800..0xdc00).contains(&first) && raw.get(4..6) == Some(b"\\u") {
        let second = unit(6)?;
        if (0xdc00..0xe000).contains(&second) {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok((char::from_u32(code).unwrap_or('\u{fffd}'), 10));
        }
    }
    Ok((char::from_u32(first).unwrap_or('\u{fffd}'), 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_at_once_equal_one_by_one() {
        for number in [0, 1, 12_345_678, 99_999_999, 10_000_000, 90_909_090] {
            let text = format!("x{number:08}y");
            assert_eq!(eight_digits(text.as_bytes(), 1), Some(number));
        }
        // Every byte at every place.
        for place in 0..8 {
            for byte in 0..=255 {
                let mut text = *b"12345678";
                text[place] = byte;
                let expected = text
                    .iter()
                    .all(u8::is_ascii_digit)
                    .then(|| text.iter().fold(0, |sum, b| sum * 10 + u64::from(b - b'0')));
                assert_eq!(eight_digits(&text, 0), expected, "{text:?}");
                let quote = text.iter().position(|b| matches!(b, b'"' | b'\\'));
                assert_eq!(quote_within_eight(&text, 0), quote, "{text:?}");
            }
        }
        assert_eq!(eight_digits(b"1234567", 0), None);
        assert_eq!(quote_within_eight(b"\"\\\"\"\"\"\"\"", 0), Some(0));
        assert_eq!(quote_within_eight(b"1234567", 0), None);
    }
}
