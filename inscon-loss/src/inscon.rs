//! The whole loss: instance and cell term, weighted, with what is worth logging.

use burn::tensor::Tensor;

use crate::{CellInput, CellInstanceLoss, InfoNce, InsConLossConfig};

/// InsCon's loss.
///
/// ```text
/// L = (1 − λ)·L_inst + λ·L_cell
/// ```
///
/// L_inst is [`InfoNce`], L_cell is [`CellInstanceLoss`]. Everything stays on the device of the
/// inputs: nothing is read back.
///
/// # Example: MoCo v2 is the instance term alone
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use inscon_loss::{InsConInput, InsConLoss, InsConLossConfig};
///
/// let device = Device::flex();
/// let features = |rows: usize| {
///     let x = Tensor::<2>::random([rows, 8], Distribution::Default, &device);
///     x.clone() / x.square().sum_dim(1).sqrt()
/// };
/// let loss = InsConLoss::new(InsConLossConfig::moco_v2());
/// let out = loss.forward(
///     InsConInput { query: features(4), key: features(4), queue: Some(features(16)), cells: None },
///     0.0,
/// );
/// assert!(out.cell.is_none());
/// assert_eq!(out.total.into_scalar::<f32>(), out.instance.into_scalar::<f32>());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct InsConLoss {
    config: InsConLossConfig,
}

/// One batch of embeddings, in key order: row t is tile t = canvas·G² + slot of the key canvases.
#[derive(Debug, Clone)]
pub struct InsConInput {
    /// Query embeddings, `[T, D]`, L2-normalised.
    pub query: Tensor<2>,
    /// Key embeddings of the same images, `[T, D]`, L2-normalised; constants.
    pub key: Tensor<2>,
    /// Queue of key embeddings, `[K, D]`; constants. Needed unless the negatives are `batch`.
    pub queue: Option<Tensor<2>>,
    /// The cell term's part; absent where λ is 0.
    pub cells: Option<CellInput>,
}

/// What [`InsConLoss::forward`] gives back. The terms are in the graph of the queries.
#[derive(Debug, Clone)]
pub struct InsConOutput {
    /// L, `[1]`: the one to differentiate.
    pub total: Tensor<1>,
    /// L_inst, `[1]`.
    pub instance: Tensor<1>,
    /// L_cell, `[1]`; absent without cells.
    pub cell: Option<Tensor<1>>,
    /// Mean L_pull, `[1]`; absent without cells.
    pub pull: Option<Tensor<1>>,
    /// Mean L_push, `[1]`; absent without cells.
    pub push: Option<Tensor<1>>,
    /// What is worth logging.
    pub stats: LossStats,
}

/// Figures for the log, `[1]` each, off autodiff.
#[derive(Debug, Clone)]
pub struct LossStats {
    /// Share of tiles whose own key is the most similar of all.
    pub top1: Tensor<1>,
    /// Share of tiles whose own key is among the five most similar.
    pub top5: Tensor<1>,
    /// Mean of the instance logits q·n/τ, the positives' included.
    pub logit_mean: Tensor<1>,
    /// Standard deviation of the query embeddings over the batch, mean over dimensions; a collapsed
    /// head has 0, a spread one about 1/√D.
    pub feature_std: Tensor<1>,
    /// The same over all query cells; absent without cells.
    pub cell_feature_std: Option<Tensor<1>>,
    /// Share of tiles without a single matched cell; absent without cells.
    pub unmatched_tiles: Option<Tensor<1>>,
    /// Share of query cells with a positive; absent without cells.
    pub matched_cells: Option<Tensor<1>>,
}

impl InsConLoss {
    /// The loss of a configuration, taken as it is: [`InsConLossConfig::validate`] checks it.
    pub fn new(config: InsConLossConfig) -> Self {
        Self { config }
    }

    /// The configuration.
    pub fn config(&self) -> &InsConLossConfig {
        &self.config
    }

    /// The loss of a batch with the cell term's weight as it stands at this step.
    ///
    /// # Panics
    /// If shapes disagree, a queue or map that the configuration needs is missing, or `lambda` is
    /// not 0 and there are no cells.
    pub fn forward(&self, input: InsConInput, lambda: f64) -> InsConOutput {
        assert!(
            lambda == 0.0 || input.cells.is_some(),
            "lambda is {lambda}, but no cells were given"
        );
        let temperature = self.config.temperature;
        let feature_std = spread(input.query.clone());
        let instance = InfoNce {
            temperature,
            negatives: self.config.negatives,
        }
        .forward(input.query, input.key, input.queue);
        let mut stats = LossStats {
            top1: instance.top1,
            top5: instance.top5,
            logit_mean: instance.logit_mean,
            feature_std,
            cell_feature_std: None,
            unmatched_tiles: None,
            matched_cells: None,
        };
        let instance = instance.loss;
        let Some(cells) = input.cells else {
            let total = instance.clone();
            return InsConOutput {
                total,
                instance,
                cell: None,
                pull: None,
                push: None,
                stats,
            };
        };
        let [tiles, per_tile, dim] = cells.query.dims();
        stats.cell_feature_std = Some(spread(cells.query.clone().reshape([tiles * per_tile, dim])));
        let cell = CellInstanceLoss {
            temperature,
            config: self.config.cell.clone(),
        }
        .forward(cells);
        stats.unmatched_tiles = Some(cell.unmatched_tiles);
        stats.matched_cells = Some(cell.matched_cells);
        let total =
            instance.clone().mul_scalar(1.0 - lambda) + cell.loss.clone().mul_scalar(lambda);
        InsConOutput {
            total,
            instance,
            cell: Some(cell.loss),
            pull: Some(cell.pull),
            push: Some(cell.push),
            stats,
        }
    }
}

/// Standard deviation over the rows of `[rows, D]`, mean over D.
fn spread(x: Tensor<2>) -> Tensor<1> {
    x.inner().var_bias(0).clamp_min(0.0).sqrt().mean()
}
