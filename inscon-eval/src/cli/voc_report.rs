//! VOC's numbers as a table, as JSON and as CSV.

use std::io::{self, Write};

use inscon_eval::{VocClass, VocMetric, VocSummary, VocSweep};
use serde::Serialize;

use super::text;

pub(super) enum Report {
    One(VocSummary),
    Sweep(VocSweep),
}

#[derive(Serialize)]
struct Rounded<'a, T> {
    /// Whether scores and corners were rounded.
    round: bool,
    #[serde(flatten)]
    summary: &'a T,
}

impl Report {
    fn thresholds(&self) -> &[VocSummary] {
        match self {
            Self::One(summary) => std::slice::from_ref(summary),
            Self::Sweep(sweep) => &sweep.thresholds,
        }
    }

    pub(super) fn json(&self, out: &mut dyn Write, round: bool) -> io::Result<()> {
        match self {
            Self::One(summary) => serde_json::to_writer(&mut *out, &Rounded { round, summary })?,
            Self::Sweep(summary) => serde_json::to_writer(&mut *out, &Rounded { round, summary })?,
        }
        writeln!(out)
    }

    /// The classes and their AP at each threshold; empty where there is nothing to find.
    pub(super) fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let thresholds = self.thresholds();
        let mut header = ["category_id", "name", "positives"]
            .map(String::from)
            .to_vec();
        match self {
            Self::One(_) => header.push("ap".into()),
            Self::Sweep(_) => {
                header.extend(thresholds.iter().map(|t| format!("ap{:.0}", 100.0 * t.iou)));
            }
        }
        text::csv(out, &header)?;
        self.each_class(|class, aps| {
            let mut cells = vec![
                class.category_id.to_string(),
                class.name.clone(),
                class.positives.to_string(),
            ];
            cells.extend(aps.map(|ap| ap.map_or_else(String::new, |ap| ap.to_string())));
            text::csv(out, &cells)
        })
    }

    /// Per cent, as VOC's tables have them.
    pub(super) fn table(&self, out: &mut dyn Write, classes: bool) -> io::Result<()> {
        let thresholds = self.thresholds();
        let year = match thresholds.first().map(|summary| summary.metric) {
            Some(VocMetric::Voc07) => "VOC07",
            _ => "VOC10",
        };
        match self {
            Self::One(one) => {
                let (iou, ap) = (one.iou, percent(one.mean_ap));
                writeln!(out, "{year} mean AP, IoU > {iou:.2}: {ap}")?;
            }
            Self::Sweep(sweep) => {
                writeln!(
                    out,
                    "{year} mean AP, IoU > .50 to .95: {}",
                    percent(sweep.ap)
                )?;
                let row =
                    |cell: &dyn Fn(&VocSummary) -> String| thresholds.iter().map(cell).collect();
                let (mut ious, mut aps): (Vec<String>, Vec<String>) = (
                    row(&|t| format!("{:.2}", t.iou)),
                    row(&|t| percent(t.mean_ap)),
                );
                ious.insert(0, "IoU >".into());
                aps.insert(0, "AP".into());
                text::columns(out, &[ious, aps])?;
            }
        }
        if !classes {
            return Ok(());
        }
        let mut header = vec!["class".to_owned()];
        header.extend(thresholds.iter().map(|t| format!("AP{:.0}", 100.0 * t.iou)));
        header.push("objects".into());
        let mut rows = vec![header];
        self.each_class(|class, aps| {
            let mut row = vec![text::class_name(&class.name, class.category_id)];
            row.extend(aps.map(percent));
            row.push(text::thousands(class.positives));
            rows.push(row);
            Ok(())
        })?;
        writeln!(out)?;
        text::columns(out, &rows)
    }

    fn each_class(
        &self,
        mut take: impl FnMut(&VocClass, &mut dyn Iterator<Item = Option<f64>>) -> io::Result<()>,
    ) -> io::Result<()> {
        let thresholds = self.thresholds();
        let Some(first) = thresholds.first() else {
            return Ok(());
        };
        for (k, class) in first.per_class.iter().enumerate() {
            take(
                class,
                &mut thresholds.iter().map(|summary| summary.per_class[k].ap),
            )?;
        }
        Ok(())
    }
}

/// One decimal; `-` where there is nothing to find.
fn percent(ap: Option<f64>) -> String {
    ap.map_or_else(|| "-".into(), |ap| format!("{:.1}", 100.0 * ap))
}
