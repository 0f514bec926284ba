//! Which images make up which batch.

use std::collections::VecDeque;

use inscon_aug::{shuffle, stream};

/// The batches of a training run, as indices into the data set: an endless sequence that depends
/// on the seed alone.
///
/// Images come in one shuffle of the whole set after another (detectron2's `TrainingSampler`) and
/// are collected separately by orientation, so that a batch is padded little (its
/// `AspectRatioGroupedDataset`). A run that resumes skips the batches it has seen.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    seed: u64,
    batch: usize,
    /// Whether each image is at least as wide as high.
    wide: Vec<bool>,
    epoch: u64,
    ahead: VecDeque<usize>,
    waiting: [Vec<usize>; 2],
}

/// Last element of the stream path of shuffles; iterations never get there.
const SHUFFLES: u64 = u64::MAX;

impl BatchPlan {
    /// A plan over images of the given `[width, height]`.
    ///
    /// # Panics
    /// When there is no image or `batch` is 0.
    #[must_use]
    pub fn new(seed: u64, batch: usize, sizes: &[[u32; 2]]) -> Self {
        assert!(
            batch > 0 && !sizes.is_empty(),
            "a batch of {batch} out of {} images",
            sizes.len()
        );
        Self {
            seed,
            batch,
            wide: sizes
                .iter()
                .map(|[width, height]| width >= height)
                .collect(),
            epoch: 0,
            ahead: VecDeque::new(),
            waiting: [Vec::new(), Vec::new()],
        }
    }
}

impl Iterator for BatchPlan {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        loop {
            if self.ahead.is_empty() {
                let mut order: Vec<usize> = (0..self.wide.len()).collect();
                shuffle(
                    &mut stream(self.seed, &[4, SHUFFLES, self.epoch]),
                    &mut order,
                );
                self.epoch += 1;
                self.ahead = order.into();
            }
            let image = self.ahead.pop_front()?;
            let group = &mut self.waiting[usize::from(self.wide[image])];
            group.push(image);
            if group.len() == self.batch {
                return Some(std::mem::take(group));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_share_an_orientation_and_cover_the_set() {
        let sizes: Vec<[u32; 2]> = (0..30)
            .map(|i| if i % 3 == 0 { [3, 4] } else { [4, 3] })
            .collect();
        let mut seen = [0usize; 30];
        for batch in BatchPlan::new(5, 4, &sizes).take(75) {
            assert_eq!(batch.len(), 4);
            assert!(batch.iter().all(|i| (i % 3 == 0) == (batch[0] % 3 == 0)));
            batch.iter().for_each(|i| seen[*i] += 1);
        }
        // Ten epochs; at most one batch of each group waits.
        assert!(seen.iter().all(|n| (8..=11).contains(n)), "{seen:?}");
    }

    #[test]
    fn the_seed_decides_and_skipping_resumes() {
        let sizes = [[1, 1]; 7];
        let plan = |seed| BatchPlan::new(seed, 2, &sizes);
        let all: Vec<_> = plan(1).take(20).collect();
        assert_eq!(plan(1).skip(9).take(11).collect::<Vec<_>>(), all[9..]);
        assert_ne!(plan(2).take(20).collect::<Vec<_>>(), all);
    }
}
