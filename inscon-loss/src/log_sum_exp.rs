//! log Σ exp over constant keys, without keeping the similarities.

use burn::tensor::{Bool, Tensor};

/// Stands for −∞ in a masked logit: exp of its distance to any real logit is 0, and a row with
/// nothing else stays finite.
const MASKED: f32 = -1e30;

/// Similarities of one block; 2²⁰ of f32 are 4 MiB and stay in a CPU's cache (0.14 s of CPU time
/// against 0.21 s with 2²² for 3,136 rows, queue 4,096, forward and backward).
const BLOCK: usize = 1 << 20;

/// Most blocks of one queue, so that a GPU is not fed in crumbs.
const MAX_BLOCKS: usize = 64;

/// Running log-sum-exp of each row's similarities to keys that take no gradient.
///
/// ```text
/// v(q) = log Σ_n exp(q·n/τ)        ∂v/∂q = (1/τ) Σ_n softmax_n · n
/// ```
///
/// Keys and queues are constants, so value and slope are known as soon as the similarities are:
/// both are gathered online, block by block, outside the graph, as flash attention does it, and
/// [`Self::finish`] puts the slope back into the graph. Nothing of size rows × keys outlives its
/// block; a queue of 65,536 against 12,544 cells would take 3.3 GB a tensor otherwise.
pub(crate) struct LogSumExp {
    /// Largest logit yet, `[rows, 1]`.
    max: Tensor<2>,
    /// Σ exp(logit − max), `[rows, 1]`.
    sum: Tensor<2>,
    /// Σ exp(logit − max)·key, `[rows, D]`; absent if no gradient is wanted.
    mean: Option<Tensor<2>>,
}

impl LogSumExp {
    /// Starts with nothing. `query` is `[rows, D]`; a slope is kept if it lives on autodiff.
    pub(crate) fn empty(query: &Tensor<2>) -> Self {
        let [rows, dim] = query.dims();
        let device = query.clone().inner().device();
        Self {
            max: Tensor::full([rows, 1], MASKED, &device),
            sum: Tensor::zeros([rows, 1], &device),
            mean: query
                .is_autodiff()
                .then(|| Tensor::zeros([rows, dim], &device)),
        }
    }

    /// Starts with one key of its own for each row: logits `[rows, 1]`, keys `[rows, D]`.
    pub(crate) fn of_positives(query: &Tensor<2>, logits: Tensor<2>, keys: Tensor<2>) -> Self {
        Self {
            sum: logits.ones_like(),
            max: logits,
            mean: query.is_autodiff().then_some(keys),
        }
    }

    /// Adds a block: logits `[G, R, C]` with G·R = rows, their keys `[G, C, D]`. Entries under
    /// `hidden`, `[G, R, C]`, do not count.
    pub(crate) fn add(
        &mut self,
        logits: Tensor<3>,
        keys: Tensor<3>,
        hidden: Option<Tensor<3, Bool>>,
    ) {
        let [groups, rows, _] = logits.dims();
        let flat = groups * rows;
        let logits = match hidden {
            Some(hidden) => logits.mask_fill(hidden, MASKED),
            None => logits,
        };
        let max = self
            .max
            .clone()
            .max_pair(logits.clone().max_dim(2).reshape([flat, 1]));
        let kept = (self.max.clone() - max.clone()).exp();
        let share = (logits - max.clone().reshape([groups, rows, 1])).exp();
        self.sum = self.sum.clone() * kept.clone() + share.clone().sum_dim(2).reshape([flat, 1]);
        self.mean = self.mean.take().map(|mean| {
            let dim = mean.dims()[1];
            mean * kept + share.matmul(keys).reshape([flat, dim])
        });
        self.max = max;
    }

    /// The value of each row, `[rows]`, in the graph of `query` (`[rows, D]`, not yet divided by
    /// the temperature). A row to which nothing was added gets a large negative, finite value.
    pub(crate) fn finish(self, query: &Tensor<2>, temperature: f64) -> Tensor<1> {
        let value = (self.max + self.sum.clone().log()).squeeze_dim::<1>(1);
        match self.mean {
            Some(mean) => {
                let slope = mean / self.sum.mul_scalar(temperature);
                // Zero in value; its gradient is the slope.
                let moved = query.clone() - query.clone().inner();
                (moved * slope).sum_dim(1).squeeze_dim::<1>(1) + value
            }
            None => value,
        }
    }
}

/// Similarities `[G, R, C]` of queries `[G, R, D]` and keys `[G, C, D]`.
pub(crate) fn similarity(query: Tensor<3>, keys: Tensor<3>) -> Tensor<3> {
    query.matmul(keys.swap_dims(1, 2))
}

/// The queue `[K, D]` in blocks `[1, C, D]` of about [`BLOCK`] similarities to `rows` queries.
pub(crate) fn blocks(queue: &Tensor<2>, rows: usize) -> Vec<Tensor<3>> {
    let [total, _] = queue.dims();
    let length = (BLOCK / rows.max(1)).max(total.div_ceil(MAX_BLOCKS)).max(1);
    (0..total)
        .step_by(length)
        .map(|start| {
            queue
                .clone()
                .narrow(0, start, length.min(total - start))
                .unsqueeze_dim::<3>(0)
        })
        .collect()
}
