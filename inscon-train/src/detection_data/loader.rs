//! Work done ahead on several threads and handed over in order.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

/// An iterator over `job(i)` for `i` in a range, computed on `workers` threads, at most about
/// `prefetch` results ahead.
///
/// Job `i` belongs to thread `i mod workers`, and results are handed over in the order of the
/// range: what comes out does not depend on the number of threads or on their speed. Dropping the
/// iterator ends the threads after the job they are in.
///
/// ```
/// use inscon_train::detection_data::Ahead;
/// let squares: Vec<u64> = Ahead::new(3..7, 2, 4, |i| i * i).collect();
/// assert_eq!(squares, [9, 16, 25, 36]);
/// ```
#[derive(Debug)]
pub struct Ahead<T> {
    lanes: Vec<Option<Receiver<T>>>,
    threads: Vec<JoinHandle<()>>,
    next: u64,
    range: Range<u64>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts the threads. `workers` and `prefetch` of 0 count as 1.
    #[must_use]
    pub fn new(
        range: Range<u64>,
        workers: usize,
        prefetch: usize,
        job: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> Self {
        let workers = workers.max(1);
        let job = Arc::new(job);
        let (lanes, threads) = (0..workers)
            .map(|lane| {
                let (sender, receiver) = sync_channel(prefetch.div_ceil(workers).max(1));
                let (job, jobs) = (job.clone(), range.clone().skip(lane).step_by(workers));
                let thread = thread::spawn(move || {
                    for index in jobs {
                        if sender.send(job(index)).is_err() {
                            return;
                        }
                    }
                });
                (Some(receiver), thread)
            })
            .unzip();
        Self {
            lanes,
            threads,
            next: range.start,
            range,
        }
    }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    /// # Panics
    /// When a job panicked.
    fn next(&mut self) -> Option<T> {
        if self.next >= self.range.end {
            return None;
        }
        let lane = (self.next - self.range.start) as usize % self.lanes.len();
        let received = self.lanes[lane].as_ref().and_then(|lane| lane.recv().ok());
        let item = received.unwrap_or_else(|| panic!("a loader thread died at item {}", self.next));
        self.next += 1;
        Some(item)
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            *lane = None;
        }
        for thread in self.threads.drain(..) {
            // A panic of a job has been reported by `next`.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn order_does_not_depend_on_threads() {
        for workers in [1, 2, 3, 8] {
            let uneven = Ahead::new(0..20, workers, 4, |i| {
                thread::sleep(Duration::from_micros(i * 37 % 11 * 100));
                i
            });
            assert_eq!(uneven.collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_queue_is_bounded_and_dropping_stops_the_threads() {
        let started = Arc::new(AtomicU64::new(0));
        let count = started.clone();
        let mut ahead = Ahead::new(0..1_000_000, 2, 4, move |i| {
            count.fetch_add(1, Ordering::SeqCst);
            i
        });
        assert_eq!(ahead.next(), Some(0));
        thread::sleep(Duration::from_millis(50));
        // Four wait in the lanes, one is in each thread's hands, one was taken.
        assert!(started.load(Ordering::SeqCst) <= 7);
        drop(ahead);
    }
}
