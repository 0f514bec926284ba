//! Precision-recall curves as SVG.

use std::fs;
use std::path::Path;

use inscon_eval::{CocoEvaluation, EvalError, VocCurve};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Failure;
use super::text::class_name;

/// Colours that stay apart for colour-blind eyes (Okabe and Ito).
pub(super) const PALETTE: [RGBColor; 3] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
];
pub(super) const GRID: RGBColor = RGBColor(228, 228, 228);

/// Small charts on a page, and their size in pixels.
const ACROSS: usize = 6;
const PAGE: usize = 60;
const CELL: (u32, u32) = (190, 160);

struct Line {
    name: String,
    /// `(recall, precision)` in order of recall.
    points: Vec<(f64, f64)>,
}

struct Chart {
    title: String,
    lines: Vec<Line>,
}

/// `precision_recall.svg`, means over classes, and `precision_recall_classes_1.svg`, .., each class.
pub(super) fn coco(folder: &Path, evaluation: &CocoEvaluation) -> Result<(), Failure> {
    let all = 0..evaluation.categories.len();
    let mean = Chart {
        title: "mean over classes".into(),
        lines: coco_lines(evaluation, all.clone()),
    };
    let charts: Vec<Chart> = all
        .map(|k| {
            let (id, name) = &evaluation.categories[k];
            Chart {
                title: class_name(name, *id),
                lines: coco_lines(evaluation, k..k + 1),
            }
        })
        .collect();
    draw(folder, &mean, &charts)
}

/// Precision at each recall, at .50, at .75 and over all thresholds: the mean of what there is.
fn coco_lines(evaluation: &CocoEvaluation, classes: std::ops::Range<usize>) -> Vec<Line> {
    let params = &evaluation.params;
    let thresholds = &params.iou_thresholds;
    let area = params
        .area_ranges
        .iter()
        .position(|range| range.label == "all");
    let (area, limit) = (area.unwrap_or(0), params.max_detections.len() - 1);
    let at = |iou: f64| thresholds.iter().position(|t| *t == iou).map(|t| t..t + 1);
    let over = match (thresholds.first(), thresholds.last()) {
        (Some(first), Some(last)) if first != last => format!("IoU {first:.2}:{last:.2}"),
        _ => String::new(),
    };
    let parts = [
        ("IoU .50".to_owned(), at(0.5)),
        ("IoU .75".to_owned(), at(0.75)),
        (
            over.clone(),
            (!over.is_empty()).then_some(0..thresholds.len()),
        ),
    ];
    let precision = |ts: &std::ops::Range<usize>, r: usize| {
        let values = ts.clone().flat_map(|t| {
            let classes = classes.clone();
            classes.map(move |k| evaluation.precision[[t, r, k, area, limit]])
        });
        let counted = values.filter(|v| *v > -1.0);
        let (sum, count) = counted.fold((0.0, 0_usize), |(sum, n), v| (sum + v, n + 1));
        (count > 0).then(|| sum / count as f64)
    };
    if evaluation.precision.shape()[3] == 0 {
        return Vec::new();
    }
    let lines = parts.into_iter().filter_map(|(name, ts)| {
        let ts = ts?;
        let recalls = params.recall_thresholds.iter().enumerate();
        let points = recalls.filter_map(|(r, recall)| Some((*recall, precision(&ts, r)?)));
        Some(Line {
            name,
            points: points.collect(),
        })
    });
    lines.filter(|line| !line.points.is_empty()).collect()
}

/// The same of VOC's curves, point by point; in the mean, each class's best precision from a recall
/// on.
pub(super) fn voc(folder: &Path, curves: &[VocCurve], iou: f64) -> Result<(), Failure> {
    let name = format!("IoU > {iou:.2}");
    let recalls: Vec<f64> = (0..=100).map(|i| f64::from(i) / 100.0).collect();
    let mut sums = vec![0.0; recalls.len()];
    for curve in curves {
        let mut envelope = curve.precision.clone();
        for i in (1..envelope.len()).rev() {
            envelope[i - 1] = envelope[i - 1].max(envelope[i]);
        }
        for (sum, recall) in sums.iter_mut().zip(&recalls) {
            let at = curve.recall.partition_point(|r| r < recall);
            *sum += envelope.get(at).copied().unwrap_or(0.0);
        }
    }
    let count = curves.len() as f64;
    let points = recalls.iter().zip(&sums).map(|(r, sum)| (*r, sum / count));
    let mean = Chart {
        title: "mean over classes".into(),
        lines: vec![Line {
            name,
            points: points.filter(|_| count > 0.0).collect(),
        }],
    };
    let charts: Vec<Chart> = curves
        .iter()
        .map(|curve| Chart {
            title: class_name(&curve.name, curve.category_id),
            lines: vec![Line {
                name: String::new(),
                points: thinned(&curve.recall, &curve.precision),
            }],
        })
        .collect();
    draw(folder, &mean, &charts)
}

/// The points of a curve that can be told apart in a small chart: where recall moves by .002, the
/// first and the last.
fn thinned(recall: &[f64], precision: &[f64]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut pending = None;
    for (&r, &p) in recall.iter().zip(precision) {
        if points.last().is_none_or(|last| r - last.0 > 0.002) {
            points.push((r, p));
            pending = None;
        } else {
            pending = Some((r, p));
        }
    }
    points.extend(pending);
    points
}

fn draw(folder: &Path, mean: &Chart, charts: &[Chart]) -> Result<(), Failure> {
    save(
        folder,
        "precision_recall.svg",
        picture((640, 480), |area| one(area, mean, true))?,
    )?;
    for (i, page) in charts.chunks(PAGE).enumerate() {
        let (across, down) = (ACROSS.min(page.len()), page.len().div_ceil(ACROSS));
        let size = (CELL.0 * across as u32, CELL.1 * down as u32);
        let svg = picture(size, |area| {
            let cells = area.split_evenly((down, across));
            cells
                .iter()
                .zip(page)
                .try_for_each(|(cell, chart)| one(cell, chart, false))
        })?;
        save(
            folder,
            &format!("precision_recall_classes_{}.svg", i + 1),
            svg,
        )?;
    }
    Ok(())
}

/// Puts a picture into a folder, which is made if it is not there.
pub(super) fn save(folder: &Path, name: &str, svg: String) -> Result<(), Failure> {
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |source| EvalError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(cannot(folder))?;
    let path = folder.join(name);
    Ok(fs::write(&path, svg).map_err(cannot(&path))?)
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) fn picture(
    size: (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    paint(&area)?;
    area.present().map_err(failed)?;
    drop(area);
    Ok(svg)
}

fn one(area: &Area<'_>, content: &Chart, large: bool) -> Result<(), Failure> {
    let (text, labels) = if large { (16, 12) } else { (12, 9) };
    let mut chart = ChartBuilder::on(area)
        .caption(&content.title, ("sans-serif", text))
        .margin(if large { 12 } else { 5 })
        .x_label_area_size(if large { 38 } else { 18 })
        .y_label_area_size(if large { 48 } else { 28 })
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(("sans-serif", labels))
        .x_labels(if large { 11 } else { 3 })
        .y_labels(if large { 11 } else { 3 })
        .x_label_formatter(&|v| format!("{v:.1}"))
        .y_label_formatter(&|v| format!("{v:.1}"));
    if large {
        mesh.x_desc("recall")
            .y_desc("precision")
            .axis_desc_style(("sans-serif", 13));
    }
    mesh.draw().map_err(failed)?;
    for (line, colour) in content.lines.iter().zip(PALETTE) {
        let width = if large { 2 } else { 1 };
        let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(width));
        let element = chart.draw_series(series).map_err(failed)?;
        if large {
            element.label(&line.name).legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
            });
        }
    }
    if large && !content.lines.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.8))
            .border_style(GRID)
            .draw()
            .map_err(failed)?;
    }
    Ok(())
}

pub(super) fn failed(error: impl std::fmt::Display) -> Failure {
    format!("cannot draw the chart: {error}").into()
}
