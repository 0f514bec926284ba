//! Ground truth of LVIS: what COCO's has, and what is known of the classes on each image.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::coco::{GroundTruth, ImageRow, TruthRows, open, required};
use crate::json::{Columns, Cursor, Source, Stop};
use crate::{Category, EvalError, IouType};

/// How many training images a class is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frequency {
    /// Up to 10.
    #[serde(rename = "r")]
    Rare,
    /// 11 to 100.
    #[serde(rename = "c")]
    Common,
    /// More than 100.
    #[serde(rename = "f")]
    Frequent,
}

/// Ground truth as the evaluation needs it: the columns of an `lvis_v1_*.json`, without the masks
/// if boxes are compared.
///
/// ```
/// use inscon_eval::{IouType, LvisTruth};
///
/// let text = r#"{
///     "images": [{"id": 7, "neg_category_ids": [2], "not_exhaustive_category_ids": [1]}],
///     "categories": [{"id": 1, "name": "dog", "frequency": "f"},
///         {"id": 2, "name": "yak", "frequency": "r"}],
///     "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// let truth = LvisTruth::read(text.as_bytes(), "example", IouType::Bbox)?;
/// assert_eq!((truth.len(), truth.image_count(), truth.category_count()), (1, 1, 2));
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LvisTruth {
    /// Images, names of the classes, annotations.
    pub(super) truth: GroundTruth,
    /// Of the classes, in the order of the file.
    pub(super) frequencies: Vec<Frequency>,
    /// Classes that are known not to be on an image.
    pub(super) negatives: Listed,
    /// Classes of which not every object on an image is annotated.
    pub(super) not_exhaustive: Listed,
}

/// Classes listed with images.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    /// Positions of the images in the file.
    pub(super) rows: Vec<u32>,
    pub(super) category_ids: Vec<u64>,
}

impl LvisTruth {
    /// Reads a file, block by block, and keeps what evaluating `iou_type` takes.
    ///
    /// # Errors
    /// When the file cannot be read or is not of this shape: LVIS's images must have
    /// `neg_category_ids` and `not_exhaustive_category_ids`, its categories `frequency`. The
    /// message names the byte and the field.
    pub fn load(path: impl AsRef<Path>, iou_type: IouType) -> Result<Self, EvalError> {
        let path = path.as_ref();
        Self::read(open(path)?, path, iou_type)
    }

    /// Reads from anywhere; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn read(
        reader: impl Read,
        name: impl AsRef<Path>,
        iou_type: IouType,
    ) -> Result<Self, EvalError> {
        let mut source = Source::new(reader, name.as_ref());
        let (mut images, mut classes) = (Images::default(), Classes::default());
        let mut rows = TruthRows::of_lvis(iou_type);
        // Of a key that occurs twice, the last counts.
        source.object(|source, key| match key {
            b"images" => {
                images = Images::default();
                source.records(&mut images)
            }
            b"annotations" => {
                rows = rows.another();
                source.records(&mut rows)
            }
            b"categories" => {
                classes = Classes::default();
                source.records(&mut classes)
            }
            _ => source.skip(),
        })?;
        source.finish()?;
        Ok(Self {
            truth: GroundTruth {
                images: images.rows,
                categories: classes.rows,
                rows,
            },
            frequencies: classes.frequencies,
            negatives: images.negatives,
            not_exhaustive: images.not_exhaustive,
        })
    }

    /// Number of annotations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there is no annotation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// Number of images.
    #[must_use]
    pub fn image_count(&self) -> usize {
        self.truth.image_count()
    }

    /// Number of classes.
    #[must_use]
    pub fn category_count(&self) -> usize {
        self.frequencies.len()
    }
}

/// `images`
#[derive(Default)]
struct Images {
    rows: Vec<ImageRow>,
    negatives: Listed,
    not_exhaustive: Listed,
    scratch: [Vec<u64>; 2],
}

impl Columns for Images {
    fn another(&self) -> Self {
        Self::default()
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let mut id = None;
        let mut image = ImageRow::default();
        let [negatives, not_exhaustive] = &mut self.scratch;
        let (mut has_negatives, mut has_not_exhaustive) = (None, None);
        cursor.object(|cursor, key| {
            match key {
                b"id" => id = Some(cursor.field("id", Cursor::id)?),
                b"width" => image.width = cursor.field("width", Cursor::small)?,
                b"height" => image.height = cursor.field("height", Cursor::small)?,
                b"neg_category_ids" => {
                    has_negatives =
                        Some(cursor.field("neg_category_ids", |c| read_ids(c, negatives))?);
                }
                b"not_exhaustive_category_ids" => {
                    has_not_exhaustive =
                        Some(cursor.field("not_exhaustive_category_ids", |c| {
                            read_ids(c, not_exhaustive)
                        })?);
                }
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        image.id = required(cursor, id, "id")?;
        required(cursor, has_negatives, "neg_category_ids")?;
        required(cursor, has_not_exhaustive, "not_exhaustive_category_ids")?;
        let row = self.rows.len() as u32;
        self.negatives.push(row, negatives);
        self.not_exhaustive.push(row, not_exhaustive);
        self.rows.push(image);
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        let first = self.rows.len() as u32;
        self.negatives.append(first, other.negatives);
        self.not_exhaustive.append(first, other.not_exhaustive);
        self.rows.append(&mut other.rows);
    }
}

impl Listed {
    fn push(&mut self, row: u32, category_ids: &[u64]) {
        self.rows.extend(category_ids.iter().map(|_| row));
        self.category_ids.extend_from_slice(category_ids);
    }

    /// `other`'s images are counted from `first` on.
    fn append(&mut self, first: u32, mut other: Self) {
        self.rows.extend(other.rows.iter().map(|row| first + row));
        self.category_ids.append(&mut other.category_ids);
    }
}

/// `categories`
#[derive(Default)]
struct Classes {
    rows: Vec<Category>,
    frequencies: Vec<Frequency>,
}

impl Columns for Classes {
    fn another(&self) -> Self {
        Self::default()
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let (mut id, mut frequency) = (None, None);
        let mut category = Category::default();
        cursor.object(|cursor, key| {
            match key {
                b"id" => id = Some(cursor.field("id", Cursor::id)?),
                b"name" => category.name = cursor.field("name", Cursor::text)?,
                b"frequency" => frequency = Some(cursor.field("frequency", read_frequency)?),
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        category.id = required(cursor, id, "id")?;
        self.frequencies
            .push(required(cursor, frequency, "frequency")?);
        self.rows.push(category);
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
        self.frequencies.append(&mut other.frequencies);
    }
}

fn read_frequency(cursor: &mut Cursor<'_>) -> Result<Frequency, Stop> {
    match cursor.string()?.as_ref() {
        b"r" => Ok(Frequency::Rare),
        b"c" => Ok(Frequency::Common),
        b"f" => Ok(Frequency::Frequent),
        _ => cursor.bad("expected \"r\", \"c\" or \"f\" before this byte"),
    }
}

fn read_ids(cursor: &mut Cursor<'_>, ids: &mut Vec<u64>) -> Result<(), Stop> {
    ids.clear();
    cursor.list(|cursor| {
        ids.push(cursor.id()?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvis_needs_is_required() {
        for (text, problem) in [
            (
                r#"{"images": [{"id": 1, "neg_category_ids": []}]}"#,
                "has no `not_exhaustive_category_ids`",
            ),
            (
                r#"{"images": [{"id": 1, "not_exhaustive_category_ids": []}]}"#,
                "has no `neg_category_ids`",
            ),
            (r#"{"categories": [{"id": 1}]}"#, "has no `frequency`"),
            (
                r#"{"categories": [{"id": 1, "frequency": "x"}]}"#,
                "`frequency`: expected",
            ),
        ] {
            let error = LvisTruth::read(text.as_bytes(), "x", IouType::Bbox).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
    }

    #[test]
    fn lists_stay_with_their_images() {
        // More than one block of the reader.
        let count = 60_000_u64;
        let images: Vec<String> = (0..count)
            .map(|i| {
                let (negatives, rest) = (vec![i; i as usize % 3], vec![i + 1; i as usize % 2]);
                format!(
                    r#"{{"id":{i},"neg_category_ids":{negatives:?},"not_exhaustive_category_ids":{rest:?}}}"#
                )
            })
            .collect();
        let text = format!(r#"{{"images":[{}]}}"#, images.join(","));
        assert!(text.len() > 4 << 20);
        let truth = LvisTruth::read(text.as_bytes(), "x", IouType::Bbox).unwrap();
        assert_eq!(truth.image_count() as u64, count);
        let expected = |copies: u64, add: u64| {
            (0..count).flat_map(move |i| vec![(i as u32, i + add); (i % copies) as usize])
        };
        let pairs = |listed: &Listed| -> Vec<(u32, u64)> {
            let ids = listed.category_ids.iter().copied();
            listed.rows.iter().copied().zip(ids).collect()
        };
        assert!(expected(3, 0).eq(pairs(&truth.negatives)));
        assert!(expected(2, 1).eq(pairs(&truth.not_exhaustive)));
    }
}
