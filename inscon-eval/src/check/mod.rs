//! What is wrong with a data set and with results for it, one by one.

mod finding;
mod masks;
mod results;
mod truth;

use std::collections::HashMap;

pub use finding::*;

use crate::{CocoDataset, Detection, Image};

/// Every malformed thing, sorted by kind and within a kind in the order of the lists.
///
/// ```
/// use inscon_eval::{CocoDataset, Detection, FindingKind, Image, Subject, check};
///
/// let truth = CocoDataset {
///     images: vec![Image { id: 1, width: 50, height: 50, ..Image::default() }],
///     ..CocoDataset::default()
/// };
/// let found = [Detection::of_box(2, 1, 0.9, [0.0, 0.0, 10.0, 10.0])];
/// let findings = check(&truth, Some(&found));
/// assert_eq!(findings[0].kind, FindingKind::DetectionOnUnknownImage);
/// assert_eq!(findings[0].subject, Subject::Detection(0));
/// ```
#[must_use]
pub fn check(truth: &CocoDataset, detections: Option<&[Detection]>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut images: HashMap<u64, &Image> = HashMap::new();
    for image in &truth.images {
        images.insert(image.id, image);
    }
    truth::check(truth, &images, &mut findings);
    if let Some(detections) = detections {
        results::check(truth, detections, &images, &mut findings);
    }
    findings.sort_by_key(|finding| (finding.severity, finding.kind));
    findings
}

/// What is wrong with a box as such, and whether it leaves its image.
fn check_box(
    bbox: &[f64; 4],
    image: Option<&&Image>,
    subject: Subject,
    findings: &mut Vec<Finding>,
) {
    let [x, y, width, height] = *bbox;
    let mut add = |kind, message| findings.push(Finding::new(kind, subject, message));
    if bbox.iter().any(|v| !v.is_finite()) {
        return add(
            FindingKind::InvalidBox,
            format!("box {bbox:?} has a number that is not finite"),
        );
    }
    if width < 0.0 || height < 0.0 {
        return add(
            FindingKind::InvalidBox,
            format!("box {bbox:?} has a negative width or height; is it [x1, y1, x2, y2]?"),
        );
    }
    if width == 0.0 || height == 0.0 {
        add(
            FindingKind::EmptyBox,
            format!("box {bbox:?} has no area; it overlaps with nothing"),
        );
    }
    if let Some(image) = image.filter(|image| image.width > 0 && image.height > 0) {
        let right = x + width - f64::from(image.width);
        let below = y + height - f64::from(image.height);
        let beyond = (-x).max(-y).max(right).max(below);
        if beyond > OUTSIDE {
            add(
                FindingKind::BoxOutsideImage,
                format!(
                    "box {bbox:?} reaches {beyond:.1} pixels beyond image {} of {}x{}",
                    image.id, image.width, image.height
                ),
            );
        }
    }
}

/// Pixels that a box may reach beyond its image without being reported: rounding, and VOC's counting
/// from 1.
const OUTSIDE: f64 = 1.0;

/// Ids that occur more than once, ascending, and how often.
fn repeated(ids: impl Iterator<Item = u64>) -> Vec<(u64, usize)> {
    let mut ids: Vec<u64> = ids.collect();
    ids.sort_unstable();
    let groups = ids.chunk_by(|a, b| a == b);
    groups
        .filter(|group| group.len() > 1)
        .map(|group| (group[0], group.len()))
        .collect()
}
