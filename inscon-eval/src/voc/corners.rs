//! VOC's corners (1-based pixels, both ends included) and COCO's boxes.

/// `[xmin, ymin, xmax, ymax]` of COCO's `[x, y, width, height]`.
pub(super) fn inclusive([x, y, width, height]: [f64; 4]) -> [f64; 4] {
    [x + 1.0, y + 1.0, x + width, y + height]
}

/// The box that [`inclusive`] maps back to just these corners: to the last bit where the lower
/// corner is 1 or more, as it is in an image.
pub(super) fn coco_box([xmin, ymin, xmax, ymax]: [f64; 4]) -> [f64; 4] {
    let (x, y) = (xmin - 1.0, ymin - 1.0);
    [x, y, extent(x, xmax), extent(y, ymax)]
}

/// The number that `start` is to be added for `end`: `end - start`, or a neighbour of it where that
/// was rounded the wrong way.
fn extent(start: f64, end: f64) -> f64 {
    let width = end - start;
    [width, width.next_up(), width.next_down()]
        .into_iter()
        .find(|width| start + width == end)
        .unwrap_or(width)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn corners_come_back_bit_for_bit() {
        assert_eq!(coco_box([1.0, 1.0, 500.0, 375.0]), [0.0, 0.0, 500.0, 375.0]);
        assert_eq!(
            coco_box([48.0, 240.0, 195.0, 371.0]),
            [47.0, 239.0, 148.0, 132.0]
        );
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        let mut naive = 0;
        for case in 0..100_000 {
            let decimals = [1e1, 1e2, 1e4, 1e9][case % 4];
            let mut number = |low: f64| {
                let value = random.random_range(low..low + 800.0);
                ((value * decimals).round() / decimals).max(low)
            };
            let (xmin, ymin) = (number(1.0), number(1.0));
            let corners = [xmin, ymin, number(xmin), number(ymin)];
            assert_eq!(inclusive(coco_box(corners)), corners);
            let [x, y, ..] = coco_box(corners);
            let plain = [x, y, corners[2] - xmin + 1.0, corners[3] - ymin + 1.0];
            naive += usize::from(inclusive(plain) != corners);
        }
        assert!(naive > 100, "the care is needed: {naive}");
    }
}
