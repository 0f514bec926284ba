//! Which detections of one image hit, in one class.

use super::AreaRange;

/// What a detection counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit,
    Miss,
    Ignored,
}

/// A truth, as far as matching cares.
pub(super) struct Truth {
    pub(super) area: f64,
    pub(super) crowd: bool,
    /// A match of it does not count as one: pycocotools and annotation id 0.
    pub(super) invisible: bool,
}

/// The objects of one image and class.
pub(super) struct Scene<'a> {
    pub(super) truths: &'a [Truth],
    /// Areas of the detections, best score first.
    pub(super) areas: &'a [f64],
    /// `[detections, truths]`, row-major.
    pub(super) ious: &'a [f64],
}

impl Scene<'_> {
    /// Which truths do not count in `range`.
    pub(super) fn ignored(&self, range: &AreaRange) -> Vec<bool> {
        self.truths
            .iter()
            .map(|t| t.crowd || outside(t.area, range))
            .collect()
    }

    /// Matches greedily, best score first: each detection takes the truth of largest overlap from
    /// `threshold` on (the last one of equals), one that counts before one that does not.
    pub(super) fn outcomes(
        &self,
        range: &AreaRange,
        ignored: &[bool],
        threshold: f64,
        mut report: impl FnMut(Outcome),
    ) {
        let count = self.truths.len();
        let counting = (0..count).filter(|&g| !ignored[g]);
        let order: Vec<usize> = counting.chain((0..count).filter(|&g| ignored[g])).collect();
        let mut taken = vec![false; count];
        for (d, &area) in self.areas.iter().enumerate() {
            let mut best = threshold.min(1.0 - 1e-10);
            let mut found: Option<usize> = None;
            for &g in &order {
                if taken[g] && !self.truths[g].crowd {
                    continue;
                }
                if found.is_some_and(|m| !ignored[m]) && ignored[g] {
                    break;
                }
                let iou = self.ious[d * count + g];
                if iou < best {
                    continue;
                }
                best = iou;
                found = Some(g);
            }
            if let Some(g) = found {
                taken[g] = true;
            }
            let matched = found.is_some_and(|g| !self.truths[g].invisible);
            report(
                if found.is_some_and(|g| ignored[g]) || (!matched && outside(area, range)) {
                    Outcome::Ignored
                } else if matched {
                    Outcome::Hit
                } else {
                    Outcome::Miss
                },
            );
        }
    }
}

fn outside(area: f64, range: &AreaRange) -> bool {
    area < range.min || area > range.max
}
