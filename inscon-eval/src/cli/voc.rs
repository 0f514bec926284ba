//! `inscon-eval voc`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use inscon_eval::{
    CocoDataset, Detection, VocMetric, VocParams, evaluate_voc_at, load_voc_detections,
    load_voc_truth, read_detections, sweep_voc, voc_curves,
};

use super::place::{Input, located, write};
use super::voc_report::Report;
use super::{Failure, Format, plots, say};

const EXAMPLES: &str = "\
Examples:
  inscon-eval voc gt.json dt.json --metric voc07
  inscon-eval voc VOCdevkit/VOC2007 results/ --image-set test --metric voc07 --per-class
  inscon-eval voc gt.json results/ --sweep --round --format json
Text files of results are <class>.txt or comp4_det_test_<class>.txt, with lines
`image score xmin ymin xmax ymax`: 1-based pixels, both ends included.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VocArgs {
    /// Ground truth: COCO JSON with `difficult`, `-` for standard input, or a folder with
    /// Annotations/*.xml
    gt: PathBuf,
    /// Results: COCO JSON, `-` for standard input, or a folder of text files
    dt: PathBuf,
    /// How average precision is taken
    #[arg(long, value_enum, default_value = "voc10")]
    metric: Metric,
    /// A detection hits above this overlap
    #[arg(
        long,
        default_value_t = 0.5,
        value_name = "T",
        conflicts_with = "sweep"
    )]
    iou: f64,
    /// Ten thresholds, .50 to .95, as detectron2
    #[arg(long)]
    sweep: bool,
    /// Round scores to three decimals and corners to one, as detectron2's text files do
    #[arg(long)]
    round: bool,
    /// Images of a VOC folder: a list, or the name of one in ImageSets/Main [default: all]
    #[arg(long, value_name = "FILE")]
    image_set: Option<PathBuf>,
    /// Print the classes too (JSON and CSV always have them)
    #[arg(long)]
    per_class: bool,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Draw precision-recall curves into this folder (SVG)
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Metric {
    /// Mean of the precision at eleven recalls (VOC 2007)
    Voc07,
    /// Area under the curve (VOC 2010 and later)
    Voc10,
}

pub(crate) fn run(args: &VocArgs) -> Result<ExitCode, Failure> {
    let (gt, dt) = Input::pair(&args.gt, &args.dt)?;
    if !args.iou.is_finite() {
        return Err("--iou: expected a number, such as 0.5".into());
    }
    let truth = truth(&gt, args.image_set.as_deref())?;
    let found = found(&dt, &truth)?;
    let metric = match args.metric {
        Metric::Voc07 => VocMetric::Voc07,
        Metric::Voc10 => VocMetric::Voc10,
    };
    let round = args.round;
    let report = if args.sweep {
        let sweep = sweep_voc(&truth, &found, metric, round);
        Report::Sweep(sweep.map_err(|error| located(error, &gt, &dt))?)
    } else {
        let ious = vec![args.iou];
        let params = VocParams {
            metric,
            ious,
            round,
        };
        let mut one =
            evaluate_voc_at(&truth, &found, &params).map_err(|error| located(error, &gt, &dt))?;
        Report::One(one.swap_remove(0))
    };
    if let Some(folder) = &args.plots {
        plots::voc(
            folder,
            &voc_curves(&truth, &found, args.iou, round)?,
            args.iou,
        )?;
    }
    write(args.out.as_deref(), |out| match args.format {
        Format::Table => report.table(out, args.per_class),
        Format::Json => report.json(out, round),
        Format::Csv => report.csv(out),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn truth(gt: &Input<'_>, image_set: Option<&Path>) -> Result<CocoDataset, Failure> {
    if !gt.is_folder() {
        if image_set.is_some() {
            return Err("--image-set: GT is not a folder; a JSON file lists its images".into());
        }
        return Ok(CocoDataset::read(gt.open()?, gt.name())?);
    }
    let sets = gt.0.join("ImageSets/Main");
    let named = image_set.map(|set| {
        let inner = sets.join(set).with_extension("txt");
        if !set.exists() && inner.exists() {
            inner
        } else {
            set.to_owned()
        }
    });
    let truth = load_voc_truth(gt.0, named.as_deref())?;
    if image_set.is_none() && sets.is_dir() {
        say(&format!(
            "inscon-eval: all {} images of {}; --image-set takes one of ImageSets/Main",
            truth.images.len(),
            gt.0.display()
        ));
    }
    Ok(truth)
}

fn found(dt: &Input<'_>, truth: &CocoDataset) -> Result<Vec<Detection>, Failure> {
    if !dt.is_folder() {
        return Ok(read_detections(dt.open()?, dt.name())?);
    }
    let read = load_voc_detections(dt.0, truth)?;
    for file in &read.unknown_files {
        let file = file.display();
        say(&format!(
            "inscon-eval: {file} is of no class of the ground truth; it was not read"
        ));
    }
    Ok(read.detections)
}
