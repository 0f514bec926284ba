//! Pictures of what the first step of a pretraining sees.

use std::path::Path;

use burn::tensor::Device;

use crate::config::ExperimentConfig;
use crate::data::PretrainBatches;
use crate::pictures::BatchViews;
use crate::{Interrupt, say};

/// Query canvases that are drawn.
const CANVASES: usize = 3;

/// Draws canvases, tiles and matched cells of the first batch into `run/views`. The device is not
/// used.
///
/// # Errors
/// Images or a run folder that cannot be used.
pub fn draw_views(
    config: &ExperimentConfig,
    run: &Path,
    _device: &Device,
    _interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let batch = PretrainBatches::open(config)?.make(0)?;
    let policy = config.pretrain.views();
    let views = BatchViews {
        query: &batch.query,
        key: &batch.key,
        query_tiles: &batch.query_tiles,
        key_tiles: &batch.key_tiles,
        files: &batch.files,
        mean: policy.mean,
        std: policy.std,
        cells: (config.pretrain.tile as usize).div_ceil(config.model.output_stride),
        positive_below: config.pretrain.cell.positive_below,
    };
    let out = run.join("views");
    let record = views.write(CANVASES, &out)?;
    say(&format!(
        "{} canvases in {}; {:.0} % of the cells have a match",
        record.query.len(),
        out.display(),
        100.0 * record.matched_cells
    ));
    Ok(())
}
