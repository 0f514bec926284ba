//! From the reference's f64 rows to tensors and back.
#![allow(dead_code, unreachable_pub)]

use burn::tensor::{Device, Tensor, TensorData};
use inscon_loss::{CellInput, InsConInput, Views};

use crate::reference::{Batch, Rows, View};

/// Rows as `[rows, D]`.
pub fn matrix(rows: &Rows, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = rows.iter().flatten().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
}

/// Rows of each tile as `[T, rows, D]`.
pub fn stack(tiles: &[Rows], device: &Device) -> Tensor<3> {
    Tensor::stack(
        tiles
            .iter()
            .map(|rows| matrix(rows, device))
            .collect::<Vec<_>>(),
        0,
    )
}

/// Boxes and flips.
pub fn views(views: &[View], device: &Device) -> Views {
    let boxes: Rows = views.iter().map(|v| vec![v.x0, v.y0, v.x1, v.y1]).collect();
    let flips: Vec<f32> = views.iter().map(|v| f32::from(u8::from(v.flip))).collect();
    Views {
        boxes: matrix(&boxes, device),
        flips: Tensor::from_data(TensorData::new(flips, [views.len()]), device),
    }
}

/// The cell term's input.
pub fn cell_input(batch: &Batch, device: &Device) -> CellInput {
    CellInput {
        query: stack(&batch.query_cells, device),
        key: stack(&batch.key_cells, device),
        queue: Some(matrix(&batch.cell_queue, device)),
        query_views: views(&batch.query_views, device),
        key_views: views(&batch.key_views, device),
        tiles_per_canvas: batch.tiles_per_canvas,
        maps: Some((
            stack(&batch.query_maps, device),
            stack(&batch.key_maps, device),
        )),
    }
}

/// The whole input.
pub fn input(batch: &Batch, device: &Device) -> InsConInput {
    InsConInput {
        query: matrix(&batch.query, device),
        key: matrix(&batch.key, device),
        queue: Some(matrix(&batch.queue, device)),
        cells: Some(cell_input(batch, device)),
    }
}

/// The one number of a `[1]` tensor.
pub fn number(x: &Tensor<1>) -> f64 {
    f64::from(x.clone().into_scalar::<f32>())
}

/// All numbers.
pub fn numbers<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.clone().try_into_vec_as().expect("f32 values")
}

/// Asserts |got − want| ≤ tolerance·(1 + |want|).
#[track_caller]
pub fn assert_close(what: &str, got: f64, want: f64, tolerance: f64) {
    let allowed = tolerance * (1.0 + want.abs());
    assert!(
        (got - want).abs() <= allowed,
        "{what}: got {got}, want {want} within {allowed}"
    );
}
