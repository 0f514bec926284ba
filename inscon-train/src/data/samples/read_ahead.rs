//! Samples fetched before they are asked for, within a bound of memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::assembly::{Assembly, mismatch};
use super::fetch::Fetcher;
use super::location::Location;
use super::read_plan::{Layout, ReadPlan, Request};
use super::{SampleError, ShardError};

/// What the threads of a source share.
pub(super) struct ReadAhead {
    pub(super) layout: Layout,
    pub(super) shards: Vec<Location>,
    /// Bytes of each shard, which every answer is compared with.
    pub(super) sizes: Vec<u64>,
    pub(super) fetcher: Fetcher,
    /// Most bytes held.
    pub(super) budget: u64,
    /// Most bytes of a request for several samples.
    pub(super) range: u64,
    /// Most requests at once for ranges, and for single samples.
    pub(super) parallel: [usize; 2],
    state: Mutex<State>,
    arrived: Condvar,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// Plans and the place in the whole of the first sample of each.
    plans: VecDeque<(u64, ReadPlan)>,
    /// Places given to plans so far.
    planned: u64,
    /// For each sample, how often it is planned and has not arrived.
    pending: Vec<u16>,
    /// What has arrived, by its place in the plans.
    held: BTreeMap<u64, (u32, Vec<u8>)>,
    /// The same by sample.
    places: BTreeSet<(u32, u64)>,
    held_bytes: u64,
    /// What is under way, by sample and place; a sample may be planned for the next epoch as well.
    coming: BTreeSet<(u32, u64)>,
    /// Bytes of images under way.
    coming_bytes: u64,
    /// Requests under way.
    requests: usize,
    /// Samples that threads wait for.
    wanted: Vec<u32>,
    /// Places of the planned samples that were asked for last.
    asked: VecDeque<u64>,
    /// Vectors that came back.
    spare: Vec<Vec<u8>>,
    failed: Option<SampleError>,
    started: bool,
    stopped: bool,
}

/// Most vectors kept for reuse.
const SPARE: usize = 64;

/// So many samples say where in the plans the callers are: the median of their places, which the
/// few that are asked for out of turn do not move.
const ASKED: usize = 15;

/// Samples so near to that place are asked for in turn: callers are many threads, and may leave
/// samples out.
const NEAR: u64 = 256;

/// What [`ReadAhead::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The sample, without waiting.
    AtOnce,
    /// The sample, after it had arrived.
    Waited,
    /// The sample is not planned.
    Unplanned,
}

impl ReadAhead {
    pub(super) fn new(
        layout: Layout,
        shards: Vec<Location>,
        sizes: Vec<u64>,
        fetcher: Fetcher,
        budget: u64,
        parallel: [usize; 2],
    ) -> Self {
        let state = State {
            pending: vec![0; layout.len()],
            ..State::default()
        };
        // Several of them fit, and a large one costs no more than its latency is worth.
        let range = (budget / 8).clamp(64 << 10, 8 << 20);
        Self {
            layout,
            shards,
            sizes,
            fetcher,
            budget,
            range,
            parallel,
            state: Mutex::new(state),
            arrived: Condvar::new(),
            wake: Notify::new(),
        }
    }

    /// The bytes that shards may hold for later while they are read from end to end.
    pub(super) fn room(&self) -> u64 {
        self.budget.saturating_sub(2 * self.range)
    }

    /// Adds a plan.
    pub(super) fn push(&self, plan: ReadPlan, order: &[u32]) {
        let mut state = self.lock();
        for &sample in order {
            let pending = &mut state.pending[sample as usize];
            *pending = pending.saturating_add(1);
        }
        let first = state.planned;
        state.planned += plan.order_len() as u64;
        state.plans.push_back((first, plan));
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for a planned sample and exchanges its bytes for those in `bytes`.
    ///
    /// # Errors
    /// What ended the reading.
    pub(super) fn take(&self, sample: u32, bytes: &mut Vec<u8>) -> Result<Taken, SampleError> {
        let started = Instant::now();
        let mut state = self.lock();
        let mut waited = false;
        let taken = loop {
            if let Some((place, image)) = state.remove(sample) {
                if !waited {
                    state.note(place);
                }
                let before = std::mem::replace(bytes, image);
                if state.spare.len() < SPARE {
                    state.spare.push(before);
                }
                break Ok(if waited { Taken::Waited } else { Taken::AtOnce });
            }
            if let Some(error) = &state.failed {
                break Err(error.clone());
            }
            if state.pending[sample as usize] == 0 {
                break Ok(Taken::Unplanned);
            }
            // What takes the place of a broken image may be planned for the end of the epoch: to wait
            // for it would be to read everything before it, and to drop most of that. Looked at
            // again, since another may take the copy that this one waits for.
            let (place, is_soon) = self.coming(&state, sample);
            if !is_soon {
                break Ok(Taken::Unplanned);
            }
            if !waited {
                waited = true;
                state.note(place);
                state.wanted.push(sample);
                self.wake.notify_one();
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        if waited {
            if let Some(at) = state.wanted.iter().position(|&w| w == sample) {
                state.wanted.swap_remove(at);
            }
            let waited = started.elapsed().as_nanos() as u64;
            self.fetcher
                .counters
                .waited_nanoseconds
                .fetch_add(waited, Relaxed);
        }
        drop(state);
        self.wake.notify_one();
        taken
    }

    /// The next place of a pending sample, and whether it is worth waiting for: it is under way,
    /// there is room for all that is read before it, or the callers have come to it.
    fn coming(&self, state: &State, sample: u32) -> (u64, bool) {
        if let Some(place) = first_of(&state.coming, sample) {
            return (place, true);
        }
        let mut bytes = state.held_bytes + state.coming_bytes;
        for (first, plan) in &state.plans {
            let Some((place, ahead)) = plan.ahead(&self.layout, sample) else {
                bytes += plan.left(&self.layout);
                continue;
            };
            let place = first + u64::from(place);
            // A copy for the next epoch is not near, however close its beginning is: what is held
            // for this one would give way to it.
            let is_near = |at: u64| at >= *first && at.abs_diff(place) <= NEAR;
            let is_near = state.front().is_none_or(is_near);
            return (place, is_near || bytes + ahead <= self.budget);
        }
        // Not reached: what is pending is under way or in a plan.
        (0, false)
    }

    /// True for the first caller, who is to let [`run`](Self::run) run.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().started, true)
    }

    /// Ends the reading.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }

    /// Keeps requests under way until [`stop`](Self::stop).
    pub(super) async fn run(self: Arc<Self>) {
        let _watch = Watch(self.clone());
        loop {
            while let Some((first, request)) = self.next_request() {
                let this = self.clone();
                tokio::spawn(async move {
                    let _watch = Watch(this.clone());
                    let result = this.fetch(first, &request).await;
                    this.done(result);
                });
            }
            if self.lock().stopped {
                return;
            }
            self.wake.notified().await;
        }
    }

    /// The next request, if there may be one more.
    fn next_request(&self) -> Option<(u64, Request)> {
        let mut state = self.lock();
        if state.stopped || state.failed.is_some() {
            return None;
        }
        while let Some((_, plan)) = state.plans.front()
            && plan.peek(&self.layout, 1).is_none()
        {
            state.plans.pop_front();
        }
        let (first, plan) = state.plans.front()?;
        let (first, is_stream) = (*first, plan.is_stream());
        let request = plan.peek(&self.layout, self.range)?;
        let parallel = self.parallel[usize::from(!is_stream)];
        let load = state.held_bytes + state.coming_bytes;
        let fits = load == 0 || load + request.length <= self.budget;
        // Somebody waits for what lies behind: go on, whatever is held.
        let is_missing =
            |&w: &u32| state.pending[w as usize] > 0 && first_of(&state.places, w).is_none();
        let is_wanted = state.requests == 0 && state.wanted.iter().any(is_missing);
        if state.requests >= parallel || !(fits || is_wanted) {
            return None;
        }
        if !fits {
            // What has been held longest is not asked for any more, or can be read again.
            let dropped = state.shrink(self.budget.saturating_sub(request.length));
            self.fetcher.counters.dropped.fetch_add(dropped, Relaxed);
        }
        for &(sample, at) in &request.parts {
            state.coming.insert((sample, first + u64::from(at)));
        }
        state.coming_bytes += request.length;
        state.requests += 1;
        if let Some((_, plan)) = state.plans.front_mut() {
            plan.take(&request);
        }
        Some((first, request))
    }

    async fn fetch(&self, first: u64, request: &Request) -> Result<(), ShardError> {
        let location = &self.shards[request.shard];
        let parts = request.parts.iter().map(|&(sample, at)| {
            let length = self.layout.length(sample) as u32;
            (self.layout.member(sample).start, length, (sample, at))
        });
        let mut assembly = Assembly::new(request.range.start, parts.collect());
        let sink = |bytes: &[u8]| {
            let memory = |length| self.memory(length);
            let give = |(sample, at): (u32, u32), image| {
                self.give(sample, first + u64::from(at), image);
            };
            assembly
                .feed(bytes, memory, give)
                .map_err(|what| mismatch(&location.url, what))
        };
        let size = Some(self.sizes[request.shard]);
        self.fetcher
            .range(location, request.range.clone(), size, sink)
            .await
    }

    /// A sample has arrived.
    fn give(&self, sample: u32, place: u64, image: Vec<u8>) {
        let mut state = self.lock();
        let length = image.len() as u64;
        state.coming.remove(&(sample, place));
        state.coming_bytes -= length;
        state.held_bytes += length;
        let pending = &mut state.pending[sample as usize];
        *pending = pending.saturating_sub(1);
        state.held.insert(place, (sample, image));
        state.places.insert((sample, place));
        let load = state.held_bytes;
        drop(state);
        self.fetcher.counters.peak_held.fetch_max(load, Relaxed);
        self.arrived.notify_all();
    }

    /// A request has ended.
    fn done(&self, result: Result<(), ShardError>) {
        let mut state = self.lock();
        state.requests -= 1;
        drop(state);
        if let Err(error) = result {
            self.fail(error.to_string());
        }
        self.wake.notify_one();
    }

    /// Ends the reading for all who wait and for all who will ask.
    fn fail(&self, said: String) {
        self.lock().failed = Some(SampleError::Source(said));
        self.arrived.notify_all();
    }

    /// A vector with room for `length` bytes.
    fn memory(&self, length: usize) -> Vec<u8> {
        let mut state = self.lock();
        // Much larger ones would hold more memory than is counted.
        let fits = |v: &Vec<u8>| (length..=2 * length + (16 << 10)).contains(&v.capacity());
        let fitting = state.spare.iter().position(fits);
        let spare = fitting.map(|at| state.spare.swap_remove(at));
        drop(state);
        let mut memory = spare.unwrap_or_else(|| Vec::with_capacity(length));
        memory.clear();
        memory
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first place of a sample.
fn first_of(places: &BTreeSet<(u32, u64)>, sample: u32) -> Option<u64> {
    let mut of_sample = places.range((sample, 0)..=(sample, u64::MAX));
    of_sample.next().map(|&(_, place)| place)
}

/// Tells those who wait when the task that it is held by panics: nothing else would.
struct Watch(Arc<ReadAhead>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(
                "reading shards panicked; this is a fault of inscon-train, please report it"
                    .to_owned(),
            );
        }
    }
}

impl State {
    /// Takes a sample out, the copy that was planned first, with its place.
    fn remove(&mut self, sample: u32) -> Option<(u64, Vec<u8>)> {
        let place = first_of(&self.places, sample)?;
        Some((place, self.drop_place(place)?))
    }

    /// A planned sample is asked for.
    fn note(&mut self, place: u64) {
        if self.asked.len() == ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(place);
    }

    /// About where in the plans the callers are.
    fn front(&self) -> Option<u64> {
        let mut places: Vec<u64> = self.asked.iter().copied().collect();
        places.sort_unstable();
        places.get(places.len() / 2).copied()
    }

    fn drop_place(&mut self, place: u64) -> Option<Vec<u8>> {
        let (sample, image) = self.held.remove(&place)?;
        self.places.remove(&(sample, place));
        self.held_bytes -= image.len() as u64;
        Some(image)
    }

    /// Drops what was planned first until at most `most` bytes are held; says how many samples.
    fn shrink(&mut self, most: u64) -> u64 {
        let mut dropped = 0;
        while self.held_bytes > most
            && let Some((&place, _)) = self.held.first_key_value()
        {
            self.drop_place(place);
            dropped += 1;
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::RetryPolicy;
    use crate::data::samples::io_thread::IoThread;
    use std::time::Duration;

    #[test]
    fn a_panic_of_a_task_is_an_error() {
        let mut layout = Layout::default();
        layout.push([(512, 10), (1536, 10)]);
        let fetcher = Fetcher {
            policy: RetryPolicy::default(),
            counters: Arc::default(),
        };
        // A layout of a shard that is not there: what a task does with it panics.
        let ahead = ReadAhead::new(layout, Vec::new(), Vec::new(), fetcher, 1 << 20, [1, 1]);
        let ahead = Arc::new(ahead);
        let io = IoThread::start().unwrap();
        ahead.push(ReadPlan::new(&ahead.layout, &[0, 1], ahead.room()), &[0, 1]);
        io.spawn(ahead.clone().run());
        let (give, taken) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || give.send(ahead.take(1, &mut Vec::new())));
        let taken = taken.recv_timeout(Duration::from_secs(20)).unwrap();
        let error = taken.unwrap_err().to_string();
        assert!(error.contains("panicked"), "{error}");
    }
}
