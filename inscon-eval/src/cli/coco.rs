//! `inscon-eval coco`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use inscon_eval::{
    AreaRange, BootstrapParams, Category, CocoParams, EvalError, GroundTruth, IouType, Mode,
    Results, bootstrap, confusion_matrix, evaluate,
};

use super::place::{Input, located, write};
use super::{Failure, Format, coco_report, heat_map, plots, say};

const EXAMPLES: &str = "\
Examples:
  inscon-eval coco instances_val2017.json bbox.json
  inscon-eval coco instances_val2017.json segm.json --iou segm --per-class
  inscon-eval coco gt.json dt.json --categories person,17 --format csv --out classes.csv
  inscon-eval coco gt.json dt.json --iou-thresholds 0.3:0.7:0.1 --max-dets 300 --mode corrected
  inscon-eval coco gt.json dt.json --area-ranges all:0:1e10,tiny:0:256
  inscon-eval coco gt.json dt.json --bootstrap 1000 --plots charts
  zcat dt.json.gz | inscon-eval coco gt.json - --format json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CocoArgs {
    /// Ground truth: an instances_*.json or person_keypoints_*.json; `-` is standard input
    gt: PathBuf,
    /// Results: a JSON list of detections; `-` is standard input
    dt: PathBuf,
    /// What overlaps
    #[arg(long, value_enum, default_value = "bbox", value_name = "KIND")]
    iou: Iou,
    /// How far pycocotools is followed where it errs
    #[arg(long, value_enum, default_value = "strict")]
    mode: Follow,
    /// Print the classes too (JSON and CSV always have them)
    #[arg(long)]
    per_class: bool,
    /// Take all classes for one
    #[arg(long)]
    class_agnostic: bool,
    /// So many detections of an image and class count [default: 1,10,100; for keypoints 20]
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    max_dets: Option<Vec<usize>>,
    /// IoU thresholds: a list, or START:STOP:STEP, both ends included [default: 0.5:0.95:0.05]
    #[arg(long, value_name = "T,..", value_parser = thresholds)]
    iou_thresholds: Option<Thresholds>,
    /// Area ranges in square pixels; COCO's four if not given
    #[arg(long, value_delimiter = ',', value_name = "LABEL:MIN:MAX,..", value_parser = area_range)]
    area_ranges: Option<Vec<AreaRange>>,
    /// Evaluate only these, by id or by name
    #[arg(long, value_delimiter = ',', value_name = "CLASS,..")]
    categories: Option<Vec<String>>,
    /// Keypoints: how far each may be off, as a share of the object's size [default: COCO's 17]
    #[arg(long, value_delimiter = ',', value_name = "SIGMA,..")]
    sigmas: Option<Vec<f64>>,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Print 95 % intervals of AP, AP50 and AP75 too, from so many resamples of the images (not in
    /// CSV)
    #[arg(long, value_name = "N")]
    bootstrap: Option<usize>,
    /// Of those resamples; the same seed gives the same intervals
    #[arg(long, default_value_t = 0, requires = "bootstrap")]
    seed: u64,
    /// Draw precision-recall curves and the confusion matrix into this folder (SVG)
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Iou {
    /// Boxes
    Bbox,
    /// Masks
    Segm,
    /// Masks and their boundaries (Boundary IoU)
    Boundary,
    /// Keypoints (OKS)
    Keypoints,
}

impl Iou {
    pub(super) fn kind(self) -> IouType {
        match self {
            Self::Bbox => IouType::Bbox,
            Self::Segm => IouType::Segm,
            Self::Boundary => IouType::Boundary,
            Self::Keypoints => IouType::Keypoints,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Follow {
    /// In everything: annotation id 0 is never matched, AP is that of 100 detections
    Strict,
    /// As it must be meant: annotations by position, AP of the largest limit
    Corrected,
}

/// Score and overlap that the confusion matrix asks for: ultralytics' score, VOC's overlap.
const CONFUSION: (f64, f64) = (0.25, 0.5);

#[derive(Debug, Clone)]
struct Thresholds(Vec<f64>);

pub(crate) fn run(args: &CocoArgs) -> Result<ExitCode, Failure> {
    let (gt, dt) = Input::pair(&args.gt, &args.dt)?;
    let iou = args.iou.kind();
    let mut params = params(args, iou)?;
    let (truth, results) = rayon::join(
        || GroundTruth::read(gt.open()?, gt.name(), iou),
        || Results::read(dt.open()?, dt.name(), iou),
    );
    let (truth, results) = (truth?, results?);
    if let Some(wanted) = &args.categories {
        let ids = wanted.iter().map(|name| category(name, truth.categories()));
        params.category_ids = Some(ids.collect::<Result<_, _>>()?);
    }
    let evaluation =
        evaluate(&truth, &results, &params).map_err(|error| located(error, &gt, &dt))?;
    if let Some(folder) = &args.plots {
        plots::coco(folder, &evaluation)?;
        // Boxes and masks of several classes can be confused.
        if iou != IouType::Keypoints && !args.class_agnostic {
            let (score, overlap) = CONFUSION;
            let matrix = confusion_matrix(&truth, &results, &params, score, overlap)
                .map_err(|error| located(error, &gt, &dt))?;
            heat_map::confusion(folder, &matrix)?;
        }
    }
    let classes = args.per_class || args.format != Format::Table;
    let areas = match args.format {
        Format::Table => args.area_ranges.is_some(),
        Format::Json => true,
        Format::Csv => false,
    };
    let mut report = coco_report::Report::new(&evaluation, &truth, classes, areas);
    if let Some(resamples) = args.bootstrap {
        let options = BootstrapParams {
            resamples,
            seed: args.seed,
            per_class: args.per_class,
            ..BootstrapParams::default()
        };
        report.bootstrap = Some(
            bootstrap(&truth, &results, &params, &options)
                .map_err(|error| located(error, &gt, &dt))?,
        );
    }
    write(args.out.as_deref(), |out| match args.format {
        Format::Table => report.table(out),
        Format::Json => report.json(out),
        Format::Csv => report.csv(out),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn params(args: &CocoArgs, iou: IouType) -> Result<CocoParams, EvalError> {
    let mut params = CocoParams::new(iou);
    params.use_categories = !args.class_agnostic;
    params.mode = match args.mode {
        Follow::Strict => Mode::Strict,
        Follow::Corrected => Mode::Corrected,
    };
    let usual = if iou == IouType::Keypoints { 20 } else { 100 };
    if let Some(limits) = &args.max_dets {
        params.max_detections = limits.clone();
        if params.mode == Mode::Strict && !limits.contains(&usual) {
            say(&format!(
                "inscon-eval: pycocotools takes AP at {usual} detections, and --max-dets has no \
                 {usual}: AP will be -1; --mode corrected takes the largest limit"
            ));
        }
    }
    if let Some(Thresholds(thresholds)) = &args.iou_thresholds {
        params.iou_thresholds = thresholds.clone();
    }
    if let Some(ranges) = &args.area_ranges {
        params.area_ranges = ranges.clone();
    }
    if let Some(sigmas) = &args.sigmas {
        if iou != IouType::Keypoints {
            return Err(EvalError::Params {
                name: "sigmas",
                problem: "are for `--iou keypoints` only",
            });
        }
        params.keypoint_sigmas = sigmas.clone();
    }
    Ok(params)
}

/// The category of a name, or else of an id.
fn category(wanted: &str, categories: &[Category]) -> Result<u64, Failure> {
    let by_name = categories.iter().find(|category| category.name == wanted);
    let by_id = || {
        let id: u64 = wanted.parse().ok()?;
        categories.iter().find(|category| category.id == id)
    };
    if let Some(category) = by_name.or_else(by_id) {
        return Ok(category.id);
    }
    let shown: Vec<&str> = categories
        .iter()
        .take(10)
        .map(|c| c.name.as_str())
        .collect();
    let more = if categories.len() > shown.len() {
        ", .."
    } else {
        ""
    };
    let shown = shown.join(", ");
    Err(format!("--categories: the ground truth has no `{wanted}`; it has {shown}{more}").into())
}

/// `LABEL:MIN:MAX`.
fn area_range(text: &str) -> Result<AreaRange, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [label, min, max] = parts.as_slice() else {
        return Err("expected LABEL:MIN:MAX, such as small:0:1024".into());
    };
    let number = |text: &str| {
        let number = text.parse().ok().filter(|number: &f64| !number.is_nan());
        number.ok_or_else(|| format!("`{text}` is not a number"))
    };
    let (min, max) = (number(min)?, number(max)?);
    if min > max {
        return Err(format!("{min} is above {max}"));
    }
    Ok(AreaRange {
        label: (*label).into(),
        min,
        max,
    })
}

/// A list, or `START:STOP:STEP` as numpy's linspace has it.
fn thresholds(text: &str) -> Result<Thresholds, String> {
    let number = |text: &str| {
        let number = text.trim().parse();
        let number = number.ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("`{text}` is not a number"))
    };
    let Some((start, rest)) = text.split_once(':') else {
        let values: Result<Vec<f64>, String> = text.split(',').map(number).collect();
        return Ok(Thresholds(values?));
    };
    let (stop, step) = rest
        .split_once(':')
        .ok_or("expected START:STOP:STEP, such as 0.5:0.95:0.05")?;
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    let steps = ((stop - start) / step).round();
    if !(1.0..10_000.0).contains(&steps) {
        return Err(format!("{text} has no step or too many"));
    }
    let count = steps as usize;
    let step = (stop - start) / steps;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step + start).collect();
    values.push(stop);
    Ok(Thresholds(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cocos_thresholds_in_short() {
        let Thresholds(short) = thresholds("0.5:0.95:0.05").unwrap();
        assert_eq!(short, CocoParams::new(IouType::Bbox).iou_thresholds);
        assert_eq!(thresholds("0.5, 0.75").unwrap().0, [0.5, 0.75]);
        for wrong in ["", "x", "0.5:0.9", "0.5:0.9:0", "0.9:0.5:0.1", "nan"] {
            assert!(thresholds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_and_categories() {
        assert_eq!(area_range("big:9216:inf").unwrap().max, f64::INFINITY);
        for wrong in ["a", "a:1", "a:x:2", "a:3:2", "a:nan:2"] {
            assert!(area_range(wrong).is_err(), "{wrong}");
        }
        let categories = [(7, "dog"), (8, "7")].map(|(id, name)| Category {
            id,
            name: name.into(),
            supercategory: None,
        });
        assert_eq!(category("dog", &categories).unwrap(), 7);
        assert_eq!(category("7", &categories).unwrap(), 8);
        assert_eq!(category("8", &categories).unwrap(), 8);
        let error = category("cat", &categories).unwrap_err().to_string();
        assert!(error.contains("dog, 7"), "{error}");
    }
}
