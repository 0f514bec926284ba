//! Rasterising one polygon, pixel for pixel as pycocotools' `rleFrPoly` does.

use crate::RleError;

/// Boundaries are traced on a grid this much finer than the pixels.
const SCALE: f64 = 5.0;

/// Beyond this a coordinate on the fine grid would not fit 32 bits.
const FARTHEST: f64 = 1e8;

/// More crossings than this are refused: no outline on a real image has them, while a short text can
/// claim an image so wide that its edges would fill the memory.
const MOST_CROSSINGS: usize = 1 << 24;

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
        found: Vec::new(),
    };
    for (i, &start) in points.iter().enumerate() {
        crossings.edge(start, points[(i + 1) % points.len()])?;
    }
    Ok(runs(crossings.found, height * width))
}

/// Collects where the boundary passes the middle line of a pixel column.
///
/// pycocotools walks along every edge on the fine grid, one step at a time on its longer axis, and
/// looks at each pair of neighbouring points whose `u` differ: if the smaller one, `left`, makes
/// `(left + .5) / 5 - .5` a whole number x, column x changes at the smaller of the two `v`. That is
/// so just for `left` = 5 x + 2, so the pairs can be visited column by column. Where two edges meet,
/// neighbouring points differ for negative `u` only, which is no column.
struct Crossings {
    height: u32,
    width: u32,
    /// Column-major pixel index at which inside and outside change places.
    found: Vec<u32>,
}

impl Crossings {
    fn edge(&mut self, start: [i32; 2], end: [i32; 2]) -> Result<(), RleError> {
        let span = [(end[0] - start[0]).abs(), (end[1] - start[1]).abs()];
        // The axis that advances by one each step; the other one is interpolated.
        let (main, side) = if span[0] >= span[1] { (0, 1) } else { (1, 0) };
        let (from, to) = if start[main] > end[main] {
            (end, start)
        } else {
            (start, end)
        };
        let length = span[main];
        if length == 0 {
            return Ok(());
        }
        let slope = f64::from(to[side] - from[side]) / f64::from(length);
        let at = |step: i32| (f64::from(from[side]) + slope * f64::from(step) + 0.5) as i32;
        if main == 0 {
            for x in self.columns(from[0], to[0])? {
                let step = x as i32 * 5 + 2 - from[0];
                self.cross(x, at(step).min(at(step + 1)));
            }
            return Ok(());
        }
        // `at` never falls, or never rises, from step to step, and by one at most.
        let (first, last) = (at(0), at(length));
        for x in self.columns(first.min(last), first.max(last))? {
            let left = x as i32 * 5 + 2;
            let passed = |step: i32| (at(step) > left) == (last > left);
            let guess = (f64::from(left) + 0.5 - f64::from(from[0])) / slope;
            let mut step = (guess as i32).clamp(1, length);
            while step > 1 && passed(step - 1) {
                step -= 1;
            }
            while !passed(step) {
                step += 1;
            }
            self.cross(x, from[1] + step - 1);
        }
        Ok(())
    }

    /// The columns x with `low` <= 5 x + 2 < `high`, if there is room for their crossings.
    fn columns(&self, low: i32, high: i32) -> Result<std::ops::Range<u32>, RleError> {
        let up = |u: i32| (i64::from(u) + 2).div_euclid(5).clamp(0, self.width.into()) as u32;
        let columns = up(low)..up(high);
        if self.found.len() + columns.len() > MOST_CROSSINGS {
            return Err(RleError::Crossings(MOST_CROSSINGS));
        }
        Ok(columns)
    }

    fn cross(&mut self, x: u32, v: i32) {
        let y = (f64::from(v) + 0.5) / SCALE - 0.5;
        let y = y.clamp(0.0, f64::from(self.height)).ceil();
        self.found.push(x * self.height + y as u32);
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

    /// As pycocotools has it, step by step.
    fn walk(xy: &[f64], height: u32, width: u32) -> Vec<u32> {
        let points: Vec<[i32; 2]> = xy
            .chunks_exact(2)
            .map(|p| [p[0], p[1]].map(|v| (5.0 * v + 0.5) as i32))
            .collect();
        let mut boundary: Vec<[i32; 2]> = Vec::new();
        for (i, &start) in points.iter().enumerate() {
            let end = points[(i + 1) % points.len()];
            let span = [(end[0] - start[0]).abs(), (end[1] - start[1]).abs()];
            let (main, side) = if span[0] >= span[1] { (0, 1) } else { (1, 0) };
            let flip = start[main] > end[main];
            let (from, to) = if flip { (end, start) } else { (start, end) };
            let slope = f64::from(to[side] - from[side]) / f64::from(span[main]);
            for step in 0..=span[main] {
                let t = if flip { span[main] - step } else { step };
                let mut point = [0; 2];
                point[main] = from[main] + t;
                point[side] = (f64::from(from[side]) + slope * f64::from(t) + 0.5) as i32;
                boundary.push(point);
            }
        }
        let mut found = Vec::new();
        for pair in boundary.windows(2) {
            let ([last_u, last_v], [u, v]) = (pair[0], pair[1]);
            if u == last_u {
                continue;
            }
            let left = f64::from(if u < last_u { u } else { u - 1 });
            let x = (left + 0.5) / SCALE - 0.5;
            if x.floor() != x || x < 0.0 || x > f64::from(width - 1) {
                continue;
            }
            let y = (f64::from(v.min(last_v)) + 0.5) / SCALE - 0.5;
            let y = y.clamp(0.0, f64::from(height)).ceil();
            found.push(x as u32 * height + y as u32);
        }
        runs(found, height * width)
    }

    #[test]
    fn column_by_column_is_step_by_step() {
        let mut state = 3_u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for case in 0..6000 {
            let (height, width) = (1 + next(30) as u32, 1 + next(30) as u32);
            let grain = [1.0, 5.0, 10.0, 1000.0][case % 4];
            let reach = [40, 80, 3000][case % 3];
            let xy: Vec<f64> = (0..2 * (1 + next(8)))
                .map(|_| (next(reach * grain as u64) as f64 / grain) - reach as f64 / 4.0)
                .collect();
            let (fast, slow) = (rasterize(&xy, height, width), walk(&xy, height, width));
            assert_eq!(fast.unwrap(), slow, "{xy:?} on {height}x{width}");
        }
    }

    /// Walking would take a thousand million steps an edge.
    #[test]
    fn far_corners_cost_no_more_than_near_ones() {
        let near = rasterize(&[-60.0, -60.0, 60.0, 60.0, -60.0, 60.0], 30, 40).unwrap();
        let far = rasterize(&[-1e8, -1e8, 1e8, 1e8, -1e8, 1e8], 30, 40).unwrap();
        assert_eq!(far, near);
        // Almost upright: the column where the line passes is looked for among its steps.
        for (x, y) in [(1.0, 1e8), (7.0, 9.9e7), (1e4, 1e8), (1e8, 3.0)] {
            let counts = rasterize(&[-x, -y, x, y, -x, y], 30, 40).unwrap();
            assert_eq!(counts.iter().sum::<u32>(), 1200);
            assert!(counts.len() <= 3 * 40 + 1, "{counts:?}");
        }
    }

    #[test]
    fn a_width_that_cannot_be_is_refused() {
        let wide = [0.0, 0.0, 1e8, 0.0, 1e8, 0.9, 0.0, 0.9];
        let error = rasterize(&wide, 2, 100_000_000).unwrap_err();
        assert_eq!(error, RleError::Crossings(MOST_CROSSINGS));
        assert!(rasterize(&wide, 2, 1_000_000).is_ok());
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
