//! Annotations and detections by class, in the order in which they are evaluated.

use std::collections::HashMap;

use super::ids::{Ranks, unique, unique_in_order};
use super::{CocoParams, GroundTruth, Mode, Results};
use crate::EvalError;

/// What is evaluated, by class.
pub(super) struct Grouping {
    /// Ids on the K axis (one entry, 0, if classes are not told apart).
    pub(super) categories: Vec<u64>,
    /// Ids of the images, ascending.
    pub(super) images: Vec<u64>,
    /// By class, within a class by image, and within an image in the order of the file.
    pub(super) truths: Sorted,
    /// By class, within a class in the order of the file; if classes are not told apart, in the
    /// order of classes first.
    pub(super) detections: Sorted,
}

/// Members of every class.
pub(crate) struct Sorted {
    members: Vec<Member>,
    /// Where each class starts, and where the last one ends.
    starts: Vec<usize>,
}

impl Sorted {
    pub(crate) fn class(&self, k: usize) -> &[Member] {
        &self.members[self.starts[k]..self.starts[k + 1]]
    }

    /// Within each class, by image; stable.
    pub(crate) fn by_image(&mut self) {
        for bounds in self.starts.windows(2) {
            self.members[bounds[0]..bounds[1]].sort_by_key(|member| member.image);
        }
    }
}

/// Something on an image.
#[derive(Clone, Copy, Default)]
pub(crate) struct Member {
    /// Rank of the image.
    pub(crate) image: u32,
    /// Position in the list it comes from.
    pub(crate) index: u32,
}

impl Grouping {
    pub(super) fn new(
        truth: &GroundTruth,
        results: &Results,
        params: &CocoParams,
    ) -> Result<Self, EvalError> {
        if results.len().max(truth.len()).max(truth.images.len()) >= u32::MAX as usize {
            return Err(EvalError::Params {
                name: "image_ids",
                problem: "more than 4 billion records; evaluate them in parts",
            });
        }
        let all = unique(truth.images.iter().map(|image| image.id).collect());
        let listed = Ranks::new(&all);
        if let Some(index) = results
            .image_ids
            .iter()
            .position(|&id| listed.get(id).is_none())
        {
            let image = results.image_ids[index];
            return Err(EvalError::DetectionImage { index, image });
        }
        let (images, ranks) = match &params.image_ids {
            Some(ids) => {
                let images = unique(ids.clone());
                let ranks = Ranks::new(&images);
                (images, ranks)
            }
            None => (all, listed),
        };
        let mut categories = match &params.category_ids {
            Some(ids) => ids.clone(),
            None => {
                let mut ids: Vec<u64> = truth.categories.iter().map(|c| c.id).collect();
                ids.sort_unstable();
                ids
            }
        };
        // As one class, a class that is listed twice counts twice in pycocotools.
        if params.use_categories || params.mode == Mode::Corrected {
            categories = unique(categories);
        }
        let classes = unique_in_order(&categories);
        let records = results.len().max(truth.len());
        if (categories.len() - classes.len()).saturating_mul(records) >= u32::MAX as usize {
            return Err(EvalError::Params {
                name: "category_ids",
                problem: "a class is listed so often that its records would be billions; list it once",
            });
        }
        let place = Place {
            images: ranks,
            categories: Ranks::new(&classes),
            count: classes.len(),
            together: (!params.use_categories).then(|| {
                let ranks = Ranks::new(&classes);
                categories.iter().filter_map(|&id| ranks.get(id)).collect()
            }),
        };
        let rows = &truth.rows;
        let mut truths = match params.mode {
            Mode::Strict => place.resolved_by_id(truth),
            Mode::Corrected => place.sorted(
                0..rows.ids.len(),
                |i| rows.image_ids[i],
                |i| rows.category_ids[i],
            ),
        };
        truths.by_image();
        let detections = place.sorted(
            0..results.len(),
            |i| results.image_ids[i],
            |i| results.category_ids[i],
        );
        if place.together.is_some() {
            categories = vec![0];
        }
        Ok(Self {
            categories,
            images,
            truths,
            detections,
        })
    }
}

/// Where an image and a class lie.
pub(crate) struct Place {
    pub(crate) images: Ranks,
    pub(crate) categories: Ranks,
    /// How many classes.
    pub(crate) count: usize,
    /// If the classes are one: their ranks in the order in which their members follow each other.
    pub(crate) together: Option<Vec<u32>>,
}

impl Place {
    /// By class, stable.
    pub(crate) fn sorted(
        &self,
        items: impl Iterator<Item = usize> + Clone,
        image: impl Fn(usize) -> u64,
        category: impl Fn(usize) -> u64,
    ) -> Sorted {
        let mut starts = vec![0; self.count + 1];
        for i in items.clone() {
            if let Some(k) = self.categories.get(category(i)) {
                starts[k as usize + 1] += usize::from(self.images.get(image(i)).is_some());
            }
        }
        for k in 0..self.count {
            starts[k + 1] += starts[k];
        }
        let mut next = starts.clone();
        let mut members = vec![Member::default(); starts[self.count]];
        for i in items {
            if let Some(k) = self.categories.get(category(i))
                && let Some(image) = self.images.get(image(i))
            {
                let slot = &mut next[k as usize];
                members[*slot] = Member {
                    image,
                    index: i as u32,
                };
                *slot += 1;
            }
        }
        if let Some(order) = &self.together {
            members = order
                .iter()
                .flat_map(|&k| &members[starts[k as usize]..starts[k as usize + 1]])
                .copied()
                .collect();
            starts = vec![0, members.len()];
        }
        Sorted { members, starts }
    }

    /// pycocotools looks annotations up by id: each one selected stands for the last one of its
    /// id. In the order in which it visits them.
    fn resolved_by_id(&self, truth: &GroundTruth) -> Sorted {
        let rows = &truth.rows;
        let (image, category) = (
            |i: usize| rows.image_ids[i],
            |i: usize| rows.category_ids[i],
        );
        let mut ids = rows.ids.clone();
        ids.sort_unstable();
        if ids.windows(2).all(|pair| pair[0] != pair[1]) {
            return self.sorted(0..rows.ids.len(), image, category);
        }
        let last: HashMap<u64, usize> = rows.ids.iter().copied().zip(0..).collect();
        let mut selected: Vec<(u32, u64)> = (0..rows.ids.len())
            .filter_map(|i| {
                let rank = self.images.get(image(i))?;
                let known = self.together.is_some() || self.categories.get(category(i)).is_some();
                known.then_some((rank, rows.ids[i]))
            })
            .collect();
        selected.sort_by_key(|&(image, _)| image);
        self.sorted(selected.iter().map(|(_, id)| last[id]), image, category)
    }
}
