//! Average precisions of a set of detections.

use std::fmt;

use inscon_eval::{
    CocoDataset, CocoParams, CocoSummary, Detection, EvalError, IouType, VocMetric, VocSweep,
    evaluate_coco, sweep_voc,
};
use serde::{Deserialize, Serialize};

/// Every measure of a set of detections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// COCO's twelve numbers for boxes, and every class.
    pub bbox: CocoSummary,
    /// The same for masks, where the detector has them.
    pub segm: Option<CocoSummary>,
    /// VOC 2007's 11-point AP at detectron2's ten thresholds, where the ground truth marks
    /// `difficult` objects. COCO's numbers count those as any other object.
    pub voc07: Option<VocSweep>,
}

/// The numbers a table shows, each in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ap {
    /// Mean over the IoU thresholds .50:.95.
    pub ap: f64,
    /// At IoU .50.
    pub ap50: f64,
    /// At IoU .75.
    pub ap75: f64,
}

/// The short form of [`Measures`]: what `metrics.jsonl` keeps of each evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// COCO's, for boxes.
    pub bbox: Ap,
    /// COCO's, for masks.
    pub segm: Option<Ap>,
    /// VOC 2007's, for boxes.
    pub voc07: Option<Ap>,
}

impl Measures {
    /// Compares box results, and mask results where there are any, with the truth.
    ///
    /// # Errors
    /// Detections on unlisted images, truth without masks where masks are compared.
    ///
    /// ```
    /// use inscon_eval::{Annotation, Category, CocoDataset, Detection, Image};
    /// use inscon_train::evaluate::Measures;
    /// let bbox = [2.0, 2.0, 20.0, 10.0];
    /// let truth = CocoDataset {
    ///     images: vec![Image { id: 1, width: 64, height: 48, ..Image::default() }],
    ///     annotations: vec![Annotation {
    ///         id: 1, image_id: 1, category_id: 7, bbox, area: 200.0, ..Annotation::default()
    ///     }],
    ///     categories: vec![Category { id: 7, name: "window".into(), supercategory: None }],
    /// };
    /// let found = [Detection::of_box(1, 7, 0.9, bbox)];
    /// let scores = Measures::of(&truth, &found, None)?.scores();
    /// // 1 but for the 2.2e-16 that pycocotools adds to each denominator.
    /// assert!((scores.bbox.ap - 1.0).abs() < 1e-12 && scores.voc07.is_none());
    /// # Ok::<(), inscon_eval::EvalError>(())
    /// ```
    pub fn of(
        truth: &CocoDataset,
        boxes: &[Detection],
        masks: Option<&[Detection]>,
    ) -> Result<Self, EvalError> {
        let coco = |found: &[Detection], kind| {
            Ok::<_, EvalError>(evaluate_coco(truth, found, &CocoParams::new(kind))?.summary())
        };
        let difficult = truth.annotations.iter().any(|a| a.difficult);
        let voc = difficult.then(|| sweep_voc(truth, boxes, VocMetric::Voc07, false));
        Ok(Self {
            bbox: coco(boxes, IouType::Bbox)?,
            segm: masks.map(|masks| coco(masks, IouType::Segm)).transpose()?,
            voc07: voc.transpose()?,
        })
    }

    /// The short form.
    #[must_use]
    pub fn scores(&self) -> Scores {
        let coco = |s: &CocoSummary| Ap {
            ap: s.ap,
            ap50: s.ap50,
            ap75: s.ap75,
        };
        // A set in which every object is difficult has nothing to find: -1, as COCO's numbers.
        let or = |value: Option<f64>| value.unwrap_or(-1.0);
        Scores {
            bbox: coco(&self.bbox),
            segm: self.segm.as_ref().map(coco),
            voc07: self.voc07.as_ref().map(|v| Ap {
                ap: or(v.ap),
                ap50: or(v.ap50),
                ap75: or(v.ap75),
            }),
        }
    }
}

impl Scores {
    /// The one number by which detectors are compared, with its name: VOC's box AP where objects
    /// are marked `difficult`, else COCO's.
    #[must_use]
    pub fn deciding(&self) -> (&'static str, f64) {
        match &self.voc07 {
            Some(voc) => ("voc07.ap", voc.ap),
            None => ("bbox.ap", self.bbox.ap),
        }
    }
}

impl fmt::Display for Ap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AP {:.4} (50 {:.4}, 75 {:.4})",
            self.ap, self.ap50, self.ap75
        )
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boxes {}", self.bbox)?;
        if let Some(segm) = &self.segm {
            write!(f, ", masks {segm}")?;
        }
        if let Some(voc) = &self.voc07 {
            write!(f, ", VOC07 {voc}")?;
        }
        Ok(())
    }
}
