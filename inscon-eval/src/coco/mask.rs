//! Binary masks as run lengths, with pycocotools' arithmetic.

use std::fmt;

use super::spans::bbox_of;
use super::{box_iou, polygon, rle_text, runs};
use crate::RleError;

/// A binary mask as column-major run lengths, background first. The runs always add up to
/// `height * width`, which fits 32 bits.
///
/// `Display` (and so `to_string()`) writes pycocotools' compressed text.
///
/// ```
/// use inscon_eval::Rle;
///
/// let mask = [
///     0, 1, 1, //
///     0, 1, 0,
/// ];
/// let rle = Rle::encode(&mask, 2, 3);
/// assert_eq!(rle.counts(), [2, 3, 1]);
/// assert_eq!(rle.area(), 3);
/// assert_eq!(rle.bbox(), [1.0, 0.0, 2.0, 2.0]);
/// assert_eq!(rle.decode(), mask);
/// assert_eq!(Rle::from_string(&rle.to_string(), 2, 3)?, rle);
/// # Ok::<(), inscon_eval::RleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rle {
    height: u32,
    width: u32,
    counts: Vec<u32>,
}

impl Rle {
    /// A mask from its runs. Runs of zero are allowed and kept.
    ///
    /// # Errors
    /// When the runs do not add up to `height * width`, or that does not fit 32 bits.
    pub fn new(height: u32, width: u32, counts: Vec<u32>) -> Result<Self, RleError> {
        Self::check(height, width, &counts)?;
        Ok(Self::unchecked(height, width, counts))
    }

    /// Whether the runs add up.
    pub(super) fn check(height: u32, width: u32, counts: &[u32]) -> Result<(), RleError> {
        let expected = pixels(height, width)?.into();
        let total = counts.iter().map(|&c| u64::from(c)).sum();
        if total == expected {
            return Ok(());
        }
        Err(RleError::Total {
            total,
            height,
            width,
            expected,
        })
    }

    /// Runs that are known to add up.
    pub(super) fn unchecked(height: u32, width: u32, counts: Vec<u32>) -> Self {
        Self {
            height,
            width,
            counts,
        }
    }

    pub(super) fn into_counts(self) -> Vec<u32> {
        self.counts
    }

    /// The mask of a row-major picture `[height, width]`; any byte but 0 is foreground.
    ///
    /// # Panics
    /// When `mask` is not of `height * width` bytes, or that is more than `u32::MAX`.
    #[must_use]
    pub fn encode(mask: &[u8], height: u32, width: u32) -> Self {
        let (h, w) = (height as usize, width as usize);
        assert!(
            mask.len() == h * w && u32::try_from(mask.len()).is_ok(),
            "a mask of {} bytes is not of {height}x{width} pixels",
            mask.len()
        );
        let mut counts = Vec::new();
        let (mut inside, mut run) = (false, 0);
        for x in 0..w {
            for y in 0..h {
                let value = mask[y * w + x] != 0;
                if value != inside {
                    counts.push(std::mem::take(&mut run));
                    inside = value;
                }
                run += 1;
            }
        }
        counts.push(run);
        Self {
            height,
            width,
            counts,
        }
    }

    /// The row-major picture `[height, width]` of 0 and 1: a byte for each pixel, however few runs
    /// there are.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        let (h, w) = (self.height as usize, self.width as usize);
        let mut mask = vec![0; h * w];
        for (start, end) in self.foreground() {
            for at in start as usize..end as usize {
                mask[at % h * w + at / h] = 1;
            }
        }
        mask
    }

    /// The union of polygons `[x0, y0, x1, y1, ..]` in pixels, each rasterised as pycocotools'
    /// `frPoly` does. Time and memory follow the columns of the image that the edges cross, not how
    /// long the edges are: at most the width for each edge, and at most 2^24 for a polygon.
    ///
    /// # Errors
    /// When there is no polygon or the first has fewer than three points (pycocotools refuses
    /// that as well; later ones may be degenerate), a coordinate is not finite, the image has no
    /// pixels or too many, or a polygon crosses more than 2^24 of its columns.
    pub fn from_polygons(polygons: &[Vec<f64>], height: u32, width: u32) -> Result<Self, RleError> {
        let first = polygons.first().map_or(0, Vec::len);
        if first <= 4 {
            return Err(RleError::Polygon(first));
        }
        if pixels(height, width)? == 0 {
            return Err(RleError::NoImage { height, width });
        }
        // One after the other: of many polygons only the union so far is kept.
        let mut union: Option<Vec<u32>> = None;
        for xy in polygons {
            let counts = polygon::rasterize(xy, height, width)?;
            union = Some(match union {
                None => counts,
                Some(union) => runs::merge(&union, &counts, false),
            });
        }
        Ok(Self::unchecked(height, width, union.unwrap_or_default()))
    }

    /// The mask of pycocotools' compressed text. Takes four bytes of memory for each of its bytes,
    /// whatever the size of the mask.
    ///
    /// # Errors
    /// When the text is malformed or its runs do not add up to `height * width`.
    pub fn from_string(text: &str, height: u32, width: u32) -> Result<Self, RleError> {
        Self::new(height, width, rle_text::decode(text.as_bytes())?)
    }

    /// The union of `masks`, or their intersection; of none, the mask of no pixels.
    ///
    /// # Errors
    /// When their sizes differ.
    pub fn merge(masks: &[Self], intersect: bool) -> Result<Self, RleError> {
        let Some((first, rest)) = masks.split_first() else {
            return Ok(Self {
                height: 0,
                width: 0,
                counts: Vec::new(),
            });
        };
        let mut merged = first.clone();
        for mask in rest {
            if (mask.height, mask.width) != (first.height, first.width) {
                let (h, w) = (first.height, first.width);
                return Err(RleError::Sizes(h, w, mask.height, mask.width));
            }
            merged.counts = runs::merge(&merged.counts, &mask.counts, intersect);
        }
        Ok(merged)
    }

    /// Pixels from top to bottom.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Pixels from left to right.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The runs: column-major, background first.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Number of foreground pixels.
    #[must_use]
    pub fn area(&self) -> u32 {
        self.counts.iter().skip(1).step_by(2).sum()
    }

    /// The smallest box around the foreground, `[x, y, width, height]`. Without foreground it is
    /// zeros; if there are foreground runs but all are empty, it is pycocotools' box far outside.
    #[must_use]
    pub fn bbox(&self) -> [f64; 4] {
        bbox_of(self.height, self.width, &self.counts)
    }

    /// Intersection over union with the truth `other`; over this mask's own area if `crowd`.
    /// Masks of different sizes whose boxes overlap give -1, as in pycocotools.
    #[must_use]
    pub fn iou(&self, other: &Self, crowd: bool) -> f64 {
        // The boxes decide first; without an overlap of theirs even the sizes do not matter.
        let boxes = box_iou(&self.bbox(), &other.bbox(), crowd);
        if boxes.is_nan() || boxes <= 0.0 {
            return boxes;
        }
        if (self.height, self.width) != (other.height, other.width) {
            return -1.0;
        }
        let (mut both, mut either) = (0_u32, 0_u32);
        let visit = |length, a, b| {
            both += if a && b { length } else { 0 };
            either += if a || b { length } else { 0 };
        };
        runs::walk(&self.counts, &other.counts, visit, true);
        match (both, crowd) {
            (0, _) => 0.0,
            (_, true) => f64::from(both) / f64::from(self.area()),
            (_, false) => f64::from(both) / f64::from(either),
        }
    }

    /// Start and end (excluded) of each foreground run, column-major.
    pub(super) fn foreground(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut end = 0;
        let spans = self.counts.iter().map(move |&count| {
            end += count;
            (end - count, end)
        });
        spans.skip(1).step_by(2)
    }
}

/// pycocotools' compressed text.
impl fmt::Display for Rle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        rle_text::write(&self.counts, f)
    }
}

fn pixels(height: u32, width: u32) -> Result<u32, RleError> {
    height
        .checked_mul(width)
        .ok_or(RleError::TooLarge { height, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_runs_as_pycocotools_gives_them() {
        let far = 4_294_967_292.0;
        let cases: [(&[u32], [f64; 4]); 9] = [
            (&[20], [0.0; 4]),
            (&[0, 20], [0.0, 0.0, 5.0, 4.0]),
            (&[4, 4, 12], [1.0, 0.0, 1.0, 4.0]),
            (&[3, 2, 15], [0.0, 0.0, 2.0, 4.0]),
            (&[0, 1, 19], [0.0, 0.0, 1.0, 1.0]),
            (&[7, 0, 3, 4, 6], [2.0, 0.0, 2.0, 4.0]),
            (&[2, 8, 10], [0.0, 0.0, 3.0, 4.0]),
            (&[0, 0, 20], [5.0, 4.0, far, far + 1.0]),
            (&[20, 0], [5.0, 4.0, far, far + 1.0]),
        ];
        for (counts, bbox) in cases {
            assert_eq!(
                Rle::new(4, 5, counts.to_vec()).unwrap().bbox(),
                bbox,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn runs_must_fill_the_mask() {
        assert!(matches!(
            Rle::new(4, 5, vec![19]),
            Err(RleError::Total { total: 19, .. })
        ));
        assert!(matches!(
            Rle::new(1 << 16, 1 << 16, vec![]),
            Err(RleError::TooLarge { .. })
        ));
        for counts in [vec![], vec![0], vec![0, 0], vec![0; 3]] {
            let empty = Rle::new(0, 5, counts).unwrap();
            assert!(empty.decode().is_empty());
            assert!(empty.bbox()[2] == 0.0 || empty.bbox()[0] == 5.0);
        }
    }

    #[test]
    fn different_sizes_give_minus_one_only_where_boxes_overlap() {
        let a = Rle::new(4, 5, vec![3, 10, 7]).unwrap();
        let b = Rle::new(5, 4, vec![3, 10, 7]).unwrap();
        let corner = Rle::new(5, 4, vec![19, 1]).unwrap();
        assert_eq!(a.iou(&b, false), -1.0);
        assert_eq!(
            Rle::new(4, 5, vec![0, 1, 19]).unwrap().iou(&corner, false),
            0.0
        );
        assert!(Rle::merge(&[a, b], false).is_err());
    }
}
