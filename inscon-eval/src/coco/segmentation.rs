//! A mask as the JSON writes it: polygons, run lengths in text, run lengths as a list.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::Rle;
use crate::RleError;

/// The `segmentation` of an annotation or a detection.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Polygons `[x0, y0, x1, y1, ..]` in pixels; the object is their union.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths in column-major order, background first.
    Rle {
        /// `[height, width]`.
        size: [u32; 2],
        /// The runs.
        counts: Counts,
    },
}

/// The runs of a [`Segmentation::Rle`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, DeriveDeserialize)]
#[serde(untagged)]
pub enum Counts {
    /// Compressed, in pycocotools' text.
    Text(String),
    /// Plain counts.
    List(Vec<u32>),
}

impl Segmentation {
    /// The mask. `height` and `width` are the image's and used by polygons only; run lengths bring
    /// their own size.
    ///
    /// # Errors
    /// When the text is malformed, the runs do not add up to the size, the first polygon has fewer
    /// than three points (pycocotools refuses that as well), or a coordinate is not finite.
    pub fn to_rle(&self, height: u32, width: u32) -> Result<Rle, RleError> {
        match self {
            Self::Polygons(polygons) => Rle::from_polygons(polygons, height, width),
            Self::Rle {
                size: [height, width],
                counts: Counts::Text(text),
            } => Rle::from_string(text, *height, *width),
            Self::Rle {
                size: [height, width],
                counts: Counts::List(counts),
            } => Rle::new(*height, *width, counts.clone()),
        }
    }
}

/// In compressed text, as results files have it.
impl From<&Rle> for Segmentation {
    fn from(rle: &Rle) -> Self {
        Self::Rle {
            size: [rle.height(), rle.width()],
            counts: Counts::Text(rle.to_string()),
        }
    }
}

/// By hand: serde's untagged enums would copy every polygon into a buffer first.
impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Segmentation;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("polygons [[x, y, ..], ..] or run lengths {size, counts}")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Segmentation, A::Error> {
                let mut polygons = Vec::new();
                while let Some(polygon) = seq.next_element()? {
                    polygons.push(polygon);
                }
                Ok(Segmentation::Polygons(polygons))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Segmentation, A::Error> {
                let (mut size, mut counts) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "size" => size = Some(map.next_value()?),
                        "counts" => counts = Some(map.next_value()?),
                        _ => _ = map.next_value::<serde::de::IgnoredAny>()?,
                    }
                }
                let size = size.ok_or_else(|| A::Error::missing_field("size"))?;
                let counts = counts.ok_or_else(|| A::Error::missing_field("counts"))?;
                Ok(Segmentation::Rle { size, counts })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_of_one_mask() {
        // A 4x5 image whose columns 1 and 2 are set.
        let texts = [
            "[[1, 0, 3, 0, 3, 4, 1, 4]]",
            r#"{"size": [4, 5], "counts": [4, 8, 8], "extra": null}"#,
            r#"{"counts": "488", "size": [4, 5]}"#,
        ];
        for text in texts {
            let segmentation: Segmentation = serde_json::from_str(text).unwrap();
            assert_eq!(
                segmentation.to_rle(4, 5).unwrap().counts(),
                [4, 8, 8],
                "{text}"
            );
        }
    }
}
