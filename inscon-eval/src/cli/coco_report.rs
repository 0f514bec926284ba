//! COCO's numbers as a table, as JSON and as CSV.

use std::io::{self, Write};

use inscon_eval::{
    AreaSummary, Bootstrap, ClassSummary, CocoEvaluation, CocoSummary, GroundTruth, IouType, Mode,
};
use serde::Serialize;

use super::text;

/// Everything that JSON shows. -1 is where there is nothing to count.
#[derive(Serialize)]
pub(super) struct Report {
    /// pycocotools' `stats`.
    stats: Vec<f64>,
    iou_type: IouType,
    mode: Mode,
    ap: f64,
    ap50: f64,
    ap75: f64,
    ap_small: f64,
    ap_medium: f64,
    ap_large: f64,
    ar1: f64,
    ar10: f64,
    ar100: f64,
    ar50: f64,
    ar75: f64,
    ar_small: f64,
    ar_medium: f64,
    ar_large: f64,
    /// The limits behind `ar1`, `ar10` and everything else.
    max_detections: [usize; 3],
    ap_max_detections: usize,
    iou_thresholds: Vec<f64>,
    per_area: Vec<AreaSummary>,
    per_class: Vec<Class>,
    /// Intervals, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bootstrap: Option<Bootstrap>,
    #[serde(skip)]
    summary: CocoSummary,
}

#[derive(Serialize)]
struct Class {
    #[serde(flatten)]
    summary: ClassSummary,
    /// Truths to be found: crowds and the like aside.
    truths: usize,
}

impl Report {
    /// Without the classes and without the area ranges, unless they are to be printed.
    pub(super) fn new(
        evaluation: &CocoEvaluation,
        truth: &GroundTruth,
        classes: bool,
        areas: bool,
    ) -> Self {
        let mut summary = evaluation.summary();
        let per_class = std::mem::take(&mut summary.per_class);
        let truths = if classes {
            evaluation.truths_by_class(truth)
        } else {
            Vec::new()
        };
        let s = &summary;
        Self {
            stats: s.stats(),
            iou_type: s.iou_type,
            mode: evaluation.params.mode,
            ap: s.ap,
            ap50: s.ap50,
            ap75: s.ap75,
            ap_small: s.ap_small,
            ap_medium: s.ap_medium,
            ap_large: s.ap_large,
            ar1: s.ar1,
            ar10: s.ar10,
            ar100: s.ar100,
            ar50: s.ar50,
            ar75: s.ar75,
            ar_small: s.ar_small,
            ar_medium: s.ar_medium,
            ar_large: s.ar_large,
            max_detections: s.max_detections,
            ap_max_detections: s.ap_max_detections,
            iou_thresholds: evaluation.params.iou_thresholds.clone(),
            per_area: if areas {
                evaluation.per_area()
            } else {
                Vec::new()
            },
            per_class: per_class
                .into_iter()
                .zip(truths)
                .map(|(summary, truths)| Class { summary, truths })
                .collect(),
            bootstrap: None,
            summary,
        }
    }

    pub(super) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)
    }

    pub(super) fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = ["category_id", "name", "ap", "ap50", "ap75", "ar", "truths"];
        text::csv(out, &header.map(String::from))?;
        for Class { summary, truths } in &self.per_class {
            let ClassSummary {
                category_id,
                name,
                ap,
                ap50,
                ap75,
                ar,
            } = summary;
            let mut cells = vec![category_id.to_string(), name.clone()];
            cells.extend([ap, ap50, ap75, ar].map(f64::to_string));
            cells.push(truths.to_string());
            text::csv(out, &cells)?;
        }
        Ok(())
    }

    /// pycocotools' lines, and what else was asked for.
    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", self.summary)?;
        if !self.per_area.is_empty() {
            let header = ["area", "from", "to", "AP", "AP50", "AP75", "AR"];
            let mut rows = vec![header.map(String::from).to_vec()];
            for area in &self.per_area {
                let mut row = vec![
                    area.label.clone(),
                    area.min.to_string(),
                    area.max.to_string(),
                ];
                row.extend([area.ap, area.ap50, area.ap75, area.ar].map(decimals));
                rows.push(row);
            }
            writeln!(out)?;
            text::columns(out, &rows)?;
        }
        if !self.per_class.is_empty() {
            let header = ["class", "AP", "AP50", "AP75", "AR", "truths"];
            let mut rows = vec![header.map(String::from).to_vec()];
            for Class {
                summary: class,
                truths,
            } in &self.per_class
            {
                let name = match self.per_class.len() {
                    1 if class.name.is_empty() => "all classes".into(),
                    _ => text::class_name(&class.name, class.category_id),
                };
                let mut row = vec![name];
                row.extend([class.ap, class.ap50, class.ap75, class.ar].map(decimals));
                row.push(text::thousands(*truths));
                rows.push(row);
            }
            writeln!(out)?;
            text::columns(out, &rows)?;
        }
        if let Some(bootstrap) = &self.bootstrap {
            writeln!(out)?;
            intervals(out, bootstrap)?;
        }
        Ok(())
    }
}

/// AP, AP50, AP75 and the classes' AP with their intervals.
fn intervals(out: &mut dyn Write, bootstrap: &Bootstrap) -> io::Result<()> {
    let header = ["", "value", "from", "to", "std error"];
    let mut rows = vec![header.map(String::from).to_vec()];
    rows[0][0] = format!("{:.0} % interval", 100.0 * bootstrap.params.confidence);
    let overall = [
        ("AP", &bootstrap.ap),
        ("AP50", &bootstrap.ap50),
        ("AP75", &bootstrap.ap75),
    ];
    let classes = bootstrap.per_class.iter();
    let classes = classes.map(|c| (text::class_name(&c.name, c.category_id), &c.ap));
    let overall = overall.map(|(name, interval)| (name.to_owned(), interval));
    for (name, i) in overall.into_iter().chain(classes) {
        let mut row = vec![name];
        row.extend([i.value, i.low, i.high, i.standard_error].map(decimals));
        rows.push(row);
    }
    text::columns(out, &rows)?;
    let (resamples, images) = (bootstrap.params.resamples, bootstrap.images);
    writeln!(
        out,
        "{} of {}, seed {}",
        text::counted(resamples, "resample"),
        text::counted(images, "image"),
        bootstrap.params.seed
    )
}

/// Three decimals; `-` where there is nothing to count.
pub(super) fn decimals(value: f64) -> String {
    if value < 0.0 {
        "-".into()
    } else {
        format!("{value:.3}")
    }
}
