//! How many objects of each class are to be found.

use std::collections::HashMap;

use super::columns::CROWD;
use super::ids::Ranks;
use super::{CocoEvaluation, GroundTruth, IouType};

impl CocoEvaluation {
    /// The truths of each class (K axis) that are to be found, of any area: those on the images
    /// that were evaluated, without crowds and, for keypoints, without objects that have none.
    #[must_use]
    pub fn truths_by_class(&self, truth: &GroundTruth) -> Vec<usize> {
        let images = Ranks::new(self.params.image_ids.as_deref().unwrap_or_default());
        let classes: HashMap<u64, usize> = match &self.params.category_ids {
            Some(ids) if self.params.use_categories => ids.iter().copied().zip(0..).collect(),
            Some(ids) => ids.iter().map(|id| (*id, 0)).collect(),
            None => truth.categories.iter().map(|c| (c.id, 0)).collect(),
        };
        let mut counts = vec![0; self.categories.len()];
        let rows = &truth.rows;
        for i in 0..truth.len() {
            let ignored = rows.flags[i] & CROWD != 0
                || (self.params.iou_type == IouType::Keypoints && rows.num_keypoints[i] == 0);
            if ignored || images.get(rows.image_ids[i]).is_none() {
                continue;
            }
            if let Some(&k) = classes.get(&rows.category_ids[i]) {
                counts[k] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use crate::{CocoParams, GroundTruth, IouType, Results, evaluate};

    #[test]
    fn crowds_other_images_and_other_classes_are_aside() {
        let text = r#"{"images": [{"id": 1}, {"id": 2}],
            "categories": [{"id": 5, "name": "a"}, {"id": 3, "name": "b"}, {"id": 9, "name": "c"}],
            "annotations": [
              {"id": 1, "image_id": 1, "category_id": 5, "bbox": [0, 0, 1, 1], "area": 1},
              {"id": 2, "image_id": 1, "category_id": 5, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 1},
              {"id": 3, "image_id": 2, "category_id": 5, "bbox": [0, 0, 1, 1], "area": 1},
              {"id": 4, "image_id": 7, "category_id": 5, "bbox": [0, 0, 1, 1], "area": 1},
              {"id": 5, "image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "area": 1}]}"#;
        let truth = GroundTruth::read(text.as_bytes(), "x", IouType::Bbox).unwrap();
        let none = Results::new(IouType::Bbox);
        let mut params = CocoParams::new(IouType::Bbox);
        let count = |params: &CocoParams| {
            evaluate(&truth, &none, params)
                .unwrap()
                .truths_by_class(&truth)
        };
        assert_eq!(count(&params), [1, 2, 0]);
        params.image_ids = Some(vec![1]);
        assert_eq!(count(&params), [1, 1, 0]);
        params.use_categories = false;
        assert_eq!(count(&params), [2]);
        params.use_categories = true;
        params.category_ids = Some(vec![5, 9]);
        assert_eq!(count(&params), [1, 0]);
    }
}
