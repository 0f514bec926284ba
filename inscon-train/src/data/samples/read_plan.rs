//! From the order in which samples are wanted to the ranges that are read.

use std::collections::HashMap;
use std::ops::Range;

use super::shard_index::BLOCK;

/// Where the images of all shards lie.
#[derive(Default)]
pub(super) struct Layout {
    /// First sample of each shard, and the number of all.
    firsts: Vec<u32>,
    /// Offset and length of each sample's image in its shard.
    places: Vec<(u64, u32)>,
}

impl Layout {
    /// Adds a shard.
    pub(super) fn push(&mut self, places: impl IntoIterator<Item = (u64, u32)>) {
        if self.firsts.is_empty() {
            self.firsts.push(0);
        }
        self.places.extend(places);
        self.firsts.push(self.places.len() as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The shard of a sample.
    pub(super) fn shard(&self, sample: u32) -> usize {
        self.firsts.partition_point(|&first| first <= sample) - 1
    }

    /// The first sample of a shard.
    pub(super) fn first(&self, shard: usize) -> u32 {
        self.firsts[shard]
    }

    /// The bytes of a sample's image.
    pub(super) fn image(&self, sample: u32) -> Range<u64> {
        let (offset, length) = self.places[sample as usize];
        offset..offset + u64::from(length)
    }

    /// The bytes of a sample's header and image.
    pub(super) fn member(&self, sample: u32) -> Range<u64> {
        let image = self.image(sample);
        image.start - BLOCK..image.end
    }

    pub(super) fn length(&self, sample: u32) -> u64 {
        u64::from(self.places[sample as usize].1)
    }
}

/// Samples in the order in which they are read, with the places in which they are wanted.
pub(super) struct ReadPlan {
    /// Sample and its place in the order.
    steps: Vec<(u32, u32)>,
    next: usize,
    /// Whether neighbours are read in one request.
    is_stream: bool,
    /// Most bytes held when shards are read from end to end.
    pub(super) required: u64,
}

/// Neighbours with a larger gap between them are read by requests of their own.
const GAP: u64 = 256 << 10;

impl ReadPlan {
    /// How to read `order`. Shards are read from end to end, in the order in which they are first
    /// wanted, if what is wanted later then stays within `budget` bytes; else each sample is read
    /// by itself.
    pub(super) fn new(layout: &Layout, order: &[u32], budget: u64) -> Self {
        let mut rank = HashMap::new();
        let steps = order.iter().zip(0..).map(|(&sample, at)| {
            let ranks = rank.len() as u32;
            let rank = *rank.entry(layout.shard(sample)).or_insert(ranks);
            (rank, sample, at)
        });
        let mut steps: Vec<(u32, u32, u32)> = steps.collect();
        steps.sort_unstable();
        let steps: Vec<(u32, u32)> = steps.into_iter().map(|(_, s, at)| (s, at)).collect();
        let required = required(layout, order, &steps);
        let is_stream = required <= budget;
        let steps = match is_stream {
            true => steps,
            false => order.iter().copied().zip(0..).collect(),
        };
        Self {
            steps,
            next: 0,
            is_stream,
            required,
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    pub(super) fn order_len(&self) -> usize {
        self.steps.len()
    }

    /// The next request, of `most` bytes or one sample; `None` at the end.
    pub(super) fn peek(&self, layout: &Layout, most: u64) -> Option<Request> {
        let &(first, _) = self.steps.get(self.next)?;
        let shard = layout.shard(first);
        let Range { start, mut end } = layout.member(first);
        let mut length = layout.length(first);
        let mut to = self.next + 1;
        while let Some(&(sample, _)) = self.steps.get(to).filter(|_| self.is_stream) {
            let member = layout.member(sample);
            let follows = layout.shard(sample) == shard && member.start >= end;
            if !follows || member.start - end > GAP || member.end - start > most {
                break;
            }
            end = member.end;
            length += layout.length(sample);
            to += 1;
        }
        Some(Request {
            shard,
            range: start..end,
            length,
            parts: self.steps[self.next..to].to_vec(),
        })
    }

    /// A sample's place in the order, and the bytes of the images that are read before it and with
    /// it; `None` when it is not read any more.
    pub(super) fn ahead(&self, layout: &Layout, sample: u32) -> Option<(u32, u64)> {
        let left = &self.steps[self.next..];
        let at = left.iter().position(|step| step.0 == sample)?;
        let bytes = left[..=at].iter().map(|step| layout.length(step.0)).sum();
        Some((left[at].1, bytes))
    }

    /// Bytes of the images that are still to be read.
    pub(super) fn left(&self, layout: &Layout) -> u64 {
        let left = &self.steps[self.next..];
        left.iter().map(|step| layout.length(step.0)).sum()
    }

    /// Steps past a request.
    pub(super) fn take(&mut self, request: &Request) {
        self.next += request.parts.len();
    }
}

/// One range of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) shard: usize,
    pub(super) range: Range<u64>,
    /// Bytes of its images.
    pub(super) length: u64,
    /// Its samples, by offset, and their places in the order.
    pub(super) parts: Vec<(u32, u32)>,
}

/// The most bytes held when samples are read in the order of `steps` and wanted in that of `order`.
fn required(layout: &Layout, order: &[u32], steps: &[(u32, u32)]) -> u64 {
    let mut arrived = vec![false; order.len()];
    let (mut next, mut held, mut most) = (0, 0, 0);
    for (at, &sample) in order.iter().enumerate() {
        while !arrived[at] {
            let (read, place) = steps[next];
            arrived[place as usize] = true;
            held += layout.length(read);
            next += 1;
        }
        most = most.max(held);
        held -= layout.length(sample);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Ranks, Shuffle, epoch_order};
    use proptest::prelude::*;

    /// Shards of images of `length` bytes, each after its header and followed by a label.
    fn layout(groups: &[usize], length: u32) -> Layout {
        let mut layout = Layout::default();
        let step = (u64::from(length)).next_multiple_of(BLOCK) + 3 * BLOCK;
        for &group in groups {
            layout.push((0..group as u64).map(|i| (i * step + BLOCK, length)));
        }
        layout
    }

    fn requests(plan: &mut ReadPlan, layout: &Layout, most: u64) -> Vec<Request> {
        let mut all = Vec::new();
        while let Some(request) = plan.peek(layout, most) {
            plan.take(&request);
            all.push(request);
        }
        all
    }

    #[test]
    fn a_layout_knows_shards() {
        let layout = layout(&[2, 0, 3], 10);
        let shards: Vec<_> = (0..5).map(|s| layout.shard(s)).collect();
        assert_eq!(shards, [0, 0, 2, 2, 2]);
        assert_eq!((layout.len(), layout.first(2)), (5, 2));
        assert_eq!(layout.member(1), 2048..2048 + 512 + 10);
        assert_eq!(layout.image(1), 2560..2570);
    }

    #[test]
    fn a_buffered_order_reads_shards_from_end_to_end() {
        let groups = [100, 50, 80];
        let layout = layout(&groups, 1000);
        let order = epoch_order(3, 0, &groups, Shuffle::Buffer { size: 20 });
        let mut plan = ReadPlan::new(&layout, &order, 25_000);
        assert!(plan.is_stream());
        // The buffer, and what arrives.
        assert!(
            (20_000..22_000).contains(&plan.required),
            "{}",
            plan.required
        );
        let all = requests(&mut plan, &layout, 1 << 40);
        assert_eq!(all.len(), 3);
        assert!(
            all.iter()
                .all(|r| r.range.start == 0 && r.parts.len() == groups[r.shard])
        );

        // Resumed in the middle: what is left, few requests more.
        let mut plan = ReadPlan::new(&layout, &order[115..], 25_000);
        let all = requests(&mut plan, &layout, 1 << 40);
        let parts: usize = all.iter().map(|r| r.parts.len()).sum();
        assert_eq!(parts, order.len() - 115);
        assert!(all.len() < 6, "{}", all.len());
    }

    #[test]
    fn an_order_without_locality_is_read_sample_by_sample() {
        let groups = [100, 50, 80];
        let layout = layout(&groups, 1000);
        let order = epoch_order(3, 0, &groups, Shuffle::Full);
        let mut plan = ReadPlan::new(&layout, &order, 25_000);
        assert!(!plan.is_stream() && plan.required > 100_000);
        let all = requests(&mut plan, &layout, 1 << 40);
        assert_eq!(all.len(), 230);
        assert!(
            all.iter()
                .zip(&order)
                .all(|(r, &sample)| r.parts[0].0 == sample)
        );
    }

    proptest! {
        #[test]
        fn every_sample_is_read_once(
            groups in prop::collection::vec(0_usize..40, 1..6),
            (size, world, batch) in (1_usize..30, 1_usize..4, 1_usize..20),
            (length, budget, most) in (0_u32..3000, 0_u64..60_000, 1_u64..20_000),
            seed: u64,
        ) {
            let layout = layout(&groups, length);
            let order = epoch_order(seed, 0, &groups, Shuffle::Buffer { size });
            let order = Ranks::new(0, world).order(&order, batch, 1);
            let mut plan = ReadPlan::new(&layout, &order, budget);
            let all = requests(&mut plan, &layout, most);
            let mut places: Vec<_> = Vec::new();
            for request in all {
                let mut end = request.range.start;
                let mut length = 0;
                for &(sample, at) in &request.parts {
                    prop_assert_eq!(order[at as usize], sample);
                    prop_assert_eq!(layout.shard(sample), request.shard);
                    let member = layout.member(sample);
                    prop_assert!(member.start >= end);
                    end = member.end;
                    length += layout.length(sample);
                    places.push(at);
                }
                prop_assert_eq!((end, length), (request.range.end, request.length));
                prop_assert!(end - request.range.start <= most || request.parts.len() == 1);
            }
            places.sort_unstable();
            prop_assert!(places.into_iter().eq(0..order.len() as u32));
        }
    }
}
