//! VOC's corners (1-based pixels, both ends included) and COCO's boxes.

/// `[xmin, ymin, xmax, ymax]` of COCO's `[x, y, width, height]`.
pub(super) fn inclusive([x, y, width, height]: [f64; 4]) -> [f64; 4] {
    [x + 1.0, y + 1.0, x + width, y + height]
}

/// The box that [`inclusive`] maps back to these corners: of whole numbers exactly; of others the
/// lower corner exactly (from 1 on), the upper one to within its last bit, for some have no width
/// that leads to them.
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

    use super::super::rounding;
    use super::*;

    #[test]
    fn corners_come_back() {
        assert_eq!(coco_box([1.0, 1.0, 500.0, 375.0]), [0.0, 0.0, 500.0, 375.0]);
        assert_eq!(
            coco_box([48.0, 240.0, 195.0, 371.0]),
            [47.0, 239.0, 148.0, 132.0]
        );
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        let mut inexact = 0;
        for case in 0..100_000 {
            let decimals = [1.0, 1e1, 1e2, 1e9][case % 4];
            let mut number = |low: f64| {
                let value = random.random_range(low..low + 800.0);
                ((value * decimals).round() / decimals).max(low)
            };
            let (xmin, ymin) = (number(1.0), number(1.0));
            let corners = [xmin, ymin, number(xmin), number(ymin)];
            let back = inclusive(coco_box(corners));
            assert_eq!(back[..2], corners[..2]);
            for (back, corner) in back.into_iter().zip(corners) {
                assert!(back >= corner.next_down() && back <= corner.next_up());
            }
            match case % 4 {
                0 => assert_eq!(back, corners),
                // What `round` makes of them.
                1 => assert_eq!(rounding::corners(back), corners),
                _ => {}
            }
            inexact += usize::from(back != corners);
        }
        assert!(inexact < 10_000, "{inexact}");
    }
}
