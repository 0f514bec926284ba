//! Anchors of the feature pyramid.

/// detectron2's `DefaultAnchorGenerator` with offset 0: boxes of given sizes and aspect ratios
/// around `(u · stride, v · stride)` of every cell.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorGenerator {
    cells: Vec<Vec<[f32; 4]>>,
}

impl AnchorGenerator {
    /// `sizes[level]` in pixels; `ratios` is height over width; `rounding` moves the sides of the
    /// anchors around the origin to whole pixels, ties to even, as torchvision does.
    #[must_use]
    pub fn new(sizes: &[Vec<f32>], ratios: &[f32], rounding: bool) -> Self {
        Self {
            cells: sizes
                .iter()
                .map(|sizes| cell_anchors(sizes, ratios, rounding))
                .collect(),
        }
    }

    /// The anchors of one level around the origin, sizes outermost.
    ///
    /// # Panics
    /// If there is no such level.
    #[must_use]
    pub fn cell(&self, level: usize) -> &[[f32; 4]] {
        &self.cells[level]
    }

    /// The anchors of a whole level: row by row, cell by cell, then as in [`Self::cell`].
    ///
    /// # Panics
    /// If there is no such level.
    #[must_use]
    pub fn grid(&self, level: usize, [height, width]: [usize; 2], stride: usize) -> Vec<[f32; 4]> {
        let mut anchors = Vec::with_capacity(height * width * self.cells[level].len());
        for v in 0..height {
            for u in 0..width {
                let (x, y) = ((u * stride) as f32, (v * stride) as f32);
                let shifted = self.cells[level].iter();
                anchors.extend(shifted.map(|a| [a[0] + x, a[1] + y, a[2] + x, a[3] + y]));
            }
        }
        anchors
    }
}

fn cell_anchors(sizes: &[f32], ratios: &[f32], rounding: bool) -> Vec<[f32; 4]> {
    let anchor = |size: f32, ratio: f32| {
        let width = (f64::from(size).powi(2) / f64::from(ratio)).sqrt();
        let height = f64::from(ratio) * width;
        let side = |x: f64| if rounding { x.round_ties_even() } else { x };
        [-width / 2.0, -height / 2.0, width / 2.0, height / 2.0].map(|x| side(x) as f32)
    };
    sizes
        .iter()
        .flat_map(|&size| ratios.iter().map(move |&ratio| anchor(size, ratio)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of detectron2's `tests/modeling/test_anchor_generator.py`.
    #[test]
    fn as_detectron2() {
        let generator = AnchorGenerator::new(&[vec![32.0, 64.0]], &[0.25, 1.0, 4.0], false);
        let expected = [
            [-32.0, -8.0, 32.0, 8.0],
            [-16.0, -16.0, 16.0, 16.0],
            [-8.0, -32.0, 8.0, 32.0],
            [-64.0, -16.0, 64.0, 16.0],
            [-32.0, -32.0, 32.0, 32.0],
            [-16.0, -64.0, 16.0, 64.0],
            [-28.0, -8.0, 36.0, 8.0],
            [-12.0, -16.0, 20.0, 16.0],
            [-4.0, -32.0, 12.0, 32.0],
            [-60.0, -16.0, 68.0, 16.0],
            [-28.0, -32.0, 36.0, 32.0],
            [-12.0, -64.0, 20.0, 64.0],
        ];
        assert_eq!(generator.grid(0, [1, 2], 4), expected);
        assert_eq!(generator.cell(0), &expected[..6]);
        assert_eq!(generator.grid(0, [2, 1], 4)[6], [-32.0, -4.0, 32.0, 12.0]);
    }

    /// COCO's first level: ratio .5 is wider than high.
    #[test]
    fn ratio_is_height_over_width() {
        let generator = AnchorGenerator::new(&[vec![32.0]], &[0.5, 1.0, 2.0], false);
        let [x0, y0, x1, y1] = generator.cell(0)[0];
        assert!((x1 - x0 - 45.254_834).abs() < 1e-5 && (y1 - y0 - 22.627_417).abs() < 1e-5);
        assert_eq!(generator.cell(0)[1], [-16.0, -16.0, 16.0, 16.0]);
        // torchvision's.
        let rounded = AnchorGenerator::new(&[vec![32.0]], &[0.5, 1.0, 2.0], true);
        assert_eq!(rounded.cell(0)[0], [-23.0, -11.0, 23.0, 11.0]);
        assert_eq!(rounded.cell(0)[2], [-11.0, -23.0, 11.0, 23.0]);
    }
}
