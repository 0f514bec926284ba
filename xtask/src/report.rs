//! `report.html` and `results.json` of a folder of runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::chart::{self, Series};
use crate::html::{self, escape};
use crate::pictures;
use crate::results::Results;
use crate::shell;

/// Pictures of detections shown for an arm.
const DETECTIONS: usize = 6;

/// Writes both files into `out` and prints the table.
pub(crate) fn write(out: &Path) -> Result<()> {
    let about = About::read(out)?;
    let results = Results::read(out, &about.arms)?;
    if results.arms.is_empty() {
        bail!(
            "{} holds no finished run; `cargo xtask reproduce` makes them",
            out.display()
        );
    }
    save(
        &out.join("results.json"),
        &(serde_json::to_string_pretty(&results)? + "\n"),
    )?;
    let mut body = format!("<p>{}</p>", escape(&about.about));
    body += HONESTY;
    body += "<h2>Results</h2>";
    body += &html::table(&results.rows());
    body += "<h2>Curves</h2><div class=\"charts\">";
    body += &charts(&results)?;
    body += "</div>";
    body += "<h2>What pretraining sees</h2>";
    for arm in &results.arms {
        for run in &arm.runs {
            if let Some(html) = pictures::views(&run.path.join("views"))? {
                body += &format!("<h3>{}</h3>{html}", escape(&arm.name));
            }
        }
    }
    body +=
        "<h2>Detections on test images</h2><p>Left the truth, right what the detector found.</p>";
    for arm in &results.arms {
        let Some(run) = arm.runs.first() else {
            continue;
        };
        if let Some(html) = pictures::detections(&run.path.join("finetune/detections"), DETECTIONS)?
        {
            body += &format!("<h3>{}, seed {}</h3>{html}", escape(&arm.name), run.seed);
        }
    }
    body += "<h2>Recipes as they ran</h2><p>Defaults, preset, arm and --set laid together.</p>";
    for arm in &results.arms {
        let Some(run) = arm.runs.first() else {
            continue;
        };
        let recipe = fs::read_to_string(run.path.join("recipe.toml")).with_context(|| {
            format!(
                "{} has no recipe.toml: run its steps again",
                run.path.display()
            )
        })?;
        body += &format!(
            "<details><summary>{}, seed {}</summary><pre>{}</pre></details>",
            escape(&arm.name),
            run.seed,
            escape(&recipe)
        );
    }
    let title = format!("InsCon: {}", about.name);
    save(&out.join("report.html"), &html::page(&title, &body))?;
    shell::say(&results.markdown());
    shell::say(&format!("{}", out.join("results.json").display()));
    shell::say(&format!("{}", out.join("report.html").display()));
    Ok(())
}

const HONESTY: &str = "<p>InsCon (arXiv 2203.07688) is public to us as its abstract; the method here is this \
project's reconstruction. Differences to MoCo v2 are taken seed by seed; ± is the sample standard deviation \
over seeds, so a difference within it says nothing.</p>";

/// What a run's own recipe says of the experiment.
struct About {
    name: String,
    about: String,
    /// Arms in the recipe's order, as `reproduce` left it.
    arms: Vec<String>,
}

impl About {
    fn read(out: &Path) -> Result<Self> {
        let file = out.join("experiment.toml");
        let recipe = fs::read_to_string(&file).with_context(|| {
            format!(
                "{} is missing: is this a folder of `cargo xtask reproduce`?",
                file.display()
            )
        })?;
        let table: toml::Table = recipe
            .parse()
            .with_context(|| format!("{}", file.display()))?;
        let text = |key: &str| {
            table
                .get(key)
                .and_then(toml::Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let arms = table
            .get("arms")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten();
        let arms = arms
            .filter_map(|arm| Some(arm.get("name")?.as_str()?.to_owned()))
            .collect();
        Ok(Self {
            name: text("name"),
            about: text("about"),
            arms,
        })
    }
}

/// Writes under a temporary name and renames.
fn save(file: &Path, text: &str) -> Result<()> {
    let temporary = file.with_extension("tmp");
    fs::write(&temporary, text).with_context(|| format!("cannot write {}", temporary.display()))?;
    fs::rename(&temporary, file).with_context(|| format!("cannot write {}", file.display()))
}

/// A chart of the report: which lines of which log, under which names.
struct Plot {
    title: &'static str,
    log: &'static str,
    x: &'static str,
    y: (&'static str, &'static str),
}

const fn plot(
    title: &'static str,
    log: &'static str,
    x: &'static str,
    y: (&'static str, &'static str),
) -> Plot {
    Plot { title, log, x, y }
}

const PRETRAIN: &str = "pretrain/metrics.jsonl";
const FINETUNE: &str = "finetune/metrics.jsonl";

const PLOTS: [Plot; 9] = [
    plot("Pretraining: loss", PRETRAIN, "step", ("loss", "/loss")),
    plot(
        "Pretraining: instance term",
        PRETRAIN,
        "step",
        ("loss", "/instance"),
    ),
    plot(
        "Pretraining: cell term",
        PRETRAIN,
        "step",
        ("loss", "/cell"),
    ),
    plot(
        "Pretraining: top-1 of the instance contrast",
        PRETRAIN,
        "step",
        ("share", "/top1"),
    ),
    plot(
        "Pretraining: share of matched cells",
        PRETRAIN,
        "step",
        ("share", "/matched_cells"),
    ),
    plot("Fine-tuning: loss", FINETUNE, "step", ("loss", "/loss")),
    plot(
        "Box AP in fine-tuning",
        FINETUNE,
        "iteration",
        ("AP", "/eval/bbox/ap"),
    ),
    plot(
        "Box AP50 in fine-tuning",
        FINETUNE,
        "iteration",
        ("AP50", "/eval/bbox/ap50"),
    ),
    plot(
        "Mask AP in fine-tuning",
        FINETUNE,
        "iteration",
        ("AP", "/eval/segm/ap"),
    ),
];

/// Most points of a line; more are averaged, so that a noisy loss reads as a curve.
const POINTS: usize = 100;

/// Every plot that has data: one line a run, one colour an arm.
fn charts(results: &Results) -> Result<String> {
    let mut out = String::new();
    for plot in &PLOTS {
        let mut series = Vec::new();
        for (colour, arm) in results.arms.iter().enumerate() {
            let mut named = false;
            for run in &arm.runs {
                let points = points(&run.path.join(plot.log), &format!("/{}", plot.x), plot.y.1);
                // One point is no curve.
                if points.len() < 2 {
                    continue;
                }
                let width = points.len().div_ceil(POINTS);
                // The first run carries the arm's name into the legend.
                let name = if named {
                    String::new()
                } else {
                    arm.name.clone()
                };
                named = true;
                series.push(Series {
                    name,
                    points: chart::smooth(&points, width),
                    colour,
                });
            }
        }
        if let Some(svg) = chart::lines(plot.title, plot.x, plot.y.0, &series)? {
            out += &svg;
        }
    }
    Ok(out)
}

fn points(log: &Path, x: &str, y: &str) -> Vec<(f64, f64)> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let point = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        Some((value.pointer(x)?.as_f64()?, value.pointer(y)?.as_f64()?))
    };
    text.lines().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_runs_becomes_a_report() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write(
            "experiment.toml",
            "name = \"t\"\nabout = \"a < b\"\n[[arms]]\nname = \"inscon\"\n",
        );
        write(
            "seed-0/inscon/recipe.toml",
            "seed = 0\n[pretrain]\nepochs = 7\n",
        );
        write(
            "seed-0/inscon/finetune/eval.json",
            "{\"scores\": {\"bbox\": {\"ap\": 0.25}}}",
        );
        write(
            "seed-0/inscon/pretrain/metrics.jsonl",
            "{\"step\": 0, \"loss\": 5.0}\n{\"step\": 1, \"loss\": 4.0}\nbroken\n",
        );
        write_report(dir.path());
        let html = fs::read_to_string(dir.path().join("report.html")).unwrap();
        assert!(html.contains("a &lt; b") && html.contains("25.0"), "{html}");
        assert!(
            html.contains("epochs = 7"),
            "the recipe as it ran, not the preset: {html}"
        );
        assert!(html.contains("Pretraining: loss") && !html.contains("Mask AP"));
        let results: Value =
            serde_json::from_str(&fs::read_to_string(dir.path().join("results.json")).unwrap())
                .unwrap();
        assert_eq!(results["arms"][0]["over_seeds"]["bbox_ap"]["mean"], 0.25);
    }

    fn write_report(dir: &Path) {
        write(dir).unwrap();
    }

    #[test]
    fn an_empty_folder_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            write(dir.path())
                .unwrap_err()
                .to_string()
                .contains("cargo xtask reproduce")
        );
    }
}
