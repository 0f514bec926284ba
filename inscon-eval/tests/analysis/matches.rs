//! Match records equal pycocotools' `evalImgs`; more cases by `fixtures/analysis.py`.

use inscon_eval::{
    CocoDataset, CocoParams, Detection, GroundTruth, MatchRecords, Results, match_records,
    match_records_by_area,
};
use serde::Deserialize;

use crate::common::fixture;
use crate::with_threads;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    truth: CocoDataset,
    detections: Vec<Detection>,
    params: CocoParams,
    cells: Vec<Cell>,
}

/// An entry of `evalImgs`; matrices are `[T, detections]` and `[T, truths]`.
#[derive(Deserialize)]
#[expect(non_snake_case, reason = "pycocotools' names")]
struct Cell {
    category: i64,
    area: usize,
    image: u64,
    dtIds: Vec<u64>,
    gtIds: Vec<u64>,
    dtMatches: Vec<Vec<u64>>,
    gtMatches: Vec<Vec<u64>>,
    dtIgnore: Vec<Vec<u8>>,
    gtIgnore: Vec<u8>,
}

impl Case {
    fn columns(&self) -> (GroundTruth, Results) {
        (
            GroundTruth::from_dataset(&self.truth, self.params.iou_type),
            Results::from_detections(&self.detections, self.params.iou_type),
        )
    }
}

fn check(case: &Case, records: &MatchRecords) {
    let thresholds = 0..records.iou_thresholds.len();
    let (mut detections, mut truths) = (0, 0);
    for cell in &case.cells {
        let name = format!(
            "{}: class {}, range {}, image {}",
            case.name, cell.category, cell.area, cell.image
        );
        let here = |category: u64, area, image| {
            (!case.params.use_categories || i64::try_from(category) == Ok(cell.category))
                && (area, image) == (cell.area, cell.image)
        };
        let found = records.detections.iter();
        let found: Vec<_> = found
            .filter(|d| here(d.category_id, d.area, d.image_id))
            .collect();
        let known = records.truths.iter();
        let mut known: Vec<_> = known
            .filter(|t| here(t.category_id, t.area, t.image_id))
            .collect();
        // pycocotools puts those that are ignored last.
        known.sort_by_key(|t| t.ignored);
        let ids: Vec<u64> = found.iter().map(|d| d.detection as u64 + 1).collect();
        assert_eq!(ids, cell.dtIds, "{name}");
        let ids: Vec<u64> = known.iter().map(|t| t.annotation).collect();
        assert_eq!(ids, cell.gtIds, "{name}");
        let ignored: Vec<u8> = known.iter().map(|t| t.ignored.into()).collect();
        assert_eq!(ignored, cell.gtIgnore, "{name}");
        for t in thresholds.clone() {
            let matches: Vec<u64> = found.iter().map(|d| d.truths[t].unwrap_or(0)).collect();
            assert_eq!(matches, cell.dtMatches[t], "{name}, threshold {t}");
            let ignored: Vec<u8> = found.iter().map(|d| d.ignored[t].into()).collect();
            assert_eq!(ignored, cell.dtIgnore[t], "{name}, threshold {t}");
            let takers = known.iter().map(|g| g.detections[t].map_or(0, |d| d + 1));
            let takers: Vec<u64> = takers.map(|d| d as u64).collect();
            assert_eq!(takers, cell.gtMatches[t], "{name}, threshold {t}");
        }
        detections += found.len();
        truths += known.len();
    }
    // Nothing beyond what pycocotools has.
    assert_eq!(detections, records.detections.len(), "{}", case.name);
    assert_eq!(truths, records.truths.len(), "{}", case.name);
}

#[test]
fn records_equal_pycocotools() {
    let Cases { cases } = fixture("matches.json");
    let mut cells = 0;
    for case in &cases {
        let (truth, results) = case.columns();
        let records = match_records_by_area(&truth, &results, &case.params)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        check(case, &records);
        cells += case.cells.len();
        let mut first = match_records(&truth, &results, &case.params).unwrap();
        assert_eq!(first.area_ranges, case.params.area_ranges[..1]);
        first.area_ranges.clone_from(&case.params.area_ranges);
        let mut all = records;
        all.detections.retain(|d| d.area == 0);
        all.truths.retain(|t| t.area == 0);
        assert_eq!(text(&first), text(&all), "{}", case.name);
    }
    println!("{} cases, {cells} cells equal to pycocotools", cases.len());
    assert!(cells > 100, "{cells} cells are too few");
}

fn text(records: &MatchRecords) -> String {
    serde_json::to_string(records).unwrap()
}

#[test]
fn many_thresholds_are_recorded_like_few() {
    let Cases { cases } = fixture("matches.json");
    for case in &cases {
        let (truth, results) = case.columns();
        let mut params = case.params.clone();
        let few = match_records_by_area(&truth, &results, &params).unwrap();
        // More than one pass, each threshold 50 times.
        let thresholds = &case.params.iou_thresholds;
        params.iou_thresholds = thresholds.iter().flat_map(|&t| vec![t; 50]).collect();
        let many = match_records_by_area(&truth, &results, &params).unwrap();
        assert_eq!(few.detections.len(), many.detections.len());
        for (few, many) in few.detections.iter().zip(&many.detections) {
            for t in 0..params.iou_thresholds.len() {
                assert_eq!(many.truths[t], few.truths[t / 50], "{}", case.name);
                assert_eq!(many.ignored[t], few.ignored[t / 50], "{}", case.name);
            }
        }
        for (few, many) in few.truths.iter().zip(&many.truths) {
            for t in 0..params.iou_thresholds.len() {
                assert_eq!(many.detections[t], few.detections[t / 50], "{}", case.name);
            }
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let Cases { cases } = fixture("matches.json");
    for case in &cases {
        let (truth, results) = case.columns();
        let run = || text(&match_records_by_area(&truth, &results, &case.params).unwrap());
        let [one, four] = with_threads(run);
        assert_eq!(one, four, "{}", case.name);
    }
}
