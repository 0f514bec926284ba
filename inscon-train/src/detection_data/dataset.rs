//! Labels, of COCO's or VOC's kind, with their images.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use image::RgbImage;
use inscon_aug::{decode_rgb, shuffle, stream};
use inscon_eval::CocoDataset;

use super::object::{Naming, read_object};
use super::{DataReport, DetectionDataError, Sample, voc};
use crate::config::{DataConfig, VocSplit};

/// Which images of a set are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// All of them.
    All,
    /// The first so many by id; 0 is all.
    First(usize),
    /// So many drawn by the seed; 0 is all.
    Drawn(usize, u64),
}

/// Which of a recipe's labelled sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `data.train_json` or `data.train_voc`.
    Train,
    /// `data.val_json` or `data.val_voc`.
    Val,
}

/// Labelled images: COCO's ground truth for the judge, and objects with 0-based labels for the
/// detector.
///
/// Labels number the categories by ascending id. Crowds and objects marked `difficult` stay in
/// [`ground_truth`](Self::ground_truth), where evaluation ignores them, but are not
/// [trainable](super::Object::trainable): the detector never sees them. Neither does it see objects whose
/// annotation is broken; [`report`](Self::report) counts and names them.
#[derive(Debug)]
pub struct DetectionDataset {
    pub(super) origin: String,
    pub(super) naming: Naming,
    pub(super) report: DataReport,
    pub(super) coco: CocoDataset,
    category_ids: Vec<u64>,
    class_names: Vec<String>,
    pub(super) samples: Vec<Sample>,
    kept: Option<Vec<OnceLock<Arc<RgbImage>>>>,
    bad: Mutex<BTreeMap<u64, String>>,
}

impl DetectionDataset {
    /// Reads `json`, whose `file_name`s are relative to `images`, and checks that every image used
    /// is there. `key` names the recipe's key for the JSON in messages; `cache` keeps decoded
    /// images in memory.
    ///
    /// # Errors
    /// [`DetectionDataError`]; messages name the JSON and the offending id.
    pub fn open(
        key: &'static str,
        json: &Path,
        images: &Path,
        subset: Subset,
        cache: bool,
    ) -> Result<Self, DetectionDataError> {
        if json.as_os_str().is_empty() {
            return Err(DetectionDataError::NotSet { key });
        }
        let coco = CocoDataset::load(json)?;
        Self::of(
            json.display().to_string(),
            Naming::Id,
            coco,
            images,
            subset,
            cache,
        )
    }

    /// Reads image sets in VOC's layout, one after another; `classes` are the labels' names
    /// ([`voc_classes`](super::voc_classes)). VOC's boxes, 1-based with both ends inside, become
    /// 0-based and half-open: `[xmin - 1, xmax)`.
    ///
    /// # Errors
    /// [`DetectionDataError`]; messages name the file and, of XML, the line.
    pub fn open_voc(
        splits: &[VocSplit],
        classes: &[String],
        subset: Subset,
        cache: bool,
    ) -> Result<Self, DetectionDataError> {
        let names: Vec<String> = splits.iter().map(VocSplit::to_string).collect();
        let coco = voc::load(splits, classes)?;
        // The file names hold their folders.
        let images = Path::new("");
        Self::of(
            names.join(" + "),
            Naming::Number,
            coco,
            images,
            subset,
            cache,
        )
    }

    /// Opens one of a recipe's sets, JSON or VOC.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`open_voc`](Self::open_voc).
    pub fn of_part(
        data: &DataConfig,
        part: Part,
        subset: Subset,
        cache: bool,
    ) -> Result<Self, DetectionDataError> {
        let (key, json, images, splits) = match part {
            Part::Train => (
                "data.train_json",
                &data.train_json,
                &data.train_images,
                &data.train_voc,
            ),
            Part::Val => (
                "data.val_json",
                &data.val_json,
                &data.val_images,
                &data.val_voc,
            ),
        };
        if splits.is_empty() {
            return Self::open(key, json, images, subset, cache);
        }
        Self::open_voc(splits, &voc::voc_classes(data)?, subset, cache)
    }

    fn of(
        origin: String,
        naming: Naming,
        coco: CocoDataset,
        images: &Path,
        subset: Subset,
        cache: bool,
    ) -> Result<Self, DetectionDataError> {
        let coco = restrict(coco, subset);
        let empty = |what| DetectionDataError::Empty {
            origin: origin.clone(),
            what,
        };
        if coco.images.is_empty() {
            return Err(empty("no images; point it at another file"));
        }
        if coco.categories.is_empty() {
            return Err(empty("no categories, so that nothing can be detected"));
        }
        check_files(&origin, &coco, images)?;

        let mut categories: Vec<(u64, String)> = coco
            .categories
            .iter()
            .map(|c| (c.id, c.name.clone()))
            .collect();
        categories.sort();
        let (category_ids, class_names): (Vec<u64>, Vec<String>) = categories.into_iter().unzip();
        let mut objects: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, annotation) in coco.annotations.iter().enumerate() {
            objects.entry(annotation.image_id).or_default().push(index);
        }
        let mut report = DataReport {
            images: coco.images.len(),
            objects: coco.annotations.len(),
            classes: class_names.len(),
            crowds: coco.annotations.iter().filter(|a| a.iscrowd).count(),
            difficult: coco.annotations.iter().filter(|a| a.difficult).count(),
            ignored: coco.annotations.iter().filter(|a| a.ignore).count(),
            ..DataReport::new(&origin)
        };
        let mut samples = Vec::with_capacity(coco.images.len());
        for image in &coco.images {
            let mut sample = Sample {
                id: image.id,
                path: images.join(&image.file_name),
                width: image.width,
                height: image.height,
                objects: Vec::new(),
            };
            let of_image = objects.get(&image.id).into_iter().flatten();
            for (number, &index) in of_image.enumerate() {
                let annotation = &coco.annotations[index];
                let Ok(label) = category_ids.binary_search(&annotation.category_id) else {
                    continue;
                };
                let (object, fault) = read_object(annotation, index, label, &sample);
                if let Some(fault) = fault {
                    report.add(fault, || {
                        let name = naming.of(annotation, number, &sample.path);
                        format!("{name}, {:?}", annotation.bbox)
                    });
                }
                sample.objects.push(object);
            }
            samples.push(sample);
        }
        let mut set = Self {
            origin,
            naming,
            report,
            kept: cache.then(|| samples.iter().map(|_| OnceLock::new()).collect()),
            category_ids,
            class_names,
            samples,
            coco,
            bad: Mutex::default(),
        };
        set.report.without_objects = set.samples.len() - set.trainable().len();
        Ok(set)
    }

    /// Where the labels are from, for messages: the JSON, or VOC's folders and lists.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many images and objects there are, and what the detector does not train on.
    #[must_use]
    pub fn report(&self) -> &DataReport {
        &self.report
    }

    /// The ground truth of the images used, crowds and difficult objects included.
    #[must_use]
    pub fn ground_truth(&self) -> &CocoDataset {
        &self.coco
    }

    /// The images, by ascending id.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Name of each class, by label.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// COCO's category ids, by label.
    #[must_use]
    pub fn category_ids(&self) -> &[u64] {
        &self.category_ids
    }

    /// COCO's category id of a label.
    ///
    /// # Panics
    /// When there is no such class.
    #[must_use]
    pub fn category_id(&self, label: usize) -> u64 {
        self.category_ids[label]
    }

    /// The label of a COCO category id.
    #[must_use]
    pub fn label_of(&self, category_id: u64) -> Option<usize> {
        self.category_ids.binary_search(&category_id).ok()
    }

    /// Indices of the images with something to train on.
    #[must_use]
    pub fn trainable(&self) -> Vec<usize> {
        let any = |sample: &Sample| sample.objects.iter().any(|o| o.trainable);
        (0..self.samples.len())
            .filter(|&i| any(&self.samples[i]))
            .collect()
    }

    /// Whether VOC's `difficult` occurs.
    #[must_use]
    pub fn has_difficult(&self) -> bool {
        self.coco.annotations.iter().any(|a| a.difficult)
    }

    /// Checks that `val` has the same categories.
    ///
    /// # Errors
    /// [`DetectionDataError::Categories`].
    pub fn same_classes(&self, val: &Self) -> Result<(), DetectionDataError> {
        let named = |set: &Self| {
            let ids = set.category_ids.iter().copied();
            ids.zip(set.class_names.iter().cloned()).collect::<Vec<_>>()
        };
        let (ours, theirs) = (named(self), named(val));
        if ours == theirs {
            return Ok(());
        }
        let what = match ours.iter().zip(&theirs).find(|(a, b)| a != b) {
            Some((a, b)) => format!("{} `{}` there, {} `{}` here", a.0, a.1, b.0, b.1),
            None => format!("{} and {} of them", ours.len(), theirs.len()),
        };
        let (train, val) = (self.origin.clone(), val.origin.clone());
        Err(DetectionDataError::Categories { train, val, what })
    }

    /// The pixels of an image.
    ///
    /// # Errors
    /// What is wrong with the file: unreadable, or of another size than the labels say.
    pub fn decode(&self, index: usize) -> Result<Arc<RgbImage>, String> {
        if let Some(image) = self.kept.as_ref().and_then(|kept| kept[index].get()) {
            return Ok(image.clone());
        }
        let sample = &self.samples[index];
        let bytes = std::fs::read(&sample.path).map_err(|e| e.to_string())?;
        let image = decode_rgb(&bytes).map_err(|e| e.to_string())?;
        if image.dimensions() != (sample.width, sample.height) {
            let (width, height) = image.dimensions();
            return Err(format!(
                "the file is {width}×{height} pixels, the labels say {}×{}; correct the labels, or \
                 put the image back that they were drawn on",
                sample.width, sample.height
            ));
        }
        let image = Arc::new(image);
        if let Some(kept) = &self.kept {
            // Another thread may have been first with the same pixels.
            let _ = kept[index].set(image.clone());
        }
        Ok(image)
    }

    /// Notes that an image turned out unreadable, and says so the first time.
    pub fn note_bad(&self, index: usize, error: &str) {
        let sample = &self.samples[index];
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let named = format!("{} (image {}): {error}", sample.path.display(), sample.id);
        if bad.insert(sample.id, named.clone()).is_none() {
            crate::say(&format!("unreadable image {named}"));
        }
    }

    /// Number of images that turned out unreadable so far.
    #[must_use]
    pub fn bad_images(&self) -> usize {
        self.bad
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Checks the number of unreadable images against `share` of the set.
    ///
    /// # Errors
    /// [`DetectionDataError::TooManyBad`].
    pub fn check_bad(&self, share: f64) -> Result<(), DetectionDataError> {
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let images = self.samples.len();
        if bad.len() as f64 <= share * images as f64 && bad.len() < images {
            return Ok(());
        }
        Err(DetectionDataError::TooManyBad {
            origin: self.origin.clone(),
            bad: bad.len(),
            images,
            share,
            first: bad.values().next().cloned().unwrap_or_default(),
        })
    }
}

/// The images of `subset`, by ascending id, with their annotations.
fn restrict(mut coco: CocoDataset, subset: Subset) -> CocoDataset {
    coco.images.sort_by_key(|image| image.id);
    let (limit, seed) = match subset {
        Subset::All => (0, None),
        Subset::First(limit) => (limit, None),
        Subset::Drawn(limit, seed) => (limit, Some(seed)),
    };
    if limit > 0 && limit < coco.images.len() {
        if let Some(seed) = seed {
            shuffle(&mut stream(seed, &[4, DRAW]), &mut coco.images);
        }
        coco.images.truncate(limit);
        coco.images.sort_by_key(|image| image.id);
        let ids: std::collections::BTreeSet<u64> = coco.images.iter().map(|i| i.id).collect();
        coco.annotations
            .retain(|annotation| ids.contains(&annotation.image_id));
    }
    coco
}

/// Last element of the stream path of the subset; iterations never get there.
const DRAW: u64 = u64::MAX - 1;

fn check_files(origin: &str, coco: &CocoDataset, images: &Path) -> Result<(), DetectionDataError> {
    let missing: Vec<_> = coco
        .images
        .iter()
        .filter(|image| !images.join(&image.file_name).is_file())
        .collect();
    if let Some(image) = missing.first() {
        return Err(DetectionDataError::MissingImage {
            origin: origin.to_owned(),
            id: image.id,
            file_name: image.file_name.clone(),
            path: images.join(&image.file_name),
            missing: missing.len(),
            images: coco.images.len(),
        });
    }
    let sizeless = |image: &&inscon_eval::Image| image.width == 0 || image.height == 0;
    match coco.images.iter().find(sizeless) {
        None => Ok(()),
        Some(image) => Err(DetectionDataError::NoSize {
            origin: origin.to_owned(),
            id: image.id,
            file_name: image.file_name.clone(),
        }),
    }
}
