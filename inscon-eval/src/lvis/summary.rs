//! The thirteen numbers, and the classes one by one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Frequency, LvisEvaluation};
use crate::IouType;
use crate::sum::mean;

/// LVIS's measures, each in 0..1, or -1 where there is nothing to count.
///
/// `Display` prints lvis-api's table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LvisSummary {
    /// What was compared.
    pub iou_type: IouType,
    /// AP: mean over IoU thresholds, recalls and classes, all areas.
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
    /// AP of the rare classes.
    pub ap_rare: f64,
    /// AP of the common classes.
    pub ap_common: f64,
    /// AP of the frequent classes.
    pub ap_frequent: f64,
    /// Average recall: mean over IoU thresholds and classes, all areas.
    pub ar: f64,
    /// Average recall of small objects.
    pub ar_small: f64,
    /// Average recall of medium objects.
    pub ar_medium: f64,
    /// Average recall of large objects.
    pub ar_large: f64,
    /// The best so many detections of an image counted.
    pub max_detections: usize,
    /// First and last IoU threshold.
    pub iou_range: [f64; 2],
    /// The classes, in the order of the K axis.
    pub per_class: Vec<LvisClassSummary>,
}

/// One class's measures, each in 0..1, or -1 where there is nothing to count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LvisClassSummary {
    /// Id of the category.
    pub category_id: u64,
    /// Its name.
    pub name: String,
    /// Its group.
    pub frequency: Frequency,
    /// AP: mean over IoU thresholds and recalls.
    pub ap: f64,
    /// Average recall: mean over IoU thresholds.
    pub ar: f64,
}

/// Which part of the arrays a number is the mean of.
#[derive(Clone, Copy)]
struct Part<'a> {
    iou: Option<f64>,
    area: &'a str,
    classes: Classes,
}

#[derive(Clone, Copy)]
enum Classes {
    All,
    Group(Frequency),
    One(usize),
}

impl LvisEvaluation {
    /// The thirteen numbers and the AP of every class.
    #[must_use]
    pub fn summary(&self) -> LvisSummary {
        let all = Part {
            iou: None,
            area: "all",
            classes: Classes::All,
        };
        let precision = |part| self.mean_precision(part);
        let recall = |part| self.mean_recall(part);
        let at = |iou| Part {
            iou: Some(iou),
            ..all
        };
        let sized = |area| Part { area, ..all };
        let of = |frequency| Part {
            classes: Classes::Group(frequency),
            ..all
        };
        let per_class = self.categories.iter().enumerate().map(|(k, category)| {
            let class = Part {
                classes: Classes::One(k),
                ..all
            };
            LvisClassSummary {
                category_id: category.id,
                name: category.name.clone(),
                frequency: category.frequency,
                ap: precision(class),
                ar: recall(class),
            }
        });
        let thresholds = &self.params.iou_thresholds;
        LvisSummary {
            iou_type: self.params.iou_type,
            ap: precision(all),
            ap50: precision(at(0.5)),
            ap75: precision(at(0.75)),
            ap_small: precision(sized("small")),
            ap_medium: precision(sized("medium")),
            ap_large: precision(sized("large")),
            ap_rare: precision(of(Frequency::Rare)),
            ap_common: precision(of(Frequency::Common)),
            ap_frequent: precision(of(Frequency::Frequent)),
            ar: recall(all),
            ar_small: recall(sized("small")),
            ar_medium: recall(sized("medium")),
            ar_large: recall(sized("large")),
            max_detections: self.params.max_detections,
            iou_range: [thresholds.first(), thresholds.last()].map(|t| t.copied().unwrap_or(0.0)),
            per_class: per_class.collect(),
        }
    }

    fn mean_precision(&self, part: Part<'_>) -> f64 {
        let recalls = self.params.recall_thresholds.len();
        self.mean_of(part, recalls, |t, r, k, a| self.precision[[t, r, k, a]])
    }

    fn mean_recall(&self, part: Part<'_>) -> f64 {
        self.mean_of(part, 1, |t, _, k, a| self.recall[[t, k, a]])
    }

    /// The mean over the part's values above -1, in C order; -1 if there is none.
    fn mean_of(
        &self,
        part: Part<'_>,
        recalls: usize,
        value: impl Fn(usize, usize, usize, usize) -> f64,
    ) -> f64 {
        let p = &self.params;
        let positions = |count, keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..count).filter(|&i| keep(i)).collect()
        };
        let ts = positions(p.iou_thresholds.len(), &|t| {
            part.iou.is_none_or(|iou| p.iou_thresholds[t] == iou)
        });
        let ks = positions(self.categories.len(), &|k| match part.classes {
            Classes::All => true,
            Classes::Group(frequency) => self.categories[k].frequency == frequency,
            Classes::One(class) => k == class,
        });
        let areas = positions(p.area_ranges.len(), &|a| {
            p.area_ranges[a].label == part.area
        });
        let mut values = Vec::new();
        for &t in &ts {
            for r in 0..recalls {
                for &k in &ks {
                    let part = areas.iter().map(|&a| value(t, r, k, a));
                    values.extend(part.filter(|&v| v > -1.0));
                }
            }
        }
        mean(&values).unwrap_or(-1.0)
    }
}

impl LvisSummary {
    /// The numbers in lvis-api's order: `ap`, `ap50`, `ap75`, `ap_small`, `ap_medium`, `ap_large`,
    /// `ap_rare`, `ap_common`, `ap_frequent`, `ar`, `ar_small`, `ar_medium`, `ar_large`.
    #[must_use]
    pub fn stats(&self) -> [f64; 13] {
        self.rows().map(|row| row.value)
    }

    /// lvis-api's table, line by line.
    fn rows(&self) -> [Row; 13] {
        let row = |title, iou, area, group, value| Row {
            title,
            iou,
            area,
            group,
            value,
        };
        let (ap, ar) = ("Average Precision  (AP)", "Average Recall     (AR)");
        [
            row(ap, "", "all", "all", self.ap),
            row(ap, "0.50", "all", "all", self.ap50),
            row(ap, "0.75", "all", "all", self.ap75),
            row(ap, "", "s", "all", self.ap_small),
            row(ap, "", "m", "all", self.ap_medium),
            row(ap, "", "l", "all", self.ap_large),
            row(ap, "", "all", "r", self.ap_rare),
            row(ap, "", "all", "c", self.ap_common),
            row(ap, "", "all", "f", self.ap_frequent),
            row(ar, "", "all", "all", self.ar),
            row(ar, "", "s", "all", self.ar_small),
            row(ar, "", "m", "all", self.ar_medium),
            row(ar, "", "l", "all", self.ar_large),
        ]
    }
}

/// A line of lvis-api's table; `iou` is empty for the whole range.
struct Row {
    title: &'static str,
    iou: &'static str,
    area: &'static str,
    group: &'static str,
    value: f64,
}

impl fmt::Display for LvisSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = format!("{:.2}:{:.2}", self.iou_range[0], self.iou_range[1]);
        let limit = self.max_detections;
        for Row {
            title,
            iou,
            area,
            group,
            value,
        } in self.rows()
        {
            let iou = if iou.is_empty() { &range } else { iou };
            writeln!(
                f,
                " {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>3} catIds={group:>3}] = {value:.3}"
            )?;
        }
        Ok(())
    }
}
