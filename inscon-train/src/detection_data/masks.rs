//! Masks of the objects of a set: which can be drawn, and their pixels.

use inscon_eval::Segmentation;
use inscon_model::detection::BitMask;
use rayon::prelude::*;

use super::{DetectionDataError, DetectionDataset, Fault, Object, Sample};

impl DetectionDataset {
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
                    return Err(self.mask_error(sample, object, "no segmentation".into()));
                }
            }
        }
        Ok(())
    }

    /// Takes objects out of training whose mask cannot be drawn, and adds them to the
    /// [report](Self::report). Polygons of fewer than three points are dropped from masks that have
    /// others, as detectron2 does.
    pub fn leave_out_bad_masks(&mut self) {
        for sample in &mut self.samples {
            let (width, height) = (sample.width, sample.height);
            for (number, object) in sample.objects.iter_mut().enumerate() {
                let annotation = &self.coco.annotations[object.annotation];
                let Some(segmentation) = annotation.segmentation.as_ref() else {
                    continue;
                };
                if !object.trainable {
                    continue;
                }
                if let Err(what) = check_mask(segmentation, width, height) {
                    object.trainable = false;
                    self.report.add(Fault::Mask, || {
                        let name = self.naming.of(annotation, number, &sample.path);
                        format!("{name}, {what}")
                    });
                }
            }
        }
        self.report.without_objects = self.samples.len() - self.trainable().len();
    }

    /// Checks that the judge can draw the mask of every object, crowds and difficult ones included.
    ///
    /// # Errors
    /// [`DetectionDataError::Mask`] names the first that has none, or one that cannot be drawn.
    pub fn require_drawable_masks(&self) -> Result<(), DetectionDataError> {
        let wrong = |sample: &Sample, object: &Object| {
            let annotation = &self.coco.annotations[object.annotation];
            let segmentation = annotation.segmentation.as_ref();
            let what = match segmentation.map(|s| s.to_rle(sample.height, sample.width)) {
                None => "no segmentation".to_owned(),
                Some(Err(error)) => format!("a mask that cannot be drawn ({error})"),
                Some(Ok(rle)) => check_size(rle.width(), rle.height(), sample).err()?,
            };
            Some(self.mask_error(sample, object, what))
        };
        // All, then the first: it must not depend on the threads.
        let first = self.samples.par_iter().find_map_first(|sample| {
            let mut objects = sample.objects.iter();
            objects.find_map(|object| wrong(sample, object))
        });
        first.map_or(Ok(()), Err)
    }

    /// The mask of an object over the whole image file.
    ///
    /// # Errors
    /// [`DetectionDataError::Mask`] when it has none, or one that cannot be drawn.
    pub fn mask(&self, index: usize, object: &Object) -> Result<BitMask, DetectionDataError> {
        let sample = &self.samples[index];
        let annotation = &self.coco.annotations[object.annotation];
        let Some(segmentation) = &annotation.segmentation else {
            return Err(self.mask_error(sample, object, "no segmentation".into()));
        };
        let drawn = match segmentation {
            Segmentation::Polygons(polygons) if !polygons.iter().all(|p| is_polygon(p)) => {
                let whole = polygons.iter().filter(|p| is_polygon(p)).cloned().collect();
                Segmentation::Polygons(whole).to_rle(sample.height, sample.width)
            }
            segmentation => segmentation.to_rle(sample.height, sample.width),
        };
        let rle = drawn.map_err(|e| self.mask_error(sample, object, e.to_string()))?;
        check_size(rle.width(), rle.height(), sample)
            .map_err(|what| self.mask_error(sample, object, what))?;
        Ok(BitMask {
            height: sample.height as usize,
            width: sample.width as usize,
            data: rle.decode(),
        })
    }

    fn mask_error(&self, sample: &Sample, object: &Object, what: String) -> DetectionDataError {
        let annotation = &self.coco.annotations[object.annotation];
        let same = |other: &Object| other.annotation == object.annotation;
        let number = sample.objects.iter().position(same).unwrap_or_default();
        DetectionDataError::Mask {
            origin: self.origin.clone(),
            object: self.naming.of(annotation, number, &sample.path),
            what,
        }
    }
}

/// Whether at least three points make it up (detectron2's filter), all of them on this side of
/// absurdity.
fn is_polygon(polygon: &[f64]) -> bool {
    let near = |v: &f64| v.is_finite() && v.abs() <= 1e8;
    polygon.len() >= 6 && polygon.len().is_multiple_of(2) && polygon.iter().all(near)
}

/// Whether a detector can train on the mask, without drawing polygons.
fn check_mask(segmentation: &Segmentation, width: u32, height: u32) -> Result<(), String> {
    match segmentation {
        Segmentation::Polygons(polygons) if polygons.iter().any(|p| is_polygon(p)) => Ok(()),
        Segmentation::Polygons(polygons) => Err(match polygons.first() {
            Some(first) if first.iter().all(|v| v.is_finite()) => {
                format!(
                    "no polygon of three points: the first has {} numbers",
                    first.len()
                )
            }
            Some(_) => "a polygon with a coordinate that is not a number".to_owned(),
            None => "no polygon".to_owned(),
        }),
        Segmentation::Rle { .. } => {
            let rle = segmentation
                .to_rle(height, width)
                .map_err(|e| e.to_string())?;
            same_size((rle.width(), rle.height()), (width, height))
        }
    }
}

fn check_size(width: u32, height: u32, image: &Sample) -> Result<(), String> {
    same_size((width, height), (image.width, image.height))
}

fn same_size(mask: (u32, u32), image: (u32, u32)) -> Result<(), String> {
    if mask == image {
        return Ok(());
    }
    Err(format!(
        "a mask of {}×{} pixels on an image of {}×{}",
        mask.0, mask.1, image.0, image.1
    ))
}
