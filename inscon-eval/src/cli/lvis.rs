//! `inscon-eval lvis`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use inscon_eval::{
    Frequency, LvisClassSummary, LvisParams, LvisSummary, LvisTruth, Results, evaluate_lvis,
};
use serde::Serialize;

use super::coco_report::decimals;
use super::place::{Input, located, write};
use super::{Failure, Format, Shape, text};

const EXAMPLES: &str = "\
Examples:
  inscon-eval lvis lvis_v1_val.json segm.json --iou segm
  inscon-eval lvis lvis_v1_val.json bbox.json --per-class
  inscon-eval lvis lvis_v1_val.json bbox.json --format csv --out classes.csv";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LvisArgs {
    /// Ground truth: an lvis_v1_*.json; `-` is standard input
    gt: PathBuf,
    /// Results: a JSON list of detections; `-` is standard input
    dt: PathBuf,
    /// What overlaps
    #[arg(long, value_enum, default_value = "bbox", value_name = "KIND")]
    iou: Shape,
    /// Print the classes too (JSON and CSV always have them)
    #[arg(long)]
    per_class: bool,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Print into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What JSON shows: lvis-api's thirteen numbers in its order, then all by name.
#[derive(Serialize)]
struct Report {
    stats: [f64; 13],
    #[serde(flatten)]
    summary: LvisSummary,
}

pub(crate) fn run(args: &LvisArgs) -> Result<ExitCode, Failure> {
    let (gt, dt) = Input::pair(&args.gt, &args.dt)?;
    let iou = args.iou.kind();
    let (truth, results) = rayon::join(
        || LvisTruth::read(gt.open()?, gt.name(), iou),
        || Results::read(dt.open()?, dt.name(), iou),
    );
    let evaluation = evaluate_lvis(&truth?, &results?, &LvisParams::new(iou))
        .map_err(|error| located(error, &gt, &dt))?;
    let summary = evaluation.summary();
    let report = Report {
        stats: summary.stats(),
        summary,
    };
    write(args.out.as_deref(), |out| match args.format {
        Format::Table => report.table(out, args.per_class),
        Format::Json => {
            serde_json::to_writer(&mut *out, &report)?;
            writeln!(out)
        }
        Format::Csv => report.csv(out),
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Report {
    /// lvis-api's lines, and the classes if asked for.
    fn table(&self, out: &mut dyn Write, classes: bool) -> io::Result<()> {
        write!(out, "{}", self.summary)?;
        if !classes {
            return Ok(());
        }
        let header = ["class", "group", "AP", "AR"];
        let mut rows = vec![header.map(String::from).to_vec()];
        for class in &self.summary.per_class {
            let mut row = vec![text::class_name(&class.name, class.category_id)];
            row.push(letter(class.frequency).into());
            row.extend([class.ap, class.ar].map(decimals));
            rows.push(row);
        }
        writeln!(out)?;
        text::columns(out, &rows)
    }

    fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = ["category_id", "name", "frequency", "ap", "ar"];
        text::csv(out, &header.map(String::from))?;
        for class in &self.summary.per_class {
            let LvisClassSummary {
                category_id,
                name,
                frequency,
                ap,
                ar,
            } = class;
            let mut cells = vec![category_id.to_string(), name.clone()];
            cells.push(letter(*frequency).into());
            cells.extend([ap, ar].map(f64::to_string));
            text::csv(out, &cells)?;
        }
        Ok(())
    }
}

/// As LVIS writes it.
fn letter(frequency: Frequency) -> &'static str {
    match frequency {
        Frequency::Rare => "r",
        Frequency::Common => "c",
        Frequency::Frequent => "f",
    }
}
