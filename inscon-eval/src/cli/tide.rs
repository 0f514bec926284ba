//! `inscon-eval tide`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use inscon_eval::{CocoParams, GroundTruth, IouType, Results, TideErrors, TideParams, tide};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use super::place::{Input, located, write};
use super::plots::{GRID, PALETTE, failed, picture, save};
use super::{Failure, Format, Shape, text};

const EXAMPLES: &str = "\
Examples:
  inscon-eval tide instances_val2017.json bbox.json
  inscon-eval tide gt.json dt.json --iou segm --plots charts
  inscon-eval tide gt.json dt.json --format json
dAP is what AP at IoU .50 would gain if all errors of a kind were mended; the kinds do not add up.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TideArgs {
    /// Ground truth: an instances_*.json; `-` is standard input
    gt: PathBuf,
    /// Results: a JSON list of detections; `-` is standard input
    dt: PathBuf,
    /// What overlaps
    #[arg(long, value_enum, default_value = "bbox", value_name = "KIND")]
    iou: Shape,
    /// How the numbers are printed; a row of CSV is a kind of error
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Draw the gains as bars into this folder (SVG)
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Everything that JSON shows; all in 0..1.
#[derive(Serialize)]
struct Report {
    iou_type: IouType,
    params: TideParams,
    #[serde(flatten)]
    errors: TideErrors,
}

/// A line of the table, a bar of the chart.
struct Kind {
    name: &'static str,
    /// In AP.
    gain: f64,
    count: Option<u64>,
    meaning: &'static str,
}

pub(crate) fn run(args: &TideArgs) -> Result<ExitCode, Failure> {
    let (gt, dt) = Input::pair(&args.gt, &args.dt)?;
    let iou_type = args.iou.kind();
    let (truth, results) = rayon::join(
        || GroundTruth::read(gt.open()?, gt.name(), iou_type),
        || Results::read(dt.open()?, dt.name(), iou_type),
    );
    let params = TideParams::default();
    let errors = tide(&truth?, &results?, &CocoParams::new(iou_type), &params)
        .map_err(|error| located(error, &gt, &dt))?;
    let report = Report {
        iou_type,
        params,
        errors,
    };
    if let Some(folder) = &args.plots {
        report.chart(folder)?;
    }
    write(args.out.as_deref(), |out| match args.format {
        Format::Table => report.table(out),
        Format::Json => {
            serde_json::to_writer(&mut *out, &report)?;
            writeln!(out)
        }
        Format::Csv => report.csv(out),
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    /// The six main errors, then the two sums of another kind.
    fn kinds(&self) -> [Kind; 8] {
        let (main, counts) = (&self.errors.main, &self.errors.counts);
        let kind = |name, gain, count, meaning| Kind {
            name,
            gain,
            count,
            meaning,
        };
        [
            kind(
                "Cls",
                main.cls,
                Some(counts.cls),
                "right place, wrong class",
            ),
            kind(
                "Loc",
                main.loc,
                Some(counts.loc),
                "right class, badly placed",
            ),
            kind(
                "Both",
                main.both,
                Some(counts.both),
                "wrong class, badly placed",
            ),
            kind(
                "Dupe",
                main.dupe,
                Some(counts.dupe),
                "of an object found already",
            ),
            kind("Bkg", main.bkg, Some(counts.bkg), "on background"),
            kind(
                "Miss",
                main.miss,
                Some(counts.miss),
                "objects not found at all",
            ),
            kind(
                "FalsePos",
                self.errors.false_positives,
                None,
                "all false positives",
            ),
            kind(
                "FalseNeg",
                self.errors.false_negatives,
                None,
                "all objects that are not found",
            ),
        ]
    }

    /// Per cent, as tidecv prints them.
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let (ap, positive) = (100.0 * self.errors.ap, self.params.positive);
        writeln!(out, "AP at IoU {positive:.2}: {ap:.2}\n")?;
        let header = ["error", "dAP", "count"].map(String::from);
        let mut rows = vec![header.to_vec()];
        for kind in self.kinds() {
            let count = kind.count.and_then(|count| usize::try_from(count).ok());
            rows.push(vec![
                kind.name.into(),
                format!("{:.2}", 100.0 * kind.gain),
                count.map_or_else(|| "-".into(), text::thousands),
            ]);
        }
        let mut lines = Vec::new();
        text::columns(&mut lines, &rows)?;
        let lines = String::from_utf8_lossy(&lines);
        let meanings = self.kinds().map(|kind| kind.meaning);
        for (line, meaning) in lines.lines().zip([""].into_iter().chain(meanings)) {
            writeln!(out, "{}", format!("{line}  {meaning}").trim_end())?;
        }
        Ok(())
    }

    fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        text::csv(out, &["error", "dap", "count"].map(String::from))?;
        text::csv(
            out,
            &["AP".into(), self.errors.ap.to_string(), String::new()],
        )?;
        for kind in self.kinds() {
            let count = kind.count.map_or_else(String::new, |n| n.to_string());
            text::csv(out, &[kind.name.into(), kind.gain.to_string(), count])?;
        }
        Ok(())
    }

    /// `tide.svg`: a bar for each kind of error.
    fn chart(&self, folder: &Path) -> Result<(), Failure> {
        let kinds = self.kinds();
        let largest = kinds
            .iter()
            .map(|kind| 100.0 * kind.gain)
            .fold(0.0, f64::max);
        let top = if largest > 0.0 { 1.15 * largest } else { 1.0 };
        let title = format!(
            "what each error costs (AP at IoU {:.2}: {:.1})",
            self.params.positive,
            100.0 * self.errors.ap
        );
        let svg = picture((640, 400), |area| {
            let mut chart = ChartBuilder::on(area)
                .caption(title, ("sans-serif", 16))
                .margin(12)
                .x_label_area_size(42)
                .y_label_area_size(52)
                .build_cartesian_2d(0.0..kinds.len() as f64, 0.0..top)
                .map_err(failed)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .disable_x_axis()
                .light_line_style(WHITE)
                .bold_line_style(GRID)
                .axis_style(GRID)
                .label_style(("sans-serif", 12))
                .y_labels(8)
                .y_desc("AP gained if mended")
                .axis_desc_style(("sans-serif", 13))
                .draw()
                .map_err(failed)?;
            let centred = |vertical| Pos::new(HPos::Center, vertical);
            let small = ("sans-serif", 12).into_font();
            for (i, kind) in kinds.iter().enumerate() {
                let (left, gain) = (i as f64, 100.0 * kind.gain);
                // The last two overlap the six.
                let colour = PALETTE[usize::from(kind.count.is_none())];
                let bar = [(left + 0.15, 0.0), (left + 0.85, gain.max(0.0))];
                let bar = Rectangle::new(bar, colour.filled());
                let above = TextStyle::from(small.clone()).pos(centred(VPos::Bottom));
                let below = TextStyle::from(small.clone()).pos(centred(VPos::Top));
                let (x, middle) = (left + 0.5, gain.max(0.0));
                chart.draw_series([bar]).map_err(failed)?;
                let value =
                    EmptyElement::at((x, middle)) + Text::new(format!("{gain:.1}"), (0, -4), above);
                chart.draw_series([value]).map_err(failed)?;
                let name = EmptyElement::at((x, 0.0)) + Text::new(kind.name, (0, 6), below.clone());
                chart.draw_series([name]).map_err(failed)?;
                if let Some(count) = kind.count {
                    let count = usize::try_from(count).unwrap_or(usize::MAX);
                    let below = below.color(&RGBColor(110, 110, 110));
                    let count = EmptyElement::at((x, 0.0))
                        + Text::new(format!("n = {}", text::thousands(count)), (0, 22), below);
                    chart.draw_series([count]).map_err(failed)?;
                }
            }
            Ok(())
        })?;
        save(folder, "tide.svg", svg)
    }
}
