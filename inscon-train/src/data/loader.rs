//! Batches made ahead of time, delivered in order.

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};

use super::{BadImage, DataError, PretrainBatch, PretrainBatches};
use crate::Interrupt;

type Made = Result<PretrainBatch, DataError>;

/// Delivers the batches of steps `first..end`, one after another, each made by `workers` threads,
/// with at most `prefetch` of them under way or waiting.
///
/// Batches depend on the seed and the step alone, so neither the number of threads nor the step a
/// run resumes at changes them.
#[derive(Debug)]
pub struct PretrainLoader {
    batches: Arc<PretrainBatches>,
    made: Receiver<Made>,
    thread: Option<JoinHandle<()>>,
    left: u64,
    bad: BTreeSet<String>,
    waited: Duration,
}

impl PretrainLoader {
    /// Starts the threads. `known_bad` holds the names of unreadable images that an earlier process
    /// reported.
    ///
    /// # Errors
    /// [`DataError::Threads`] when the system gives no more of them.
    pub fn start(
        batches: Arc<PretrainBatches>,
        steps: Range<u64>,
        workers: usize,
        prefetch: usize,
        known_bad: BTreeSet<String>,
    ) -> Result<Self, DataError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(workers.max(1))
            .thread_name(|n| format!("data-{n}"))
            .build()
            .map_err(|e| DataError::Threads(e.to_string()))?;
        // One more is being made while the channel is full.
        let (done, made) = bounded(prefetch.max(1) - 1);
        let left = steps.end.saturating_sub(steps.start);
        let maker = batches.clone();
        let thread = std::thread::Builder::new()
            .name("data".to_owned())
            .spawn(move || threads.install(|| make_all(&maker, steps, &done)))
            .map_err(|e| DataError::Threads(e.to_string()))?;
        Ok(Self {
            batches,
            made,
            thread: Some(thread),
            left,
            bad: known_bad,
            waited: Duration::ZERO,
        })
    }

    /// Waits until [`next_batch`](Self::next_batch) will answer at once; `false` when that takes
    /// more than [`GRACE`] and `interrupt` is raised.
    pub fn wait(&mut self, interrupt: &Interrupt) -> bool {
        let started = Instant::now();
        let mut select = Select::new();
        select.recv(&self.made);
        let ready = loop {
            if self.left == 0 || select.ready_timeout(Duration::from_millis(100)).is_ok() {
                break true;
            }
            if interrupt.is_raised() && started.elapsed() > GRACE {
                break false;
            }
        };
        self.waited += started.elapsed();
        ready
    }

    /// The batch of the next step, and the unreadable images met in it for the first time in this
    /// run; `None` after the last step, and after an error.
    ///
    /// # Errors
    /// [`DataError::NoneReadable`], [`DataError::Samples`] and [`DataError::Panic`].
    pub fn next_batch(&mut self) -> Option<Result<(PretrainBatch, Vec<BadImage>), DataError>> {
        if self.left == 0 {
            return None;
        }
        let started = Instant::now();
        let result = self.made.recv().ok()?;
        self.waited += started.elapsed();
        self.left -= 1;
        if result.is_err() {
            self.left = 0;
        }
        Some(result.map(|mut batch| {
            let mut new = std::mem::take(&mut batch.bad);
            new.retain(|bad| self.bad.insert(bad.file.clone()));
            (batch, new)
        }))
    }

    /// Images that turned out unreadable, those of earlier processes included.
    #[must_use]
    pub fn bad_images(&self) -> usize {
        self.bad.len()
    }

    /// What the batches are made of.
    #[must_use]
    pub fn batches(&self) -> &PretrainBatches {
        &self.batches
    }

    /// Time that [`next_batch`](Self::next_batch) spent waiting since the last call of this.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }
}

/// How long an interrupted run waits for a batch that is being made.
pub const GRACE: Duration = Duration::from_secs(5);

impl Drop for PretrainLoader {
    fn drop(&mut self) {
        // Without a receiver the maker ends after the batch it is making. One that waits for a
        // server is left behind; it holds nothing that others need.
        self.made = crossbeam_channel::never();
        if let Some(thread) = self.thread.take() {
            let started = Instant::now();
            while !thread.is_finished() && started.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

fn make_all(batches: &PretrainBatches, steps: Range<u64>, done: &Sender<Made>) {
    let Range { start, end } = steps;
    let epoch = batches.steps_per_epoch();
    for step in steps {
        let begins = step == start || step.is_multiple_of(epoch);
        if batches.images().keeps() {
            // What this epoch keeps, the next will not read.
            if begins {
                batches.announce(step);
            }
        } else if begins {
            // Each epoch when the one before it begins, so that reading ahead does not end with it.
            let next = (step / epoch + 1) * epoch;
            if step == start {
                batches.announce(step);
            }
            if next < end {
                batches.announce(next);
            }
        }
        let made = make(batches, step);
        let failed = made.is_err();
        if done.send(made).is_err() || failed {
            break;
        }
    }
}

fn make(batches: &PretrainBatches, step: u64) -> Made {
    catch_unwind(AssertUnwindSafe(|| batches.make(step))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message")
            .to_owned();
        Err(DataError::Panic { step, message })
    })
}
