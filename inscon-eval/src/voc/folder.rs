//! Ground truth as VOC hands it out: a folder of XML files and a list of images.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::corners::coco_box;
use super::detection_files::{files, text_of};
use super::names::{CLASSES, stem};
use super::xml::{self, XmlImage};
use crate::{Annotation, Category, CocoDataset, EvalError, Image};

/// Reads `VOCdevkit/VOC2007` or any folder with `Annotations/*.xml` (or with the XML files
/// themselves).
///
/// `image_set` lists the images by name, one a line, as `ImageSets/Main/test.txt` does (a second
/// column is not looked at); without it every XML file is read, in order of name.
///
/// Ids depend on nothing but names: an image's is the number it is called by, without `_`, if all
/// are called so (`000012` is 12, `2007_000027` is 2007000027), else its rank by name from 1; a
/// class's is its rank among VOC's twenty from 1, if all are of these, else its rank by name.
/// A box `[xmin, ymin, xmax, ymax]` becomes `[xmin - 1, ymin - 1, xmax - xmin + 1,
/// ymax - ymin + 1]`, which [`evaluate_voc`](super::evaluate_voc) maps back exactly (corners
/// that are no whole numbers: to within the last bit).
///
/// # Errors
/// When a file is missing or cannot be read, when it is not such an XML file (the message has
/// file, line and field), or when the list names an image twice.
///
/// ```no_run
/// let list = "VOCdevkit/VOC2007/ImageSets/Main/test.txt";
/// let truth = inscon_eval::load_voc_truth("VOCdevkit/VOC2007", Some(list.as_ref()))?;
/// let found = inscon_eval::load_voc_detections("results", &truth)?.detections;
/// let summary = inscon_eval::evaluate_voc(&truth, &found, inscon_eval::VocMetric::Voc07, 0.5)?;
/// println!("{summary}");
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn load_voc_truth(
    folder: impl AsRef<Path>,
    image_set: Option<&Path>,
) -> Result<CocoDataset, EvalError> {
    let folder = folder.as_ref();
    let inner = folder.join("Annotations");
    let folder = if inner.is_dir() { &inner } else { folder };
    let listed = match image_set {
        Some(list) => image_names(list, folder)?,
        None => files(folder, "xml")?
            .into_iter()
            .map(|path| {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                (name.into_owned(), path)
            })
            .collect(),
    };
    if listed.is_empty() {
        return Err(EvalError::Folder {
            path: image_set.unwrap_or(folder).into(),
            problem: match image_set {
                Some(_) => "lists no image".into(),
                None => "has no `Annotations/*.xml` and no `*.xml`".into(),
            },
        });
    }
    // All of them, then the first error in order: it must not depend on the threads.
    let read: Vec<Result<XmlImage, EvalError>> = listed
        .par_iter()
        .map(|(_, path)| xml::parse(&text_of(path)?, path))
        .collect();
    let read: Vec<XmlImage> = read.into_iter().collect::<Result<_, _>>()?;
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    Ok(dataset(&names, &read))
}

/// Names and files of an image set's images.
fn image_names(list: &Path, folder: &Path) -> Result<Vec<(String, PathBuf)>, EvalError> {
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    let text = text_of(list)?;
    for (at, line) in text.lines().enumerate() {
        let Some(name) = line.split_ascii_whitespace().next() else {
            continue;
        };
        let fail = |problem| EvalError::Line {
            path: list.into(),
            line: at + 1,
            field: None,
            problem,
        };
        if !seen.insert(name) {
            return Err(fail(format!("`{name}` is listed twice; drop one")));
        }
        let path = folder.join(format!("{name}.xml"));
        if !path.is_file() {
            let place = path.display();
            return Err(fail(format!("`{name}` is listed, but there is no {place}")));
        }
        names.push((name.to_owned(), path));
    }
    Ok(names)
}

fn dataset(names: &[&str], read: &[XmlImage]) -> CocoDataset {
    let ids = image_ids(names);
    let objects = || read.iter().flat_map(|image| &image.objects);
    let classes: BTreeSet<&str> = objects().map(|object| object.name.as_str()).collect();
    let classes: Vec<&str> = if classes.iter().all(|name| CLASSES.contains(name)) {
        CLASSES.into()
    } else {
        classes.into_iter().collect()
    };
    let class_ids: HashMap<&str, u64> = classes.iter().copied().zip(1..).collect();
    let mut data = CocoDataset {
        categories: (1..)
            .zip(&classes)
            .map(|(id, name)| Category {
                id,
                name: (*name).into(),
                supercategory: None,
            })
            .collect(),
        ..CocoDataset::default()
    };
    for ((name, id), image) in names.iter().zip(ids).zip(read) {
        let file = &image.filename;
        let extension = file.strip_prefix(stem(file)).filter(|rest| rest.len() > 1);
        data.images.push(Image {
            id,
            file_name: format!("{name}{}", extension.unwrap_or(".jpg")),
            width: image.width,
            height: image.height,
        });
        for object in &image.objects {
            let bbox = coco_box(object.corners);
            data.annotations.push(Annotation {
                id: data.annotations.len() as u64 + 1,
                image_id: id,
                category_id: class_ids[object.name.as_str()],
                bbox,
                area: bbox[2] * bbox[3],
                difficult: object.difficult,
                ..Annotation::default()
            });
        }
    }
    data
}

/// The numbers that the images are called by, or their ranks by name.
fn image_ids(names: &[&str]) -> Vec<u64> {
    let number = |name: &&str| -> Option<u64> {
        let digits = name.bytes().all(|b| b.is_ascii_digit() || b == b'_');
        name.replace('_', "").parse().ok().filter(|_| digits)
    };
    let numbers: Option<Vec<u64>> = names.iter().map(number).collect();
    if let Some(numbers) = numbers {
        let distinct: HashSet<u64> = numbers.iter().copied().collect();
        if distinct.len() == numbers.len() {
            return numbers;
        }
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let ranks: HashMap<&str, u64> = sorted.into_iter().zip(1..).collect();
    names.iter().map(|name| ranks[name]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_names() {
        assert_eq!(image_ids(&["000012", "000005"]), [12, 5]);
        assert_eq!(image_ids(&["2007_000027", "2008_1"]), [2007000027, 20081]);
        assert_eq!(image_ids(&["12", "1_2"]), [1, 2]);
        assert_eq!(image_ids(&["b", "000012", "a"]), [3, 1, 2]);
    }
}
