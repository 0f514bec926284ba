//! Stage three: the twelve numbers, and the classes one by one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CocoEvaluation, IouType, Mode};
use crate::sum::mean;

/// COCO's measures, each in 0..1, or -1 where there is nothing to count.
///
/// `Display` prints pycocotools' table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CocoSummary {
    /// Boxes or masks.
    pub iou_type: IouType,
    /// AP: mean over IoU thresholds, recalls and classes, all areas, most detections.
    pub ap: f64,
    /// AP at IoU .50.
    pub ap50: f64,
    /// AP at IoU .75.
    pub ap75: f64,
    /// AP of objects up to 32² pixels.
    pub ap_small: f64,
    /// AP of objects between 32² and 96² pixels.
    pub ap_medium: f64,
    /// AP of objects from 96² pixels on.
    pub ap_large: f64,
    /// Average recall with the fewest detections (1).
    pub ar1: f64,
    /// Average recall with the middle number of detections (10).
    pub ar10: f64,
    /// Average recall with the most detections (100).
    pub ar100: f64,
    /// `ar100` of small objects.
    pub ar_small: f64,
    /// `ar100` of medium objects.
    pub ar_medium: f64,
    /// `ar100` of large objects.
    pub ar_large: f64,
    /// The detection limits behind `ar1`, `ar10` and everything else.
    pub max_detections: [usize; 3],
    /// The detection limit behind `ap` (see [`Mode`]).
    pub ap_max_detections: usize,
    /// First and last IoU threshold.
    pub iou_range: [f64; 2],
    /// The classes, in the order of the K axis.
    pub per_class: Vec<ClassSummary>,
}

/// One class's measures, each in 0..1, or -1 where there is nothing to count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassSummary {
    /// Id of the category (0 if classes are not told apart).
    pub category_id: u64,
    /// Its name.
    pub name: String,
    /// AP: mean over IoU thresholds and recalls.
    pub ap: f64,
    /// AP at IoU .50.
    pub ap50: f64,
    /// AP at IoU .75.
    pub ap75: f64,
    /// Average recall with the most detections.
    pub ar: f64,
}

/// Which part of the arrays a number is the mean of.
#[derive(Clone, Copy)]
struct Part<'a> {
    iou: Option<f64>,
    area: &'a str,
    limit: usize,
    class: Option<usize>,
}

impl CocoEvaluation {
    /// The twelve numbers and the AP of every class.
    #[must_use]
    pub fn summary(&self) -> CocoSummary {
        let limits = &self.params.max_detections;
        let last = limits.last().copied().unwrap_or(0);
        let most = match self.params.mode {
            Mode::Strict => limits.get(2).copied().unwrap_or(last),
            Mode::Corrected => last,
        };
        let ap_limit = if self.params.mode == Mode::Strict {
            100
        } else {
            most
        };
        let [few, some] = [0, 1].map(|i| limits.get(i).copied().unwrap_or(last));
        let all = Part {
            iou: None,
            area: "all",
            limit: most,
            class: None,
        };
        let sized = |area| Part { area, ..all };
        let at = |iou| Part {
            iou: Some(iou),
            ..all
        };
        let limited = |limit| Part { limit, ..all };
        let per_class = self
            .categories
            .iter()
            .enumerate()
            .map(|(k, (category_id, name))| {
                let class = Some(k);
                ClassSummary {
                    category_id: *category_id,
                    name: name.clone(),
                    ap: self.mean_precision(Part {
                        class,
                        ..limited(ap_limit)
                    }),
                    ap50: self.mean_precision(Part { class, ..at(0.5) }),
                    ap75: self.mean_precision(Part { class, ..at(0.75) }),
                    ar: self.mean_recall(Part { class, ..all }),
                }
            });
        let thresholds = &self.params.iou_thresholds;
        CocoSummary {
            iou_type: self.params.iou_type,
            ap: self.mean_precision(limited(ap_limit)),
            ap50: self.mean_precision(at(0.5)),
            ap75: self.mean_precision(at(0.75)),
            ap_small: self.mean_precision(sized("small")),
            ap_medium: self.mean_precision(sized("medium")),
            ap_large: self.mean_precision(sized("large")),
            ar1: self.mean_recall(limited(few)),
            ar10: self.mean_recall(limited(some)),
            ar100: self.mean_recall(all),
            ar_small: self.mean_recall(sized("small")),
            ar_medium: self.mean_recall(sized("medium")),
            ar_large: self.mean_recall(sized("large")),
            max_detections: [few, some, most],
            ap_max_detections: ap_limit,
            iou_range: [thresholds.first(), thresholds.last()].map(|t| t.copied().unwrap_or(0.0)),
            per_class: per_class.collect(),
        }
    }

    fn mean_precision(&self, part: Part<'_>) -> f64 {
        let recalls = self.precision.shape()[1];
        self.mean_of(part, recalls, |t, r, k, a, m| {
            self.precision[[t, r, k, a, m]]
        })
    }

    fn mean_recall(&self, part: Part<'_>) -> f64 {
        self.mean_of(part, 1, |t, _, k, a, m| self.recall[[t, k, a, m]])
    }

    /// The mean over the part's values above -1, in C order; -1 if there is none.
    fn mean_of(
        &self,
        part: Part<'_>,
        recalls: usize,
        value: impl Fn(usize, usize, usize, usize, usize) -> f64,
    ) -> f64 {
        let p = &self.params;
        let positions = |count, keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..count).filter(|&i| keep(i)).collect()
        };
        let ts = positions(p.iou_thresholds.len(), &|t| {
            part.iou.is_none_or(|iou| p.iou_thresholds[t] == iou)
        });
        let ks = positions(self.categories.len(), &|k| {
            part.class.is_none_or(|class| k == class)
        });
        let areas = positions(p.area_ranges.len(), &|a| {
            p.area_ranges[a].label == part.area
        });
        let ms = positions(p.max_detections.len(), &|m| {
            p.max_detections[m] == part.limit
        });
        let mut values = Vec::new();
        for &t in &ts {
            for r in 0..recalls {
                for &k in &ks {
                    for &a in &areas {
                        values.extend(
                            ms.iter()
                                .map(|&m| value(t, r, k, a, m))
                                .filter(|&v| v > -1.0),
                        );
                    }
                }
            }
        }
        mean(&values).unwrap_or(-1.0)
    }
}

impl CocoSummary {
    /// pycocotools' `stats`: `ap`, `ap50`, `ap75`, `ap_small`, `ap_medium`, `ap_large`, `ar1`,
    /// `ar10`, `ar100`, `ar_small`, `ar_medium`, `ar_large`.
    #[must_use]
    pub fn stats(&self) -> [f64; 12] {
        [
            self.ap,
            self.ap50,
            self.ap75,
            self.ap_small,
            self.ap_medium,
            self.ap_large,
            self.ar1,
            self.ar10,
            self.ar100,
            self.ar_small,
            self.ar_medium,
            self.ar_large,
        ]
    }
}

impl fmt::Display for CocoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = format!("{:.2}:{:.2}", self.iou_range[0], self.iou_range[1]);
        let range = range.as_str();
        let [few, some, most] = self.max_detections;
        let rows = [
            ("Precision", "(AP)", range, "all", self.ap_max_detections),
            ("Precision", "(AP)", "0.50", "all", most),
            ("Precision", "(AP)", "0.75", "all", most),
            ("Precision", "(AP)", range, "small", most),
            ("Precision", "(AP)", range, "medium", most),
            ("Precision", "(AP)", range, "large", most),
            ("Recall", "(AR)", range, "all", few),
            ("Recall", "(AR)", range, "all", some),
            ("Recall", "(AR)", range, "all", most),
            ("Recall", "(AR)", range, "small", most),
            ("Recall", "(AR)", range, "medium", most),
            ("Recall", "(AR)", range, "large", most),
        ];
        for ((title, short, iou, area, limit), value) in rows.into_iter().zip(self.stats()) {
            let title = format!("Average {title}");
            writeln!(
                f,
                " {title:<18} {short} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>3} ] = \
                 {value:.3}"
            )?;
        }
        Ok(())
    }
}
