//! What counts, by class: truths, the best detections, what is known of the images.

use std::collections::HashMap;

use super::truth::Listed;
use super::{LvisParams, LvisTruth};
use crate::coco::{Place, Ranks, ResultKind, Sorted, TruthRows, score_key, unique};
use crate::{EvalError, Owner, Results};

/// What is evaluated, by class.
pub(super) struct Grouping {
    /// For each entry of the K axis, its id.
    pub(super) categories: Vec<u64>,
    /// Ids of the images, ascending.
    pub(super) images: Vec<u64>,
    /// Height and width by rank of image.
    pub(super) sizes: Vec<(u32, u32)>,
    /// Within a class by image, and within an image in the order of the file.
    pub(super) truths: Sorted,
    /// Within a class in the order of the file.
    pub(super) detections: Sorted,
    /// Images that are known not to have a class.
    pub(super) negatives: Sorted,
    /// Images where not every object of a class is annotated.
    pub(super) not_exhaustive: Sorted,
    place: Place,
}

impl Grouping {
    pub(super) fn new(
        truth: &LvisTruth,
        results: &Results,
        params: &LvisParams,
    ) -> Result<Self, EvalError> {
        let fail = |name, problem| Err(EvalError::Params { name, problem });
        let data = &truth.truth;
        if results.len().max(data.len()).max(data.images.len()) >= u32::MAX as usize {
            let problem = "more than 4 billion records; evaluate them in parts";
            return fail("image_ids", problem);
        }
        let all = unique(data.images.iter().map(|image| image.id).collect());
        let listed = Ranks::new(&all);
        let kept = best_of_images(results, &listed, all.len(), params.max_detections)?;
        let (images, ranks) = match &params.image_ids {
            None => (all, listed),
            Some(ids) => {
                if ids.iter().any(|&id| listed.get(id).is_none()) {
                    let problem = "names an image that the ground truth does not list";
                    return fail("image_ids", problem);
                }
                let images = unique(ids.clone());
                let ranks = Ranks::new(&images);
                (images, ranks)
            }
        };
        let known = unique(data.categories.iter().map(|c| c.id).collect());
        let categories = match &params.category_ids {
            None => known,
            Some(ids) => {
                if ids.iter().any(|id| known.binary_search(id).is_err()) {
                    let problem = "names a class that the ground truth does not list";
                    return fail("category_ids", problem);
                }
                ids.clone()
            }
        };
        let place = Place {
            images: ranks,
            categories: Ranks::new(&categories),
            count: categories.len(),
            together: None,
        };
        // Of images that share an id, the last counts.
        let mut sizes = vec![(0, 0); images.len()];
        let mut current = vec![0; images.len()];
        for (row, image) in (0_u32..).zip(&data.images) {
            if let Some(rank) = place.images.get(image.id) {
                sizes[rank as usize] = (image.height, image.width);
                current[rank as usize] = row;
            }
        }
        let by_class = |listed: &Listed| {
            let id = |i: usize| data.images[listed.rows[i] as usize].id;
            let counts = |&i: &usize| {
                let rank = place.images.get(id(i));
                rank.is_some_and(|rank| current[rank as usize] == listed.rows[i])
            };
            let items = (0..listed.rows.len()).filter(counts);
            place.sorted(items, id, |i| listed.category_ids[i])
        };
        Ok(Self {
            truths: truths(&place, &data.rows),
            detections: place.sorted(
                (0..results.len()).filter(|&i| kept[i]),
                |i| results.image_ids[i],
                |i| results.category_ids[i],
            ),
            negatives: by_class(&truth.negatives),
            not_exhaustive: by_class(&truth.not_exhaustive),
            categories,
            images,
            sizes,
            place,
        })
    }

    /// Where, in the groups, the class at `k` of the K axis is: a class may be there twice.
    pub(super) fn class(&self, k: usize) -> usize {
        let rank = self.place.categories.get(self.categories[k]);
        rank.map_or(k, |rank| rank as usize)
    }
}

/// The truths that have an area. As in lvis-api, each stands for the last annotation of its id.
fn truths(place: &Place, rows: &TruthRows) -> Sorted {
    let has_area = |&i: &usize| rows.areas[i] > 0.0 && rows.areas[i] < f64::INFINITY;
    let (image, category) = (
        |i: usize| rows.image_ids[i],
        |i: usize| rows.category_ids[i],
    );
    let items = (0..rows.ids.len()).filter(has_area);
    let mut ids = rows.ids.clone();
    ids.sort_unstable();
    let mut truths = if ids.windows(2).all(|pair| pair[0] != pair[1]) {
        place.sorted(items, image, category)
    } else {
        let last: HashMap<u64, usize> = rows.ids.iter().copied().zip(0..).collect();
        let mut selected: Vec<(u32, usize)> = items
            .filter_map(|i| {
                let rank = place.images.get(image(i))?;
                place.categories.get(category(i))?;
                Some((rank, last[&rows.ids[i]]))
            })
            .collect();
        selected.sort_by_key(|&(rank, _)| rank);
        place.sorted(selected.iter().map(|&(_, i)| i), image, category)
    };
    truths.by_image();
    truths
}

/// Which detections are among the `limit` best of their image; of equals, the first ones.
fn best_of_images(
    results: &Results,
    images: &Ranks,
    count: usize,
    limit: usize,
) -> Result<Vec<bool>, EvalError> {
    let mut counts = vec![0_usize; count];
    for (index, &image) in results.image_ids.iter().enumerate() {
        match images.get(image) {
            Some(rank) => counts[rank as usize] += 1,
            None => return Err(EvalError::DetectionImage { index, image }),
        }
    }
    let mut kept = vec![true; results.len()];
    let mut crowded: HashMap<u32, Vec<usize>> = HashMap::new();
    for (i, &image) in results.image_ids.iter().enumerate() {
        if let Some(rank) = images.get(image)
            && counts[rank as usize] > limit
        {
            crowded.entry(rank).or_default().push(i);
        }
    }
    // lvis-api's first detection, which decides for all: the first one of the first image.
    let mut first = 0;
    for list in crowded.values_mut() {
        let is_first = list[0] == 0;
        list.sort_by_key(|&i| score_key(results.scores[i]));
        list[limit..].iter().for_each(|&i| kept[i] = false);
        if is_first {
            first = list[0];
        }
    }
    match results.kind {
        Some(ResultKind::Keypoints) => {
            let owner = Owner::Detection(0);
            Err(EvalError::MissingMask { owner })
        }
        Some(kind) if results.has_box[first] != (kind == ResultKind::Boxes) => {
            let index = if kind == ResultKind::Boxes { first } else { 0 };
            Err(EvalError::MissingBox { index })
        }
        _ => Ok(kept),
    }
}
