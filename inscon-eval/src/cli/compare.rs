//! `inscon-eval compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use inscon_eval::{BootstrapParams, CocoParams, GroundTruth, Results, bootstrap, compare_results};

use super::coco::Iou;
use super::compare_report::Report;
use super::place::{Input, located, write};
use super::{Failure, Format};

const EXAMPLES: &str = "\
Examples:
  inscon-eval compare instances_val2017.json new.json old.json
  inscon-eval compare gt.json a.json b.json --iou segm --per-class --resamples 5000
  inscon-eval compare gt.json a.json b.json --format json
Images are drawn with replacement, the same ones for A and for B.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Ground truth: an instances_*.json or person_keypoints_*.json; `-` is standard input
    gt: PathBuf,
    /// Results A: a JSON list of detections; `-` is standard input
    a: PathBuf,
    /// Results B; `-` is standard input
    b: PathBuf,
    /// What overlaps
    #[arg(long, value_enum, default_value = "bbox", value_name = "KIND")]
    iou: Iou,
    /// How often the images are drawn
    #[arg(long, default_value_t = 1000, value_name = "N")]
    resamples: usize,
    /// The same seed gives the same numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Compare the classes too (CSV always does)
    #[arg(long)]
    per_class: bool,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Print into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode, Failure> {
    let (gt, a, b) = (Input(&args.gt), Input(&args.a), Input(&args.b));
    if [&gt, &a, &b]
        .iter()
        .filter(|input| input.is_stdin())
        .count()
        > 1
    {
        return Err("only one of GT, A and B can be `-`, standard input".into());
    }
    let iou = args.iou.kind();
    let read = |input: &Input<'_>| Results::read(input.open()?, input.name(), iou);
    let (truth, (found_a, found_b)) = rayon::join(
        || GroundTruth::read(gt.open()?, gt.name(), iou),
        || rayon::join(|| read(&a), || read(&b)),
    );
    let (truth, found_a, found_b) = (truth?, found_a?, found_b?);
    let params = CocoParams::new(iou);
    let options = BootstrapParams {
        resamples: args.resamples,
        seed: args.seed,
        per_class: args.per_class || args.format == Format::Csv,
        ..BootstrapParams::default()
    };
    let alone = |found: &Results, name: &Input<'_>| {
        bootstrap(&truth, found, &params, &options).map_err(|error| located(error, &gt, name))
    };
    // The seed is the same, and so are the resamples.
    let (of_a, of_b) = (alone(&found_a, &a)?, alone(&found_b, &b)?);
    let comparison = compare_results(&truth, &found_a, &found_b, &params, &options)?;
    let report = Report::new(iou, comparison, of_a, of_b);
    write(args.out.as_deref(), |out| match args.format {
        Format::Table => report.table(out),
        Format::Json => report.json(out),
        Format::Csv => report.csv(out),
    })?;
    Ok(ExitCode::SUCCESS)
}
