//! Cutting the feature map of a canvas into the maps of its tiles.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::detection::roi_align;

/// How a canvas' feature map is cut into `grid`×`grid` tile maps (`method.md`, Splitting).
///
/// Both give tile t = canvas·grid² + slot, slots row-major, and agree to rounding where the map's
/// side is a multiple of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// By reshaping; the map's sides must be multiples of the grid.
    Slice,
    /// By RoIAlign (aligned, adaptive sampling) of each tile's box on the canvas, to
    /// ⌈tile / stride⌉² cells, so that tiles that are no multiple of the stride work too.
    RoiAlign,
}

impl Split {
    /// # Shapes
    /// - `map`: `[M, C, H, W]`, features of square canvases of `canvas` pixels at `stride`
    /// - output: `[M·grid², C, S, S]`
    ///
    /// # Panics
    /// If `grid` is 0, or for [`Split::Slice`] if a side of the map is not a multiple of `grid`.
    #[must_use]
    pub fn apply(self, map: Tensor<4>, grid: usize, canvas: usize, stride: usize) -> Tensor<4> {
        assert!(grid > 0, "a canvas of 0 tiles");
        match self {
            Self::Slice => slice(map, grid),
            Self::RoiAlign => align(map, grid, canvas, stride),
        }
    }
}

fn slice(map: Tensor<4>, grid: usize) -> Tensor<4> {
    let dims @ [m, c, h, w] = map.dims();
    assert!(
        h % grid == 0 && w % grid == 0,
        "a map {dims:?} does not slice into {grid}×{grid} tiles: use a tile that is a multiple of \
         the stride, or split = \"roi_align\""
    );
    if grid == 1 {
        return map;
    }
    let (rows, columns) = (h / grid, w / grid);
    map.reshape([m, c, grid, rows, grid, columns])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([m * grid * grid, c, rows, columns])
}

fn align(map: Tensor<4>, grid: usize, canvas: usize, stride: usize) -> Tensor<4> {
    let [canvases, ..] = map.dims();
    let tiles = canvases * grid * grid;
    let tile = canvas as f32 / grid as f32;
    let mut rois = Vec::with_capacity(tiles * 5);
    for canvas in 0..canvases {
        for slot in 0..grid * grid {
            let (y, x) = ((slot / grid) as f32 * tile, (slot % grid) as f32 * tile);
            rois.extend([canvas as f32, x, y, x + tile, y + tile]);
        }
    }
    let rois = Tensor::from_data(TensorData::new(rois, [tiles, 5]), &map.device().inner());
    let side = (tile / stride as f32).ceil() as usize;
    roi_align(map, rois, side, 1.0 / stride as f64, 0, true)
}
