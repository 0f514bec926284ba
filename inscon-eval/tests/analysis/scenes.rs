//! Random scenes.

use inscon_eval::{Annotation, Category, CocoDataset, Detection, Image};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Images with `objects` truths at most and three detections of each, over `classes` classes. Few
/// places and few scores, so that there are ties of both.
pub(crate) fn scenes(
    seed: u64,
    images: u64,
    classes: u64,
    objects: usize,
) -> (CocoDataset, Vec<Detection>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut truth, mut found) = (CocoDataset::default(), Vec::new());
    truth.categories = (1..=classes)
        .map(|id| Category {
            id: 3 * id,
            name: format!("c{id}"),
            supercategory: None,
        })
        .collect();
    for image_id in 1..=images {
        truth.images.push(Image {
            id: image_id,
            width: 100,
            height: 100,
            ..Image::default()
        });
        for _ in 0..rng.random_range(0..=objects) {
            let mut coarse = || f64::from(rng.random_range(1..6_u32)) * 12.0;
            let bbox = [coarse(), coarse(), coarse(), coarse()];
            let category_id = 3 * rng.random_range(1..=classes);
            truth.annotations.push(Annotation {
                id: truth.annotations.len() as u64 + 1,
                image_id,
                category_id,
                bbox,
                area: bbox[2] * bbox[3],
                iscrowd: rng.random_bool(0.1),
                ..Annotation::default()
            });
            for _ in 0..3 {
                let moved = bbox.map(|v| v + f64::from(rng.random_range(-1..3_i32)) * 2.0);
                let category = match rng.random_bool(0.8) {
                    true => category_id,
                    false => 3 * rng.random_range(1..=classes),
                };
                let score = f64::from(rng.random_range(0..8_u32)) / 8.0;
                found.push(Detection::of_box(image_id, category, score, moved));
            }
        }
    }
    (truth, found)
}
