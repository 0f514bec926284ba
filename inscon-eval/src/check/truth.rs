//! What is wrong with ground truth.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;

use super::{Finding, FindingKind, Subject, check_box, masks, repeated};
use crate::{Annotation, CocoDataset, Image, Segmentation};

pub(super) fn check(
    truth: &CocoDataset,
    images: &HashMap<u64, &Image>,
    findings: &mut Vec<Finding>,
) {
    ids(truth, findings);
    let categories: HashSet<u64> = truth.categories.iter().map(|c| c.id).collect();
    let each = truth
        .annotations
        .par_iter()
        .map(|a| annotation(a, images, &categories));
    let each: Vec<Vec<Finding>> = each.collect();
    findings.extend(each.into_iter().flatten());
    // Images by id, and how many polygons wait for their size.
    let mut waiting: BTreeMap<u64, usize> = BTreeMap::new();
    for a in &truth.annotations {
        let sizeless = images
            .get(&a.image_id)
            .is_some_and(|image| image.width == 0 || image.height == 0);
        if let Some(Segmentation::Polygons(polygons)) = &a.segmentation
            && sizeless
            && !polygons.is_empty()
        {
            *waiting.entry(a.image_id).or_default() += 1;
        }
    }
    findings.extend(waiting.into_iter().map(|(id, count)| {
        let image = images[&id];
        let message = format!(
            "is {}x{}, but {count} annotations on it are polygons, which need its size",
            image.width, image.height
        );
        Finding::new(FindingKind::ImageWithoutSize, Subject::Image(id), message)
    }));
}

fn ids(truth: &CocoDataset, findings: &mut Vec<Finding>) {
    let mut add = |kind, subject, message| findings.push(Finding::new(kind, subject, message));
    for (id, count) in repeated(truth.images.iter().map(|image| image.id)) {
        let message = format!("{count} images have this id; the last one's size counts");
        add(FindingKind::DuplicateImage, Subject::Image(id), message);
    }
    for (id, count) in repeated(truth.annotations.iter().map(|a| a.id)) {
        let message = format!(
            "{count} annotations have this id; pycocotools takes all of them for the last one, \
             which is counted {count} times"
        );
        add(
            FindingKind::DuplicateAnnotation,
            Subject::Annotation(id),
            message,
        );
    }
    for (id, count) in repeated(truth.categories.iter().map(|category| category.id)) {
        let message = format!("{count} categories have this id; the last one's name counts");
        add(
            FindingKind::DuplicateCategory,
            Subject::Category(id),
            message,
        );
    }
    if let Some(a) = truth.annotations.iter().find(|a| a.id == 0) {
        let message = format!(
            "(on image {}) pycocotools marks a matched detection with the id of its annotation, and \
             0 stands for none: whatever finds this object counts as a false positive; number \
             annotations from 1",
            a.image_id
        );
        add(
            FindingKind::AnnotationIdZero,
            Subject::Annotation(0),
            message,
        );
    }
}

fn annotation(
    a: &Annotation,
    images: &HashMap<u64, &Image>,
    categories: &HashSet<u64>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = Subject::Annotation(a.id);
    let image = images.get(&a.image_id);
    let mut add = |kind, message| findings.push(Finding::new(kind, subject, message));
    if image.is_none() {
        let message = format!("is on image {}, which `images` does not list", a.image_id);
        add(FindingKind::AnnotationOnUnknownImage, message);
    }
    if !categories.contains(&a.category_id) {
        let id = a.category_id;
        let message = format!("is of category {id}, which `categories` does not list");
        add(FindingKind::AnnotationOfUnknownCategory, message);
    }
    if !a.area.is_finite() || a.area < 0.0 {
        let message = format!("area {} is negative or not finite", a.area);
        add(FindingKind::InvalidArea, message);
    } else if a.area == 0.0 {
        let message = "area 0 makes it a small object, whatever its box".into();
        add(FindingKind::ZeroArea, message);
    }
    let box_area = a.bbox[2] * a.bbox[3];
    if a.area.is_finite() && box_area > 0.0 && a.area > 1.01 * box_area + 1.0 {
        let message = format!("area {} is larger than the box's {box_area}", a.area);
        add(FindingKind::AreaOverBox, message);
    }
    if a.iscrowd && !matches!(a.segmentation, Some(Segmentation::Rle { .. })) {
        let message = "a crowd is a region, and COCO draws it as run lengths".into();
        add(FindingKind::CrowdWithoutRle, message);
    }
    if let Some(keypoints) = &a.keypoints {
        let labelled = keypoints
            .chunks_exact(3)
            .filter(|point| point[2] > 0.0)
            .count();
        if keypoints.len() % 3 != 0 {
            let message = format!(
                "`keypoints` has {} numbers, not three a point",
                keypoints.len()
            );
            add(FindingKind::MalformedKeypoints, message);
        } else if a
            .num_keypoints
            .is_some_and(|count| count as usize != labelled)
        {
            let message = format!(
                "`num_keypoints` is {}, but {labelled} points have v > 0",
                a.num_keypoints.unwrap_or_default()
            );
            add(FindingKind::MalformedKeypoints, message);
        }
    }
    check_box(&a.bbox, image, subject, &mut findings);
    let mask_area = a
        .segmentation
        .as_ref()
        .and_then(|mask| masks::check(mask, image, subject, &mut findings));
    if let Some(mask_area) = mask_area {
        let (low, high) = sort(mask_area as f64, a.area);
        if a.area > 0.0 && high > FACTOR * low && high - low > PIXELS {
            let message = format!("area {} is far from the mask's {mask_area} pixels", a.area);
            findings.push(Finding::new(FindingKind::AreaUnlikeMask, subject, message));
        }
    }
    findings
}

/// How far the area of an annotation may be from its mask's: COCO's are those of the polygons, which
/// for thin objects are well below the pixels drawn.
const FACTOR: f64 = 2.0;
const PIXELS: f64 = 64.0;

fn sort(a: f64, b: f64) -> (f64, f64) {
    if a < b { (a, b) } else { (b, a) }
}
