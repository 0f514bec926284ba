//! Images and classes by name, as VOC's files refer to them.

use std::collections::HashMap;

use crate::CocoDataset;

/// VOC's twenty classes; their ids, where a file has none but these, are 1 to 20 in this order.
#[cfg(feature = "voc-xml")]
pub(super) const CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// The ids behind names.
pub(super) struct Names<'a> {
    /// By file name without folder and extension; `None` if two images have it.
    images: HashMap<&'a str, Option<u64>>,
    ids: HashMap<String, u64>,
    classes: HashMap<&'a str, u64>,
}

impl<'a> Names<'a> {
    pub(super) fn of(truth: &'a CocoDataset) -> Self {
        let mut images = HashMap::new();
        for image in &truth.images {
            let name = stem(&image.file_name);
            if !name.is_empty() {
                let slot = images.entry(name).or_insert(Some(image.id));
                *slot = slot.filter(|id| *id == image.id);
            }
        }
        let ids = truth.images.iter();
        let classes = truth.categories.iter();
        Self {
            images,
            ids: ids.map(|image| (image.id.to_string(), image.id)).collect(),
            classes: classes.map(|c| (c.name.as_str(), c.id)).collect(),
        }
    }

    /// The image of a name, which may also be an id. The error says what is wrong with the name.
    pub(super) fn image(&self, name: &str) -> Result<u64, &'static str> {
        match self.images.get(name) {
            Some(Some(id)) => Ok(*id),
            Some(None) => Err("is the name of several images of the ground truth; rename them"),
            None => self.ids.get(name).copied().ok_or(
                "is no image of the ground truth; are these the results of another image set?",
            ),
        }
    }

    /// The class whose detections a file of this name holds: `dog.txt`, `comp4_det_test_dog.txt`.
    pub(super) fn class_of_file(&self, stem: &str) -> Option<u64> {
        if let Some(id) = self.classes.get(stem) {
            return Some(*id);
        }
        // Of classes `cow` and `sea_cow`, the longer name is meant.
        let known = self.classes.iter().filter(|(name, _)| {
            !name.is_empty()
                && stem
                    .strip_suffix(**name)
                    .is_some_and(|front| front.ends_with('_') && is_competition(front))
        });
        known.max_by_key(|(name, _)| name.len()).map(|(_, id)| *id)
    }
}

/// `comp4_det_test_` and the like.
fn is_competition(front: &str) -> bool {
    let Some((number, _)) = front
        .strip_prefix("comp")
        .and_then(|rest| rest.split_once("_det_"))
    else {
        return false;
    };
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// A file's name without folder and extension.
pub(super) fn stem(file_name: &str) -> &str {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, Image};

    #[test]
    fn names_of_images_and_of_files() {
        let image = |id, name: &str| Image {
            id,
            file_name: name.into(),
            ..Image::default()
        };
        let class = |id, name: &str| Category {
            id,
            name: name.into(),
            supercategory: None,
        };
        let truth = CocoDataset {
            images: vec![
                image(7, "JPEGImages/000012.jpg"),
                image(8, "a/x.png"),
                image(9, "b/x.png"),
                image(10, ""),
            ],
            categories: vec![class(1, "cow"), class(2, "sea_cow"), class(3, "my_cow")],
            ..CocoDataset::default()
        };
        let names = Names::of(&truth);
        assert_eq!(names.image("000012"), Ok(7));
        assert!(names.image("x").unwrap_err().contains("several"));
        assert_eq!(names.image("10"), Ok(10));
        assert!(names.image("12").is_err());
        assert_eq!(names.class_of_file("cow"), Some(1));
        assert_eq!(names.class_of_file("comp4_det_test_cow"), Some(1));
        assert_eq!(names.class_of_file("comp3_det_val_sea_cow"), Some(2));
        assert_eq!(names.class_of_file("comp_det_test_cow"), None);
        assert_eq!(names.class_of_file("brown_cow"), None);
    }
}
