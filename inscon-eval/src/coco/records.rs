//! Records of the files, read into columns.

use super::Category;
use super::columns::{IGNORE, ImageRow, ResultKind, Results, TruthRows, flags};
use crate::json::{Columns, Cursor, Stop};

impl Columns for TruthRows {
    fn another(&self) -> Self {
        Self {
            bulk: self.bulk.another(),
            of_lvis: self.of_lvis,
            ..Self::default()
        }
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let (mut id, mut image, mut category, mut area) = (None, None, None, None);
        let (mut bbox, mut num_keypoints) = (None, None);
        let (mut crowd, mut difficult, mut ignore) = (false, false, false);
        let read = cursor
            .object(|cursor, key| {
                match key {
                    b"id" => id = Some(cursor.field("id", Cursor::id)?),
                    b"image_id" => image = Some(cursor.field("image_id", Cursor::id)?),
                    b"category_id" => category = Some(cursor.field("category_id", Cursor::id)?),
                    b"bbox" => bbox = cursor.field("bbox", read_box)?,
                    b"area" => area = Some(cursor.field("area", Cursor::float)?),
                    b"ignore" if self.of_lvis => {
                        ignore = cursor.field("ignore", Cursor::flag)?;
                    }
                    b"iscrowd" if !self.of_lvis => {
                        crowd = cursor.field("iscrowd", Cursor::flag)?;
                    }
                    b"difficult" => difficult = cursor.field("difficult", Cursor::flag)?,
                    b"num_keypoints" if !cursor.null()? => {
                        num_keypoints = Some(cursor.field("num_keypoints", Cursor::small)?);
                    }
                    b"num_keypoints" => {}
                    _ => self.bulk.read(cursor, key)?,
                }
                Ok(())
            })
            .and_then(|()| {
                Ok((
                    required(cursor, id, "id")?,
                    required(cursor, image, "image_id")?,
                    required(cursor, category, "category_id")?,
                    required(cursor, area, "area")?,
                ))
            });
        let (id, image, category, area) = self.bulk.finish(read)?;
        self.ids.push(id);
        self.image_ids.push(image);
        self.category_ids.push(category);
        self.areas.push(area);
        let flags = flags(crowd, difficult, bbox.is_some());
        self.flags.push(flags | (u8::from(ignore) * IGNORE));
        self.boxes.push(bbox.unwrap_or_default());
        let labelled = num_keypoints.unwrap_or_else(|| self.bulk.labelled());
        self.num_keypoints.push(labelled);
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.ids.append(&mut other.ids);
        self.image_ids.append(&mut other.image_ids);
        self.category_ids.append(&mut other.category_ids);
        self.boxes.append(&mut other.boxes);
        self.areas.append(&mut other.areas);
        self.flags.append(&mut other.flags);
        self.num_keypoints.append(&mut other.num_keypoints);
        self.bulk.append(other.bulk);
    }
}

impl Columns for Results {
    fn another(&self) -> Self {
        Self {
            bulk: self.bulk.another(),
            kind: self.kind,
            ..Self::default()
        }
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let (mut image, mut category, mut score, mut bbox) = (None, None, None, None);
        let read = cursor
            .object(|cursor, key| {
                match key {
                    b"image_id" => image = Some(cursor.field("image_id", Cursor::id)?),
                    b"category_id" => category = Some(cursor.field("category_id", Cursor::id)?),
                    b"bbox" => bbox = cursor.field("bbox", read_box)?,
                    b"score" => score = Some(cursor.field("score", Cursor::float)?),
                    _ => self.bulk.read(cursor, key)?,
                }
                Ok(())
            })
            .and_then(|()| {
                Ok((
                    required(cursor, image, "image_id")?,
                    required(cursor, category, "category_id")?,
                    required(cursor, score, "score")?,
                ))
            });
        let (image, category, score) = self.bulk.finish(read)?;
        self.image_ids.push(image);
        self.category_ids.push(category);
        self.scores.push(score);
        self.has_box.push(bbox.is_some());
        self.boxes.push(bbox.unwrap_or_default());
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.image_ids.append(&mut other.image_ids);
        self.category_ids.append(&mut other.category_ids);
        self.scores.append(&mut other.scores);
        self.boxes.append(&mut other.boxes);
        self.has_box.append(&mut other.has_box);
        self.bulk.append(other.bulk);
    }
}

/// What the first detection of a list is; `None` of an empty list.
pub(super) fn first_kind(cursor: &mut Cursor<'_>) -> Result<Option<ResultKind>, Stop> {
    cursor.expect(b'[')?;
    if cursor.eat(b']')? {
        return Ok(None);
    }
    let (mut bbox, mut mask, mut keypoints) = (false, false, false);
    cursor.object(|cursor, key| match key {
        b"bbox" => read_box(cursor).map(|found| bbox = found.is_some()),
        b"segmentation" if !cursor.null()? => {
            mask = true;
            cursor.skip()
        }
        b"keypoints" if !cursor.null()? => {
            keypoints = true;
            cursor.skip()
        }
        b"segmentation" | b"keypoints" => Ok(()),
        _ => cursor.skip(),
    })?;
    Ok(Some(match (bbox, mask, keypoints) {
        (true, ..) => ResultKind::Boxes,
        (false, false, true) => ResultKind::Keypoints,
        _ => ResultKind::Masks,
    }))
}

impl Columns for Rows<'_, ImageRow> {
    fn another(&self) -> Self {
        Self::Own(Vec::new())
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let mut id = None;
        let mut image = ImageRow::default();
        cursor.object(|cursor, key| {
            match key {
                b"id" => id = Some(cursor.field("id", Cursor::id)?),
                b"width" => image.width = cursor.field("width", Cursor::small)?,
                b"height" => image.height = cursor.field("height", Cursor::small)?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        image.id = required(cursor, id, "id")?;
        self.rows().push(image);
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.rows().append(other.rows());
    }
}

impl Columns for Rows<'_, Category> {
    fn another(&self) -> Self {
        Self::Own(Vec::new())
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let mut id = None;
        let mut category = Category::default();
        cursor.object(|cursor, key| {
            match key {
                b"id" => id = Some(cursor.field("id", Cursor::id)?),
                b"name" => category.name = cursor.field("name", Cursor::text)?,
                b"supercategory" if !cursor.null()? => {
                    category.supercategory = Some(cursor.field("supercategory", Cursor::text)?);
                }
                b"supercategory" => {}
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        category.id = required(cursor, id, "id")?;
        self.rows().push(category);
        Ok(())
    }

    fn append(&mut self, mut other: Self) {
        self.rows().append(other.rows());
    }
}

/// Rows of a table that is borrowed, or a part of it.
pub(super) enum Rows<'a, T> {
    Borrowed(&'a mut Vec<T>),
    Own(Vec<T>),
}

impl<T> Rows<'_, T> {
    fn rows(&mut self) -> &mut Vec<T> {
        match self {
            Self::Borrowed(rows) => rows,
            Self::Own(rows) => rows,
        }
    }
}

/// A table that is read anew: of a key that occurs twice, the last counts.
pub(super) struct Fresh<'a, T>(pub(super) &'a mut Vec<T>);

impl<'a, T> Fresh<'a, T> {
    pub(super) fn rows(self) -> Rows<'a, T> {
        self.0.clear();
        Rows::Borrowed(self.0)
    }
}

pub(crate) fn required<T>(cursor: &Cursor<'_>, value: Option<T>, name: &str) -> Result<T, Stop> {
    match value {
        Some(value) => Ok(value),
        None => cursor.bad(format!("the object that ends here has no `{name}`")),
    }
}

/// `[x, y, width, height]`; `[]` and `null` are none.
#[inline]
fn read_box(cursor: &mut Cursor<'_>) -> Result<Option<[f64; 4]>, Stop> {
    if cursor.null()? {
        return Ok(None);
    }
    let mut four = [0.0; 4];
    let mut count = 0;
    cursor.list(|cursor| {
        let value = cursor.float()?;
        if let Some(slot) = four.get_mut(count) {
            *slot = value;
        }
        count += 1;
        Ok(())
    })?;
    match count {
        0 => Ok(None),
        4 => Ok(Some(four)),
        _ => cursor.bad(format!(
            "expected [x, y, width, height], found {count} numbers"
        )),
    }
}
