//! Batches made ahead of time by worker threads, delivered in order.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{BadImage, DataError, PretrainBatch, PretrainBatches};

/// Delivers the batches of steps `first..end`, each made by one of `workers` threads, with at most
/// `prefetch` of them under way or waiting.
///
/// Batches depend on the seed and the step alone, so neither the number of threads nor the step a
/// run resumes at changes them.
#[derive(Debug)]
pub struct PretrainLoader {
    batches: Arc<PretrainBatches>,
    /// `None` once the threads have been told to stop.
    jobs: Option<Sender<u64>>,
    made: Receiver<(u64, Result<PretrainBatch, DataError>)>,
    threads: Vec<JoinHandle<()>>,
    waiting: BTreeMap<u64, Result<PretrainBatch, DataError>>,
    asked: u64,
    next: u64,
    end: u64,
    bad: BTreeSet<String>,
    waited: Duration,
}

impl PretrainLoader {
    /// Starts the threads. `known_bad` holds the names of unreadable images that an earlier process
    /// reported.
    #[must_use]
    pub fn start(
        batches: Arc<PretrainBatches>,
        steps: std::ops::Range<u64>,
        workers: usize,
        prefetch: usize,
        known_bad: BTreeSet<String>,
    ) -> Self {
        let prefetch = prefetch.max(1);
        let (jobs, todo) = bounded::<u64>(prefetch);
        let (done, made) = bounded(prefetch);
        let threads = (0..workers.max(1))
            .map(|_| {
                let (todo, done, batches) = (todo.clone(), done.clone(), batches.clone());
                std::thread::spawn(move || {
                    for step in todo {
                        if done.send((step, make(&batches, step))).is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        let mut loader = Self {
            batches,
            jobs: Some(jobs),
            made,
            threads,
            waiting: BTreeMap::new(),
            asked: steps.start,
            next: steps.start,
            end: steps.end,
            bad: known_bad,
            waited: Duration::ZERO,
        };
        for _ in 0..prefetch {
            loader.ask();
        }
        loader
    }

    /// The batch of the next step, and the unreadable images met in it for the first time in this
    /// run; `None` after the last step.
    ///
    /// # Errors
    /// [`DataError::NoneReadable`] and [`DataError::Panic`].
    pub fn next_batch(&mut self) -> Option<Result<(PretrainBatch, Vec<BadImage>), DataError>> {
        if self.next == self.end {
            return None;
        }
        let started = Instant::now();
        let result = loop {
            if let Some(result) = self.waiting.remove(&self.next) {
                break result;
            }
            match self.made.recv() {
                Ok((step, result)) => self.waiting.insert(step, result),
                Err(_) => unreachable!("workers outlive the loader and catch panics"),
            };
        };
        self.waited += started.elapsed();
        self.next += 1;
        self.ask();
        Some(result.map(|mut batch| {
            let mut new = std::mem::take(&mut batch.bad);
            new.retain(|bad| self.bad.insert(bad.file.clone()));
            (batch, new)
        }))
    }

    /// Images of the folder that turned out unreadable, those of earlier processes included.
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

    /// Asks for one more batch. Never blocks: as many jobs are out as the channel holds.
    fn ask(&mut self) {
        if let (Some(jobs), true) = (&self.jobs, self.asked < self.end) {
            // The threads hold the other end until `drop`.
            let _ = jobs.send(self.asked);
            self.asked += 1;
        }
    }
}

impl Drop for PretrainLoader {
    fn drop(&mut self) {
        self.jobs = None;
        // Without a receiver a worker ends after the batch it is making.
        self.made = crossbeam_channel::never();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn make(batches: &PretrainBatches, step: u64) -> Result<PretrainBatch, DataError> {
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
