//! A mask made ready for many comparisons.

use super::{Rle, box_iou, rle_text, runs};
use crate::RleError;

/// Run lengths with what comparisons need again and again. Decoding into one reuses its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    height: u32,
    width: u32,
    counts: Vec<u32>,
    area: u32,
    bbox: [f64; 4],
    /// No run but the first is empty, as every encoder writes them.
    plain: bool,
}

impl Spans {
    pub(super) fn of(rle: Rle) -> Self {
        let (height, width) = (rle.height(), rle.width());
        let mut spans = Self {
            height,
            width,
            counts: rle.into_counts(),
            ..Self::default()
        };
        spans.measure();
        spans
    }

    /// Takes over the mask of pycocotools' compressed text.
    pub(super) fn decode(&mut self, height: u32, width: u32, text: &[u8]) -> Result<(), RleError> {
        (self.height, self.width) = (height, width);
        rle_text::decode_into(text, &mut self.counts)?;
        Rle::check(height, width, &self.counts)?;
        self.measure();
        Ok(())
    }

    fn measure(&mut self) {
        let (pairs, _) = self.counts.as_chunks::<2>();
        self.area = pairs.iter().map(|pair| pair[1]).sum();
        self.bbox = bbox_of(self.height, self.width, &self.counts);
        self.plain = self.counts.iter().skip(1).all(|&count| count > 0);
    }

    pub(super) fn to_rle(&self) -> Rle {
        Rle::unchecked(self.height, self.width, self.counts.clone())
    }

    /// How many pixels the whole picture has.
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.height) * u64::from(self.width)
    }

    /// Height and width.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.height, self.width)
    }

    /// How many runs it holds.
    pub(super) fn runs(&self) -> usize {
        self.counts.len()
    }

    pub(super) fn area(&self) -> u32 {
        self.area
    }

    pub(super) fn bbox(&self) -> &[f64; 4] {
        &self.bbox
    }

    /// [`Rle::iou`], or any number below `lowest` if that is what it is.
    pub(super) fn iou(&self, truth: &Self, crowd: bool, lowest: f64) -> f64 {
        // The boxes decide first; without an overlap of theirs even the sizes do not matter.
        let boxes = box_iou(&self.bbox, &truth.bbox, crowd);
        if boxes.is_nan() || boxes <= 0.0 {
            return boxes;
        }
        if (self.height, self.width) != (truth.height, truth.width) {
            return -1.0;
        }
        if !(self.plain || truth.plain) {
            return self.to_rle().iou(&truth.to_rle(), crowd);
        }
        let quotient = |both: u32| {
            if both == 0 {
                return 0.0;
            }
            let over = if crowd {
                self.area
            } else {
                // In 64 bits: the areas alone may add up to more than the mask has pixels.
                (u64::from(self.area) + u64::from(truth.area) - u64::from(both)) as u32
            };
            f64::from(both) / f64::from(over)
        };
        // At most so many pixels are common; dividing is monotonic, rounding included.
        let common = self.area.min(truth.area).min(self.common_box(truth));
        let bound = quotient(common);
        if bound < lowest {
            return bound;
        }
        quotient(runs::intersection(&self.counts, &truth.counts))
    }

    /// Pixels that the two boxes share.
    fn common_box(&self, other: &Self) -> u32 {
        let side = |axis: usize| {
            let (a, b) = (&self.bbox, &other.bbox);
            (a[axis] + a[axis + 2]).min(b[axis] + b[axis + 2]) - a[axis].max(b[axis])
        };
        (side(0) * side(1)) as u32
    }
}

/// The smallest box around the foreground, as [`Rle::bbox`] describes it.
pub(super) fn bbox_of(height: u32, width: u32, counts: &[u32]) -> [f64; 4] {
    if counts.len() < 2 {
        return [0.0; 4];
    }
    let [mut left, mut top, mut right, mut bottom] = [width, height, 0, 0];
    // Column and row of the current pixel.
    let (mut x, mut y) = (0_u32, 0_u32);
    let advance = |x: &mut u32, y: &mut u32, count: u64| {
        let mut row = u64::from(*y) + count;
        let tall = u64::from(height.max(1));
        if row >= tall {
            // Most runs end in the same column or the next.
            row -= tall;
            *x += 1;
            if row >= tall {
                *x += (row / tall) as u32;
                row %= tall;
            }
        }
        *y = row as u32;
    };
    let (pairs, _) = counts.as_chunks::<2>();
    // 1 after a run of foreground, whose last pixel is where x and y are.
    let mut step = 0;
    for &[gap, run] in pairs {
        advance(&mut x, &mut y, u64::from(gap) + step);
        step = u64::from(run > 0);
        if run == 0 {
            continue;
        }
        let (first, start) = (x, y);
        advance(&mut x, &mut y, u64::from(run) - 1);
        left = left.min(first);
        right = right.max(x);
        if first < x {
            (top, bottom) = (0, height - 1);
        } else {
            top = top.min(start);
            bottom = bottom.max(y);
        }
    }
    // Wraps around, as pycocotools' unsigned arithmetic does, when every run is empty.
    let extent = |from: u32, to: u32| f64::from(to.wrapping_sub(from).wrapping_add(1));
    [
        left.into(),
        top.into(),
        extent(left, right),
        extent(top, bottom),
    ]
}
