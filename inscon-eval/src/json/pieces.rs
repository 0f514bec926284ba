//! Numbers and texts within JSON.

/// A decimal number of at most 19 digits without exponent, and its length; correctly rounded.
/// `None` of anything else.
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
        // Wraps only beyond the 19 digits that are accepted.
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
    if whole + decimals > 19 || matches!(text.get(at)?, b'.' | b'e' | b'E') {
        return None;
    }
    let value = if digits < 1 << 53 && decimals < POWERS.len() {
        // Both are exact in f64, so one division rounds correctly (Clinger 1990).
        digits as f64 / POWERS[decimals]
    } else {
        divided(digits, decimals)
    };
    Some((if negative { -value } else { value }, at))
}

/// `digits / 10^decimals`, correctly rounded, for at most 19 decimals (Lemire 2021, Number parsing at
/// a gigabyte per second, section 5: 128 bits of the power of five are enough for any 64-bit number).
fn divided(digits: u64, decimals: usize) -> f64 {
    if digits == 0 {
        return 0.0;
    }
    let zeros = digits.leading_zeros();
    let digits = digits << zeros;
    let (high, low) = FIFTHS[decimals];
    let wide = |factor: u64| {
        let product = u128::from(digits) * u128::from(factor);
        ((product >> 64) as u64, product as u64)
    };
    let (mut upper, mut lower) = wide(high);
    // The lower half of the power matters only if all the bits below the rounded ones are set.
    if upper & 0x1ff == 0x1ff {
        let (carry, overflows) = lower.overflowing_add(wide(low).0);
        lower = carry;
        upper += u64::from(overflows);
    }
    let top = (upper >> 63) as u32;
    let mut mantissa = upper >> (top + 9);
    let exponent = -(decimals as i32);
    let power = ((exponent * (152_170 + 65_536)) >> 16) + 63 + top as i32 - zeros as i32 + 1023;
    // Just halfway between two numbers: to the even one.
    if lower <= 1 && decimals <= 4 && mantissa & 3 == 1 && mantissa << (top + 9) == upper {
        mantissa &= !1;
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    // Rounding up may carry into the exponent, which is what adding does.
    f64::from_bits(((power as u64) << 52) + mantissa - (1 << 52))
}

/// For n from 0 to 19: the first 128 bits of 5^-n, rounded up, in two halves.
const FIFTHS: [(u64, u64); 20] = [
    (0x8000_0000_0000_0000, 0x0000_0000_0000_0000),
    (0xcccc_cccc_cccc_cccc, 0xcccc_cccc_cccc_cccd),
    (0xa3d7_0a3d_70a3_d70a, 0x3d70_a3d7_0a3d_70a4),
    (0x8312_6e97_8d4f_df3b, 0x645a_1cac_0831_26ea),
    (0xd1b7_1758_e219_652b, 0xd3c3_6113_404e_a4a9),
    (0xa7c5_ac47_1b47_8423, 0x0fcf_80dc_3372_1d54),
    (0x8637_bd05_af6c_69b5, 0xa63f_9a49_c2c1_b110),
    (0xd6bf_94d5_e57a_42bc, 0x3d32_9076_0469_1b4d),
    (0xabcc_7711_8461_cefc, 0xfdc2_0d2b_36ba_7c3e),
    (0x8970_5f41_36b4_a597, 0x3168_0a88_f895_3031),
    (0xdbe6_fece_bded_d5be, 0xb573_440e_5a88_4d1c),
    (0xafeb_ff0b_cb24_aafe, 0xf78f_69a5_1539_d749),
    (0x8cbc_cc09_6f50_88cb, 0xf93f_87b7_442e_45d4),
    (0xe12e_1342_4bb4_0e13, 0x2865_a5f2_06b0_6fba),
    (0xb424_dc35_095c_d80f, 0x5384_84c1_9ef3_8c95),
    (0x901d_7cf7_3ab0_acd9, 0x0f9d_3701_4bf6_0a11),
    (0xe695_94be_c44d_e15b, 0x4c2e_be68_7989_a9b4),
    (0xb877_aa32_36a4_b449, 0x09be_feb9_fad4_87c3),
    (0x9392_ee8e_921d_5d07, 0x3aff_322e_6243_9fd0),
    (0xec1e_4a7d_b695_61a5, 0x2b31_e9e3_d06c_32e6),
];

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
    fn division_rounds_as_the_standard_library() {
        let mut state = 5_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 29)
        };
        let check = |digits: u64, decimals: usize| {
            let expected: f64 = format!("{digits}e-{decimals}").parse().unwrap();
            let value = divided(digits, decimals);
            assert_eq!(value.to_bits(), expected.to_bits(), "{digits}e-{decimals}");
        };
        for decimals in 0..20 {
            for _ in 0..20_000 {
                let digits = next();
                check(digits >> (next() % 64), decimals);
            }
            for digits in [
                0,
                1,
                u64::MAX,
                1 << 53,
                (1 << 53) + 1,
                (1 << 54) + 2,
                (1 << 54) + 6,
            ] {
                check(digits, decimals);
            }
            // Halfway between two numbers, and next to it.
            for shift in 1..11 {
                let odd = ((1 << 53) | (next() >> 12) | 1) << shift | 1 << (shift - 1);
                for digits in [odd - 1, odd, odd + 1] {
                    check(digits, decimals);
                    if let Some(scaled) = digits.checked_mul(10_u64.pow(decimals as u32 % 4)) {
                        check(scaled, decimals);
                    }
                }
            }
        }
        // What Python prints of an f64 is read back.
        for _ in 0..100_000 {
            let value = (next() >> 11) as f64 / (1_u64 << 53) as f64 * 1000.0;
            let text = format!("{value},");
            if let Some((read, length)) = short_decimal(text.as_bytes()) {
                assert_eq!((read.to_bits(), length), (value.to_bits(), text.len() - 1));
            }
        }
    }

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
