//! `inscon-eval coco`.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use inscon_eval::{CocoParams, CocoSummary, GroundTruth, IouType, Results, evaluate};
use serde::Serialize;

#[derive(Debug, Args)]
pub(crate) struct CocoArgs {
    /// Ground truth: an instances or person_keypoints file
    gt: PathBuf,
    /// Results: a list of detections
    dt: PathBuf,
    /// What two objects overlap with
    #[arg(long, value_enum, default_value = "bbox")]
    iou: Iou,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Iou {
    Bbox,
    Segm,
    Boundary,
    Keypoints,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Serialize)]
struct Output {
    stats: Vec<f64>,
    #[serde(flatten)]
    summary: CocoSummary,
}

pub(crate) fn run(args: &CocoArgs) -> Result<ExitCode, Box<dyn Error>> {
    let iou = match args.iou {
        Iou::Bbox => IouType::Bbox,
        Iou::Segm => IouType::Segm,
        Iou::Boundary => IouType::Boundary,
        Iou::Keypoints => IouType::Keypoints,
    };
    let (truth, results) = rayon::join(
        || GroundTruth::load(&args.gt, iou),
        || Results::load(&args.dt, iou),
    );
    let summary = evaluate(&truth?, &results?, &CocoParams::new(iou))?.summary();
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Table => write!(out, "{summary}")?,
        Format::Json => {
            let stats = summary.stats();
            serde_json::to_writer(&mut out, &Output { stats, summary })?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
