//! Numbers and flags as they occur in the wild: 0/1 or true/false, Python's NaN and Infinity.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// A number, or one of the texts that [`quote_non_finite`] makes.
struct Float(f64);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Float;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Float, E> {
                Ok(Float(v))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Float, E> {
                Ok(Float(v as f64))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Float, E> {
                Ok(Float(v as f64))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Float, E> {
                match v {
                    "NaN" => Ok(Float(f64::NAN)),
                    "Infinity" => Ok(Float(f64::INFINITY)),
                    "-Infinity" => Ok(Float(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_type(serde::de::Unexpected::Str(v), &self)),
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

pub(super) fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Float::deserialize(deserializer).map(|Float(v)| v)
}

pub(super) fn floats<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<f64>>, D::Error> {
    let list = Option::<Vec<Float>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|Float(v)| v).collect()))
}

pub(super) fn bbox<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 4], D::Error> {
    optional_bbox(deserializer)?.ok_or_else(|| D::Error::custom("a box needs 4 numbers, not none"))
}

/// `null` and `[]` are no box.
pub(super) fn optional_bbox<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[f64; 4]>, D::Error> {
    struct Four;
    impl<'de> Visitor<'de> for Four {
        type Value = Option<[f64; 4]>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a box: [x, y, width, height]")
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut four = [0.0; 4];
            let mut count = 0;
            while let Some(Float(v)) = seq.next_element()? {
                if let Some(slot) = four.get_mut(count) {
                    *slot = v;
                }
                count += 1;
            }
            match count {
                0 => Ok(None),
                4 => Ok(Some(four)),
                _ => Err(A::Error::invalid_length(count, &self)),
            }
        }
    }
    deserializer.deserialize_any(Four)
}

/// A flag: read from 0/1, true/false or null, written as 0/1.
pub(super) mod flag {
    use super::{Deserializer, Error, Visitor, fmt};
    use serde::Serializer;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    pub(in super::super) fn serialize<S: Serializer>(v: &bool, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(u8::from(*v))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
        struct Flag;
        impl Visitor<'_> for Flag {
            type Value = bool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flag: 0, 1, true or false")
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<bool, E> {
                Ok(v)
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<bool, E> {
                Ok(v != 0)
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<bool, E> {
                Ok(v != 0)
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<bool, E> {
                Ok(v != 0.0)
            }
            fn visit_unit<E: Error>(self) -> Result<bool, E> {
                Ok(false)
            }
        }
        d.deserialize_any(Flag)
    }
}

/// Puts Python's bare `NaN`, `Infinity` and `-Infinity`, which are not JSON, into quotes.
pub(super) fn quote_non_finite(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut quoted = false;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let token: &[u8] = match rest[0] {
            b'\\' if quoted => &rest[..rest.len().min(2)],
            b'"' => {
                quoted = !quoted;
                &rest[..1]
            }
            _ if quoted => &rest[..1],
            _ => match [&b"NaN"[..], b"Infinity", b"-Infinity"]
                .iter()
                .find(|t| rest.starts_with(t))
            {
                Some(token) => {
                    let out = out.get_or_insert_with(|| text[..at].to_vec());
                    out.push(b'"');
                    out.extend_from_slice(token);
                    out.push(b'"');
                    at += token.len();
                    continue;
                }
                None => &rest[..1],
            },
        };
        if let Some(out) = &mut out {
            out.extend_from_slice(token);
        }
        at += token.len();
    }
    out.map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_tokens_are_quoted() {
        let text = br#"{"a NaN \" NaN": [NaN, -Infinity, Infinity, 1]}"#;
        let expected = br#"{"a NaN \" NaN": ["NaN", "-Infinity", "Infinity", 1]}"#;
        assert_eq!(quote_non_finite(text).as_ref(), expected);
        assert!(matches!(
            quote_non_finite(br#"["Na\"N", 2]"#),
            Cow::Borrowed(_)
        ));
    }
}
