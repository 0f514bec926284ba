//! Steps of MoCo v2 on random pixels: the trainer's own code, without its loader.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context, bail};
use burn::tensor::Device;
use inscon_aug::stream;
use ndarray::Array4;
use rand::Rng;
use serde::Serialize;

use super::{Workload, median};
use crate::Interrupt;
use crate::config::ExperimentConfig;
use crate::data::{Canvases, PretrainBatch};
use crate::pretrain::{Phases, PretrainState};

/// What the steps took.
#[derive(Debug, Clone, Serialize)]
pub struct StepTimes {
    /// What was run.
    #[serde(flatten)]
    pub workload: Workload,
    /// Threads of the pool.
    pub threads: usize,
    /// Seconds of each step.
    pub steps: Vec<f64>,
    /// Images in a step by the median of its seconds.
    pub images_per_s: f64,
    /// Medians by phase.
    pub phases_ms: BTreeMap<&'static str, f64>,
    /// The largest resident memory of the process so far, where the system tells.
    pub peak_mib: Option<f64>,
}

/// Runs `warmup` steps and then `steps` more, each on new random pixels, and times the latter.
///
/// # Errors
/// A size the network cannot take, a loss that is not a number, an interruption.
pub fn step(
    workload: Workload,
    [warmup, steps]: [usize; 2],
    device: &Device,
    interrupt: &Interrupt,
) -> anyhow::Result<StepTimes> {
    let config = recipe(&workload)?;
    let mut state = PretrainState::new(&config, (warmup + steps).max(1) as u64, device)?;
    let mut rng = stream(config.seed, &[]);
    let mut seconds = Vec::with_capacity(steps);
    let mut spent: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for number in 0..warmup + steps {
        let batch = random_batch(&workload, number as u64, &mut rng);
        let mut phases = Phases::default();
        let started = Instant::now();
        let (next, terms) = state.step(batch, &config.pretrain, config.pretrain.lr, &mut phases);
        device.sync().context("the device")?;
        let taken = started.elapsed().as_secs_f64();
        state = next;
        if !terms.is_finite() {
            bail!("the loss is not a number at step {number} ({terms})");
        }
        if interrupt.is_raised() {
            bail!("interrupted after {} steps", number + 1);
        }
        if number >= warmup {
            seconds.push(taken);
            for (phase, ms) in phases.per_step(1) {
                spent.entry(phase).or_default().push(ms);
            }
        }
    }
    Ok(StepTimes {
        workload,
        threads: rayon::current_num_threads(),
        images_per_s: workload.batch as f64 / median(seconds.iter().copied()),
        steps: seconds,
        phases_ms: spent
            .into_iter()
            .map(|(phase, ms)| (phase, median(ms)))
            .collect(),
        peak_mib: peak_mib(),
    })
}

/// MoCo v2 with a queue of 4096 and batch norm over the whole batch.
fn recipe(workload: &Workload) -> anyhow::Result<ExperimentConfig> {
    let &Workload { arch, size, batch } = workload;
    let text = format!(
        r#"
name = "bench"
[[arms]]
name = "moco-v2"
method = "moco-v2"
[model]
depth = {}
[pretrain]
tile = {size}
batch = {batch}
queue = 4096
bn_groups = 1
"#,
        arch.depth()
    );
    let origin = format!("{arch:?} at {size} px, batch {batch}");
    Ok(ExperimentConfig::from_toml(
        &text,
        &origin,
        Some("moco-v2"),
        &[],
    )?)
}

fn random_batch(workload: &Workload, step: u64, rng: &mut impl Rng) -> PretrainBatch {
    let &Workload { size, batch, .. } = workload;
    let mut pixels = || {
        let shape = (batch, size, size, 3);
        Canvases::from(Array4::from_shape_simple_fn(shape, || rng.next_u64() as u8))
    };
    PretrainBatch {
        step,
        epoch: 0,
        query: pixels(),
        key: pixels(),
        // Where a tile came from matters to the cell term alone.
        query_tiles: Vec::new(),
        key_tiles: Vec::new(),
        query_of_key: (0..batch).collect(),
        files: Vec::new(),
        bad: Vec::new(),
    }
}

/// Linux' `VmHWM`.
fn peak_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::super::Arch;
    use super::*;

    #[test]
    fn a_small_step_runs() {
        let workload = Workload {
            arch: Arch::Resnet18,
            size: 32,
            batch: 4,
        };
        let device = Device::flex();
        let times = step(workload, [1, 2], &device, &Interrupt::manual()).unwrap();
        assert_eq!(times.steps.len(), 2);
        let phases: Vec<&str> = times.phases_ms.keys().copied().collect();
        let expected = [
            "backward",
            "ema",
            "enqueue",
            "key_forward",
            "loss",
            "query_forward",
            "sgd",
            "upload",
        ];
        assert_eq!(phases, expected);
        let line = serde_json::to_value(&times).unwrap();
        assert_eq!(
            (&line["arch"], &line["size"]),
            (&"resnet18".into(), &32.into())
        );
    }

    #[test]
    fn a_size_between_cells_is_refused() {
        let workload = Workload {
            arch: Arch::Resnet18,
            size: 40,
            batch: 4,
        };
        let error = recipe(&workload).unwrap_err().to_string();
        assert!(error.contains("pretrain.tile"), "{error}");
    }
}
