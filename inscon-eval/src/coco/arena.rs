//! Masks and keypoints of many objects in a few long vectors.

use super::{Counts, Rle, Segmentation, rle_text};
use crate::RleError;
use crate::json::{Cursor, Stop};

/// The masks of a list of objects, undecoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Masks {
    /// One for each object.
    entries: Vec<Entry>,
    /// Compressed run lengths.
    text: Vec<u8>,
    /// Lengths of polygons.
    polygons: Vec<usize>,
    /// Their coordinates.
    coordinates: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    None,
    Rle {
        height: u32,
        width: u32,
        start: usize,
        len: usize,
    },
    Polygons {
        first: usize,
        count: usize,
        start: usize,
    },
}

/// An undecoded mask.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MaskRef<'a> {
    /// Compressed run lengths.
    Rle {
        height: u32,
        width: u32,
        text: &'a [u8],
    },
    /// Lengths of the polygons, and their coordinates one after the other.
    Polygons {
        lengths: &'a [usize],
        coordinates: &'a [f64],
    },
}

impl Masks {
    pub(crate) fn get(&self, index: usize) -> Option<MaskRef<'_>> {
        match *self.entries.get(index)? {
            Entry::None => None,
            Entry::Rle {
                height,
                width,
                start,
                len,
            } => Some(MaskRef::Rle {
                height,
                width,
                text: &self.text[start..start + len],
            }),
            Entry::Polygons {
                first,
                count,
                start,
            } => {
                let lengths = &self.polygons[first..first + count];
                let total = lengths.iter().sum::<usize>();
                Some(MaskRef::Polygons {
                    lengths,
                    coordinates: &self.coordinates[start..start + total],
                })
            }
        }
    }

    pub(crate) fn push(&mut self, segmentation: Option<&Segmentation>) {
        let entry = match segmentation {
            None => Entry::None,
            Some(Segmentation::Polygons(polygons)) => {
                let (first, start) = (self.polygons.len(), self.coordinates.len());
                for polygon in polygons {
                    self.polygons.push(polygon.len());
                    self.coordinates.extend_from_slice(polygon);
                }
                Entry::Polygons {
                    first,
                    count: polygons.len(),
                    start,
                }
            }
            Some(Segmentation::Rle {
                size: [height, width],
                counts,
            }) => {
                let start = self.text.len();
                match counts {
                    Counts::Text(text) => self.text.extend_from_slice(text.as_bytes()),
                    Counts::List(counts) => rle_text::encode(counts, &mut self.text),
                }
                Entry::Rle {
                    height: *height,
                    width: *width,
                    start,
                    len: self.text.len() - start,
                }
            }
        };
        self.entries.push(entry);
    }

    /// Reads a `segmentation`, and adds it or adds nothing.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let (text, polygons) = (self.text.len(), self.polygons.len());
        let coordinates = self.coordinates.len();
        let read = match cursor.peek()? {
            b'[' => self.read_polygons(cursor),
            b'{' => self.read_rle(cursor),
            _ if cursor.null()? => Ok(Entry::None),
            _ => {
                let found = cursor.describe();
                cursor.bad(format!(
                    "expected polygons [[x, y, ..], ..] or run lengths {{size, counts}}, found {found}"
                ))
            }
        };
        match read {
            Ok(entry) => {
                self.entries.push(entry);
                Ok(())
            }
            Err(stop) => {
                self.text.truncate(text);
                self.polygons.truncate(polygons);
                self.coordinates.truncate(coordinates);
                Err(stop)
            }
        }
    }

    fn read_polygons(&mut self, cursor: &mut Cursor<'_>) -> Result<Entry, Stop> {
        let (first, start) = (self.polygons.len(), self.coordinates.len());
        cursor.list(|cursor| {
            let before = self.coordinates.len();
            cursor.list(|cursor| {
                self.coordinates.push(cursor.float()?);
                Ok(())
            })?;
            self.polygons.push(self.coordinates.len() - before);
            Ok(())
        })?;
        Ok(Entry::Polygons {
            first,
            count: self.polygons.len() - first,
            start,
        })
    }

    fn read_rle(&mut self, cursor: &mut Cursor<'_>) -> Result<Entry, Stop> {
        let start = self.text.len();
        let (mut size, mut counts) = (None, false);
        cursor.object(|cursor, key| match key {
            b"size" => cursor.field("size", |cursor| {
                let (mut sides, mut count) = ([0; 2], 0);
                cursor.list(|cursor| {
                    let side = cursor.small()?;
                    if let Some(slot) = sides.get_mut(count) {
                        *slot = side;
                    }
                    count += 1;
                    Ok(())
                })?;
                if count != 2 {
                    return cursor.bad(format!("expected [height, width], found {count} numbers"));
                }
                size = Some(sides);
                Ok(())
            }),
            b"counts" => cursor.field("counts", |cursor| {
                self.text.truncate(start);
                counts = true;
                if cursor.peek()? == b'[' {
                    let mut list = Vec::new();
                    cursor.list(|cursor| {
                        list.push(cursor.small()?);
                        Ok(())
                    })?;
                    rle_text::encode(&list, &mut self.text);
                } else {
                    self.text.extend_from_slice(&cursor.string()?);
                }
                Ok(())
            }),
            _ => cursor.skip(),
        })?;
        match (size, counts) {
            (Some([height, width]), true) => Ok(Entry::Rle {
                height,
                width,
                start,
                len: self.text.len() - start,
            }),
            (None, _) => cursor.bad("run lengths without `size`"),
            (_, false) => cursor.bad("run lengths without `counts`"),
        }
    }

    /// Forgets the last one.
    pub(crate) fn pop(&mut self) {
        match self.entries.pop() {
            Some(Entry::Rle { start, .. }) => self.text.truncate(start),
            Some(Entry::Polygons { first, start, .. }) => {
                self.polygons.truncate(first);
                self.coordinates.truncate(start);
            }
            _ => {}
        }
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        let (text, polygons) = (self.text.len(), self.polygons.len());
        let coordinates = self.coordinates.len();
        self.entries
            .extend(other.entries.iter().map(|&entry| match entry {
                Entry::None => Entry::None,
                Entry::Rle {
                    height,
                    width,
                    start,
                    len,
                } => Entry::Rle {
                    height,
                    width,
                    start: start + text,
                    len,
                },
                Entry::Polygons {
                    first,
                    count,
                    start,
                } => Entry::Polygons {
                    first: first + polygons,
                    count,
                    start: start + coordinates,
                },
            }));
        self.text.append(&mut other.text);
        self.polygons.append(&mut other.polygons);
        self.coordinates.append(&mut other.coordinates);
    }
}

impl MaskRef<'_> {
    /// The mask; `height` and `width` are the image's and used by polygons only.
    pub(crate) fn to_rle(self, height: u32, width: u32) -> Result<Rle, RleError> {
        match self {
            Self::Rle {
                height,
                width,
                text,
            } => Rle::new(height, width, rle_text::decode(text)?),
            Self::Polygons {
                lengths,
                coordinates,
            } => {
                let mut rest = coordinates;
                let polygons: Vec<Vec<f64>> = lengths
                    .iter()
                    .map(|&len| {
                        let (polygon, left) = rest.split_at(len);
                        rest = left;
                        polygon.to_vec()
                    })
                    .collect();
                Rle::from_polygons(&polygons, height, width)
            }
        }
    }
}

/// Lists of numbers of many objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    /// Where each ends.
    ends: Vec<usize>,
    numbers: Vec<f64>,
}

impl Lists {
    pub(crate) fn get(&self, index: usize) -> &[f64] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.numbers[start..self.ends[index]]
    }

    pub(crate) fn last(&self) -> Option<&[f64]> {
        self.ends.len().checked_sub(1).map(|last| self.get(last))
    }

    pub(crate) fn push(&mut self, numbers: &[f64]) {
        self.numbers.extend_from_slice(numbers);
        self.ends.push(self.numbers.len());
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        let start = self.numbers.len();
        self.ends.extend(other.ends.iter().map(|end| start + end));
        self.numbers.append(&mut other.numbers);
    }
}
