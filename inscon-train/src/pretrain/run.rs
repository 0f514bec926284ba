//! The loop of a pretraining run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use burn::tensor::Device;
use inscon_loss::Matching;
use serde_json::{Value, json};

use super::{BAD_IMAGES, PretrainState, Terms, Window, append_bad_images, read_bad_images};
use crate::config::{ExperimentConfig, PretrainConfig};
use crate::data::{BadImage, DataError, LoadStats, PretrainBatches, PretrainLoader};
use crate::{Interrupt, LearningRate, MetricsLog, Progress, RunDir, say, write_weights};

/// Name of the checkpoint in the run folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the weights that later phases start from: torchvision's names, without prefix.
pub const BACKBONE: &str = "backbone.safetensors";
/// Name of the file whose presence says that the phase is done.
pub const DONE: &str = "done.json";
/// Time spent by earlier processes; apart from the checkpoint, whose bytes depend on the recipe
/// alone.
const CLOCK: &str = "clock.json";

/// Pretrains into `run/pretrain`, from the checkpoint there if there is one. Nothing is done when
/// `done.json` is there. When `interrupt` is raised the state is saved after the current step and
/// the function returns `Ok`.
///
/// Writes `metrics.jsonl` (means over `log_every` steps of every term and statistic, images a
/// second, milliseconds a step by phase, and of one loader thread an image), `checkpoint.safetensors`, and at the end
/// `backbone.safetensors` and `done.json`; `bad_images.jsonl` if there were any.
///
/// `config.data` holds the folders to read: see [`resolve_data`](crate::data::resolve_data).
///
/// # Errors
/// Images, run folder or checkpoint that cannot be used, and an objective that is not a number.
pub fn run(
    config: &ExperimentConfig,
    run: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let dir = RunDir::create(run.join("pretrain"))?;
    if dir.file(DONE).exists() {
        say(&format!(
            "pretraining in {} is done already",
            dir.path().display()
        ));
        return Ok(());
    }
    let p = &config.pretrain;
    let batches = PretrainBatches::open(config)?;
    let steps_per_epoch = batches.steps_per_epoch();
    let total = p.epochs * steps_per_epoch;

    let mut state = PretrainState::new(config, steps_per_epoch, device)?;
    let checkpoint = dir.file(CHECKPOINT);
    if checkpoint.exists() {
        state = state.restore(config, &checkpoint)?;
        say(&format!(
            "resuming {} at step {}",
            checkpoint.display(),
            state.step
        ));
    }
    warn_of_collapse(p);

    let rate = learning_rate(p, steps_per_epoch);
    let mut clock = Clock::resume(&dir);
    let mut log = MetricsLog::open(&dir, state.step)?;
    let mut watch = BadImages {
        dir: &dir,
        share: config.data.max_bad_share,
    };
    let mut loader = PretrainLoader::start(
        Arc::new(batches),
        state.step..total,
        config.data.workers,
        config.data.prefetch,
        read_bad_images(&dir),
    )?;
    let batch = p.batch as u64;
    let mut progress = Progress::new("pretraining", "images", state.step * batch, total * batch);
    let mut window = Window::start();
    let mut last = Terms::default();
    let (mut read, mut waited) = (LoadStats::default(), Duration::ZERO);
    let started = Instant::now();

    while loader.wait(interrupt)
        && let Some(next) = loader.next_batch()
    {
        let (images, bad) = match next {
            Ok(next) => next,
            Err(error) => {
                watch.keep(&error);
                // The store may be back tomorrow.
                state.checkpoint(config).write(&checkpoint)?;
                clock.save(&dir, state.step)?;
                return Err(error.into());
            }
        };
        watch.see(&bad, &loader, &progress, (state.step + 1) * batch)?;
        let wait = loader.take_waited();
        waited += wait;
        window.phases.add("data_wait", wait);

        let (step, lr) = (state.step, rate.at(state.step));
        let terms;
        (state, terms) = state.step(images, p, lr, &mut window.phases);
        if !terms.is_finite() {
            bail!(not_a_number(step, &terms, &checkpoint));
        }

        window.add(&terms);
        if state.step.is_multiple_of(p.log_every.max(1)) || state.step == total {
            let epoch = step / steps_per_epoch;
            let position =
                json!({ "step": step, "epoch": epoch, "lr": lr, "lambda": p.lambda_at(step) });
            let stats = loader.batches().images().stats();
            log.write(&window.line(position, p.batch, Some(&stats.since(&read))))?;
            read = stats;
            window = Window::start();
        }
        progress.update(state.step * batch, &message(&terms));
        last = terms;

        let stop = interrupt.is_raised();
        if state.step == total || is_due(state.step, p.checkpoint_every, steps_per_epoch) {
            state.checkpoint(config).write(&checkpoint)?;
            clock.save(&dir, state.step)?;
        }
        if stop {
            break;
        }
    }
    progress.finish();
    if state.step < total {
        // Interrupted, perhaps while no batch came.
        state.checkpoint(config).write(&checkpoint)?;
        clock.save(&dir, state.step)?;
        say(&format!(
            "saved {} at step {} of {total}; call the same command again to go on",
            checkpoint.display(),
            state.step
        ));
        return Ok(());
    }

    let about = json!({ "model": config.model, "seed": config.seed, "steps": total }).to_string();
    write_weights(&dir.file(BACKBONE), &state.backbone(), &about)?;
    let seconds = clock.seconds();
    dir.write_json(
        DONE,
        &json!({
            "seconds": seconds,
            "steps": total,
            "epochs": p.epochs,
            "images": loader.batches().images().source().len(),
            "bad_images": loader.bad_images(),
            "images_per_second": (total * batch) as f64 / seconds.max(1e-9),
            "data_wait_share": waited_share(waited, started.elapsed()),
            "data": loader.batches().images().stats(),
            "samples": loader.batches().images().source().statistics(),
            "last": last,
        }),
    )?;
    Ok(())
}

/// The share of the time that steps waited for their images; says so when it is large.
fn waited_share(waited: Duration, elapsed: Duration) -> f64 {
    let share = waited.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    if share > 0.1 {
        say(&format!(
            "the steps waited for images {:.0} % of the time: raise data.workers, or see \
             `inscon-train profile-data`",
            100.0 * share
        ));
    }
    share
}

/// The learning rate of a recipe.
#[must_use]
pub fn learning_rate(p: &PretrainConfig, steps_per_epoch: u64) -> LearningRate {
    LearningRate {
        base: p.lr,
        schedule: p.schedule.clone(),
        warmup_steps: p.warmup_steps,
        steps_per_epoch,
        total_steps: (p.epochs * steps_per_epoch).max(1),
    }
}

fn is_due(step: u64, every: u64, steps_per_epoch: u64) -> bool {
    step.is_multiple_of(if every == 0 { steps_per_epoch } else { every })
}

fn message(terms: &Terms) -> String {
    let show = |name: &str| terms.get(name).map(|v| format!("{name} {v:.3}"));
    let shown = ["loss", "instance", "cell", "top1"]
        .into_iter()
        .filter_map(show);
    shown.collect::<Vec<_>>().join(", ")
}

fn not_a_number(step: u64, terms: &Terms, checkpoint: &Path) -> String {
    let back = match checkpoint.exists() {
        true => format!("the last checkpoint is {}", checkpoint.display()),
        false => "there is no checkpoint yet".to_owned(),
    };
    format!(
        "the loss is not a number at step {step} ({terms}); {back}; lower pretrain.lr or raise \
         pretrain.warmup_steps, in another --run"
    )
}

fn warn_of_collapse(p: &PretrainConfig) {
    if p.lambda > 0.0 && p.cell.matching == Matching::Distance && p.cell.can_collapse() {
        say(
            "warning: nothing pushes cells apart (pretrain.cell.push or its negatives are off), so \
             the cell head can collapse; watch cell_feature_std in metrics.jsonl",
        );
    }
}

/// Writes unreadable images down and stops when there are too many.
struct BadImages<'a> {
    dir: &'a RunDir,
    share: f64,
}

/// From so many images on the share of the unreadable ones is judged; a smaller set as a whole.
const JUDGED_FROM: usize = 1000;

impl BadImages<'_> {
    /// Lists the images that an error is about.
    fn keep(&self, error: &DataError) {
        if let DataError::NoneReadable { bad, .. } = error {
            // The error that stops the run is the one to be heard of.
            let _ = append_bad_images(self.dir, bad);
        }
    }

    fn see(
        &mut self,
        bad: &[BadImage],
        loader: &PretrainLoader,
        progress: &Progress,
        met: u64,
    ) -> anyhow::Result<()> {
        if bad.is_empty() {
            return Ok(());
        }
        append_bad_images(self.dir, bad)?;
        for BadImage {
            file,
            error,
            replaced_by,
        } in bad
        {
            let by = replaced_by.as_deref().unwrap_or("nothing");
            progress.say(&format!(
                "unreadable image {file}: {error}; {by} takes its place"
            ));
        }
        let source = loader.batches().images().source();
        // A share of the first few images says nothing.
        let all = source.len();
        let images = usize::try_from(met)
            .unwrap_or(all)
            .clamp(all.min(JUDGED_FROM), all);
        if loader.bad_images() as f64 > self.share * images as f64 {
            bail!(DataError::TooManyBad {
                origin: source.place(),
                bad: loader.bad_images(),
                images,
                share: self.share,
                listed: format!("they are listed in {}", self.dir.file(BAD_IMAGES).display()),
            });
        }
        Ok(())
    }
}

/// Seconds spent on the run, over all its processes.
struct Clock {
    before: f64,
    started: Instant,
}

impl Clock {
    fn resume(dir: &RunDir) -> Self {
        let text = fs::read_to_string(dir.file(CLOCK)).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        Self {
            before: value["seconds"].as_f64().unwrap_or_default(),
            started: Instant::now(),
        }
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    fn save(&mut self, dir: &RunDir, step: u64) -> anyhow::Result<()> {
        dir.write_json(CLOCK, &json!({ "step": step, "seconds": self.seconds() }))
            .context("the clock of the run")
    }
}
