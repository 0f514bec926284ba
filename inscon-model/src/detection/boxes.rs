//! Batched boxes on the host: `[x0, y0, x1, y1]`, pixel edges.

/// Area; negative sides count as they are (detectron2's `Boxes.area`).
#[must_use]
pub fn area([x0, y0, x1, y1]: [f32; 4]) -> f32 {
    (x1 - x0) * (y1 - y0)
}

/// Intersection over union; 0 where the boxes do not meet.
///
/// ```
/// use inscon_model::detection::iou;
/// assert_eq!(iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
/// ```
#[must_use]
pub fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let inter = width * height;
    if inter > 0.0 {
        inter / (area(a) + area(b) - inter)
    } else {
        0.0
    }
}

/// The IoU of every pair, row-major `[a.len(), b.len()]`.
#[must_use]
pub fn pairwise_iou(a: &[[f32; 4]], b: &[[f32; 4]]) -> Vec<f32> {
    a.iter()
        .flat_map(|&a| b.iter().map(move |&b| iou(a, b)))
        .collect()
}

/// The box inside an image of `[height, width]`.
#[must_use]
pub fn clip(bbox: [f32; 4], [height, width]: [usize; 2]) -> [f32; 4] {
    let (height, width) = (height as f32, width as f32);
    [
        bbox[0].clamp(0.0, width),
        bbox[1].clamp(0.0, height),
        bbox[2].clamp(0.0, width),
        bbox[3].clamp(0.0, height),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairwise_iou_is_row_major() {
        let a = [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]];
        let b = [
            [0.0, 0.0, 1.0, 1.0],
            [0.5, 0.5, 1.0, 1.0],
            [5.0, 5.0, 6.0, 6.0],
        ];
        assert_eq!(pairwise_iou(&a, &b), [1.0, 0.25, 0.0, 0.25, 0.0625, 0.0]);
        assert_eq!(iou([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]), 0.0);
    }

    #[test]
    fn clip_bounds_each_side() {
        assert_eq!(
            clip([-1.0, 2.0, 30.0, 40.0], [20, 10]),
            [0.0, 2.0, 10.0, 20.0]
        );
    }
}
