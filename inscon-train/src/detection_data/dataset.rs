//! A COCO instances JSON with its images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use image::RgbImage;
use inscon_aug::{BBox, decode_rgb, shuffle, stream};
use inscon_eval::{Annotation, CocoDataset};
use inscon_model::detection::BitMask;

use super::DetectionDataError;

/// Which images of a JSON are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// All of them.
    All,
    /// The first so many by id; 0 is all.
    First(usize),
    /// So many drawn by the seed; 0 is all.
    Drawn(usize, u64),
}

/// Labelled images: COCO's ground truth for the judge, and objects with 0-based labels for the
/// detector.
///
/// Labels number the categories by ascending id. Crowds and objects marked `difficult` stay in
/// [`ground_truth`](Self::ground_truth), where evaluation ignores them, but are not
/// [trainable](Object::trainable): the detector never sees them.
#[derive(Debug)]
pub struct DetectionDataset {
    json: PathBuf,
    coco: CocoDataset,
    category_ids: Vec<u64>,
    class_names: Vec<String>,
    samples: Vec<Sample>,
    kept: Option<Vec<OnceLock<Arc<RgbImage>>>>,
    bad: Mutex<BTreeMap<u64, String>>,
}

/// One image and its objects.
#[derive(Debug, Clone)]
pub struct Sample {
    /// COCO's image id.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
    /// Width in pixels, as the JSON says.
    pub width: u32,
    /// Height in pixels, as the JSON says.
    pub height: u32,
    /// Its objects, in the JSON's order.
    pub objects: Vec<Object>,
}

/// One annotated object.
#[derive(Debug, Clone)]
pub struct Object {
    /// 0-based class.
    pub label: usize,
    /// Its box in pixels of the image file, inside the image.
    pub bbox: BBox,
    /// Whether a detector trains on it: neither a crowd nor difficult, and its box not empty.
    pub trainable: bool,
    /// Index of its annotation in the ground truth.
    pub annotation: usize,
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
        let coco = restrict(CocoDataset::load(json)?, subset);
        let empty = |what| DetectionDataError::Empty {
            json: json.to_owned(),
            what,
        };
        if coco.images.is_empty() {
            return Err(empty("no images; point it at another file"));
        }
        if coco.categories.is_empty() {
            return Err(empty("no categories, so that nothing can be detected"));
        }
        check_files(json, &coco, images)?;

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
        let samples = coco.images.iter().map(|image| {
            let frame = BBox::of_size(image.width, image.height);
            let object = |&index: &usize| {
                let annotation = &coco.annotations[index];
                let label = category_ids.binary_search(&annotation.category_id).ok()?;
                Some(read_object(annotation, index, label, &frame))
            };
            Sample {
                id: image.id,
                path: images.join(&image.file_name),
                width: image.width,
                height: image.height,
                objects: objects
                    .get(&image.id)
                    .into_iter()
                    .flatten()
                    .filter_map(object)
                    .collect(),
            }
        });
        let samples: Vec<Sample> = samples.collect();
        Ok(Self {
            json: json.to_owned(),
            kept: cache.then(|| samples.iter().map(|_| OnceLock::new()).collect()),
            category_ids,
            class_names,
            samples,
            coco,
            bad: Mutex::default(),
        })
    }

    /// The JSON.
    #[must_use]
    pub fn json(&self) -> &Path {
        &self.json
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

    /// Whether an object has a mask.
    #[must_use]
    pub fn has_mask(&self, object: &Object) -> bool {
        self.coco.annotations[object.annotation]
            .segmentation
            .is_some()
    }

    /// Whether every object to be trained on has a mask.
    #[must_use]
    pub fn has_masks(&self) -> bool {
        let mut trainable = self
            .samples
            .iter()
            .flat_map(|s| &s.objects)
            .filter(|o| o.trainable);
        trainable.all(|object| self.has_mask(object))
    }

    /// Checks that every trainable object has a mask.
    ///
    /// # Errors
    /// [`DetectionDataError::Mask`] names the first that has none.
    pub fn require_masks(&self) -> Result<(), DetectionDataError> {
        for sample in &self.samples {
            for object in sample.objects.iter().filter(|o| o.trainable) {
                let annotation = &self.coco.annotations[object.annotation];
                if annotation.segmentation.is_none() {
                    return Err(self.mask_error(annotation, "no segmentation".into()));
                }
            }
        }
        Ok(())
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
        let (train, val) = (self.json.clone(), val.json.clone());
        Err(DetectionDataError::Categories { train, val, what })
    }

    /// The pixels of an image.
    ///
    /// # Errors
    /// What is wrong with the file: unreadable, or of another size than the JSON says.
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
                "the file is {width}×{height} pixels, the JSON says {}×{}",
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

    /// The mask of an object over the whole image file.
    ///
    /// # Errors
    /// [`DetectionDataError::Mask`] when it has none, or one that cannot be drawn.
    pub fn mask(&self, index: usize, object: &Object) -> Result<BitMask, DetectionDataError> {
        let sample = &self.samples[index];
        let annotation = &self.coco.annotations[object.annotation];
        let Some(segmentation) = &annotation.segmentation else {
            return Err(self.mask_error(annotation, "no segmentation".into()));
        };
        let rle = segmentation
            .to_rle(sample.height, sample.width)
            .map_err(|e| self.mask_error(annotation, e.to_string()))?;
        if (rle.width(), rle.height()) != (sample.width, sample.height) {
            let what = format!(
                "a mask of {}×{} pixels on an image of {}×{}",
                rle.width(),
                rle.height(),
                sample.width,
                sample.height
            );
            return Err(self.mask_error(annotation, what));
        }
        Ok(BitMask {
            height: sample.height as usize,
            width: sample.width as usize,
            data: rle.decode(),
        })
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
            json: self.json.clone(),
            bad: bad.len(),
            images,
            share,
            first: bad.values().next().cloned().unwrap_or_default(),
        })
    }

    fn mask_error(&self, annotation: &Annotation, what: String) -> DetectionDataError {
        DetectionDataError::Mask {
            json: self.json.clone(),
            annotation: annotation.id,
            what,
        }
    }
}

fn read_object(annotation: &Annotation, index: usize, label: usize, frame: &BBox) -> Object {
    let [x, y, width, height] = annotation.bbox.map(|v| v as f32);
    let bbox = BBox::new(x, y, x + width, y + height).clip(frame.x1, frame.y1);
    let trainable =
        bbox.area() > 0.0 && !annotation.iscrowd && !annotation.difficult && !annotation.ignore;
    Object {
        label,
        bbox,
        trainable,
        annotation: index,
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

fn check_files(json: &Path, coco: &CocoDataset, images: &Path) -> Result<(), DetectionDataError> {
    if let Some(image) = coco
        .images
        .iter()
        .find(|image| image.width == 0 || image.height == 0)
    {
        return Err(DetectionDataError::NoSize {
            json: json.to_owned(),
            id: image.id,
        });
    }
    let missing: Vec<_> = coco
        .images
        .iter()
        .filter(|image| !images.join(&image.file_name).is_file())
        .collect();
    match missing.first() {
        None => Ok(()),
        Some(image) => Err(DetectionDataError::MissingImage {
            json: json.to_owned(),
            id: image.id,
            file_name: image.file_name.clone(),
            path: images.join(&image.file_name),
            missing: missing.len(),
            images: coco.images.len(),
        }),
    }
}
