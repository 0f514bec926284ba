//! What a set of labels holds that a detector does not train on.

use std::collections::BTreeMap;
use std::fmt;

/// What can be wrong with an object's annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Its box has a NaN or an infinity.
    NotANumber,
    /// Its box is not wider, or not higher, than 0.
    NoArea,
    /// Its box lies outside the image.
    Outside,
    /// Its mask cannot be drawn: polygons of two points, run lengths of another size.
    Mask,
    /// Its box reaches more than a pixel over the image's edge. It is cut there, and trained on.
    Cut,
}

impl Fault {
    /// Whether the detector trains on the object nevertheless.
    #[must_use]
    pub fn is_mended(self) -> bool {
        self == Self::Cut
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "with a box that is not of numbers",
            Self::NoArea => "with a box without area",
            Self::Outside => "with a box outside the image",
            Self::Mask => "with a mask that cannot be drawn",
            Self::Cut => "with a box over the edge of the image, cut there",
        })
    }
}

/// The objects of one [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulty {
    /// How many.
    pub count: usize,
    /// The first one: its id or number, its image, and what is wrong.
    pub first: String,
}

/// What [`DetectionDataset`](super::DetectionDataset) found in its labels; [`Display`](fmt::Display)
/// is what is said at the start of a run.
///
/// ```
/// use inscon_train::detection_data::{DataReport, Fault};
/// let mut report = DataReport::new("labels.json");
/// report.objects = 7;
/// report.add(Fault::NoArea, || "annotation 3 of a.jpg, [4, 4, 0, 9]".into());
/// report.add(Fault::NoArea, || unreachable!("only the first is named"));
/// assert_eq!(report.left_out(), 2);
/// let text = report.to_string();
/// assert!(text.contains("2 with a box without area (the first: annotation 3 of a.jpg"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataReport {
    /// The file or the folders.
    pub origin: String,
    /// Images used.
    pub images: usize,
    /// Annotations on them.
    pub objects: usize,
    /// Classes.
    pub classes: usize,
    /// Regions of many objects (COCO's `iscrowd`).
    pub crowds: usize,
    /// Objects marked `difficult` (VOC).
    pub difficult: usize,
    /// Objects marked `ignore`.
    pub ignored: usize,
    /// Images on which nothing is left to train on.
    pub without_objects: usize,
    /// What is wrong with the others.
    pub faults: BTreeMap<Fault, Faulty>,
}

impl DataReport {
    /// A report on nothing yet.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            images: 0,
            objects: 0,
            classes: 0,
            crowds: 0,
            difficult: 0,
            ignored: 0,
            without_objects: 0,
            faults: BTreeMap::new(),
        }
    }

    /// Counts an object; `name` is asked for the first one of a kind only.
    pub fn add(&mut self, fault: Fault, name: impl FnOnce() -> String) {
        self.faults
            .entry(fault)
            .and_modify(|faulty| faulty.count += 1)
            .or_insert_with(|| Faulty {
                count: 1,
                first: name(),
            });
    }

    /// Objects that are left out of training because something is wrong with them.
    #[must_use]
    pub fn left_out(&self) -> usize {
        let out = self.faults.iter().filter(|(fault, _)| !fault.is_mended());
        out.map(|(_, faulty)| faulty.count).sum()
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin,
            images,
            objects,
            classes,
            ..
        } = self;
        write!(
            f,
            "{origin}: {images} images, {objects} objects of {classes} classes"
        )?;
        let kept = [
            (self.crowds, "crowds"),
            (self.difficult, "difficult ones"),
            (self.ignored, "to be ignored"),
        ];
        let kept: Vec<String> = kept
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !kept.is_empty() {
            write!(f, "; {} are judged but not trained on", kept.join(", "))?;
        }
        if self.without_objects > 0 {
            let images = self.without_objects;
            write!(f, "; {images} images have nothing to train on")?;
        }
        if self.left_out() > 0 {
            write!(
                f,
                "\n  {} objects are left out of training:",
                self.left_out()
            )?;
        }
        for (fault, Faulty { count, first }) in &self.faults {
            write!(f, "\n  {count} {fault} (the first: {first})")?;
        }
        if self.left_out() > 0 {
            write!(
                f,
                "\n  repair these annotations or take them out of the labels"
            )?;
        }
        Ok(())
    }
}
