//! The class of each cell of a feature map, from masks.

use inscon_model::detection::BitMask;

/// What a pixel belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// An object of this class.
    Class(usize),
    /// An object that is not judged: a crowd, or difficult.
    Void,
}

/// The class of each cell: `[rows × columns]`, row-major; `classes` stands for background, `None`
/// for a cell that is not judged.
///
/// Cell (u, v) covers the pixels `[u·stride, (u+1)·stride) × [v·stride, (v+1)·stride)`. It has the
/// class of most of its pixels (the lowest of equals). Where objects overlap the smaller one is on
/// top. All masks are of one size; cells whose centre is outside it are left out, which drops the
/// padding of a batch.
///
/// ```
/// use inscon_model::detection::BitMask;
/// use inscon_train::probe::{Paint, cell_labels};
/// let mask = BitMask { height: 4, width: 4, data: vec![1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
/// let labels = cell_labels(&[(Paint::Class(5), mask)], [4, 4], 2, 20);
/// assert_eq!(labels, [Some(5), Some(20), Some(20), Some(20)]);
/// ```
#[must_use]
pub fn cell_labels(
    objects: &[(Paint, BitMask)],
    [height, width]: [usize; 2],
    stride: usize,
    classes: usize,
) -> Vec<Option<usize>> {
    let mut order: Vec<&(Paint, BitMask)> = objects.iter().collect();
    order.sort_by_key(|(_, mask)| std::cmp::Reverse(mask.area()));
    let void = classes + 1;
    let mut map = vec![classes; height * width];
    for (paint, mask) in order {
        let value = match paint {
            Paint::Class(class) => *class,
            Paint::Void => void,
        };
        for (pixel, set) in map.iter_mut().zip(&mask.data) {
            if *set != 0 {
                *pixel = value;
            }
        }
    }
    let [rows, columns] = cell_grid([height, width], stride);
    let mut labels = Vec::with_capacity(rows * columns);
    let mut counts = vec![0u32; classes + 2];
    for v in 0..rows {
        for u in 0..columns {
            counts.fill(0);
            for y in v * stride..((v + 1) * stride).min(height) {
                for x in u * stride..((u + 1) * stride).min(width) {
                    counts[map[y * width + x]] += 1;
                }
            }
            let most = counts.iter().copied().max().unwrap_or(0);
            let label = counts.iter().position(|&count| count == most);
            labels.push(label.filter(|&label| label != void));
        }
    }
    labels
}

/// Rows and columns of cells whose centre is inside an image of `[height, width]`.
#[must_use]
pub fn cell_grid(size: [usize; 2], stride: usize) -> [usize; 2] {
    // Cell c is in if (c + ½)·stride < side.
    size.map(|side| (side + stride / 2) / stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangle([x0, y0, x1, y1]: [usize; 4]) -> BitMask {
        let mut mask = BitMask::zeros(6, 8);
        for y in y0..y1 {
            mask.data[y * 8 + x0..y * 8 + x1].fill(1);
        }
        mask
    }

    #[test]
    fn smaller_objects_are_on_top_and_void_is_left_out() {
        let objects = [
            (Paint::Class(1), rectangle([0, 0, 2, 2])),
            (Paint::Class(0), rectangle([0, 0, 6, 4])),
            (Paint::Void, rectangle([6, 0, 8, 2])),
        ];
        let labels = cell_labels(&objects, [6, 8], 2, 3);
        #[rustfmt::skip]
        assert_eq!(labels, [
            Some(1), Some(0), Some(0), None,
            Some(0), Some(0), Some(0), Some(3),
            Some(3), Some(3), Some(3), Some(3),
        ]);
    }

    #[test]
    fn a_cell_counts_if_its_centre_is_inside() {
        assert_eq!(cell_grid([16, 24], 16), [1, 2]);
        assert_eq!(cell_grid([17, 23], 16), [1, 1]);
        assert_eq!(cell_grid([168, 224], 16), [11, 14]);
        assert_eq!(cell_grid([33, 49], 32), [1, 2]);
    }
}
