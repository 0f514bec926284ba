//! The loop of a fine-tuning.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor};
use inscon_aug::stream;
use inscon_model::detection::LossDict;
use serde_json::json;

use super::{Best, Clock, FinetuneState, Judge, evaluated, open_data, train_batches};
use crate::config::{ExperimentConfig, FinetuneConfig};
use crate::detection_data::Ahead;
use crate::evaluate::write_evaluation;
use crate::pretrain::{CHECKPOINT, DONE, Phases, Terms, Window};
use crate::{Interrupt, LearningRate, MetricsLog, Progress, RunDir, say};

/// Fine-tunes into `run/finetune`, from the checkpoint there if there is one, and evaluates at the
/// end. Nothing is done when `done.json` is there. When `interrupt` is raised the state is saved
/// after the current iteration and the function returns `Ok`.
///
/// The backbone is [`load_backbone`](crate::load_backbone)'s. `config.data` holds the folders to
/// read: see [`resolve_data`](crate::data::resolve_data).
///
/// Writes `metrics.jsonl`, `checkpoint.safetensors`, the files of [`write_evaluation`], the best
/// detector of all evaluations with its score ([`Best`]) and `done.json`. A line of `metrics.jsonl` holds means over `log_every` iterations of every loss
/// term and sampling statistic, images a second and milliseconds an iteration by phase; every
/// `eval_every` iterations there is one with the key `eval`, the scores of the detector at that
/// point.
///
/// # Errors
/// Data, run folder, backbone or checkpoint that cannot be used, and a loss that is not a number.
pub fn run(
    config: &ExperimentConfig,
    run: &Path,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<()> {
    let dir = RunDir::create(run.join("finetune"))?;
    if dir.file(DONE).exists() {
        say(&format!(
            "fine-tuning in {} is done already",
            dir.path().display()
        ));
        return Ok(());
    }
    let f = &config.finetune;
    let (train, val) = open_data(config)?;
    say(&train.report().to_string());
    say(&val.report().to_string());
    let batches = train_batches(config, train.clone());
    let plan = batches.plan(f.iterations)?;
    let judge = Judge::new(config, &dir, &batches, &val, device, interrupt);
    let description = &judge.description;

    let mut state = FinetuneState::new(config, run, description.classes.len(), device)?;
    let checkpoint = dir.file(CHECKPOINT);
    if checkpoint.exists() {
        state = state.restore(config, &description.classes, &checkpoint, device)?;
        say(&format!(
            "resuming {} at iteration {}",
            checkpoint.display(),
            state.iteration
        ));
    }
    let rate = learning_rate(f);
    let clock = Clock::resume(&dir);
    let mut log = MetricsLog::open(&dir, state.iteration)?;
    // The interruption came in the middle of an evaluation.
    if judge.is_due(state.iteration) && !evaluated(&dir, state.iteration) {
        let judged = judge.state(state, None, &mut log)?;
        state = judged.state;
        if judged.found.is_none() {
            let at = state.iteration;
            say(&format!(
                "not evaluated at iteration {at}; call the same command again to go on"
            ));
            return Ok(());
        }
        judge.checkpoint(&state).write(&checkpoint)?;
    }
    let mut loader = Ahead::new(
        state.iteration..f.iterations,
        config.data.workers,
        config.data.prefetch,
        move |iteration| batches.make(iteration, &plan[iteration as usize]),
    );
    let mut progress = Progress::new("fine-tuning", "iterations", state.iteration, f.iterations);
    let mut window = Window::start();
    let autodiff = device.clone().inner().autodiff();

    loop {
        let waiting = Instant::now();
        let Some(batch) = loader.next() else { break };
        let batch = batch?;
        window.phases.add("data_wait", waiting.elapsed());
        train.check_bad(config.data.max_bad_share)?;

        let iteration = state.iteration;
        let lr = rate.at(iteration);
        let phases = &mut window.phases;
        let losses = phases.time("forward", || {
            let mut rng = stream(config.seed, &[4, iteration, SAMPLER]);
            let images = batch.tensor(&autodiff);
            state
                .model
                .forward_train(images, &batch.sizes, &batch.targets, &mut rng)
        });
        let terms = phases.time("forward", || read_terms(&losses));
        if !terms.is_finite() {
            bail!(not_a_number(iteration, &terms, &checkpoint));
        }
        state = backward(state, &losses, lr, phases);

        window.add(&terms);
        let done = state.iteration == f.iterations;
        let due = judge.is_due(state.iteration);
        if done || due || state.iteration.is_multiple_of(f.log_every.max(1)) {
            log.write(&window.line(json!({ "step": iteration, "lr": lr }), f.batch, None))?;
            window = Window::start();
        }
        progress.update(
            state.iteration,
            &format!("loss {:.3}", terms.get("loss").unwrap_or(0.0)),
        );

        if due {
            let judged = judge.state(state, None, &mut log)?;
            state = judged.state;
            if let Some(found) = &judged.found {
                progress.say(&format!("iteration {}: {}", state.iteration, found.scores));
            }
            window = Window::start();
        }
        let stop = interrupt.is_raised();
        if stop || done || state.iteration.is_multiple_of(f.checkpoint_every.max(1)) {
            judge.checkpoint(&state).write(&checkpoint)?;
            clock.save(&dir)?;
        }
        if stop && !done {
            progress.finish();
            say(&format!(
                "saved {} at iteration {} of {}; call the same command again to go on",
                checkpoint.display(),
                state.iteration,
                f.iterations
            ));
            return Ok(());
        }
    }
    progress.finish();

    let training_seconds = clock.seconds();
    let judged = judge.state(state, Some(&checkpoint), &mut log)?;
    let Some(found) = judged.found else {
        say("the detector is trained and saved; call the same command again to evaluate it");
        return Ok(());
    };
    write_evaluation(&dir, &judge.inference, &found, judged.state.iteration)?;
    say(&format!("{}: {}", dir.path().display(), found.scores));
    let images = f.iterations * f.batch as u64;
    dir.write_json(
        DONE,
        &json!({
            "seconds": clock.seconds(),
            "training_seconds": training_seconds,
            "iterations": f.iterations,
            "images_per_second": images as f64 / training_seconds.max(1e-9),
            "train_images": train.samples().len(),
            "val_images": val.samples().len(),
            "bad_images": train.bad_images(),
            "objects_left_out": train.report().left_out(),
            "eval": found.scores,
            "best": Best::read(&dir)?,
        }),
    )?;
    Ok(())
}

/// Last element of the stream path of the detector's own sampling; no batch has so many images.
const SAMPLER: u64 = u64::MAX;

fn learning_rate(f: &FinetuneConfig) -> LearningRate {
    LearningRate {
        base: f.lr,
        schedule: f.schedule.clone(),
        warmup_steps: f.warmup_steps,
        // For schedules by epoch, which detectors do not have: a hundredth of the run.
        steps_per_epoch: f.iterations.div_ceil(100).max(1),
        total_steps: f.iterations.max(1),
    }
}

fn backward(
    mut state: FinetuneState,
    losses: &LossDict,
    lr: f64,
    phases: &mut Phases,
) -> FinetuneState {
    let gradients = phases.time("backward", || losses.total().backward());
    state.model = phases.time("update", || state.sgd.step(lr, state.model, gradients));
    state.iteration += 1;
    state
}

/// Every loss term, their sum and what was sampled, in one transfer from the device.
fn read_terms(losses: &LossDict) -> Terms {
    let terms = losses.terms();
    let scalars: Vec<Tensor<1>> = terms.iter().map(|(_, term)| term.clone().inner()).collect();
    let values: Vec<f32> = Tensor::cat(scalars, 0).into_data().iter::<f32>().collect();
    let mut out: BTreeMap<&'static str, f64> = terms
        .iter()
        .map(|(name, _)| *name)
        .zip(values.into_iter().map(f64::from))
        .collect();
    out.insert("loss", out.values().sum());
    let stats = &losses.stats;
    let counts = [
        ("rpn_positives", stats.rpn_positives),
        ("rpn_negatives", stats.rpn_negatives),
        ("proposals", stats.proposals),
        ("non_finite_proposals", stats.non_finite_proposals),
        ("roi_positives", stats.roi_positives),
        ("roi_negatives", stats.roi_negatives),
    ];
    out.extend(counts.map(|(name, count)| (name, count as f64)));
    Terms(out)
}

fn not_a_number(iteration: u64, terms: &Terms, checkpoint: &Path) -> String {
    let back = match checkpoint.exists() {
        true => format!("the last checkpoint is {}", checkpoint.display()),
        false => "there is no checkpoint yet".to_owned(),
    };
    format!(
        "the loss is not a number at iteration {iteration} ({terms}); {back}; lower finetune.lr or \
         raise finetune.warmup_steps, in another --run"
    )
}
