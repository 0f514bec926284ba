//! The records of `instances_*.json` and of a results file.

use serde::{Deserialize, Serialize};

use super::{Segmentation, lenient};

/// Ground truth: `instances_*.json`. Fields it does not know are ignored when read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CocoDataset {
    /// The images; a detection may only be on one of these.
    #[serde(default)]
    pub images: Vec<Image>,
    /// The objects on them.
    #[serde(default)]
    pub annotations: Vec<Annotation>,
    /// The classes.
    #[serde(default)]
    pub categories: Vec<Category>,
}

/// One image of a [`CocoDataset`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Unique among the images; evaluation visits images in ascending order of it.
    pub id: u64,
    /// Where the picture lies; empty if the file does not say.
    #[serde(default)]
    pub file_name: String,
    /// Pixels; 0 if the file does not say (polygons then cannot be drawn).
    #[serde(default)]
    pub width: u32,
    /// Pixels; 0 if the file does not say (polygons then cannot be drawn).
    #[serde(default)]
    pub height: u32,
}

/// One object of the ground truth.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Unique among the annotations, and not 0 (see [`Mode`](super::Mode)).
    pub id: u64,
    /// The [`Image`] it is on.
    pub image_id: u64,
    /// Its [`Category`].
    pub category_id: u64,
    /// `[x, y, width, height]`, pixels, continuous edges.
    #[serde(deserialize_with = "lenient::bbox")]
    pub bbox: [f64; 4],
    /// Square pixels; decides the area range and is never recomputed.
    #[serde(deserialize_with = "lenient::float")]
    pub area: f64,
    /// A region of many objects: may be matched many times and counts for nothing. 0/1 in the file.
    #[serde(default, with = "lenient::flag")]
    pub iscrowd: bool,
    /// Its mask, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<Segmentation>,
    /// `[x, y, v, ..]` in pixels; `v` is 0 (not labelled), 1 (hidden) or 2 (visible).
    #[serde(
        default,
        deserialize_with = "lenient::floats",
        skip_serializing_if = "Option::is_none"
    )]
    pub keypoints: Option<Vec<f64>>,
    /// How many of them are labelled; none are to be found in an object with 0. Counted if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_keypoints: Option<u32>,
    /// PASCAL VOC's flag: neither to be found nor to be missed. COCO's measures ignore it.
    #[serde(default, with = "lenient::flag", skip_serializing_if = "is_false")]
    pub difficult: bool,
    /// Read and written, but overwritten by `iscrowd` in evaluation, as pycocotools does.
    #[serde(default, with = "lenient::flag", skip_serializing_if = "is_false")]
    pub ignore: bool,
}

/// One class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Unique among the categories; the K axis of an evaluation is in ascending order of it.
    pub id: u64,
    /// Its name; empty if the file does not say.
    #[serde(default)]
    pub name: String,
    /// The group it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supercategory: Option<String>,
}

/// One entry of a results file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The [`Image`] it is on.
    pub image_id: u64,
    /// The class that it claims; an unknown one is dropped.
    pub category_id: u64,
    /// Any order-preserving confidence; NaN sorts last.
    #[serde(deserialize_with = "lenient::float")]
    pub score: f64,
    /// `[x, y, width, height]`, pixels, continuous edges.
    #[serde(
        default,
        deserialize_with = "lenient::optional_bbox",
        skip_serializing_if = "Option::is_none"
    )]
    pub bbox: Option<[f64; 4]>,
    /// Its mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<Segmentation>,
    /// `[x, y, v, ..]` in pixels; `v` is not looked at.
    #[serde(
        default,
        deserialize_with = "lenient::floats",
        skip_serializing_if = "Option::is_none"
    )]
    pub keypoints: Option<Vec<f64>>,
}

impl Detection {
    /// A detection with a box `[x, y, width, height]` and no mask.
    #[must_use]
    pub fn of_box(image_id: u64, category_id: u64, score: f64, bbox: [f64; 4]) -> Self {
        Self {
            image_id,
            category_id,
            score,
            bbox: Some(bbox),
            ..Self::default()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_every_spelling_of_a_flag_are_read() {
        let text = r#"{"info": {"year": 2017}, "licenses": [],
            "images": [{"id": 3, "coco_url": "x", "width": 5, "height": 4}],
            "annotations": [
              {"id": 1, "image_id": 3, "category_id": 2, "bbox": [0, 1, 2, 3.5], "area": 7,
               "iscrowd": 1, "difficult": true, "attributes": {"a": []}},
              {"id": 2, "image_id": 3, "category_id": 2, "bbox": [0, 1, 2, 3], "area": 6,
               "segmentation": {"size": [4, 5], "counts": [4, 16]}}],
            "categories": [{"id": 2, "name": "cat", "supercategory": "animal"}]}"#;
        let data: CocoDataset = serde_json::from_str(text).unwrap();
        assert!(data.annotations[0].iscrowd && data.annotations[0].difficult);
        assert!(!data.annotations[1].iscrowd && data.annotations[1].segmentation.is_some());
        let again: CocoDataset =
            serde_json::from_str(&serde_json::to_string(&data).unwrap()).unwrap();
        assert_eq!(again, data);
    }

    #[test]
    fn flags_are_written_as_coco_writes_them() {
        let annotation = Annotation {
            iscrowd: true,
            ..Annotation::default()
        };
        let text = serde_json::to_string(&annotation).unwrap();
        assert!(text.contains(r#""iscrowd":1"#), "{text}");
        assert!(!text.contains("difficult"), "{text}");
    }

    #[test]
    fn an_empty_box_is_none() {
        let text = r#"{"image_id": 1, "category_id": 1, "score": 1, "bbox": []}"#;
        assert_eq!(serde_json::from_str::<Detection>(text).unwrap().bbox, None);
        let text = r#"{"image_id": 1, "category_id": 1, "score": 1, "bbox": [1, 2]}"#;
        assert!(serde_json::from_str::<Detection>(text).is_err());
    }
}
