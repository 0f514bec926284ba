//! Pull and push of cells on the spatial feature map.

use burn::tensor::{Bool, Tensor};

use crate::{
    CellLossConfig, Correspondence, Views,
    log_sum_exp::{LogSumExp, blocks, similarity},
};

/// The cell-instance loss.
///
/// ```text
/// s(a, b)   = q_a·k_b / τ
/// L_pull(a) = −log Σ_{b ∈ P(a)} exp s(a, b)
/// L_push(a) =  log Σ_{b ∈ P(a) ∪ N(a)} exp s(a, b)
/// L_cell    = mean over {a : P(a) ≠ ∅} of λ_pull·L_pull(a) + λ_push·L_push(a)
/// ```
///
/// P(a) is [`Correspondence`]'s. N(a) is, as switched: the far cells of the same image, all cells
/// of the other tiles of the key canvas that holds the tile, the queue. With both weights 1 this is
/// InfoNCE with several positives. With no matched cell at all it is 0, and so is its gradient.
///
/// Reconstructed from PixPro and DenseCL: see `method.md`, *Losses*.
#[derive(Debug, Clone, PartialEq)]
pub struct CellInstanceLoss {
    /// τ.
    pub temperature: f64,
    /// Correspondence, weights and negatives.
    pub config: CellLossConfig,
}

/// What the cell term looks at; all in key order.
#[derive(Debug, Clone)]
pub struct CellInput {
    /// Query cells, `[T, S², D]`, L2-normalised, row-major cells.
    pub query: Tensor<3>,
    /// Key cells of the same images, `[T, S², D]`; constants.
    pub key: Tensor<3>,
    /// Queue of mean key cells, `[K, D]`; constants. Needed where `queue` is switched on.
    pub queue: Option<Tensor<2>>,
    /// Geometry of the query views.
    pub query_views: Views,
    /// Geometry of the key views.
    pub key_views: Views,
    /// Tiles on one key canvas, G²; 1 where the keys are single views. Tile t lies on key canvas
    /// t / G².
    pub tiles_per_canvas: usize,
    /// Backbone features of the query's and the key's cells, `[T, S², C]` each: DenseCL matching.
    pub maps: Option<(Tensor<3>, Tensor<3>)>,
}

/// What [`CellInstanceLoss::forward`] gives back.
#[derive(Debug, Clone)]
pub struct CellOutput {
    /// λ_pull·pull + λ_push·push, `[1]`, in the graph of the query.
    pub loss: Tensor<1>,
    /// Mean L_pull over the matched cells, `[1]`.
    pub pull: Tensor<1>,
    /// Mean L_push over the matched cells, `[1]`.
    pub push: Tensor<1>,
    /// Share of query cells with P ≠ ∅, `[1]`.
    pub matched_cells: Tensor<1>,
    /// Share of tiles without a single matched cell, `[1]`.
    pub unmatched_tiles: Tensor<1>,
}

impl CellInstanceLoss {
    /// The loss over all tiles of the batch.
    ///
    /// # Panics
    /// If shapes disagree, the number of cells is no square, the tiles do not fill whole canvases,
    /// or the queue or maps that the configuration needs are missing.
    pub fn forward(&self, input: CellInput) -> CellOutput {
        let [tiles, cells, dim] = input.query.dims();
        let side = input.check(&self.config);
        let canvases = tiles / input.tiles_per_canvas;
        let on_canvas = input.tiles_per_canvas * cells;

        let Correspondence { positive, counted } = Correspondence::new(
            &self.config,
            &input.query_views,
            &input.key_views,
            side,
            input.maps,
        );
        let query = input.query.reshape([tiles * cells, dim]);
        let scaled = query.clone().inner().div_scalar(self.temperature);
        let key = input.key.inner();

        let own = similarity(scaled.clone().reshape([tiles, cells, dim]), key.clone());
        let mut pull = LogSumExp::empty(&query);
        pull.add(own.clone(), key.clone(), Some(positive.clone().bool_not()));
        let mut push = LogSumExp::empty(&query);
        push.add(own, key.clone(), Some(counted.bool_not()));
        if self.config.other_tiles && input.tiles_per_canvas > 1 {
            let keys = key.reshape([canvases, on_canvas, dim]);
            let logits = similarity(
                scaled.clone().reshape([canvases, on_canvas, dim]),
                keys.clone(),
            );
            let same = same_tile(input.tiles_per_canvas, cells, &logits)
                .expand([canvases, on_canvas, on_canvas]);
            push.add(logits, keys, Some(same));
        }
        if let Some(queue) = input.queue.filter(|_| self.config.queue) {
            for keys in blocks(&queue.inner(), tiles * cells) {
                push.add(
                    similarity(scaled.clone().unsqueeze_dim(0), keys.clone()),
                    keys,
                    None,
                );
            }
        }

        let matched = positive.any_dim(2).reshape([tiles, cells]);
        let matched_tiles = matched.clone().any_dim(1).float().mean();
        let matched = matched.reshape([tiles * cells]);
        let count = matched.clone().float().sum().clamp_min(1.0);
        let unmatched = matched.clone().bool_not();
        let mean = |x: Tensor<1>| x.mask_fill(unmatched.clone(), 0.0).sum() / count.clone();
        let pull = mean(pull.finish(&query, self.temperature).neg());
        let push = mean(push.finish(&query, self.temperature));
        CellOutput {
            loss: pull.clone().mul_scalar(self.config.pull)
                + push.clone().mul_scalar(self.config.push),
            pull,
            push,
            matched_cells: matched.float().mean(),
            unmatched_tiles: matched_tiles.neg().add_scalar(1.0),
        }
    }
}

/// Whether query cell and key cell of a canvas belong to the same tile, `[1, n, n]`, on the device
/// of `like`.
fn same_tile(tiles: usize, cells: usize, like: &Tensor<3>) -> Tensor<3, Bool> {
    let n = tiles * cells;
    Tensor::<2, Bool>::diag_mask([tiles, tiles], 0, &like.device())
        .bool_not()
        .reshape([1, tiles, 1, tiles, 1])
        .expand([1, tiles, cells, tiles, cells])
        .reshape([1, n, n])
}

impl CellInput {
    /// Checks the shapes and returns the side of a tile in cells.
    fn check(&self, config: &CellLossConfig) -> usize {
        let [tiles, cells, dim] = self.query.dims();
        assert_eq!(
            self.query.dims(),
            self.key.dims(),
            "query cells {:?} and key cells {:?} must agree",
            self.query.dims(),
            self.key.dims()
        );
        let side = cells.isqrt();
        assert!(
            side * side == cells,
            "cells {:?} are not square maps",
            self.query.dims()
        );
        assert!(
            self.tiles_per_canvas > 0 && tiles % self.tiles_per_canvas == 0,
            "{tiles} tiles do not fill canvases of {}",
            self.tiles_per_canvas
        );
        for (name, views) in [("query", &self.query_views), ("key", &self.key_views)] {
            assert_eq!(
                views.tiles(),
                tiles,
                "{name} views {:?} and cells {:?} must hold the same tiles",
                views.boxes.dims(),
                self.query.dims()
            );
        }
        if let Some((map, _)) = &self.maps {
            assert_eq!(
                map.dims()[..2],
                [tiles, cells],
                "backbone maps {:?} and cells {:?} must hold the same cells",
                map.dims(),
                self.query.dims()
            );
        }
        if config.queue {
            let queue = self
                .queue
                .as_ref()
                .expect("cell negatives `queue` need a cell queue");
            assert_eq!(
                queue.dims()[1],
                dim,
                "cells {:?} and queue {:?} must be equally wide",
                self.query.dims(),
                queue.dims()
            );
        }
        side
    }
}
