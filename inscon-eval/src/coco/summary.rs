//! Stage three: the twelve numbers, and the classes one by one.

use std::fmt;

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::{AreaRange, CocoEvaluation, IouType, Mode};
use crate::sum::mean;

/// COCO's measures, each in 0..1, or -1 where there is nothing to count.
///
/// `Display` prints pycocotools' table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CocoSummary {
    /// What was compared.
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
    /// `ar100` at IoU .50.
    pub ar50: f64,
    /// `ar100` at IoU .75.
    pub ar75: f64,
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

/// Objects of one area range, all classes; each measure in 0..1, or -1 where there is nothing to
/// count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AreaSummary {
    /// The range's name.
    pub label: String,
    /// Smallest area, square pixels.
    pub min: f64,
    /// Largest area, square pixels.
    pub max: f64,
    /// AP: mean over IoU thresholds, recalls and classes, most detections.
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
        let keypoints = self.params.iou_type == IouType::Keypoints;
        // pycocotools looks for these limits, whatever the parameters say.
        let (most, ap_limit) = match (self.params.mode, keypoints) {
            (Mode::Strict, true) => (20, 20),
            (Mode::Strict, false) => (most, 100),
            (Mode::Corrected, _) => (most, most),
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
            ar50: self.mean_recall(Part {
                iou: Some(0.5),
                ..all
            }),
            ar75: self.mean_recall(Part {
                iou: Some(0.75),
                ..all
            }),
            ar_small: self.mean_recall(sized("small")),
            ar_medium: self.mean_recall(sized("medium")),
            ar_large: self.mean_recall(sized("large")),
            max_detections: [few, some, most],
            ap_max_detections: ap_limit,
            iou_range: [thresholds.first(), thresholds.last()].map(|t| t.copied().unwrap_or(0.0)),
            per_class: per_class.collect(),
        }
    }

    /// The area ranges, in the order of the A axis, whatever they are called.
    #[must_use]
    pub fn per_area(&self) -> Vec<AreaSummary> {
        let limit = self.params.max_detections.last().copied().unwrap_or(0);
        let summary = |range: &AreaRange| {
            let part = |iou| Part {
                iou,
                area: &range.label,
                limit,
                class: None,
            };
            AreaSummary {
                label: range.label.clone(),
                min: range.min,
                max: range.max,
                ap: self.mean_precision(part(None)),
                ap50: self.mean_precision(part(Some(0.5))),
                ap75: self.mean_precision(part(Some(0.75))),
                ar: self.mean_recall(part(None)),
            }
        };
        self.params.area_ranges.iter().map(summary).collect()
    }

    fn mean_precision(&self, part: Part<'_>) -> f64 {
        self.mean_of(part, |t, a, m, kept| {
            let last = self.precision.view().index_axis_move(Axis(4), m);
            let by_class = last.index_axis_move(Axis(3), a).index_axis_move(Axis(0), t);
            match part.class {
                Some(k) => kept.extend(by_class.index_axis(Axis(1), k)),
                None => kept.extend(by_class),
            }
        })
    }

    fn mean_recall(&self, part: Part<'_>) -> f64 {
        self.mean_of(part, |t, a, m, kept| {
            let last = self.recall.view().index_axis_move(Axis(3), m);
            let by_class = last.index_axis_move(Axis(2), a).index_axis_move(Axis(0), t);
            match part.class {
                Some(k) => kept.push(by_class[k]),
                None => kept.extend(by_class),
            }
        })
    }

    /// The mean over the part's values above -1, in C order; -1 if there is none. `values` adds
    /// those of a threshold, area range and limit.
    fn mean_of(&self, part: Part<'_>, values: impl Fn(usize, usize, usize, &mut Vec<f64>)) -> f64 {
        let p = &self.params;
        let positions = |count, keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..count).filter(|&i| keep(i)).collect()
        };
        let areas = positions(p.area_ranges.len(), &|a| {
            p.area_ranges[a].label == part.area
        });
        let limits = positions(p.max_detections.len(), &|m| {
            p.max_detections[m] == part.limit
        });
        let mut kept = Vec::new();
        for t in 0..p.iou_thresholds.len() {
            if part.iou.is_some_and(|iou| p.iou_thresholds[t] != iou) {
                continue;
            }
            if let (&[a], &[m]) = (areas.as_slice(), limits.as_slice()) {
                values(t, a, m, &mut kept);
                continue;
            }
            // Several of one label or limit: numpy pairs them, and interleaves the pairs.
            let pairs = areas.len().max(limits.len());
            if areas.is_empty() || limits.is_empty() {
                continue;
            }
            let lists: Vec<Vec<f64>> = (0..pairs)
                .map(|i| {
                    let (a, m) = (areas[i % areas.len()], limits[i % limits.len()]);
                    let mut list = Vec::new();
                    values(t, a, m, &mut list);
                    list
                })
                .collect();
            let longest = lists.first().map_or(0, Vec::len);
            kept.extend((0..longest).flat_map(|i| lists.iter().map(move |list| list[i])));
        }
        kept.retain(|&value| value > -1.0);
        mean(&kept).unwrap_or(-1.0)
    }
}

impl CocoSummary {
    /// pycocotools' `stats`: `ap`, `ap50`, `ap75`, `ap_small`, `ap_medium`, `ap_large`, `ar1`,
    /// `ar10`, `ar100`, `ar_small`, `ar_medium`, `ar_large`. For keypoints the ten numbers `ap`,
    /// `ap50`, `ap75`, `ap_medium`, `ap_large`, `ar100`, `ar50`, `ar75`, `ar_medium`, `ar_large`.
    #[must_use]
    pub fn stats(&self) -> Vec<f64> {
        self.rows().into_iter().map(|row| row.value).collect()
    }

    /// pycocotools' table, line by line.
    fn rows(&self) -> Vec<Row> {
        let [few, some, most] = self.max_detections;
        let precision = |iou, area, limit, value| Row {
            title: "Average Precision  (AP)",
            iou,
            area,
            limit,
            value,
        };
        let recall = |iou, area, limit, value| Row {
            title: "Average Recall     (AR)",
            iou,
            area,
            limit,
            value,
        };
        let mut rows = vec![
            precision("", "all", self.ap_max_detections, self.ap),
            precision("0.50", "all", most, self.ap50),
            precision("0.75", "all", most, self.ap75),
            precision("", "small", most, self.ap_small),
            precision("", "medium", most, self.ap_medium),
            precision("", "large", most, self.ap_large),
        ];
        if self.iou_type == IouType::Keypoints {
            rows.retain(|row| row.area != "small");
            rows.extend([
                recall("", "all", most, self.ar100),
                recall("0.50", "all", most, self.ar50),
                recall("0.75", "all", most, self.ar75),
                recall("", "medium", most, self.ar_medium),
                recall("", "large", most, self.ar_large),
            ]);
        } else {
            rows.extend([
                recall("", "all", few, self.ar1),
                recall("", "all", some, self.ar10),
                recall("", "all", most, self.ar100),
                recall("", "small", most, self.ar_small),
                recall("", "medium", most, self.ar_medium),
                recall("", "large", most, self.ar_large),
            ]);
        }
        rows
    }
}

/// A line of pycocotools' table; `iou` is empty for the whole range.
struct Row {
    title: &'static str,
    iou: &'static str,
    area: &'static str,
    limit: usize,
    value: f64,
}

impl fmt::Display for CocoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = format!("{:.2}:{:.2}", self.iou_range[0], self.iou_range[1]);
        for Row {
            title,
            iou,
            area,
            limit,
            value,
        } in self.rows()
        {
            let iou = if iou.is_empty() { &range } else { iou };
            writeln!(
                f,
                " {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>3} ] = {value:.3}"
            )?;
        }
        Ok(())
    }
}
