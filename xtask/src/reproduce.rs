//! `cargo xtask reproduce`: from images to the table, one binary call a step.
//!
//! ```text
//! OUT/scenes/…                 the generated data (presets with data.source = "scenes")
//! OUT/seed-0/moco-v2/          one run: recipe.toml, pretrain/, finetune/, probe/, views/
//! OUT/results.json             every number, per arm and seed
//! OUT/report.html              the table, curves and pictures, self-contained
//! ```
//!
//! A step that wrote its `done.json` is not run again: an interrupted call is continued by the
//! same call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::{report, shell};

#[derive(Args, Debug, Clone)]
pub(crate) struct ReproduceArgs {
    /// A recipe of inscon-train/configs, by its file's name without `.toml`.
    #[arg(long, default_value = "default")]
    preset: String,
    /// A recipe of your own, instead of a preset.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything goes; `runs/PRESET` if not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Unlabelled images to pretrain on, searched recursively.
    #[arg(long, value_name = "DIR")]
    pretrain_images: Option<PathBuf>,
    /// COCO instances JSON to fine-tune on.
    #[arg(long, value_name = "F")]
    train_json: Option<PathBuf>,
    /// COCO instances JSON to evaluate on.
    #[arg(long, value_name = "F")]
    val_json: Option<PathBuf>,
    /// Folder that the `file_name`s of both JSON files are relative to.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Only these arms of the recipe.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// Only these seeds of the recipe.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// `cpu`, `wgpu` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// A value laid over the recipe: `--set pretrain.epochs=5`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// A folder of another `reproduce` whose pretraining is to be used, arm by arm and seed by
    /// seed, where its recipe's sections `model` and `pretrain` are the same.
    #[arg(long, value_name = "DIR")]
    pretrained: Option<PathBuf>,
    /// Print the steps and run none.
    #[arg(long)]
    dry_run: bool,
}

/// What this tool needs to know of a recipe; the binary checks the rest.
#[derive(Debug, Deserialize)]
struct Recipe {
    #[serde(default)]
    seeds: Vec<u64>,
    #[serde(default)]
    arms: Vec<Arm>,
    #[serde(default)]
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Arm {
    name: String,
    #[serde(default = "yes")]
    pretrain: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Default, Deserialize)]
struct Data {
    #[serde(default)]
    source: String,
}

/// One call of the binary.
struct Step {
    arguments: Vec<String>,
    /// The file it writes last; `None` runs it each time (it finds out by itself that it is done).
    done: Option<PathBuf>,
}

pub(crate) fn run(args: &ReproduceArgs) -> Result<()> {
    let started = Instant::now();
    let (recipe_file, recipe) = read_recipe(args)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => shell::root()
            .join("runs")
            .join(recipe_file.file_stem().unwrap_or_default()),
    };
    let out = std::path::absolute(out)?;
    let steps = plan(args, &recipe_file, &recipe, &out)?;
    if args.dry_run {
        for step in &steps {
            let state = if is_done(step) { "done" } else { "to do" };
            shell::say(&format!(
                "[{state}] inscon-train {}",
                step.arguments.join(" ")
            ));
        }
        return Ok(());
    }
    fs::create_dir_all(&out).with_context(|| {
        format!(
            "cannot create {}; choose another folder with --out",
            out.display()
        )
    })?;
    // For the report: the arms' order and what the recipe says of itself.
    fs::copy(&recipe_file, out.join("experiment.toml"))?;
    let binary = build(&args.device)?;
    let total = steps.len();
    for (number, step) in steps.iter().enumerate() {
        if is_done(step) {
            continue;
        }
        shell::say(&format!(
            "[{}/{total}] inscon-train {}",
            number + 1,
            step.arguments.join(" ")
        ));
        let status = Command::new(&binary)
            .args(&step.arguments)
            .status()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let wrote = step.done.is_none() || is_done(step);
        if !status.success() || !wrote {
            bail!(
                "step {} of {total} did not finish ({status}); what is done is kept: call the same \
                 command again to go on",
                number + 1
            );
        }
    }
    report::write(&out)?;
    shell::say(&format!(
        "reproduce: {:.1} min",
        started.elapsed().as_secs_f64() / 60.0
    ));
    Ok(())
}

/// The smoke preset from nothing, as CI runs it.
pub(crate) fn smoke() -> Result<()> {
    let out = shell::root().join("runs").join("smoke-ci");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    let args = ReproduceArgs {
        preset: "smoke".into(),
        config: None,
        out: Some(out.clone()),
        pretrain_images: None,
        train_json: None,
        val_json: None,
        images: None,
        arms: Vec::new(),
        seeds: Vec::new(),
        device: "cpu".into(),
        sets: Vec::new(),
        pretrained: None,
        dry_run: false,
    };
    run(&args)?;
    let first =
        fs::read(out.join("results.json")).context("the smoke run wrote no results.json")?;
    // A second call must find everything done, and say the same.
    run(&args)?;
    let second = fs::read(out.join("results.json"))?;
    if first != second {
        bail!("a second call of the smoke run changed results.json");
    }
    Ok(())
}

fn read_recipe(args: &ReproduceArgs) -> Result<(PathBuf, Recipe)> {
    let folder = shell::root().join("inscon-train").join("configs");
    let file = args
        .config
        .clone()
        .unwrap_or_else(|| folder.join(format!("{}.toml", args.preset)));
    let text = fs::read_to_string(&file).with_context(|| {
        let known: Vec<String> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| Some(e.path().file_stem()?.to_string_lossy().into_owned()))
            .collect();
        format!(
            "cannot read the recipe {}; the presets are: {}",
            file.display(),
            known.join(", ")
        )
    })?;
    let recipe: Recipe =
        toml::from_str(&text).with_context(|| format!("{} is not a recipe", file.display()))?;
    Ok((std::path::absolute(file)?, recipe))
}

fn plan(args: &ReproduceArgs, file: &Path, recipe: &Recipe, out: &Path) -> Result<Vec<Step>> {
    for wanted in &args.arms {
        if !recipe.arms.iter().any(|arm| arm.name == *wanted) {
            let known: Vec<&str> = recipe.arms.iter().map(|a| a.name.as_str()).collect();
            bail!(
                "{} has no arm `{wanted}`; it has: {}",
                file.display(),
                known.join(", ")
            );
        }
    }
    let config = vec!["--config".to_owned(), file.display().to_string()];
    let sets: Vec<String> = data_sets(args, recipe, out)?;
    let mut steps = Vec::new();
    if uses_scenes(args, recipe) {
        let folder = out.join("scenes");
        let mut arguments = vec!["scenes".to_owned()];
        arguments.extend(config.clone());
        arguments.extend(["--out".to_owned(), folder.display().to_string()]);
        arguments.extend(
            args.sets
                .iter()
                .flat_map(|s| ["--set".to_owned(), s.clone()]),
        );
        steps.push(Step {
            arguments,
            done: None,
        });
    }
    let seeds = if args.seeds.is_empty() {
        recipe.seeds.clone()
    } else {
        args.seeds.clone()
    };
    let seeds = if seeds.is_empty() { vec![0] } else { seeds };
    for (round, seed) in seeds.iter().enumerate() {
        for arm in &recipe.arms {
            if !args.arms.is_empty() && !args.arms.contains(&arm.name) {
                continue;
            }
            let seed_name = format!("seed-{seed}");
            let run = out.join(&seed_name).join(&arm.name);
            let mut phases = vec!["finetune", "evaluate", "probe"];
            if arm.pretrain {
                phases.insert(0, "pretrain");
                if round == 0 {
                    phases.insert(1, "views");
                }
            }
            for phase in phases {
                let mut arguments = vec![phase.to_owned()];
                arguments.extend(config.clone());
                arguments.extend(["--run".to_owned(), run.display().to_string()]);
                arguments.extend(["--arm".to_owned(), arm.name.clone()]);
                if phase != "views" {
                    arguments.extend(["--device".to_owned(), args.device.clone()]);
                }
                let seed = format!("seed={seed}");
                let all = args.sets.iter().chain(&sets).chain(std::iter::once(&seed));
                arguments.extend(all.flat_map(|s| ["--set".to_owned(), s.clone()]));
                if let (Some(other), "pretrain") = (&args.pretrained, phase) {
                    let other = std::path::absolute(other)?.join(&seed_name).join(&arm.name);
                    arguments.extend(["--from".to_owned(), other.display().to_string()]);
                }
                let last = if phase == "views" {
                    "views.json"
                } else {
                    "done.json"
                };
                steps.push(Step {
                    arguments,
                    done: Some(run.join(phase).join(last)),
                });
            }
        }
    }
    Ok(steps)
}

fn uses_scenes(args: &ReproduceArgs, recipe: &Recipe) -> bool {
    recipe.data.source == "scenes" && args.pretrain_images.is_none()
}

/// The `data.*` values that the flags, or the place of the generated scenes, stand for.
fn data_sets(args: &ReproduceArgs, recipe: &Recipe, out: &Path) -> Result<Vec<String>> {
    let set = |key: &str, path: &Path| -> Result<String> {
        let path = std::path::absolute(path)?;
        Ok(format!(
            "data.{key}={}",
            toml::Value::String(path.display().to_string())
        ))
    };
    let mut sets = Vec::new();
    if uses_scenes(args, recipe) {
        sets.push(set("scenes_dir", &out.join("scenes"))?);
    } else if recipe.data.source == "scenes" {
        sets.push("data.source=\"folders\"".into());
    }
    let given = [
        ("pretrain_images", &args.pretrain_images),
        ("train_json", &args.train_json),
        ("val_json", &args.val_json),
        ("train_images", &args.images),
        ("val_images", &args.images),
    ];
    for (key, path) in given {
        if let Some(path) = path {
            if !path.exists() {
                bail!("data.{key}: {} does not exist", path.display());
            }
            sets.push(set(key, path)?);
        }
    }
    Ok(sets)
}

fn is_done(step: &Step) -> bool {
    step.done.as_ref().is_some_and(|file| file.exists())
}

/// Builds the binary with the backend that the device needs and returns its path.
fn build(device: &str) -> Result<PathBuf> {
    let mut command = shell::cargo();
    // A test target beside the binary: cargo then resolves the features that `cargo test` does, and
    // burn is built once for both.
    command.args([
        "build",
        "-p",
        "inscon-train",
        "--bin",
        "inscon-train",
        "--test",
        "geometry",
    ]);
    command.args(["--message-format", "json-render-diagnostics"]);
    match device.split(':').next() {
        Some("wgpu") => drop(command.args(["--features", "wgpu"])),
        Some("cuda") => drop(command.args(["--features", "cuda"])),
        _ => {}
    }
    shell::say("building inscon-train (minutes the first time)");
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("inscon-train does not build");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["kind"][0] == "bin")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo named no executable of inscon-train")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> ReproduceArgs {
        #[derive(clap::Parser)]
        struct Wrap {
            #[command(flatten)]
            args: ReproduceArgs,
        }
        let words = std::iter::once("x").chain(words.iter().copied());
        <Wrap as clap::Parser>::parse_from(words).args
    }

    const RECIPE: &str = "seeds = [0, 1]\n[data]\nsource = \"scenes\"\n[[arms]]\nname = \"random\"\n\
                          pretrain = false\n[[arms]]\nname = \"inscon\"\n";

    fn planned(words: &[&str]) -> Vec<String> {
        let recipe: Recipe = toml::from_str(RECIPE).unwrap();
        let steps = plan(
            &args(words),
            Path::new("r.toml"),
            &recipe,
            Path::new("/out"),
        )
        .unwrap();
        steps.iter().map(|s| s.arguments.join(" ")).collect()
    }

    #[test]
    fn every_arm_and_seed_has_its_steps() {
        let steps = planned(&[]);
        // scenes; 3 for random and 5 for inscon with its views; 3 and 4 for the second seed.
        assert_eq!(steps.len(), 1 + 3 + 5 + 3 + 4, "{steps:#?}");
        assert!(
            steps[1].starts_with("finetune"),
            "random has no pretraining: {}",
            steps[1]
        );
        assert!(
            steps[4].contains("--run /out/seed-0/inscon --arm inscon"),
            "{}",
            steps[4]
        );
        assert!(
            steps[4].contains("data.scenes_dir=\"/out/scenes\""),
            "{}",
            steps[4]
        );
        assert!(steps[15].contains("seed=1"), "{}", steps[15]);
    }

    #[test]
    fn flags_choose_arms_and_seeds() {
        let steps = planned(&["--arms", "inscon", "--seeds", "7"]);
        assert_eq!(steps.len(), 1 + 5, "{steps:#?}");
        assert!(steps[1].contains("seed=7"));
    }

    #[test]
    fn own_images_replace_the_scenes() {
        let steps = planned(&[
            "--pretrain-images",
            "/",
            "--train-json",
            "/",
            "--arms",
            "random",
        ]);
        assert!(steps.iter().all(|s| !s.starts_with("scenes")), "{steps:#?}");
        assert!(steps[0].contains("data.source=\"folders\""), "{}", steps[0]);
        assert!(steps[0].contains("data.train_json=\"/\""), "{}", steps[0]);
    }

    #[test]
    fn a_pretraining_is_taken_arm_by_arm() {
        let steps = planned(&["--pretrained", "/other", "--seeds", "1"]);
        let taken: Vec<&String> = steps.iter().filter(|s| s.contains("--from")).collect();
        assert_eq!(taken.len(), 1, "random has none: {steps:#?}");
        assert!(
            taken[0].starts_with("pretrain") && taken[0].contains("--from /other/seed-1/inscon")
        );
    }

    #[test]
    fn an_unknown_arm_and_a_missing_folder_are_named() {
        let recipe: Recipe = toml::from_str(RECIPE).unwrap();
        let error = plan(
            &args(&["--arms", "byol"]),
            Path::new("r.toml"),
            &recipe,
            Path::new("/o"),
        );
        assert!(error.err().unwrap().to_string().contains("random, inscon"));
        let error = data_sets(&args(&["--images", "/no/such"]), &recipe, Path::new("/o"));
        assert!(
            error
                .err()
                .unwrap()
                .to_string()
                .contains("/no/such does not exist")
        );
    }
}
