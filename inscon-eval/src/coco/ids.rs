//! Ids, which may be anything, to ranks.

use std::collections::{HashMap, HashSet};

/// From id to rank.
pub(crate) enum Ranks {
    /// By id; `u32::MAX` where there is none.
    Dense(Vec<u32>),
    Sparse(HashMap<u64, u32>),
}

impl Ranks {
    /// The rank of an id that occurs twice is that of the last one.
    pub(crate) fn new(ids: &[u64]) -> Self {
        let largest = ids.iter().copied().max().unwrap_or(0);
        if largest
            < (ids.len() as u64)
                .saturating_mul(256)
                .saturating_add(1 << 16)
        {
            let mut table = vec![u32::MAX; largest as usize + 1];
            for (rank, &id) in (0..).zip(ids) {
                table[id as usize] = rank;
            }
            Self::Dense(table)
        } else {
            Self::Sparse(ids.iter().copied().zip(0..).collect())
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<u32> {
        match self {
            Self::Dense(table) => usize::try_from(id)
                .ok()
                .and_then(|id| table.get(id).copied())
                .filter(|&rank| rank != u32::MAX),
            Self::Sparse(map) => map.get(&id).copied(),
        }
    }
}

/// Each id once, where it occurs first.
pub(super) fn unique_in_order(ids: &[u64]) -> Vec<u64> {
    let mut seen = HashSet::new();
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

/// numpy's `unique`.
pub(crate) fn unique(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_and_sparse_agree() {
        for shift in [0, u64::MAX - 9] {
            let ids = [3, 0, 7, 3].map(|id| id + shift);
            let ranks = Ranks::new(&ids);
            assert_eq!(matches!(ranks, Ranks::Dense(_)), shift == 0);
            for (id, rank) in [
                (3, Some(3)),
                (0, Some(1)),
                (7, Some(2)),
                (4, None),
                (8, None),
            ] {
                assert_eq!(ranks.get(id + shift), rank);
            }
        }
        assert_eq!(Ranks::new(&[]).get(0), None);
    }
}
