//! What is wrong with results.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;

use super::{Finding, FindingKind, Subject, check_box, masks};
use crate::{CocoDataset, Detection, Image};

/// COCO's usual limit for an image and class.
const MANY: usize = 100;

pub(super) fn check(
    truth: &CocoDataset,
    detections: &[Detection],
    images: &HashMap<u64, &Image>,
    findings: &mut Vec<Finding>,
) {
    let Some(first) = detections.first() else {
        return;
    };
    let needed = Needed::of(first);
    let each = detections.par_iter().enumerate();
    let each: Vec<Vec<Finding>> = each
        .map(|(index, d)| detection(index, d, needed, images))
        .collect();
    findings.extend(each.into_iter().flatten());
    classes(truth, detections, findings);
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for d in detections {
        *counts.entry(d.image_id).or_default() += 1;
    }
    findings.extend(
        counts
            .into_iter()
            .filter(|(_, count)| *count > MANY)
            .map(|(image, count)| {
                let message =
                    format!("has {count} detections; COCO looks at the best {MANY} of each class");
                Finding::new(FindingKind::ManyDetections, Subject::Image(image), message)
            }),
    );
}

/// What the first detection has, and so all are taken to have.
#[derive(Clone, Copy)]
enum Needed {
    Box,
    Mask,
    Keypoints,
    Nothing,
}

impl Needed {
    fn of(first: &Detection) -> Self {
        match first {
            Detection { bbox: Some(_), .. } => Self::Box,
            Detection {
                segmentation: Some(_),
                ..
            } => Self::Mask,
            Detection {
                keypoints: Some(_), ..
            } => Self::Keypoints,
            _ => Self::Nothing,
        }
    }
}

fn detection(
    index: usize,
    d: &Detection,
    needed: Needed,
    images: &HashMap<u64, &Image>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = Subject::Detection(index);
    let image = images.get(&d.image_id);
    let mut add = |kind, message| findings.push(Finding::new(kind, subject, message));
    if image.is_none() {
        let message = format!(
            "is on image {}, which the ground truth does not list; evaluation refuses the file",
            d.image_id
        );
        add(FindingKind::DetectionOnUnknownImage, message);
    }
    if d.score.is_nan() {
        add(FindingKind::ScoreNan, "ranks behind every number".into());
    } else if !(0.0..=1.0).contains(&d.score) {
        let message = format!("score {}; only the order counts", d.score);
        add(FindingKind::ScoreRange, message);
    }
    let missing = match needed {
        Needed::Box if d.bbox.is_none() => Some("no `bbox`, but the first one has"),
        Needed::Mask if d.segmentation.is_none() => {
            Some("no `segmentation`, but the first one has")
        }
        Needed::Keypoints if d.keypoints.is_none() => Some("no `keypoints`, but the first one has"),
        Needed::Nothing => Some("neither `bbox` nor `segmentation` nor `keypoints`"),
        _ => None,
    };
    if let Some(missing) = missing {
        add(FindingKind::IncompleteDetection, format!("has {missing}"));
    }
    if let Some(keypoints) = d.keypoints.as_ref().filter(|list| list.len() % 3 != 0) {
        let count = keypoints.len();
        let message = format!("`keypoints` has {count} numbers, not three a point");
        add(FindingKind::MalformedKeypoints, message);
    }
    if let Some(bbox) = &d.bbox {
        check_box(bbox, image, subject, &mut findings);
    }
    if let Some(mask) = &d.segmentation {
        masks::check(mask, image, subject, &mut findings);
    }
    findings
}

fn classes(truth: &CocoDataset, detections: &[Detection], findings: &mut Vec<Finding>) {
    let known: BTreeMap<u64, &str> = truth
        .categories
        .iter()
        .map(|category| (category.id, category.name.as_str()))
        .collect();
    // First position and number, by category.
    let mut found: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for (index, d) in detections.iter().enumerate() {
        found.entry(d.category_id).or_insert((index, 0)).1 += 1;
    }
    let crowds_aside = truth.annotations.iter().filter(|a| !a.iscrowd);
    let objects: HashSet<u64> = crowds_aside.map(|a| a.category_id).collect();
    let mut add = |kind, subject, message| findings.push(Finding::new(kind, subject, message));
    if !found.keys().any(|id| known.contains_key(id)) {
        let message = "none is of a category that the ground truth lists; are the ids shifted?";
        add(FindingKind::NoKnownClass, Subject::Results, message.into());
    }
    for (&id, &(index, count)) in &found {
        let subject = Subject::Category(id);
        match known.get(&id) {
            None => {
                let message = format!(
                    "{count} detections are of it, the first at {index}; the ground truth does not \
                     list it, and they are dropped"
                );
                add(FindingKind::DetectionOfUnknownCategory, subject, message);
            }
            Some(name) if !objects.contains(&id) => {
                let message = format!("`{name}`: {count} detections, but no object to find");
                add(FindingKind::ClassWithoutTruth, subject, message);
            }
            Some(_) => {}
        }
    }
    for (&id, name) in &known {
        if objects.contains(&id) && !found.contains_key(&id) {
            let message = format!("`{name}`: there are objects to find, but no detection");
            add(
                FindingKind::ClassWithoutDetections,
                Subject::Category(id),
                message,
            );
        }
    }
}
