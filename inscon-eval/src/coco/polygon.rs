//! Rasterising one polygon, pixel for pixel as pycocotools' `rleFrPoly` does.

use crate::RleError;

/// Boundaries are traced on a grid this much finer than the pixels.
const SCALE: f64 = 5.0;

/// Beyond this a coordinate on the fine grid would not fit 32 bits.
const FARTHEST: f64 = 1e8;

/// The column-major runs of the polygon `[x0, y0, x1, y1, ..]` on an image of `height * width`
/// pixels (at least one, at most `u32::MAX`).
pub(super) fn rasterize(xy: &[f64], height: u32, width: u32) -> Result<Vec<u32>, RleError> {
    if let Some(&bad) = xy.iter().find(|v| v.is_nan() || v.abs() > FARTHEST) {
        return Err(RleError::Coordinate(bad));
    }
    // `as` truncates toward zero, as C does: -5 + .5 becomes -4.
    let points: Vec<[i32; 2]> = xy
        .as_chunks::<2>()
        .0
        .iter()
        .map(|p| p.map(|v| (SCALE * v + 0.5) as i32))
        .collect();
    let mut crossings = Crossings {
        height,
        width,
        last: None,
        found: Vec::new(),
    };
    for (i, &start) in points.iter().enumerate() {
        let end = points[(i + 1) % points.len()];
        trace(start, end, |point| crossings.visit(point));
    }
    Ok(runs(crossings.found, height * width))
}

/// Visits the fine-grid points of one edge in order, both ends included.
fn trace(start: [i32; 2], end: [i32; 2], mut visit: impl FnMut([i32; 2])) {
    let span = [(end[0] - start[0]).abs(), (end[1] - start[1]).abs()];
    // The axis that advances by one each step; the other one is interpolated.
    let (main, side) = if span[0] >= span[1] { (0, 1) } else { (1, 0) };
    let flip = start[main] > end[main];
    let (from, to) = if flip { (end, start) } else { (start, end) };
    let length = span[main];
    // 0/0 for a repeated vertex: its one point is then never part of a boundary step.
    let slope = f64::from(to[side] - from[side]) / f64::from(length);
    for step in 0..=length {
        let t = if flip { length - step } else { step };
        let mut point = [0; 2];
        point[main] = from[main] + t;
        point[side] = (f64::from(from[side]) + slope * f64::from(t) + 0.5) as i32;
        visit(point);
    }
}

/// Collects where the boundary passes the middle line of a pixel column.
struct Crossings {
    height: u32,
    width: u32,
    last: Option<[i32; 2]>,
    /// Column-major pixel index at which inside and outside change places.
    found: Vec<u32>,
}

impl Crossings {
    fn visit(&mut self, [u, v]: [i32; 2]) {
        let Some([last_u, last_v]) = self.last.replace([u, v]) else {
            return;
        };
        if u == last_u {
            return;
        }
        let left = f64::from(if u < last_u { u } else { u - 1 });
        let x = (left + 0.5) / SCALE - 0.5;
        if x.floor() != x || x < 0.0 || x > f64::from(self.width - 1) {
            return;
        }
        let y = (f64::from(v.min(last_v)) + 0.5) / SCALE - 0.5;
        let y = y.clamp(0.0, f64::from(self.height)).ceil();
        self.found.push(x as u32 * self.height + y as u32);
    }
}

/// Differences of the sorted change points; a run of zero joins its neighbours.
fn runs(mut changes: Vec<u32>, total: u32) -> Vec<u32> {
    changes.push(total);
    changes.sort_unstable();
    let mut last = 0;
    let mut lengths = changes
        .into_iter()
        .map(|change| change - std::mem::replace(&mut last, change));
    // The first run is background and may be empty.
    let mut merged: Vec<u32> = lengths.next().into_iter().collect();
    while let Some(length) = lengths.next() {
        if length > 0 {
            merged.push(length);
        } else if let (Some(end), Some(next)) = (merged.last_mut(), lengths.next()) {
            *end += next;
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle() {
        // pycocotools: frPyObjects([[0, 0, 4, 0, 4, 4]], 6, 6) -> b"6151O1;"
        let counts = rasterize(&[0.0, 0.0, 4.0, 0.0, 4.0, 4.0], 6, 6).unwrap();
        let mut text = String::new();
        crate::coco::rle_text::write(&counts, &mut text).unwrap();
        assert_eq!(text, "6151O1;");
    }

    #[test]
    fn outside_and_nonsense() {
        assert_eq!(
            rasterize(&[-9.0, -9.0, -5.0, -9.0, -5.0, -5.0], 6, 6).unwrap(),
            [36]
        );
        assert_eq!(rasterize(&[], 6, 6).unwrap(), [36]);
        for bad in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(rasterize(&[0.0, 0.0, bad, 0.0, 4.0, 4.0], 6, 6).is_err());
        }
    }
}
