//! PASCAL VOC's folders as one data set.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use inscon_aug::decode_rgb;
use inscon_eval::{Category, CocoDataset, load_voc_truth};

use super::DetectionDataError;
use crate::config::{DataConfig, VocSplit};

/// The classes of a recipe's VOC sets, by label: `data.voc_classes`, or VOC's twenty where
/// `data.train_voc` and `data.val_voc` have no others, or the names found there, sorted.
///
/// # Errors
/// A folder or a list that is missing, XML that is not VOC's.
pub fn voc_classes(data: &DataConfig) -> Result<Vec<String>, DetectionDataError> {
    if !data.voc_classes.is_empty() {
        return Ok(data.voc_classes.clone());
    }
    let mut listed: Option<Vec<String>> = None;
    let mut alike = true;
    let mut found = BTreeSet::new();
    for split in data.train_voc.iter().chain(&data.val_voc) {
        let part = read(split)?;
        let names: Vec<String> = part.categories.iter().map(|c| c.name.clone()).collect();
        found.extend(used(&part).into_values());
        alike &= listed.as_ref().is_none_or(|former| *former == names);
        listed = Some(names);
    }
    // Each part lists VOC's twenty if it has no others: so do all of them, if they are alike.
    Ok(match listed {
        Some(names) if alike => names,
        _ => found.into_iter().collect(),
    })
}

/// Several image sets as one, with `classes` as the categories 1, 2, … `file_name` is the path of
/// an image, its folder included.
///
/// Image ids are the sets' own (`000012` is 12, `2007_000027` is 2007000027) where all are
/// different, else they count from 1; annotation ids count from 1. Sizes that an XML file does not
/// say are read from the image.
///
/// # Errors
/// As [`voc_classes`], and for an object of another class or an image in two sets.
pub(super) fn load(
    splits: &[VocSplit],
    classes: &[String],
) -> Result<CocoDataset, DetectionDataError> {
    let ids: HashMap<&str, u64> = classes.iter().map(String::as_str).zip(1..).collect();
    let category = |(id, name): (u64, &String)| Category {
        id,
        name: name.clone(),
        supercategory: None,
    };
    let mut all = CocoDataset {
        categories: (1..).zip(classes).map(category).collect(),
        ..CocoDataset::default()
    };
    let mut parts = Vec::new();
    for split in splits {
        parts.push((split, read(split)?));
    }
    let images = || parts.iter().flat_map(|(_, part)| &part.images);
    let distinct: HashSet<u64> = images().map(|image| image.id).collect();
    let own_ids = distinct.len() == images().count();

    let mut from: BTreeMap<String, &VocSplit> = BTreeMap::new();
    for (split, part) in &parts {
        let names = used(part);
        for name in names.values() {
            if !ids.contains_key(name.as_str()) {
                return Err(DetectionDataError::VocClass {
                    set: split.to_string(),
                    name: name.clone(),
                });
            }
        }
        let pictures = split.root.join("JPEGImages");
        let folder = if pictures.is_dir() {
            &pictures
        } else {
            &split.root
        };
        let mut renamed = HashMap::new();
        for image in &part.images {
            let mut image = image.clone();
            let path = folder.join(&image.file_name);
            let own = image.id;
            if !own_ids {
                image.id = all.images.len() as u64 + 1;
            }
            renamed.insert(own, image.id);
            if image.width == 0 || image.height == 0 {
                (image.width, image.height) = size_of(&path).unwrap_or_default();
            }
            image.file_name = path.display().to_string();
            if let Some(other) = from.insert(image.file_name.clone(), split) {
                return Err(DetectionDataError::VocTwice {
                    image: image.file_name,
                    sets: [other.to_string(), split.to_string()],
                });
            }
            all.images.push(image);
        }
        for annotation in &part.annotations {
            let mut annotation = annotation.clone();
            annotation.id = all.annotations.len() as u64 + 1;
            annotation.image_id = renamed[&annotation.image_id];
            annotation.category_id = ids[names[&annotation.category_id].as_str()];
            all.annotations.push(annotation);
        }
    }
    Ok(all)
}

/// Names of the categories that occur, by id.
fn used(part: &CocoDataset) -> BTreeMap<u64, String> {
    let occurring: HashSet<u64> = part.annotations.iter().map(|a| a.category_id).collect();
    part.categories
        .iter()
        .filter(|category| occurring.contains(&category.id))
        .map(|category| (category.id, category.name.clone()))
        .collect()
}

fn read(split: &VocSplit) -> Result<CocoDataset, DetectionDataError> {
    let root = &split.root;
    if split.split.is_empty() {
        return Ok(load_voc_truth(root, None)?);
    }
    let lists = root.join("ImageSets").join("Main");
    let list = lists.join(format!("{}.txt", split.split));
    if !list.is_file() {
        return Err(DetectionDataError::VocList {
            list,
            known: known_lists(&lists),
        });
    }
    Ok(load_voc_truth(root, Some(&list))?)
}

/// The image sets in a folder that are not of one class (`dog_train.txt`).
fn known_lists(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let list = path.extension().is_some_and(|e| e == "txt");
            (list && !name.contains('_')).then_some(name)
        })
        .collect();
    names.sort();
    match names.is_empty() {
        true => "there are none".to_owned(),
        false => format!("there are {}", names.join(", ")),
    }
}

/// Width and height of an image file; `None` if it cannot be read, which is reported when its
/// pixels are wanted.
fn size_of(path: &Path) -> Option<(u32, u32)> {
    let image = decode_rgb(&std::fs::read(path).ok()?).ok()?;
    Some(image.dimensions())
}
