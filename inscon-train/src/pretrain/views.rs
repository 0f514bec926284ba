//! Pictures of what the first step of a pretraining sees.

use std::path::Path;

use crate::config::ExperimentConfig;
use crate::data::PretrainBatches;
use crate::pictures::BatchViews;
use crate::say;

/// Draws canvases, tiles and matched cells of the batch of `step` into `out`: the first `canvases`
/// query canvases with the key canvases of their images.
///
/// # Errors
/// Images or a folder that cannot be used.
pub fn draw_views(
    config: &ExperimentConfig,
    step: u64,
    canvases: usize,
    out: &Path,
) -> anyhow::Result<()> {
    let batch = PretrainBatches::open(config)?.make(step)?;
    let views = BatchViews {
        query: &batch.query,
        key: &batch.key,
        query_tiles: &batch.query_tiles,
        key_tiles: &batch.key_tiles,
        files: &batch.files,
        cells: (config.pretrain.tile as usize).div_ceil(config.model.output_stride),
        positive_below: config.pretrain.cell.positive_below,
    };
    let record = views.write(canvases, out)?;
    say(&format!(
        "{} canvases in {}; {:.0} % of the cells have a match",
        record.query.len(),
        out.display(),
        100.0 * record.matched_cells
    ));
    Ok(())
}
