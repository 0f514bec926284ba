//! `inscon-train detect`'s flags.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{DetectError, Detector, DetectorDescription, weights_of_run};
use crate::config::{ConfigError, ExperimentConfig};
use crate::open_device;

/// What `inscon-train detect` was asked for.
#[derive(Debug, Clone, Args)]
pub struct DetectArgs {
    /// Images, folders of images, or patterns such as 'photos/**/*.jpg'
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Run folder whose detector to use: the best of its evaluations
    #[arg(long, value_name = "DIR", required_unless_present = "weights")]
    pub run: Option<PathBuf>,
    /// With --run: the last checkpoint instead of the best
    #[arg(long, requires = "run")]
    pub last: bool,
    /// Weights of a detector: a checkpoint, or `detector.safetensors` of `export`; with --config
    /// torchvision's and detectron2's too, as .safetensors or .pth
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub weights: Option<PathBuf>,
    /// Recipe of the detector, for weights that do not say what they are
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub config: Option<PathBuf>,
    /// Names of the classes, one a line, by label; with --config
    #[arg(long, value_name = "FILE", requires = "config")]
    pub classes: Option<PathBuf>,
    /// Folder for results.json, images.json, detect.json and pictures/
    #[arg(long, value_name = "DIR", default_value = "detections")]
    pub out: PathBuf,
    /// Lowest score of what is written; COCO's evaluation wants 0.05 and less
    #[arg(long, value_name = "SCORE", default_value_t = 0.5, value_parser = score)]
    pub score: f32,
    /// Images at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// Write the JSON files alone
    #[arg(long)]
    pub no_pictures: bool,
    /// cpu, wgpu, or cuda:N
    #[arg(long, default_value = "cpu", value_name = "NAME")]
    pub device: String,
}

fn score(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(score),
        Ok(score) => Err(format!("{score} is not from 0 to 1")),
        Err(error) => Err(error.to_string()),
    }
}

impl DetectArgs {
    /// Loads the detector.
    ///
    /// # Errors
    /// A device, weights, a recipe or class names that cannot be used.
    pub fn detector(&self) -> anyhow::Result<Detector> {
        let device = open_device(&self.device)?;
        let detector = match (&self.run, &self.weights, &self.config) {
            (_, Some(weights), Some(config)) => {
                let description = self.described(weights, config)?;
                Detector::load_as(weights, description, &device)?
            }
            (_, Some(weights), None) => Detector::load(weights, &device)?,
            (Some(run), None, _) => Detector::load(&weights_of_run(run, self.last)?, &device)?,
            (None, None, _) => anyhow::bail!("give --run DIR or --weights FILE"),
        };
        Ok(detector
            .with_score_threshold(self.score)
            .with_batch(self.batch))
    }

    /// The recipe's detector, for the classes given or for those that the weights name.
    fn described(&self, weights: &Path, config: &Path) -> anyhow::Result<DetectorDescription> {
        let config: Result<_, ConfigError> = ExperimentConfig::load(config, None, &[]);
        let config = config?;
        if let Some(file) = &self.classes {
            let classes = read_classes(file)?;
            let ids: Vec<u64> = (1..).take(classes.len()).collect();
            return Ok(DetectorDescription::of(&config, &classes, &ids));
        }
        let known = DetectorDescription::read(weights)?;
        Ok(DetectorDescription::of(
            &config,
            &known.classes,
            &known.category_ids,
        ))
    }
}

/// Names, one a line; blank lines are left out.
fn read_classes(path: &Path) -> Result<Vec<String>, DetectError> {
    let wrong = |what: String| DetectError::Classes {
        path: path.to_owned(),
        what,
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let names: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    match names.is_empty() {
        true => Err(wrong("no names of classes, one a line".into())),
        false => Ok(names),
    }
}
