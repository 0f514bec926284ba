//! Which key cell is the same place as which query cell.

use burn::tensor::{Bool, Int, Tensor};

use crate::{CellLossConfig, Matching, Views, cell_distance};

/// Positives and far cells of every query cell among the key cells of the same image.
#[derive(Debug, Clone)]
pub struct Correspondence {
    /// b ∈ P(a): `[T, S², S²]`, query cell a by key cell b.
    pub positive: Tensor<3, Bool>,
    /// b ∈ P(a), or b far enough to push: `[T, S², S²]`. Equal to `positive` where far cells are
    /// switched off. The cells in neither are ignored.
    pub counted: Tensor<3, Bool>,
}

impl Correspondence {
    /// Matches the cells of two views.
    ///
    /// ```text
    /// distance:  P(a) = {b : d(a, b) < positive_below}
    /// densecl:   P(a) = {argmax_b cos(m_q(a), m_k(b))}
    /// both:      far(a) = {b : d(a, b) ≥ negative_from},  counted(a) = P(a) ∪ far(a)
    /// ```
    ///
    /// # Shapes
    /// - maps: backbone features of the cells, `[T, S², C]` each, query and key; needed by
    ///   [`Matching::Densecl`] alone
    ///
    /// # Panics
    /// If the views or maps do not hold the same tiles, or the maps that `densecl` needs are
    /// missing.
    pub fn new(
        config: &CellLossConfig,
        query: &Views,
        key: &Views,
        side: usize,
        maps: Option<(Tensor<3>, Tensor<3>)>,
    ) -> Self {
        let distance = (config.matching == Matching::Distance || config.far_cells)
            .then(|| cell_distance(query, key, side));
        let positive = match (config.matching, &distance) {
            (Matching::Distance, Some(distance)) => {
                distance.clone().lower_scalar(config.positive_below)
            }
            _ => {
                let (query_map, key_map) =
                    maps.expect("densecl matching needs the backbone maps of both views");
                best_match(query_map, key_map)
            }
        };
        let counted = match distance {
            Some(distance) if config.far_cells => positive
                .clone()
                .bool_or(distance.greater_equal_scalar(config.negative_from)),
            _ => positive.clone(),
        };
        Self { positive, counted }
    }
}

/// One key cell for each query cell: the one with the largest cosine, `[T, S², S²]`, one true a row.
///
/// # Panics
/// If the maps, `[T, S², C]`, differ in shape.
fn best_match(query: Tensor<3>, key: Tensor<3>) -> Tensor<3, Bool> {
    assert_eq!(
        query.dims(),
        key.dims(),
        "backbone maps of query {:?} and key {:?} must agree",
        query.dims(),
        key.dims()
    );
    let [tiles, cells, _] = query.dims();
    // A query cell's own norm does not move its argmax.
    let cosine = query.inner().matmul(unit(key.inner()).swap_dims(1, 2));
    let best = cosine.argmax(2);
    let index = Tensor::<1, Int>::arange(0..cells as i64, &best.device())
        .reshape([1, 1, cells])
        .expand([tiles, cells, cells]);
    best.expand([tiles, cells, cells]).equal(index)
}

/// Rows divided by their length; a zero row stays zero.
fn unit(x: Tensor<3>) -> Tensor<3> {
    let length = x.clone().square().sum_dim(2).sqrt().clamp_min(1e-12);
    x / length
}
