//! Blobs: objects with an outline, as polygons and as run lengths.

use std::f64::consts::TAU;
use std::fmt::Write;

use super::random::{Random, python, rounded};

/// An outline around a box: an ellipse with a few waves.
#[derive(Clone, Copy)]
pub(super) struct Blob {
    /// x, y, width, height.
    pub(super) bbox: [f64; 4],
    waves: f64,
    phase: f64,
    depth: f64,
}

impl Blob {
    pub(super) fn new(r: &mut Random, bbox: [f64; 4]) -> Self {
        Self {
            bbox,
            waves: 2.0 + r.below(6) as f64,
            phase: r.range(0.0, TAU),
            depth: r.range(0.02, 0.25),
        }
    }

    /// The same outline around another box, a little off.
    pub(super) fn moved(self, r: &mut Random, bbox: [f64; 4]) -> Self {
        Self {
            bbox,
            phase: self.phase + r.normal() * 0.2,
            depth: self.depth * r.range(0.7, 1.3),
            ..self
        }
    }

    fn radius(&self, angle: f64) -> f64 {
        1.0 - self.depth * (0.5 + 0.5 * (self.waves * angle + self.phase).sin())
    }

    /// As COCO's annotators draw: points with two decimals, more of them on larger objects.
    pub(super) fn polygon(&self) -> String {
        let [x, y, w, h] = self.bbox;
        let points = (8.0 + (w + h) / 8.0).min(60.0) as usize;
        let mut text = String::from("[[");
        for i in 0..points {
            let angle = TAU * i as f64 / points as f64;
            let radius = self.radius(angle);
            let px = rounded(x + w / 2.0 * (1.0 + radius * angle.cos()), 2);
            let py = rounded(y + h / 2.0 * (1.0 + radius * angle.sin()), 2);
            let comma = if i == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}{}, {}", python(px), python(py));
        }
        text + "]]"
    }

    /// Runs in column-major order, background first; the edge wavers as a network's does.
    pub(super) fn runs(&self, r: &mut Random, width: usize, height: usize) -> Vec<u32> {
        let [x, y, w, h] = self.bbox;
        let mut ends = Ends::default();
        let first = x.max(0.0) as usize;
        let last = ((x + w).ceil().max(0.0) as usize).min(width);
        for column in first..last {
            let across = ((column as f64 + 0.5 - x) / (w / 2.0) - 1.0).clamp(-1.0, 1.0);
            let half = (1.0 - across * across).sqrt();
            let edge = |side: f64| self.radius(side.atan2(across)) * side;
            let (up, down) = (edge(-half), edge(half));
            let waver = r.range(-0.6, 0.6);
            let top = (y + h / 2.0 * (1.0 + up) + waver).round().max(0.0) as usize;
            let bottom = (y + h / 2.0 * (1.0 + down) + waver).round().max(0.0) as usize;
            let (top, bottom) = (top.min(height), bottom.min(height));
            // Some masks have holes.
            let hole = self.depth > 0.22 && across.abs() < 0.3 && bottom > top + 12;
            if hole {
                let middle = top.midpoint(bottom);
                ends.push(column * height + top, column * height + middle - 2);
                ends.push(column * height + middle + 2, column * height + bottom);
            } else {
                ends.push(column * height + top, column * height + bottom);
            }
        }
        ends.runs(width * height)
    }
}

/// Stretches of set pixels.
#[derive(Default)]
struct Ends(Vec<(usize, usize)>);

impl Ends {
    fn push(&mut self, start: usize, end: usize) {
        if start >= end {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.1 >= start => last.1 = end,
            _ => self.0.push((start, end)),
        }
    }

    fn runs(&self, pixels: usize) -> Vec<u32> {
        let mut runs = Vec::with_capacity(2 * self.0.len() + 1);
        let mut at = 0;
        for &(start, end) in &self.0 {
            runs.extend([(start - at) as u32, (end - start) as u32]);
            at = end;
        }
        if at < pixels || runs.is_empty() {
            runs.push((pixels - at) as u32);
        }
        runs
    }
}

/// The COCO API's compressed text of runs.
pub(super) fn compressed(runs: &[u32]) -> String {
    let mut text = String::new();
    for (i, &run) in runs.iter().enumerate() {
        let mut value = i64::from(run);
        if i > 2 {
            value -= i64::from(runs[i - 2]);
        }
        loop {
            let mut bits = (value & 31) as u8;
            value >>= 5;
            let more = if bits & 16 == 0 {
                value != 0
            } else {
                value != -1
            };
            if more {
                bits |= 32;
            }
            text.push(char::from(bits + 48));
            if !more {
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_image() {
        let mut r = Random::new(3);
        for _ in 0..200 {
            let bbox = [
                r.range(-20.0, 90.0),
                r.range(-20.0, 90.0),
                r.range(1.0, 90.0),
                r.range(1.0, 90.0),
            ];
            let runs = Blob::new(&mut r, bbox).runs(&mut r, 100, 80);
            assert_eq!(runs.iter().sum::<u32>(), 8000, "{bbox:?}");
            assert!(runs[1..].iter().all(|&run| run > 0), "{bbox:?}");
        }
    }

    #[test]
    fn text_as_pycocotools_writes_it() {
        assert_eq!(compressed(&[4, 8, 8]), "488");
        assert_eq!(compressed(&[6, 1, 40, 4, 5, 4, 5, 4, 21]), "61X13mN000`0");
    }
}
