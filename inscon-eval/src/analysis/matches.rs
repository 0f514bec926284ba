//! Who matched whom: pycocotools' `evalImgs`, without its empty cells.

use serde::{Deserialize, Serialize};

use crate::coco::outcomes::{ClassOutcomes, gather};
use crate::{AreaRange, CocoParams, EvalError, GroundTruth, Mode, Results};

/// What became of every detection and every truth; see [`match_records`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MatchRecords {
    /// The thresholds that the lists in the records run over.
    pub iou_thresholds: Vec<f64>,
    /// The ranges that `area` in the records counts from 0.
    pub area_ranges: Vec<AreaRange>,
    /// By class, area range and image (ids ascending), within an image best score first.
    pub detections: Vec<DetectionRecord>,
    /// By class, area range and image (ids ascending), within an image in the order of the file.
    pub truths: Vec<TruthRecord>,
}

/// What became of one detection in one area range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectionRecord {
    /// Position among the area ranges of the [`MatchRecords`].
    pub area: usize,
    /// Position among the results, from 0 (pycocotools' id less 1).
    pub detection: usize,
    /// The image it is on.
    pub image_id: u64,
    /// Its class.
    pub category_id: u64,
    /// As given. JSON has no NaN: it is written as `null`.
    pub score: f64,
    /// By threshold: the id of the annotation that it matches, if any (`dtMatches`).
    pub truths: Vec<Option<u64>>,
    /// By threshold: whether it counts neither as a hit nor as a miss (`dtIgnore`).
    pub ignored: Vec<bool>,
}

/// What became of one truth in one area range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// Position among the area ranges of the [`MatchRecords`].
    pub area: usize,
    /// Its id.
    pub annotation: u64,
    /// The image it is on.
    pub image_id: u64,
    /// Its class.
    pub category_id: u64,
    /// Whether it need not be found: a crowd, or outside the area range (`gtIgnore`).
    pub ignored: bool,
    /// By threshold: the position of the detection that took it, if any (`gtMatches`); of the
    /// many that a crowd may match, the last one.
    pub detections: Vec<Option<usize>>,
}

/// Matches detections and truths as [`evaluate`](crate::evaluate) does and tells who matched whom,
/// in the first of the area ranges (all areas, in COCO's). Only detections within the largest
/// limit are looked at.
///
/// # Errors
/// As [`evaluate`](crate::evaluate).
///
/// ```
/// use inscon_eval::{CocoParams, GroundTruth, IouType, Results, match_records};
///
/// let truth = r#"{"images": [{"id": 7}], "categories": [{"id": 1, "name": "dog"}],
///     "annotations": [{"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// let found = r#"[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.9}]"#;
/// let truth = GroundTruth::read(truth.as_bytes(), "truth", IouType::Bbox)?;
/// let found = Results::read(found.as_bytes(), "found", IouType::Bbox)?;
/// let records = match_records(&truth, &found, &CocoParams::new(IouType::Bbox))?;
/// assert_eq!(records.detections[0].truths[0], Some(5)); // from IoU .50 on
/// assert_eq!(records.detections[0].truths[9], None); // at .95
/// assert_eq!(records.truths[0].detections[0], Some(0));
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn match_records(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
) -> Result<MatchRecords, EvalError> {
    let mut params = params.clone();
    params.area_ranges.truncate(1);
    match_records_by_area(truth, results, &params)
}

/// [`match_records`] in every area range of `params`.
///
/// # Errors
/// As [`evaluate`](crate::evaluate).
///
/// ```no_run
/// use inscon_eval::{CocoParams, GroundTruth, IouType, Results, match_records_by_area};
///
/// let truth = GroundTruth::load("instances_val2017.json", IouType::Bbox)?;
/// let results = Results::load("bbox.json", IouType::Bbox)?;
/// let records = match_records_by_area(&truth, &results, &CocoParams::new(IouType::Bbox))?;
/// let small = records.truths.iter().filter(|t| t.area == 1 && !t.ignored);
/// let missed = small.filter(|t| t.detections[0].is_none()).count();
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn match_records_by_area(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
) -> Result<MatchRecords, EvalError> {
    let outcomes = gather(truth, results, params)?;
    let mut records = MatchRecords {
        iou_thresholds: params.iou_thresholds.clone(),
        area_ranges: params.area_ranges.clone(),
        ..MatchRecords::default()
    };
    let record = Record {
        truth,
        results,
        params,
        images: &outcomes.images,
    };
    for class in &outcomes.classes {
        record.class(class, &mut records);
    }
    Ok(records)
}

/// What the records of every class are made from.
struct Record<'a> {
    truth: &'a GroundTruth,
    results: &'a Results,
    params: &'a CocoParams,
    images: &'a [u64],
}

impl Record<'_> {
    fn class(&self, class: &ClassOutcomes, records: &mut MatchRecords) {
        let rows = &self.truth.rows;
        let thresholds = self.params.iou_thresholds.len();
        let strict = self.params.mode == Mode::Strict;
        let category = |own: u64| match self.params.use_categories {
            true => class.category,
            false => own,
        };
        let count = class.truths.len();
        let first_truth = records.truths.len();
        for area in 0..self.params.area_ranges.len() {
            records
                .truths
                .extend((0..).zip(&class.truths).map(|(g, member)| TruthRecord {
                    area,
                    annotation: rows.ids[member.index as usize],
                    image_id: self.images[member.image as usize],
                    category_id: category(rows.category_ids[member.index as usize]),
                    ignored: class.ignored[area * count + g],
                    detections: vec![None; thresholds],
                }));
        }
        let truths = &mut records.truths[first_truth..];
        // Every block of thresholds reports the same detections in the same order.
        let first_block = class.detections.iter().filter(|o| o.first == 0).count();
        let mut found: Vec<(u32, DetectionRecord)> = Vec::with_capacity(first_block);
        for (at, outcome) in class.detections.iter().enumerate() {
            let index = outcome.member.index as usize;
            if at < first_block {
                let record = DetectionRecord {
                    area: outcome.area,
                    detection: index,
                    image_id: self.images[outcome.member.image as usize],
                    category_id: category(self.results.category_ids[index]),
                    score: self.results.scores[index],
                    truths: vec![None; thresholds],
                    ignored: vec![false; thresholds],
                };
                found.push((outcome.member.image, record));
            }
            let record = &mut found[at % first_block].1;
            for (lane, ignored) in record
                .ignored
                .iter_mut()
                .skip(outcome.first)
                .take(64)
                .enumerate()
            {
                *ignored = outcome.ignored >> lane & 1 == 1;
            }
            for (t, g) in (outcome.first..).zip(&outcome.taken) {
                let Some(g) = *g else { continue };
                let truth = &mut truths[outcome.area * count + g as usize];
                truth.detections[t] = Some(index);
                // pycocotools takes id 0 for no match.
                record.truths[t] = (!strict || truth.annotation != 0).then_some(truth.annotation);
            }
        }
        found.sort_by_key(|(image, record)| (record.area, *image));
        records
            .detections
            .extend(found.into_iter().map(|(_, record)| record));
    }
}
