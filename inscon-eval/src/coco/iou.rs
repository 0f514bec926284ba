//! Intersection over union of COCO boxes.

/// Intersection over union of a detection's and a truth's `[x, y, width, height]`; over the
/// detection's own area if the truth is a crowd. Without an overlap of positive width and height
/// it is 0 (pycocotools' `bbIou`).
///
/// ```
/// let (a, b) = ([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0]);
/// assert_eq!(inscon_eval::box_iou(&a, &b, false), 2.0 / 6.0);
/// assert_eq!(inscon_eval::box_iou(&a, &b, true), 0.5);
/// ```
#[must_use]
pub fn box_iou(detection: &[f64; 4], truth: &[f64; 4], crowd: bool) -> f64 {
    let overlap = |axis: usize| {
        let (d, g) = (detection, truth);
        (d[axis + 2] + d[axis]).min(g[axis + 2] + g[axis]) - d[axis].max(g[axis])
    };
    let width = overlap(0);
    if width <= 0.0 {
        return 0.0;
    }
    let height = overlap(1);
    if height <= 0.0 {
        return 0.0;
    }
    let detection_area = detection[2] * detection[3];
    let truth_area = truth[2] * truth[3];
    let intersection = width * height;
    intersection
        / if crowd {
            detection_area
        } else {
            detection_area + truth_area - intersection
        }
}
