//! Annotations and detections by class and image, in the order in which they are evaluated.

use std::collections::HashMap;

use super::{Annotation, CocoDataset, CocoParams, Detection, Mode};
use crate::EvalError;

/// What is evaluated, by class.
pub(super) struct Grouping {
    /// Ids on the K axis (one entry, 0, if classes are not told apart).
    pub(super) categories: Vec<u64>,
    /// Ids of the images, ascending.
    pub(super) images: Vec<u64>,
    /// One for each of `categories`.
    pub(super) groups: Vec<Group>,
}

/// One class; images in ascending order, and within an image in the order of the file.
#[derive(Default)]
pub(super) struct Group {
    /// Positions in `CocoDataset::annotations`.
    pub(super) truths: Vec<Member>,
    /// Positions among the detections.
    pub(super) detections: Vec<Member>,
}

/// Something on an image.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Rank of the image.
    pub(super) image: usize,
    /// Position in the list it comes from.
    pub(super) index: usize,
}

impl Grouping {
    pub(super) fn new(
        truth: &CocoDataset,
        detections: &[Detection],
        params: &CocoParams,
    ) -> Result<Self, EvalError> {
        let listed = ranks(&sorted(truth.images.iter().map(|image| image.id).collect()));
        if let Some((index, d)) = detections
            .iter()
            .enumerate()
            .find(|(_, d)| !listed.contains_key(&d.image_id))
        {
            return Err(EvalError::DetectionImage {
                index,
                image: d.image_id,
            });
        }
        let images = match &params.image_ids {
            Some(ids) => sorted(ids.clone()),
            None => sorted(truth.images.iter().map(|image| image.id).collect()),
        };
        let mut categories = match &params.category_ids {
            Some(ids) => ids.clone(),
            None => sorted(
                truth
                    .categories
                    .iter()
                    .map(|category| category.id)
                    .collect(),
            ),
        };
        if params.use_categories {
            categories = sorted(categories);
        }
        let place = Place {
            images: ranks(&images),
            categories: ranks(&categories),
            together: !params.use_categories,
        };
        let truths = match params.mode {
            Mode::Strict => resolve_by_id(&truth.annotations, &place),
            Mode::Corrected => (0..truth.annotations.len()).collect(),
        };
        let truths = truths.into_iter().map(|i| {
            let a = &truth.annotations[i];
            (a.image_id, a.category_id, i)
        });
        let found = detections
            .iter()
            .enumerate()
            .map(|(i, d)| (d.image_id, d.category_id, i));
        if place.together {
            categories = vec![0];
        }
        let mut groups: Vec<Group> = categories.iter().map(|_| Group::default()).collect();
        place.deal(truths, |k, member| groups[k].truths.push(member));
        place.deal(found, |k, member| groups[k].detections.push(member));
        Ok(Self {
            categories,
            images,
            groups,
        })
    }
}

/// Where an image and a class lie.
struct Place {
    images: HashMap<u64, usize>,
    categories: HashMap<u64, usize>,
    together: bool,
}

impl Place {
    /// Hands over the members with their group: image by image, and if the classes are one, class
    /// by class within the image.
    fn deal(
        &self,
        items: impl Iterator<Item = (u64, u64, usize)>,
        mut hand: impl FnMut(usize, Member),
    ) {
        let mut placed: Vec<(usize, usize, usize)> = items
            .filter_map(|(image, category, index)| {
                Some((
                    *self.images.get(&image)?,
                    *self.categories.get(&category)?,
                    index,
                ))
            })
            .collect();
        placed.sort_by_key(|&(image, category, _)| (image, category));
        for (image, category, index) in placed {
            hand(
                if self.together { 0 } else { category },
                Member { image, index },
            );
        }
    }
}

/// pycocotools looks annotations up by id: each one selected stands for the last one of its id.
/// In the order in which it visits them.
fn resolve_by_id(annotations: &[Annotation], place: &Place) -> Vec<usize> {
    let last: HashMap<u64, usize> = annotations
        .iter()
        .enumerate()
        .map(|(i, a)| (a.id, i))
        .collect();
    if last.len() == annotations.len() {
        return (0..annotations.len()).collect();
    }
    let selected = annotations.iter().filter_map(|a| {
        let image = *place.images.get(&a.image_id)?;
        (place.together || place.categories.contains_key(&a.category_id)).then_some((image, a.id))
    });
    let mut selected: Vec<(usize, u64)> = selected.collect();
    selected.sort_by_key(|&(image, _)| image);
    selected.into_iter().map(|(_, id)| last[&id]).collect()
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn ranks(ids: &[u64]) -> HashMap<u64, usize> {
    ids.iter()
        .enumerate()
        .map(|(rank, &id)| (id, rank))
        .collect()
}
