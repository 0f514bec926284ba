//! How fast batches are made without a network, and whether the data or the device is the limit.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::Value;

use crate::Interrupt;
use crate::config::ExperimentConfig;
use crate::data::{LoadStats, PretrainBatches, PretrainLoader, SampleStatistics};

/// What [`profile_data`] is to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileOptions {
    /// Numbers of loader threads to try.
    pub workers: Vec<usize>,
    /// How long each is measured, after its first batch.
    pub time: Duration,
    /// Images a second that the device takes, if known.
    pub device_rate: Option<f64>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkersProfile {
    /// Loader threads.
    pub workers: usize,
    /// Images (pairs of views) a second.
    pub images_per_second: f64,
    /// Milliseconds of one thread for an image: reading its file.
    pub read_ms: f64,
    /// Likewise: decoding it.
    pub decode_ms: f64,
    /// Likewise: its two views.
    pub augment_ms: f64,
    /// Share of the threads' time in these three; the rest is waiting for each other, or for the
    /// batch to be taken.
    pub busy: f64,
    /// Megabytes of image files a second.
    pub mb_per_second: f64,
}

/// What was measured and what follows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataProfile {
    /// Where the images are.
    pub place: String,
    /// How many there are.
    pub images: usize,
    /// Images in a batch.
    pub batch: usize,
    /// Mean bytes of a file.
    pub bytes_per_image: f64,
    /// Whether decoded images are kept in memory (`data.cache`).
    pub cache: bool,
    /// By number of threads.
    pub workers: Vec<WorkersProfile>,
    /// Images a second that the device takes, if known.
    pub device_rate: Option<f64>,
    /// Unreadable images that were met.
    pub bad: u64,
    /// What reading cost the source.
    pub samples: SampleStatistics,
    /// The answer in words.
    pub verdict: String,
}

/// Makes batches as fast as it can for each number of threads and says where the time goes.
///
/// # Errors
/// Images that cannot be used, no number of threads, and an interrupt.
pub fn profile_data(
    config: &ExperimentConfig,
    options: &ProfileOptions,
    interrupt: &Interrupt,
) -> anyhow::Result<DataProfile> {
    let mut profile: Option<DataProfile> = None;
    let (mut files, mut bytes) = (0, 0);
    for &workers in &options.workers {
        // Anew: a source reads ahead what it was told for the measurement before, and decoded
        // images that are kept would make this one's time look like nothing.
        let batches = Arc::new(PretrainBatches::open(config)?);
        let measured = measure(&batches, workers, config, options.time, interrupt)?;
        let source = batches.images().source();
        let profile = profile.get_or_insert_with(|| DataProfile {
            place: source.place(),
            images: source.len(),
            batch: batches.batch(),
            bytes_per_image: 0.0,
            cache: config.data.cache,
            workers: Vec::new(),
            device_rate: options.device_rate,
            bad: 0,
            samples: SampleStatistics::default(),
            verdict: String::new(),
        });
        let stats = batches.images().stats();
        files += stats.files;
        bytes += stats.bytes;
        profile.bad += stats.bad;
        profile.samples = profile.samples.plus(&source.statistics());
        profile.workers.push(measured);
    }
    let mut profile = profile.context("no number of loader threads to measure with")?;
    profile.bytes_per_image = bytes as f64 / files.max(1) as f64;
    profile.verdict = verdict(&profile.workers, config.data.workers, options.device_rate);
    Ok(profile)
}

fn measure(
    batches: &Arc<PretrainBatches>,
    workers: usize,
    config: &ExperimentConfig,
    time: Duration,
    interrupt: &Interrupt,
) -> anyhow::Result<WorkersProfile> {
    let prefetch = config.data.prefetch;
    let steps = 0..u64::MAX;
    let mut loader =
        PretrainLoader::start(batches.clone(), steps, workers, prefetch, BTreeSet::new())?;
    let mut next = || match loader.next_batch() {
        Some(batch) => Ok(batch?),
        None => bail!("the loader ended early"),
    };
    // Buffers are allocated, files may come into the page cache.
    next()?;
    let (started, before) = (Instant::now(), batches.images().stats());
    while started.elapsed() < time {
        if interrupt.is_raised() {
            bail!("interrupted");
        }
        next()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    // What was made, not what was taken: batches under way count too.
    let stats = batches.images().stats().since(&before);
    let [read_ms, decode_ms, augment_ms] = stats.ms_per_image();
    let LoadStats {
        read,
        decode,
        augment,
        bytes,
        images,
        ..
    } = stats;
    Ok(WorkersProfile {
        workers,
        images_per_second: images as f64 / seconds,
        read_ms,
        decode_ms,
        augment_ms,
        busy: (read + decode + augment) / (seconds * workers as f64),
        mb_per_second: bytes as f64 / 1e6 / seconds,
    })
}

/// Images a second of the steps of a run without their waiting for images, by the last lines of its
/// `metrics.jsonl`; `None` if they do not say.
///
/// # Errors
/// When the run has no such file; nothing is created.
pub fn device_rate(run: &Path, batch: usize) -> anyhow::Result<Option<f64>> {
    let file = run.join("pretrain/metrics.jsonl");
    let text = fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read {}, which says how fast the device is; check --run, or give --device-rate",
            file.display()
        )
    })?;
    let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
    let lines: Vec<Value> = text.lines().filter_map(parsed).collect();
    let mut rates: Vec<f64> = lines
        .iter()
        .rev()
        .take(20)
        .filter_map(|line| {
            let phases = line["ms"].as_object()?;
            let busy = phases.iter().filter(|(phase, _)| *phase != "data_wait");
            let ms: f64 = busy.filter_map(|(_, ms)| ms.as_f64()).sum();
            (ms > 0.0).then(|| batch as f64 * 1e3 / ms)
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    Ok(rates.get(rates.len() / 2).copied())
}

fn verdict(measured: &[WorkersProfile], configured: usize, device: Option<f64>) -> String {
    let used = measured
        .iter()
        .find(|m| m.workers == configured)
        .or(measured.last());
    let Some(used) = used else {
        return "nothing was measured".to_owned();
    };
    let parts = [
        ("reading files", used.read_ms),
        ("decoding", used.decode_ms),
        ("augmenting", used.augment_ms),
    ];
    let total: f64 = parts.iter().map(|part| part.1).sum();
    let most = parts.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let (what, ms) = most.copied().unwrap_or(("nothing", 0.0));
    let share = 100.0 * ms / total.max(1e-9);
    let own = format!(
        "{} threads make {:.0} images/s; most of a thread's time goes to {what} ({share:.0} %)",
        used.workers, used.images_per_second
    );
    let Some(device) = device else {
        return format!(
            "{own}. Give --run of a run with metrics, or --device-rate, to compare with the device."
        );
    };
    let ratio = used.images_per_second / device;
    if ratio >= 1.0 {
        return format!(
            "{own}. The device is the limit: it takes {device:.0} images/s, the data could feed \
             {ratio:.1} times that."
        );
    }
    let mend = match what {
        "reading files" => "pack the folder into shards (inscon-train pack) or use a faster disk",
        "decoding" => "use data.jpeg_scaling, or store the images smaller",
        _ => "use more cores",
    };
    // What a thread does when it is not waiting.
    let needed = (device * total / 1e3).ceil();
    format!(
        "{own}. The data is the limit: the device takes {device:.0} images/s and waits {:.0} % of \
         the time. It needs data.workers of about {needed:.0} on as many cores, or {mend}.",
        100.0 * (1.0 - ratio)
    )
}

impl fmt::Display for DataProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} images of {:.1} kB, batches of {}",
            self.place,
            self.images,
            self.bytes_per_image / 1e3,
            self.batch
        )?;
        writeln!(
            f,
            "workers  images/s   MB/s  read ms  decode ms  augment ms  busy"
        )?;
        for m in &self.workers {
            writeln!(
                f,
                "{:>7}  {:>8.1}  {:>5.1}  {:>7.3}  {:>9.3}  {:>10.3}  {:>3.0} %",
                m.workers,
                m.images_per_second,
                m.mb_per_second,
                m.read_ms,
                m.decode_ms,
                m.augment_ms,
                100.0 * m.busy
            )?;
        }
        if self.cache {
            writeln!(
                f,
                "data.cache = true: each image is read and decoded once, which the first epoch pays \
                 for; a later one reads and decodes nothing"
            )?;
        }
        if self.bad > 0 {
            writeln!(f, "{} unreadable images were replaced", self.bad)?;
        }
        write!(f, "{}", self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rate: f64) -> WorkersProfile {
        WorkersProfile {
            workers: 2,
            images_per_second: rate,
            read_ms: 0.1,
            decode_ms: 2.0,
            augment_ms: 0.9,
            busy: 0.9,
            mb_per_second: 1.0,
        }
    }

    #[test]
    fn the_verdict_names_the_limit_and_the_mend() {
        let slow = verdict(&[measured(600.0)], 2, Some(2000.0));
        assert!(slow.contains("The data is the limit"), "{slow}");
        assert!(slow.contains("data.workers of about 6"), "{slow}");
        assert!(slow.contains("jpeg_scaling"), "{slow}");
        let fast = verdict(&[measured(600.0)], 2, Some(200.0));
        assert!(fast.contains("The device is the limit"), "{fast}");
        assert!(fast.contains("3.0 times"), "{fast}");
        assert!(verdict(&[measured(600.0)], 2, None).contains("--device-rate"));
    }

    #[test]
    fn a_runs_metrics_give_the_devices_rate() {
        let dir = tempfile::tempdir().unwrap();
        let run = crate::RunDir::create(dir.path().join("pretrain")).unwrap();
        let mut log = crate::MetricsLog::open(&run, 0).unwrap();
        assert_eq!(device_rate(dir.path(), 8).unwrap(), None);
        let ms = serde_json::json!({ "backward": 30.0, "loss": 10.0, "data_wait": 500.0 });
        log.write(&serde_json::json!({ "step": 1, "ms": ms }))
            .unwrap();
        assert_eq!(device_rate(dir.path(), 8).unwrap(), Some(200.0));
    }

    #[test]
    fn a_mistyped_run_is_named_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let error = device_rate(&dir.path().join("typo"), 8).unwrap_err();
        assert!(
            error.to_string().contains("typo/pretrain/metrics.jsonl"),
            "{error}"
        );
        assert!(!dir.path().join("typo").exists());
    }
}
