//! Contrast of each tile with its own key: InfoNCE, MoCo's and the multi-instance form.

use burn::tensor::{Bool, Tensor};

use crate::{
    Negatives,
    log_sum_exp::{LogSumExp, blocks, similarity},
};

/// InfoNCE over constant keys; with [`Negatives::QueueAndBatch`] over stitched canvases it is the
/// multi-instance loss.
///
/// ```text
/// L = mean_t −log exp(q_t·k_t/τ) / (exp(q_t·k_t/τ) + Σ_n exp(q_t·n/τ))
/// ```
///
/// n runs over the queue and, with `batch` negatives, over the other tiles' keys.
/// Based upon MoCo (He et al., 2020) and MosRep (Wang et al., 2022); see `method.md`, *Losses*.
///
/// # Example: a query that equals its key, against one opposite negative
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_loss::{InfoNce, Negatives};
///
/// let device = Device::flex();
/// let query = Tensor::<2>::from_floats([[1.0, 0.0]], &device);
/// let queue = Tensor::<2>::from_floats([[-1.0, 0.0]], &device);
/// let loss = InfoNce { temperature: 0.5, negatives: Negatives::Queue };
/// let out = loss.forward(query.clone(), query, Some(queue));
/// let expected = (1.0 + (-4.0f32).exp()).ln();
/// assert!((out.loss.into_scalar::<f32>() - expected).abs() < 1e-6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InfoNce {
    /// τ.
    pub temperature: f64,
    /// What n runs over.
    pub negatives: Negatives,
}

/// What [`InfoNce::forward`] gives back.
#[derive(Debug, Clone)]
pub struct InfoNceOutput {
    /// The loss, `[1]`, in the graph of the query.
    pub loss: Tensor<1>,
    /// Share of tiles whose own key is the most similar of all, `[1]`. A tie counts as a miss, so
    /// that a collapsed encoder does not look perfect.
    pub top1: Tensor<1>,
    /// Share of tiles whose own key is among the five most similar, `[1]`.
    pub top5: Tensor<1>,
    /// Mean of the logits q·n/τ, the positives' included, `[1]`.
    pub logit_mean: Tensor<1>,
}

impl InfoNce {
    /// The loss and its contrast's accuracy.
    ///
    /// # Shapes
    /// - query, key: `[T, D]`, L2-normalised rows; row t of both is the same image
    /// - queue: `[K, D]`, L2-normalised rows; ignored with [`Negatives::Batch`]
    ///
    /// Keys and queue are constants: no gradient reaches them.
    ///
    /// # Panics
    /// If query and key differ in shape, the queue in width, or the queue that the negatives need
    /// is missing.
    pub fn forward(
        &self,
        query: Tensor<2>,
        key: Tensor<2>,
        queue: Option<Tensor<2>>,
    ) -> InfoNceOutput {
        assert_eq!(
            query.dims(),
            key.dims(),
            "query {:?} and key {:?} must agree",
            query.dims(),
            key.dims()
        );
        let [tiles, dim] = query.dims();
        let key = key.inner();
        let queue = self.negatives.uses_queue().then(|| {
            queue
                .expect("negatives `queue` and `queue+batch` need a queue")
                .inner()
        });
        let scaled = query.clone().inner().div_scalar(self.temperature);
        let positive = (scaled.clone() * key.clone()).sum_dim(1);

        let mut all = LogSumExp::of_positives(&query, positive.clone(), key.clone());
        let mut rank = Rank::new(positive.clone());
        let mut sum = positive.clone();
        let mut count = 1;
        if self.negatives.uses_batch() && tiles > 1 {
            let keys = key.clone().unsqueeze_dim::<3>(0);
            let logits = similarity(scaled.clone().unsqueeze_dim(0), keys.clone());
            // The diagonal is the positive, which is in already.
            let own = Tensor::<2, Bool>::diag_mask([tiles, tiles], 0, &logits.device())
                .bool_not()
                .unsqueeze_dim::<3>(0);
            sum = logits.clone().sum_dim(2).reshape([tiles, 1]);
            count = tiles;
            rank.add(logits.clone().mask_fill(own.clone(), f32::MIN));
            all.add(logits, keys, Some(own));
        }
        if let Some(queue) = queue {
            assert_eq!(
                queue.dims()[1],
                dim,
                "query {:?} and queue {:?} must be equally wide",
                [tiles, dim],
                queue.dims()
            );
            count += queue.dims()[0];
            sum = sum + scaled.clone().matmul(queue.clone().sum_dim(0).transpose());
            for keys in blocks(&queue, tiles) {
                let logits = similarity(scaled.clone().unsqueeze_dim(0), keys.clone());
                rank.add(logits.clone());
                all.add(logits, keys, None);
            }
        }

        let contrast = all.finish(&query, self.temperature);
        let pulled = (query * key)
            .sum_dim(1)
            .squeeze_dim::<1>(1)
            .div_scalar(self.temperature);
        InfoNceOutput {
            loss: (contrast - pulled).mean(),
            top1: rank.within(1),
            top5: rank.within(5),
            logit_mean: sum.div_scalar(count as f64).mean(),
        }
    }
}

/// How many negatives are at least as similar as the positive.
struct Rank {
    positive: Tensor<2>,
    /// `[T]`.
    above: Tensor<1>,
}

impl Rank {
    /// `positive` is `[T, 1]`.
    fn new(positive: Tensor<2>) -> Self {
        let above = positive.zeros_like().squeeze_dim(1);
        Self { positive, above }
    }

    /// Logits of negatives, `[1, T, C]`.
    fn add(&mut self, logits: Tensor<3>) {
        let [_, tiles, _] = logits.dims();
        let positive = self
            .positive
            .clone()
            .unsqueeze_dim::<3>(0)
            .expand(logits.shape());
        let above = logits.greater_equal(positive).float().sum_dim(2);
        self.above = self.above.clone() + above.reshape([tiles]);
    }

    /// Share of tiles with fewer than `k` negatives above.
    fn within(&self, k: usize) -> Tensor<1> {
        self.above.clone().lower_scalar(k as f64).float().mean()
    }
}
