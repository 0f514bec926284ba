//! The whole file, and how it is read.

use std::path::{Path, PathBuf};

use inscon_loss::Negatives;
use inscon_model::{ResNetConfig, Split};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Table, Value};

use super::{DataConfig, FinetuneConfig, Method, PretrainConfig, ProbeConfig, overrides};

/// A recipe: what `inscon-train/configs/*.toml` hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// A name for tables and folders.
    pub name: String,
    /// One sentence on what the recipe is for; the report prints it.
    #[serde(default)]
    pub about: String,
    /// The seed of one run.
    #[serde(default)]
    pub seed: u64,
    /// The seeds `cargo xtask reproduce` goes through.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// The methods to compare.
    #[serde(default)]
    pub arms: Vec<ArmConfig>,
    /// Whether the run pretrains; `false` starts the detector and the probes from the seed's random
    /// weights. An arm's own `pretrain` is put here.
    #[serde(default = "yes")]
    pub pretrained: bool,
    /// A file of weights that the backbone begins with instead of the seed's random ones: an arm that
    /// pretrains starts there, an arm that does not takes it to its detector and its probes. Any
    /// layout that [`import_weights`](inscon_model::import_weights) knows; empty is none. An arm's
    /// own `weights` is put here; where the recipe has some, `weights = ""` makes an arm random again.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub weights: PathBuf,
    /// Where images and labels come from.
    #[serde(default)]
    pub data: DataConfig,
    /// The backbone.
    #[serde(default)]
    pub model: ResNetConfig,
    /// Pretraining.
    #[serde(default)]
    pub pretrain: PretrainConfig,
    /// The detector and its training.
    #[serde(default)]
    pub finetune: FinetuneConfig,
    /// Linear probes.
    #[serde(default)]
    pub probe: ProbeConfig,
}

/// One method under comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmConfig {
    /// Its name: `--arm NAME`, a folder of the run, a row of the table.
    pub name: String,
    /// Whether there is pretraining at all; `false` is random weights, or those of `weights`.
    #[serde(default = "yes")]
    pub pretrain: bool,
    /// The arm's [`weights`](ExperimentConfig::weights); without it the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// A preset over `[pretrain]`.
    #[serde(default)]
    pub method: Option<Method>,
    /// Further values, by dotted key: `{ "pretrain.lambda" = 0.3 }`.
    #[serde(default)]
    pub set: Table,
}

fn yes() -> bool {
    true
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// Why a recipe was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the recipe {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file, or the values laid over it, do not make a recipe.
    #[error("{origin}: {message}")]
    Parse {
        /// The file or the flag.
        origin: String,
        /// What is wrong, where, and the nearest valid key.
        message: String,
    },
    /// There is no such arm.
    #[error("{origin} has no arm `{arm}`; it has: {known}")]
    Arm {
        /// The file.
        origin: String,
        /// The arm that was asked for.
        arm: String,
        /// The arms there are.
        known: String,
    },
    /// The values contradict each other.
    #[error("{origin}: {message}")]
    Invalid {
        /// The file.
        origin: String,
        /// What is wrong and the mend.
        message: String,
    },
}

impl ExperimentConfig {
    /// Reads a recipe, applies the arm and the `key=value` overrides, and checks it.
    ///
    /// # Errors
    /// [`ConfigError`]; the message names the file, the line and the key.
    pub fn load(path: &Path, arm: Option<&str>, sets: &[String]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text, &path.display().to_string(), arm, sets)
    }

    /// The same from text; `origin` names it in messages.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_toml(
        text: &str,
        origin: &str,
        arm: Option<&str>,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let parse = |origin: &str, message: String| ConfigError::Parse {
            origin: origin.to_owned(),
            message: overrides::with_suggestion(&message),
        };
        // Once as it stands, for messages with a line; then as a table, to lay values over it.
        let plain: Self = toml::from_str(text).map_err(|e| parse(origin, e.to_string()))?;
        let mut table: Table = text
            .parse()
            .map_err(|e: toml::de::Error| parse(origin, e.to_string()))?;
        if let Some(name) = arm {
            let arm =
                plain
                    .arms
                    .iter()
                    .find(|a| a.name == name)
                    .ok_or_else(|| ConfigError::Arm {
                        origin: origin.to_owned(),
                        arm: name.to_owned(),
                        known: plain
                            .arms
                            .iter()
                            .map(|a| a.name.as_str())
                            .collect::<Vec<_>>()
                            .join(", "),
                    })?;
            let preset = arm.method.map(Method::settings).unwrap_or_default();
            let preset = preset
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            let own = arm
                .set
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()));
            lay(
                &mut table,
                preset.chain(own),
                &format!("{origin}, arm `{name}`"),
            )?;
            table.insert("pretrained".to_owned(), Value::Boolean(arm.pretrain));
            if let Some(weights) = &arm.weights {
                let weights = Value::try_from(weights).map_err(|e| parse(origin, e.to_string()))?;
                table.insert("weights".to_owned(), weights);
            }
        }
        for assignment in sets {
            let origin = format!("--set {assignment}");
            let pair = overrides::parse(assignment).map_err(|m| parse(&origin, m))?;
            lay(&mut table, std::iter::once(pair), &origin)?;
        }
        let config: Self = Value::Table(table)
            .try_into()
            .map_err(|e: toml::de::Error| parse(origin, e.to_string()))?;
        config.validate().map_err(|message| ConfigError::Invalid {
            origin: origin.into(),
            message,
        })?;
        Ok(config)
    }

    /// The recipe as one run sees it. Arms and seeds are left out, so that adding an arm does not
    /// make another recipe of a finished run, and so are the loader's threads and buffers, which change nothing
    /// but the time.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut run = Self {
            arms: Vec::new(),
            seeds: Vec::new(),
            ..self.clone()
        };
        let DataConfig {
            workers,
            prefetch,
            read_ahead_mib,
            cache_dir,
            ..
        } = DataConfig::default();
        // With decoded images kept nothing is scaled while decoding, which does change pixels.
        let jpeg_scaling = run.data.scales_jpegs();
        run.data = DataConfig {
            workers,
            prefetch,
            read_ahead_mib,
            cache_dir,
            cache: false,
            jpeg_scaling,
            ..run.data
        };
        toml::to_string(&run).expect("a recipe is serializable")
    }

    fn validate(&self) -> Result<(), String> {
        let p = &self.pretrain;
        let per_canvas = p.grid * p.grid;
        if p.grid == 0 || p.batch == 0 || p.tile == 0 || p.dim == 0 {
            return Err("pretrain.grid, batch, tile and dim must be at least 1".into());
        }
        if !p.batch.is_multiple_of(per_canvas) {
            let below = p.batch / per_canvas * per_canvas;
            let nearest = match below {
                0 => format!("{per_canvas}"),
                _ => format!("{below} or {}", below + per_canvas),
            };
            return Err(format!(
                "pretrain.batch = {} is not a multiple of grid² = {per_canvas}; the nearest are {nearest}",
                p.batch
            ));
        }
        let keys = p.batch / (p.key_grid() * p.key_grid());
        check_groups("pretrain.bn_groups", p.bn_groups, keys)?;
        check_groups(
            "pretrain.query_bn_groups",
            p.query_bn_groups,
            p.batch / per_canvas,
        )?;
        let stride = self.model.output_stride as u32;
        if p.split == Split::Slice && stride > 0 && !p.tile.is_multiple_of(stride) {
            let below = p.tile / stride * stride;
            return Err(format!(
                "pretrain.tile = {} is not a multiple of the stride {stride}, so `slice` cannot cut its \
                 feature map; use {} or {}, or split = \"roi_align\"",
                p.tile,
                below.max(stride),
                below + stride
            ));
        }
        if !(0.0..=1.0).contains(&p.ema) {
            return Err(format!("pretrain.ema = {} must lie in [0, 1]", p.ema));
        }
        self.model.validate().map_err(|e| format!("model.{e}"))?;
        p.loss().validate().map_err(|e| format!("pretrain.{e}"))?;
        p.views()
            .validate()
            .map_err(|e| format!("pretrain.augmentation: {e}"))?;
        if p.lambda > 0.0 && p.cell.pull == 0.0 && p.cell.push == 0.0 {
            return Err("pretrain.cell has pull = 0 and push = 0; set lambda = 0 instead".into());
        }
        if p.queue == 0 || p.epochs == 0 {
            return Err("pretrain.queue and pretrain.epochs must be at least 1".into());
        }
        let several = p.batch > 1 || p.negatives != Negatives::Batch;
        if !several {
            return Err("pretrain.batch = 1 leaves no negatives with negatives = \"batch\"".into());
        }
        self.finetune.validate()?;
        self.data.validate()
    }
}

fn check_groups(key: &str, groups: usize, canvases: usize) -> Result<(), String> {
    if groups > 0 && canvases.is_multiple_of(groups) {
        return Ok(());
    }
    let divisors = (1..=canvases).filter(|g| canvases.is_multiple_of(*g));
    let divisors: Vec<String> = divisors.map(|g| g.to_string()).collect();
    Err(format!(
        "{key} = {groups} does not divide the {canvases} canvases of a batch; it may be {}",
        divisors.join(", ")
    ))
}

/// Lays dotted values over the table, checking after each that it is still a recipe.
fn lay(
    table: &mut Table,
    values: impl Iterator<Item = (String, Value)>,
    origin: &str,
) -> Result<(), ConfigError> {
    for (key, value) in values {
        let fail = |message: String| ConfigError::Parse {
            origin: format!("{origin}: {key}"),
            message: overrides::with_suggestion(&message),
        };
        overrides::set(table, &key, value).map_err(fail)?;
        let checked: Result<ExperimentConfig, toml::de::Error> =
            Value::Table(table.clone()).try_into();
        checked.map_err(|e| fail(e.message().to_owned()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "t"
[[arms]]
name = "moco-v2"
method = "moco-v2"
[[arms]]
name = "strong"
method = "inscon"
set = { "pretrain.lambda" = 0.7 }
[pretrain]
lr = 0.06
"#;

    fn load(text: &str, arm: Option<&str>, sets: &[&str]) -> Result<ExperimentConfig, String> {
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        ExperimentConfig::from_toml(text, "t.toml", arm, &sets).map_err(|e| e.to_string())
    }

    #[test]
    fn later_layers_win() {
        let moco = load(TEXT, Some("moco-v2"), &[]).unwrap();
        assert_eq!(
            (moco.pretrain.grid, moco.pretrain.lambda, moco.pretrain.lr),
            (1, 0.0, 0.06)
        );
        let strong = load(TEXT, Some("strong"), &[]).unwrap();
        assert_eq!((strong.pretrain.grid, strong.pretrain.lambda), (2, 0.7));
        let set = load(TEXT, Some("strong"), &["pretrain.lambda=0.1", "seed=4"]).unwrap();
        assert_eq!((set.pretrain.lambda, set.seed), (0.1, 4));
        let again = load(&set.to_toml(), None, &[]).unwrap();
        assert_eq!(again.pretrain, set.pretrain);
        assert!(moco.pretrained && again.pretrained);
        let random = format!("{TEXT}[[arms]]\nname = \"random\"\npretrain = false\n");
        let random = load(&random, Some("random"), &[]).unwrap();
        assert!(!random.pretrained && !load(&random.to_toml(), None, &[]).unwrap().pretrained);
    }

    #[test]
    fn an_arms_weights_win_and_no_weights_leave_no_key() {
        let arms = "[[arms]]\nname = \"imagenet\"\npretrain = false\nweights = \"r50.pth\"\n";
        let text = TEXT.replacen(
            "[[arms]]",
            &format!("weights = \"all.pth\"\n{arms}[[arms]]"),
            1,
        );
        let weights = |text: &str, arm, sets: &[&str]| load(text, Some(arm), sets).unwrap().weights;
        assert_eq!(weights(&text, "imagenet", &[]), Path::new("r50.pth"));
        assert_eq!(weights(&text, "moco-v2", &[]), Path::new("all.pth"));
        assert_eq!(
            weights(&text, "imagenet", &["weights=x.pth"]),
            Path::new("x.pth")
        );
        let plain = load(TEXT, Some("moco-v2"), &[]).unwrap();
        assert!(plain.weights.as_os_str().is_empty());
        // A run of an older version goes on in its folder.
        let key = |line: &str| line.starts_with("weights");
        assert!(!plain.to_toml().lines().any(key), "{}", plain.to_toml());
        let kept = load(&text, Some("imagenet"), &[]).unwrap().to_toml();
        assert_eq!(
            load(&kept, None, &[]).unwrap().weights,
            Path::new("r50.pth")
        );
    }

    #[test]
    fn unknown_keys_name_the_line_and_the_nearest() {
        let error = load("name = \"t\"\n[pretrain]\nlamda = 0.5\n", None, &[]).unwrap_err();
        assert!(error.contains("t.toml"), "{error}");
        assert!(error.contains("line 3"), "{error}");
        assert!(error.contains("did you mean `lambda`?"), "{error}");
        let error = load(TEXT, None, &["finetune.iteration=5"]).unwrap_err();
        assert!(error.contains("--set finetune.iteration=5"), "{error}");
        assert!(error.contains("did you mean `iterations`?"), "{error}");
    }

    #[test]
    fn an_unknown_arm_lists_the_arms() {
        let error = load(TEXT, Some("byol"), &[]).unwrap_err();
        assert!(error.contains("moco-v2, strong"), "{error}");
    }

    #[test]
    fn indivisible_batches_name_the_nearest() {
        let error = load(TEXT, None, &["pretrain.batch=30"]).unwrap_err();
        assert!(error.contains("28 or 32"), "{error}");
        let error = load(TEXT, None, &["pretrain.batch=32", "pretrain.bn_groups=3"]);
        assert!(error.unwrap_err().contains("1, 2, 4, 8"));
    }

    #[test]
    fn slice_needs_whole_cells() {
        let error = load(TEXT, None, &["pretrain.tile=112"]).unwrap_err();
        assert!(error.contains("96 or 128"), "{error}");
        load(
            TEXT,
            None,
            &["pretrain.tile=112", "pretrain.split=\"roi_align\""],
        )
        .unwrap();
    }
}
