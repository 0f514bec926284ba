//! Which part of each batch a rank reads.

use std::ops::Range;

/// One of `world` processes that share the batches of a run.
///
/// Batch `b` of an epoch is the samples `b·B..(b+1)·B` of its [order](super::epoch_order), whatever
/// the number of ranks; rank `r` reads the contiguous part `⌊r·B/world⌋..⌊(r+1)·B/world⌋` of each.
/// The parts of a batch are disjoint, complete and differ by one sample at most. Threads of a rank
/// take whole batches, so they change nothing either.
///
/// Every rank so reads from every shard. Where a rank's samples lie close together in a shard a
/// source reads over the gaps, else it asks for each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    rank: usize,
    world: usize,
}

impl Default for Ranks {
    /// One rank, which reads everything.
    fn default() -> Self {
        Self { rank: 0, world: 1 }
    }
}

impl Ranks {
    /// Rank `rank` of `world`.
    ///
    /// # Panics
    /// When `rank` is not below `world`.
    #[must_use]
    pub fn new(rank: usize, world: usize) -> Self {
        assert!(rank < world, "rank {rank} of {world}");
        Self { rank, world }
    }

    /// The part of each batch of `batch` samples that this rank reads.
    ///
    /// ```
    /// use inscon_train::data::Ranks;
    /// let parts = [0, 1, 2].map(|rank| Ranks::new(rank, 3).part(8));
    /// assert_eq!(parts, [0..2, 2..5, 5..8]);
    /// ```
    #[must_use]
    pub fn part(&self, batch: usize) -> Range<usize> {
        let cut = |rank: usize| (rank as u128 * batch as u128 / self.world as u128) as usize;
        cut(self.rank)..cut(self.rank + 1)
    }

    /// What this rank reads of an epoch, from batch `first` on and without the samples after the
    /// last whole batch: what it [plans](super::SampleSource::plan).
    ///
    /// ```
    /// use inscon_train::data::Ranks;
    /// let order: Vec<u32> = (0..11).rev().collect();
    /// assert_eq!(Ranks::new(1, 2).order(&order, 4, 0), [8, 7, 4, 3]);
    /// assert_eq!(Ranks::default().order(&order, 4, 1), [6, 5, 4, 3]);
    /// ```
    ///
    /// # Panics
    /// When `batch` is 0.
    #[must_use]
    pub fn order(&self, order: &[u32], batch: usize, first: usize) -> Vec<u32> {
        let part = self.part(batch);
        let batches = order.chunks_exact(batch).skip(first);
        batches.flat_map(|b| &b[part.clone()]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_share_each_batch_out(
            samples in 0_usize..200,
            batch in 1_usize..40,
            world in 1_usize..9,
            first in 0_usize..4,
        ) {
            let order: Vec<u32> = (0..samples as u32).map(|i| i * 7 % 211).collect();
            let mut parts: Vec<Vec<u32>> = (0..world)
                .map(|rank| Ranks::new(rank, world).order(&order, batch, first))
                .collect();
            let mut whole = Vec::new();
            for _ in first..samples / batch {
                for (rank, part) in parts.iter_mut().enumerate() {
                    let len = Ranks::new(rank, world).part(batch).len();
                    prop_assert!(len == batch / world || len == batch / world + 1);
                    whole.extend(part.drain(..len));
                }
            }
            prop_assert!(parts.iter().all(Vec::is_empty));
            let from = (first * batch).min(samples / batch * batch);
            prop_assert_eq!(whole, &order[from..samples / batch * batch]);
        }
    }
}
