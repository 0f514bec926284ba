//! Buffers of large tensors, used again.
//!
//! A fresh allocation of tens of megabytes costs a page fault every 4 KiB, more than batch norm's
//! whole pass over it (.43 ms against .08 ms a MiB here), and a training step makes and frees the
//! same sizes again and again. The operations take their outputs from here and give back inputs
//! that nothing else holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use burn::backend::flex::FlexTensor;

/// Values below which the allocator is as fast.
const SMALLEST: usize = 1 << 14;

/// A buffer that has not been taken while this many values of others were given is freed: images of
/// ever new sizes hold no more than this (2 GiB) and an eighth.
const LIFETIME: u64 = 1 << 29;

/// Buffers by length, the latest given last, each with the count of values given before it.
#[derive(Default)]
struct Pool {
    given: u64,
    swept: u64,
    buffers: BTreeMap<usize, VecDeque<(u64, Vec<f32>)>>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    given: 0,
    swept: 0,
    buffers: BTreeMap::new(),
});

impl Pool {
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let (_, buffer) = self.buffers.get_mut(&len)?.pop_back()?;
        Some(buffer)
    }

    fn give(&mut self, buffer: Vec<f32>, lifetime: u64) {
        let len = buffer.len();
        self.given += len as u64;
        let now = self.given;
        self.buffers
            .entry(len)
            .or_default()
            .push_back((now, buffer));
        if now - self.swept >= lifetime / 8 {
            self.swept = now;
            for buffers in self.buffers.values_mut() {
                while buffers.front().is_some_and(|(at, _)| at + lifetime < now) {
                    buffers.pop_front();
                }
            }
            self.buffers.retain(|_, buffers| !buffers.is_empty());
        }
    }
}

/// `len` values of any content: every one must be overwritten.
pub(super) fn take(len: usize) -> Vec<f32> {
    let held = if len >= SMALLEST {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.take(len)
    } else {
        None
    };
    held.unwrap_or_else(|| vec![0.0; len])
}

/// Keeps the buffer of `tensor` for later if nothing else holds it.
pub(super) fn give(tensor: FlexTensor) {
    let len = tensor.layout().num_elements();
    if len < SMALLEST || !tensor.is_unique() || size_of_val(tensor.bytes()) != len * 4 {
        return;
    }
    if let Ok(buffer) = tensor.into_data().try_into_vec::<f32>() {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.give(buffer, LIFETIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_comes_back() {
        let mut pool = Pool::default();
        pool.give(vec![1.0; 100], 10_000);
        assert!(pool.take(99).is_none());
        assert_eq!(pool.take(100), Some(vec![1.0; 100]));
        assert!(pool.take(100).is_none());
    }

    #[test]
    fn ever_new_sizes_are_not_kept() {
        let mut pool = Pool::default();
        for len in 1..=1000 {
            pool.give(vec![0.0; len], 10_000);
            let held: usize = pool
                .buffers
                .iter()
                .map(|(len, buffers)| len * buffers.len())
                .sum();
            assert!(held <= 10_000 + 10_000 / 8 + 1000, "{held} at {len}");
        }
    }
}
