//! A balanced draw of foreground and background.

use rand::{Rng, RngExt};

use super::MatchLabel;

/// Draws at most `number` candidates, at most `⌊number · positive_fraction⌋` of them foreground;
/// background fills the rest (detectron2's `subsample_labels`).
///
/// Returns the indices of the foreground and of the background, each ascending.
pub fn sample_balanced(
    labels: &[MatchLabel],
    number: usize,
    positive_fraction: f32,
    rng: &mut impl Rng,
) -> (Vec<usize>, Vec<usize>) {
    let of = |wanted| {
        let found = labels
            .iter()
            .enumerate()
            .filter(move |(_, label)| **label == wanted);
        found.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let quota = (number as f64 * f64::from(positive_fraction)) as usize;
    let positives = choose(of(MatchLabel::Positive), quota, rng);
    let negatives = choose(of(MatchLabel::Negative), number - positives.len(), rng);
    (positives, negatives)
}

/// `number` of `pool` without repetition, ascending; all of it if there are no more.
fn choose(mut pool: Vec<usize>, number: usize, rng: &mut impl Rng) -> Vec<usize> {
    if pool.len() > number {
        for i in 0..number {
            let j = rng.random_range(i..pool.len());
            pool.swap(i, j);
        }
        pool.truncate(number);
        pool.sort_unstable();
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::MatchLabel::{Ignored, Negative, Positive};
    use super::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::SeedableRng;

    fn draw(labels: &[MatchLabel], number: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
        sample_balanced(
            labels,
            number,
            0.25,
            &mut Xoshiro256PlusPlus::seed_from_u64(seed),
        )
    }

    #[test]
    fn quotas() {
        // Fewer foreground than its share: background fills up.
        let labels = [
            Positive, Negative, Ignored, Negative, Negative, Negative, Negative,
        ];
        let (positives, negatives) = draw(&labels, 4, 0);
        assert_eq!((positives, negatives.len()), (vec![0], 3));
        // More than there are: everything but the ignored.
        assert_eq!(draw(&labels, 100, 0), (vec![0], vec![1, 3, 4, 5, 6]));
        // Foreground is cut to its share even where there is no background.
        assert_eq!(draw(&[Positive; 10], 8, 0).0.len(), 2);
        assert_eq!(draw(&[], 8, 0), (vec![], vec![]));
    }

    #[test]
    fn uniform_and_reproducible() {
        let labels = [Negative; 10];
        assert_eq!(draw(&labels, 3, 7), draw(&labels, 3, 7));
        let mut counts = [0usize; 10];
        for seed in 0..2000 {
            let (_, drawn) = draw(&labels, 3, seed);
            assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.len() == 3);
            drawn.into_iter().for_each(|i| counts[i] += 1);
        }
        // 600 expected, deviation 20.
        assert!(
            counts.iter().all(|&count| (500..700).contains(&count)),
            "{counts:?}"
        );
    }
}
