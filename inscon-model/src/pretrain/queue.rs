//! Ring buffer of negatives.

use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

use crate::{init::normal, l2_normalize};

/// The last `len` key vectors: MoCo's queue of negatives, without its rule that the batch divides
/// the length. Own one per head.
///
/// # Example
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::Queue;
/// use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
///
/// let device = Device::flex();
/// let mut queue = Queue::new(5, 2, &mut Xoshiro256PlusPlus::seed_from_u64(0), &device);
/// queue.enqueue(Tensor::ones([3, 2], &device));
/// queue.enqueue(Tensor::ones([3, 2], &device));
/// assert_eq!(queue.pointer(), 1); // 6 rows went into 5
/// ```
#[derive(Debug, Clone)]
pub struct Queue {
    rows: Tensor<2>,
    pointer: usize,
}

impl Queue {
    /// A queue of `len` random unit vectors, as MoCo starts; the tensor is on `device` without
    /// autodiff.
    ///
    /// # Panics
    /// If `len` or `dim` is 0.
    pub fn new(len: usize, dim: usize, rng: &mut impl Rng, device: &Device) -> Self {
        assert!(
            len > 0 && dim > 0,
            "a queue of {len} vectors of {dim} values"
        );
        let rows = l2_normalize(normal(1.0, [len, dim], rng, &device.clone().inner()), 1);
        Self { rows, pointer: 0 }
    }

    /// A saved queue.
    ///
    /// # Panics
    /// If `rows` is not `[len, dim]`, or `pointer` is not below `len`.
    #[must_use]
    pub fn from_parts(rows: TensorData, pointer: usize, device: &Device) -> Self {
        let rows = Tensor::<2>::from_data(rows, &device.clone().inner());
        assert!(
            pointer < rows.dims()[0],
            "pointer {pointer} of a queue {:?}",
            rows.dims()
        );
        Self { rows, pointer }
    }

    /// Overwrites the oldest vectors with `keys`, `[N, dim]`, from the pointer on and round the
    /// end. Of more than `len` keys only the last `len` are kept, where they would have come to
    /// lie one by one.
    ///
    /// # Panics
    /// If the dimensions differ.
    pub fn enqueue(&mut self, keys: Tensor<2>) {
        let [len, dim] = self.rows.dims();
        let [n, width] = keys.dims();
        assert_eq!(width, dim, "keys [{n}, {width}] for a queue [{len}, {dim}]");
        let keys = keys.inner();
        let skipped = n.saturating_sub(len);
        let start = (self.pointer + skipped) % len;
        let kept = n - skipped;
        let before_end = kept.min(len - start);
        self.write(start, keys.clone().narrow(0, skipped, before_end));
        if kept > before_end {
            self.write(0, keys.narrow(0, skipped + before_end, kept - before_end));
        }
        self.pointer = (self.pointer + n) % len;
    }

    fn write(&mut self, start: usize, rows: Tensor<2>) {
        let [n, dim] = rows.dims();
        self.rows = self
            .rows
            .clone()
            .slice_assign([start..start + n, 0..dim], rows);
    }

    /// All vectors, `[len, dim]`, in storage order, without autodiff.
    #[must_use]
    pub fn tensor(&self) -> Tensor<2> {
        self.rows.clone()
    }

    /// Row that the next key overwrites.
    #[must_use]
    pub fn pointer(&self) -> usize {
        self.pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

    fn queue(len: usize) -> Queue {
        Queue::new(
            len,
            2,
            &mut Xoshiro256PlusPlus::seed_from_u64(0),
            &Device::flex(),
        )
    }

    fn values(queue: &Queue) -> Vec<f32> {
        queue.tensor().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn starts_with_unit_vectors() {
        let queue = queue(100);
        for row in values(&queue).chunks(2) {
            assert!((row[0].hypot(row[1]) - 1.0).abs() < 1e-6);
        }
    }

    proptest! {
        /// Any sequence of batches, longer than the queue included, against one-by-one writing.
        #[test]
        fn wraps_as_if_written_one_by_one(
            len in 1usize..12,
            batches in prop::collection::vec(0usize..30, 0..6),
        ) {
            let mut queue = queue(len);
            let mut expected = values(&queue);
            let (mut at, mut next) = (0, 0);
            for n in batches {
                if n == 0 {
                    continue;
                }
                let keys: Vec<f32> = (0..2 * n).map(|i| (next + i) as f32).collect();
                next += 2 * n;
                for row in keys.chunks(2) {
                    expected[2 * at..2 * at + 2].copy_from_slice(row);
                    at = (at + 1) % len;
                }
                queue.enqueue(Tensor::from_data(TensorData::new(keys, [n, 2]), &Device::flex()));
                prop_assert_eq!(queue.pointer(), at);
            }
            prop_assert_eq!(values(&queue), expected);
        }
    }

    #[test]
    fn comes_back_bit_exact() {
        let mut first = queue(7);
        first.enqueue(Tensor::ones([3, 2], &Device::flex()));
        let again = Queue::from_parts(first.tensor().into_data(), first.pointer(), &Device::flex());
        assert_eq!((values(&again), again.pointer()), (values(&first), 3));
    }
}
