//! The order in which an epoch reads the samples: a pure function of seed, epoch and shard sizes.

use inscon_aug::{Permutation, below, shuffle, stream};
use serde::{Deserialize, Serialize};

use crate::data::SHUFFLE;

/// How the samples of an epoch are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shuffle {
    /// A uniformly random permutation of all samples: each is a read of its own.
    #[default]
    Full,
    /// Shards in random order, read one after another through a buffer of `size` samples from which
    /// the next is drawn at random: WebDataset's order, which reads shards from end to end.
    Buffer {
        /// Samples in the buffer, which the source holds in memory; 0 and 1 keep the order within
        /// a shard.
        size: usize,
    },
}

/// The order in which epoch `epoch` reads the samples of shards of `groups` samples: a permutation
/// of their indices.
///
/// It depends on the arguments alone. Sample `k` of a run that resumes at `k` is the same as
/// without the stop, whatever the number of threads or [ranks](super::Ranks) and whether the
/// samples lie in a folder or in shards.
///
/// [`Shuffle::Buffer`] follows WebDataset's `shuffle(size, initial=size)` on the concatenation of
/// the shards in a random order: the buffer is filled, then a random member gives way to each
/// sample that comes in, and at the end the rest comes out in random order.
///
/// # Example
/// ```
/// use inscon_train::data::{Shuffle, epoch_order};
/// let order = epoch_order(7, 0, &[4, 4], Shuffle::Buffer { size: 1 });
/// assert!(order == [0, 1, 2, 3, 4, 5, 6, 7] || order == [4, 5, 6, 7, 0, 1, 2, 3]);
/// ```
///
/// # Panics
/// When there are more than `u32::MAX` samples.
#[must_use]
pub fn epoch_order(seed: u64, epoch: u64, groups: &[usize], mix: Shuffle) -> Vec<u32> {
    let samples: usize = groups.iter().sum();
    assert!(
        u32::try_from(samples).is_ok(),
        "{samples} samples are more than an order can hold"
    );
    let mut rng = stream(seed, &[SHUFFLE, epoch]);
    match mix {
        Shuffle::Full => {
            let order = Permutation::random(samples, &mut rng);
            order.images().iter().map(|&index| index as u32).collect()
        }
        Shuffle::Buffer { size } => {
            let firsts: Vec<usize> = groups
                .iter()
                .scan(0, |next, &len| Some(std::mem::replace(next, *next + len)))
                .collect();
            let shards = Permutation::random(groups.len(), &mut rng);
            let arriving = shards
                .images()
                .iter()
                .flat_map(|&shard| firsts[shard]..firsts[shard] + groups[shard]);
            let mut buffer = Vec::with_capacity(size.clamp(1, samples.max(1)));
            let mut order = Vec::with_capacity(samples);
            for index in arriving.map(|index| index as u32) {
                if buffer.len() < size.max(1) {
                    buffer.push(index);
                } else {
                    let at = below(&mut rng, buffer.len());
                    order.push(std::mem::replace(&mut buffer[at], index));
                }
            }
            shuffle(&mut rng, &mut buffer);
            order.append(&mut buffer);
            order
        }
    }
}

/// The groups of a folder of `samples` images that is to be read in the order of its shards of
/// `size` images: full ones and the rest.
///
/// ```
/// use inscon_train::data::groups_of;
/// assert_eq!(groups_of(10, 4), [4, 4, 2]);
/// assert_eq!(groups_of(8, 4), [4, 4]);
/// ```
///
/// # Panics
/// When `size` is 0.
#[must_use]
pub fn groups_of(samples: usize, size: usize) -> Vec<usize> {
    assert!(size > 0, "a group holds at least one sample");
    let mut groups = vec![size; samples / size];
    if !samples.is_multiple_of(size) {
        groups.push(samples % size);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_shuffle_is_the_permutation_of_earlier_versions() {
        let (seed, epoch) = (5, 3);
        let known = Permutation::random(100, &mut stream(seed, &[SHUFFLE, epoch]));
        let order = epoch_order(seed, epoch, &[60, 40], Shuffle::Full);
        assert!(
            order
                .iter()
                .map(|&i| i as usize)
                .eq(known.images().to_vec())
        );
    }

    #[test]
    fn a_buffered_order_is_pinned() {
        // Part of a run's identity: a run that resumes under another version reads on in this order.
        let order = epoch_order(1, 2, &[4, 3, 5], Shuffle::Buffer { size: 4 });
        assert_eq!(order, PINNED, "{order:?}");
    }
    const PINNED: [u32; 12] = [5, 6, 1, 2, 3, 7, 8, 0, 4, 9, 10, 11];

    #[test]
    fn a_buffer_as_large_as_the_set_mixes_it_uniformly() {
        let mut firsts = [0_u32; 6];
        for epoch in 0..6_000 {
            let order = epoch_order(9, epoch, &[2, 4], Shuffle::Buffer { size: 100 });
            firsts[order[0] as usize] += 1;
        }
        assert!(firsts.iter().all(|f| (850..1150).contains(f)), "{firsts:?}");
    }

    proptest! {
        #[test]
        fn an_order_is_a_permutation(
            groups in prop::collection::vec(0_usize..40, 0..8),
            size in 0_usize..60,
            full: bool,
            seed: u64,
        ) {
            let mix = if full { Shuffle::Full } else { Shuffle::Buffer { size } };
            let mut order = epoch_order(seed, 1, &groups, mix);
            prop_assert_eq!(&order, &epoch_order(seed, 1, &groups, mix));
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..groups.iter().sum::<usize>() as u32));
        }

        /// No sample comes earlier than its place in the stream of shards less the buffer's size:
        /// what makes a bounded buffer enough to read shards from end to end.
        #[test]
        fn a_buffer_holds_what_it_says(
            groups in prop::collection::vec(1_usize..30, 1..8),
            size in 1_usize..20,
            seed: u64,
        ) {
            let order = epoch_order(seed, 0, &groups, Shuffle::Buffer { size });
            let by_shard = epoch_order(seed, 0, &groups, Shuffle::Buffer { size: 1 });
            let mut arrival = vec![0; order.len()];
            for (at, &index) in by_shard.iter().enumerate() {
                arrival[index as usize] = at;
            }
            for (at, &index) in order.iter().enumerate() {
                prop_assert!(arrival[index as usize] < at + size);
            }
        }
    }
}
