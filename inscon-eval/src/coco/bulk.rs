//! The bulky fields of records, masks and keypoints, kept only where they are needed.

use super::arena::{Lists, Masks};
use super::columns::ResultKind;
use super::{IouType, Segmentation};
use crate::json::{Cursor, Stop};

/// Masks and keypoints of a list of records; of those kept, one entry for each record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bulk {
    keeps_masks: bool,
    keeps_keypoints: bool,
    pub(super) masks: Masks,
    pub(super) keypoints: Lists,
    /// The record being read has a mask, the last of `masks`.
    pending: bool,
    /// The keypoints of the record being read.
    points: Vec<f64>,
}

impl Bulk {
    /// What comparing by `iou_type` takes.
    pub(super) fn of(iou_type: IouType) -> Self {
        Self {
            keeps_masks: iou_type.needs_masks(),
            keeps_keypoints: iou_type == IouType::Keypoints,
            ..Self::default()
        }
    }

    /// Keeps what results of this kind take as well.
    pub(super) fn add(&mut self, kind: Option<ResultKind>) {
        self.keeps_masks |= kind == Some(ResultKind::Masks);
        self.keeps_keypoints |= kind == Some(ResultKind::Keypoints);
    }

    /// Whether it keeps enough to compare by `iou_type`.
    pub(super) fn serves(&self, iou_type: IouType) -> bool {
        let wanted = Self::of(iou_type);
        (self.keeps_masks || !wanted.keeps_masks)
            && (self.keeps_keypoints || !wanted.keeps_keypoints)
    }

    /// Whether both keep the same fields.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.keeps_masks, self.keeps_keypoints) == (other.keeps_masks, other.keeps_keypoints)
    }

    /// An empty one that keeps the same fields.
    pub(super) fn another(&self) -> Self {
        Self {
            keeps_masks: self.keeps_masks,
            keeps_keypoints: self.keeps_keypoints,
            ..Self::default()
        }
    }

    /// Adds a record's.
    pub(super) fn push(&mut self, segmentation: Option<&Segmentation>, keypoints: &[f64]) {
        if self.keeps_masks {
            self.masks.push(segmentation);
        }
        if self.keeps_keypoints {
            self.keypoints.push(keypoints);
        }
    }

    /// Reads the value of `key` if it is kept, and skips it if not.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>, key: &[u8]) -> Result<(), Stop> {
        match key {
            b"segmentation" if self.keeps_masks => {
                // Of a key that occurs twice, the last counts.
                if std::mem::take(&mut self.pending) {
                    self.masks.pop();
                }
                cursor.field("segmentation", |cursor| self.masks.read(cursor))?;
                self.pending = true;
                Ok(())
            }
            b"keypoints" if self.keeps_keypoints => cursor.field("keypoints", |cursor| {
                self.points.clear();
                if cursor.null()? {
                    return Ok(());
                }
                cursor.list(|cursor| {
                    self.points.push(cursor.float()?);
                    Ok(())
                })
            }),
            _ => cursor.skip(),
        }
    }

    /// How many of the last record's keypoints `[x, y, v, ..]` have a `v` above 0: COCO's
    /// `num_keypoints`, for files without it. 0 if they are not kept.
    pub(super) fn labelled(&self) -> u32 {
        let points = self.keypoints.last().unwrap_or_default().as_chunks::<3>().0;
        points.iter().filter(|point| point[2] > 0.0).count() as u32
    }

    /// Ends a record: adds what was read of it, or nothing if it could not be read.
    pub(super) fn finish<T>(&mut self, read: Result<T, Stop>) -> Result<T, Stop> {
        let pending = std::mem::take(&mut self.pending);
        if read.is_err() {
            if pending {
                self.masks.pop();
            }
        } else {
            if self.keeps_masks && !pending {
                self.masks.push(None);
            }
            if self.keeps_keypoints {
                self.keypoints.push(&self.points);
            }
        }
        self.points.clear();
        read
    }

    /// Adds `other`'s after its own.
    pub(super) fn append(&mut self, other: Self) {
        self.masks.append(other.masks);
        self.keypoints.append(other.keypoints);
    }
}
