//! One step of pretraining, top to bottom.

use burn::tensor::{Device, Int, Tensor, TensorData};
use inscon_aug::TileRecord;
use inscon_loss::{CellInput, InsConInput, InsConLoss, InsConOutput, Matching, Views};
use inscon_model::{EncoderOutput, NormMode, ema_update};

use super::{Phases, PretrainState, Terms};
use crate::config::PretrainConfig;
use crate::data::PretrainBatch;
use crate::upload_canvases;

impl PretrainState {
    /// One step. An objective that is not a number leaves the weights and queues of the query side
    /// as they were: the caller stops.
    #[must_use]
    pub fn step(
        mut self,
        batch: PretrainBatch,
        config: &PretrainConfig,
        lr: f64,
        phases: &mut Phases,
    ) -> (Self, Terms) {
        let plain = self.instances.tensor().device();
        let tracked = plain.clone().autodiff();
        let lambda = config.lambda_at(self.step);

        // The key encoder follows before the keys are made, as in MoCo.
        self.key = phases.time("ema", || ema_update(self.key, &self.query, config.ema));

        let views = config.views();
        let upload = |pixels, device| upload_canvases(pixels, views.mean, views.std, device);
        let canvases = phases.time("upload", || upload(&batch.key, &plain));
        let key = phases.time("key_forward", || {
            let (grid, groups) = (config.key_grid(), config.bn_groups);
            self.key
                .forward(canvases, grid, config.split, NormMode::Train, groups)
        });

        let canvases = phases.time("upload", || upload(&batch.query, &tracked));
        let query = phases.time("query_forward", || {
            let (grid, groups) = (config.grid, config.query_bn_groups);
            self.query
                .forward(canvases, grid, config.split, NormMode::Train, groups)
        });

        let tiles = Tiles {
            query: &batch.query_tiles,
            key: &batch.key_tiles,
            query_of_key: &batch.query_of_key,
        };
        let (output, terms) = phases.time("loss", || {
            let output = self.loss(query, &key, &tiles, config, lambda);
            let terms = Terms::read(&output);
            (output, terms)
        });
        if !terms.is_finite() {
            return (self, terms);
        }

        let gradients = phases.time("backward", || output.total.backward());
        self.query = phases.time("sgd", || self.sgd.step(lr, self.query, gradients));

        phases.time("enqueue", || {
            self.instances.enqueue(key.instance);
            if let (Some(queue), Some(cells)) = (&mut self.cells, key.cells) {
                queue.enqueue(mean_cell(cells));
            }
        });
        self.step += 1;
        (self, terms)
    }

    fn loss(
        &self,
        query: EncoderOutput,
        key: &EncoderOutput,
        tiles: &Tiles<'_>,
        config: &PretrainConfig,
        lambda: f64,
    ) -> InsConOutput {
        // Everything in key order: the rows of the query side are gathered.
        let plain = key.instance.device();
        let order: Vec<i64> = tiles.query_of_key.iter().map(|&row| row as i64).collect();
        let order = Tensor::<1, Int>::from_data(
            TensorData::new(order, [tiles.query_of_key.len()]),
            &query.instance.device(),
        );
        let maps = (config.cell.matching == Matching::Densecl && config.lambda > 0.0).then(|| {
            let query = query.map.clone().inner().select(0, order.clone().inner());
            (rows_of_cells(query), rows_of_cells(key.map.clone()))
        });
        let cells = query
            .cells
            .zip(key.cells.clone())
            .map(|(query, key)| CellInput {
                query: query.select(0, order.clone()),
                key: Tensor::from_inner(key),
                queue: self
                    .cells
                    .as_ref()
                    .map(|queue| Tensor::from_inner(queue.tensor())),
                query_views: views(
                    tiles.query_of_key.iter().map(|&row| &tiles.query[row]),
                    &plain,
                ),
                key_views: views(tiles.key.iter(), &plain),
                tiles_per_canvas: config.key_grid() * config.key_grid(),
                maps,
            });
        InsConLoss::new(config.loss()).forward(
            InsConInput {
                query: query.instance.select(0, order),
                key: Tensor::from_inner(key.instance.clone()),
                queue: Some(Tensor::from_inner(self.instances.tensor())),
                cells,
            },
            lambda,
        )
    }
}

struct Tiles<'a> {
    query: &'a [TileRecord],
    key: &'a [TileRecord],
    query_of_key: &'a [usize],
}

/// Source boxes and flips of tiles, on the plain device.
fn views<'a>(tiles: impl Iterator<Item = &'a TileRecord>, device: &Device) -> Views {
    let (mut boxes, mut flips) = (Vec::new(), Vec::new());
    for TileRecord { transform, .. } in tiles {
        let crop = transform.crop;
        boxes.extend([crop.x0, crop.y0, crop.x1, crop.y1]);
        flips.push(if transform.flip { 1.0f32 } else { 0.0 });
    }
    let tiles = flips.len();
    Views {
        boxes: Tensor::from_data(TensorData::new(boxes, [tiles, 4]), device),
        flips: Tensor::from_data(TensorData::new(flips, [tiles]), device),
    }
}

/// `[T, C, s, s]` → `[T, s², C]`, cells row by row.
fn rows_of_cells(map: Tensor<4>) -> Tensor<3> {
    let [tiles, channels, height, width] = map.dims();
    map.reshape([tiles, channels, height * width])
        .swap_dims(1, 2)
}

/// The direction of the mean of each tile's cells, `[T, S², D]` → `[T, D]`: what DenseCL keeps in
/// its dense queue.
fn mean_cell(cells: Tensor<3>) -> Tensor<2> {
    let [tiles, _, dim] = cells.dims();
    let mean = cells.mean_dim(1).reshape([tiles, dim]);
    let norm = mean.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    mean / norm
}
