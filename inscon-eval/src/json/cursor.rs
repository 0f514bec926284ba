//! A position in JSON bytes and what can be read from there.

use std::borrow::Cow;

use super::pieces::{is_cut, quote_within_eight, short_decimal, unescape};

/// Why reading stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes end within a value; more of them may mend it.
    End,
    /// This is not what belongs here.
    Bad(Bad),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Bad {
    /// Position in the cursor's bytes.
    pub(crate) at: usize,
    /// The field that was being read, if known.
    pub(crate) field: Option<&'static str>,
    /// What is wrong.
    pub(crate) problem: String,
}

/// Reads values off the front of `text`.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, Stop>;

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes have been read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn bad<T>(&self, problem: impl Into<String>) -> Read<T> {
        Err(Stop::Bad(Bad {
            at: self.at,
            field: None,
            problem: problem.into(),
        }))
    }

    /// The next byte that is not white space, not yet read.
    #[inline]
    pub(crate) fn peek(&mut self) -> Read<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(Stop::End)
    }

    /// Reads `byte` if it comes next.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> Read<bool> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        Ok(found)
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Read<()> {
        if self.eat(byte)? {
            return Ok(());
        }
        let found = self.describe();
        self.bad(format!("expected `{}`, found {found}", char::from(byte)))
    }

    /// What comes next, for a message.
    pub(crate) fn describe(&self) -> String {
        match self.text.get(self.at) {
            None => "the end".into(),
            Some(b'{') => "an object".into(),
            Some(b'[') => "a list".into(),
            Some(b'"') => "a text".into(),
            Some(byte @ 0x21..=0x7e) => format!("`{}`", char::from(*byte)),
            Some(byte) => format!("byte {byte:#04x}"),
        }
    }

    /// Reads an object; `field` gets each key with the cursor at its value, which it must read.
    #[inline]
    pub(crate) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &[u8]) -> Read<()>,
    ) -> Read<()> {
        self.expect(b'{')?;
        if self.eat(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            self.peek()?;
            field(self, &key)?;
            if self.eat(b'}')? {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads a list; `element` is called at each element, which it must read.
    #[inline]
    pub(crate) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.expect(b'[')?;
        if self.eat(b']')? {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.eat(b']')? {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// A text's bytes, escapes resolved.
    #[inline]
    pub(crate) fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        let (start, end, escaped) = self.string_span()?;
        let raw = &self.text[start..end];
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        match unescape(raw) {
            Ok(bytes) => Ok(Cow::Owned(bytes)),
            Err((offset, problem)) => Err(Stop::Bad(Bad {
                at: start + offset,
                field: None,
                problem: problem.into(),
            })),
        }
    }

    /// A text's bytes as Unicode.
    pub(crate) fn text(&mut self) -> Read<String> {
        let bytes = self.string()?.into_owned();
        String::from_utf8(bytes).or_else(|_| self.bad("the text is not UTF-8"))
    }

    /// Start and end between the quotes, and whether a backslash occurs.
    #[inline]
    fn string_span(&mut self) -> Read<(usize, usize, bool)> {
        if self.peek()? != b'"' {
            let found = self.describe();
            return self.bad(format!("expected a text, found {found}"));
        }
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            // Keys are short.
            let near = quote_within_eight(self.text, at).map(|offset| at + offset);
            let near = near.or_else(|| quote_within_eight(self.text, at + 8).map(|o| at + 8 + o));
            let stop = match near {
                Some(stop) => stop,
                None => match memchr::memchr2(b'"', b'\\', &self.text[at..]) {
                    Some(offset) => at + offset,
                    None => return Err(Stop::End),
                },
            };
            if self.text[stop] == b'"' {
                self.at = stop + 1;
                return Ok((start, stop, escaped));
            }
            escaped = true;
            at = stop + 2;
            if at > self.text.len() {
                return Err(Stop::End);
            }
        }
    }

    /// A whole number that is not negative.
    #[inline]
    pub(crate) fn id(&mut self) -> Read<u64> {
        let first = self.peek()?;
        if !first.is_ascii_digit() {
            let found = self.describe();
            return self.bad(format!("expected a whole number from 0 on, found {found}"));
        }
        let start = self.at;
        let mut value = 0_u64;
        let mut at = start;
        while let Some(digit) = self.text.get(at).map(|b| b.wrapping_sub(b'0')) {
            if digit > 9 {
                break;
            }
            match value
                .checked_mul(10)
                .and_then(|v| v.checked_add(digit.into()))
            {
                Some(next) => value = next,
                None => return self.bad("the number is beyond 64 bits"),
            }
            at += 1;
        }
        match self.text.get(at) {
            None => Err(Stop::End),
            Some(b'.' | b'e' | b'E') => {
                let real = self.float()?;
                if real.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&real) {
                    Ok(real as u64)
                } else {
                    self.at = start;
                    self.bad(format!("expected a whole number, found {real}"))
                }
            }
            Some(_) if first == b'0' && at > start + 1 => self.bad("a number starts with 0"),
            Some(_) => {
                self.at = at;
                Ok(value)
            }
        }
    }

    /// A whole number of at most 32 bits.
    pub(crate) fn small(&mut self) -> Read<u32> {
        let start = self.at;
        let value = self.id()?;
        u32::try_from(value).or_else(|_| {
            self.at = start;
            self.bad(format!("{value} is beyond 32 bits"))
        })
    }

    /// A number, correctly rounded, or Python's `NaN`, `Infinity`, `-Infinity`.
    #[inline]
    pub(crate) fn float(&mut self) -> Read<f64> {
        self.peek()?;
        let rest = &self.text[self.at..];
        if let Some((value, length)) = short_decimal(rest) {
            self.at += length;
            return Ok(value);
        }
        self.long_float()
    }

    /// Any number.
    fn long_float(&mut self) -> Read<f64> {
        let rest = &self.text[self.at..];
        let digits = rest.strip_prefix(b"-").unwrap_or(rest);
        match digits {
            [b'0'..=b'9', ..] => {}
            [] => return Err(Stop::End),
            _ => return self.odd_float(),
        }
        let Ok((value, length)) = fast_float2::parse_partial::<f64, _>(rest) else {
            return self.bad("not a number");
        };
        if length == rest.len() || (length + 2 >= rest.len() && is_cut(&rest[length..])) {
            return Err(Stop::End);
        }
        if matches!(digits, [b'0', b'0'..=b'9', ..]) {
            return self.bad("a number starts with 0");
        }
        if let Some(point) = memchr::memchr(b'.', &rest[..length])
            && !rest[point + 1].is_ascii_digit()
        {
            return self.bad("no digit after `.`");
        }
        if matches!(rest[length], b'.' | b'e' | b'E') {
            return self.bad("not a number");
        }
        self.at += length;
        Ok(value)
    }

    #[cold]
    fn odd_float(&mut self) -> Read<f64> {
        let tokens = [
            ("NaN", f64::NAN),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ];
        for (token, value) in tokens {
            if self.token(token)? {
                return Ok(value);
            }
        }
        let found = self.describe();
        self.bad(format!("expected a number, found {found}"))
    }

    /// Reads `token` if it comes next.
    fn token(&mut self, token: &str) -> Read<bool> {
        let rest = &self.text[self.at..];
        if rest.starts_with(token.as_bytes()) {
            self.at += token.len();
            return Ok(true);
        }
        if token.as_bytes().starts_with(rest) {
            return Err(Stop::End);
        }
        Ok(false)
    }

    /// Reads `null` if it comes next.
    pub(crate) fn null(&mut self) -> Read<bool> {
        Ok(self.peek()? == b'n' && self.token("null")?)
    }

    /// 0 or another number, `true`, `false`; `null` is false.
    pub(crate) fn flag(&mut self) -> Read<bool> {
        match self.peek()? {
            b'0'..=b'9' | b'-' => Ok(self.float()? != 0.0),
            b't' if self.token("true")? => Ok(true),
            b'f' if self.token("false")? => Ok(false),
            b'n' if self.token("null")? => Ok(false),
            _ => {
                let found = self.describe();
                self.bad(format!("expected 0, 1, true or false, found {found}"))
            }
        }
    }

    /// Reads any value and forgets it. Within lists and objects only brackets and texts are looked
    /// at, so that what is of no interest costs next to nothing.
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.peek()? {
            b'"' => self.string_span().map(|_| ()),
            b'[' => self.skip_to(b'[', b']'),
            b'{' => self.skip_to(b'{', b'}'),
            b't' if self.token("true")? => Ok(()),
            b'f' if self.token("false")? => Ok(()),
            b'n' if self.token("null")? => Ok(()),
            _ => self.float().map(|_| ()),
        }
    }

    /// Reads up to the bracket that closes the one at hand.
    fn skip_to(&mut self, open: u8, close: u8) -> Read<()> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            let Some(offset) = memchr::memchr3(open, close, b'"', &self.text[self.at..]) else {
                self.at = start;
                return Err(Stop::End);
            };
            self.at += offset;
            let byte = self.text[self.at];
            if byte == b'"' {
                self.string_span()?;
                continue;
            }
            self.at += 1;
            if byte == open {
                depth += 1;
            } else {
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            }
        }
    }

    /// Names the field that an error is about.
    #[inline]
    pub(crate) fn field<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        read(self).map_err(|stop| match stop {
            Stop::Bad(bad) => Stop::Bad(Bad {
                field: bad.field.or(Some(name)),
                ..bad
            }),
            Stop::End => Stop::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(text: &str) -> Result<f64, Stop> {
        Cursor::new(text.as_bytes()).float()
    }

    #[test]
    fn numbers_are_jsons_and_pythons() {
        for (text, value) in [
            ("0,", 0.0),
            ("-0.5 ", -0.5),
            ("12e2]", 1200.0),
            ("0.1234567890123456789,", 0.123_456_789_012_345_68),
            ("1e400,", f64::INFINITY),
            ("-Infinity,", f64::NEG_INFINITY),
        ] {
            assert_eq!(float(text).unwrap(), value, "{text}");
        }
        assert!(float("NaN,").unwrap().is_nan());
        for text in [
            "01,", "1.,", "-,", "-a,", "+1,", ".5,", "1e,", "1e+,", "inf,", "nan,", "Nan,",
            "1.2.3,", "1.e5,", "-0.e0,",
        ] {
            assert!(matches!(float(text), Err(Stop::Bad(_))), "{text}");
        }
        for text in ["", "-", "1", "1.", "1.5", "1e", "1e-", "1e-4", "Na", "-Inf"] {
            assert!(matches!(float(text), Err(Stop::End)), "{text}");
        }
    }

    #[test]
    fn short_numbers_equal_the_standard_library() {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..20_000 {
            let length = next(9) as u32 + 1;
            let whole = next(10_u64.pow(length));
            let mut text = if next(4) == 0 { "-" } else { "" }.to_owned() + &whole.to_string();
            if next(5) > 0 {
                text.push('.');
                for _ in 0..next(12) + 1 {
                    text.push(char::from(b'0' + next(10) as u8));
                }
            }
            let expected: f64 = text.parse().unwrap();
            let value = float(&(text.clone() + ",")).unwrap();
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
        }
    }

    #[test]
    fn every_prefix_is_the_end_and_nothing_worse() {
        let text = br#" {"a\u00e9\"": [1, -2.5e3, true, null, {"b": [], "c": {}}, NaN, "x\\"]} "#;
        let mut cursor = Cursor::new(text);
        cursor.skip().unwrap();
        assert_eq!(cursor.at(), text.len() - 1);
        for end in 0..text.len() - 1 {
            assert!(
                matches!(Cursor::new(&text[..end]).skip(), Err(Stop::End)),
                "{end}"
            );
        }
    }

    #[test]
    fn texts() {
        let read = |text: &str| Cursor::new(text.as_bytes()).text();
        assert_eq!(read(r#""a\n\u00e9\ud83d\ude00\/""#).unwrap(), "a\né😀/");
        assert_eq!(
            read(r#""0123456789abcdef0123\\""#).unwrap(),
            "0123456789abcdef0123\\"
        );
        assert_eq!(read(r#""\ud83d""#).unwrap(), "\u{fffd}");
        assert!(matches!(read(r#""\x""#), Err(Stop::Bad(_))));
        assert!(matches!(read(r#""\u00""#), Err(Stop::Bad(_))));
        assert!(matches!(read("\"\\"), Err(Stop::End)));
    }

    #[test]
    fn whole_numbers() {
        let read = |text: &str| Cursor::new(text.as_bytes()).id();
        assert_eq!(read("42,").unwrap(), 42);
        assert_eq!(read("42.0,").unwrap(), 42);
        assert_eq!(read("18446744073709551615,").unwrap(), u64::MAX);
        for text in ["-1,", "1.5,", "18446744073709551616,", "01,", "\"1\","] {
            assert!(matches!(read(text), Err(Stop::Bad(_))), "{text}");
        }
        assert!(matches!(read("42"), Err(Stop::End)));
    }

    #[test]
    fn brackets_are_balanced_whatever_is_between() {
        for (text, rest) in [
            (r#"[[1, 2], {"a": "]"}, "\"]"], 5"#, ", 5"),
            (r#"{"a": {"b": "}"}, "c": [}]}}"#, "]}}"),
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            cursor.skip().unwrap();
            assert_eq!(&text[cursor.at()..], rest);
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(
            Cursor::new(deep.as_bytes()).skip(),
            Err(Stop::End)
        ));
        assert!(matches!(Cursor::new(b"]").skip(), Err(Stop::Bad(_))));
    }
}
