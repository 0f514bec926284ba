//! Where the cells of a tile lie in its source image.

use burn::tensor::{Tensor, TensorData};

/// The geometry of one view of each tile, in key order.
#[derive(Debug, Clone)]
pub struct Views {
    /// Source crop of each tile, `[T, 4]`: x0, y0, x1, y1 in source pixels (continuous, half-open,
    /// pixel edges).
    pub boxes: Tensor<2>,
    /// 1 where the crop was mirrored left to right, else 0: `[T]`.
    pub flips: Tensor<1>,
}

impl Views {
    /// Number of tiles.
    ///
    /// # Panics
    /// If the boxes are not `[T, 4]` or the flips not `[T]`.
    pub fn tiles(&self) -> usize {
        let [tiles, four] = self.boxes.dims();
        assert!(
            four == 4 && self.flips.dims() == [tiles],
            "views need boxes [T, 4] and flips [T], got {:?} and {:?}",
            self.boxes.dims(),
            self.flips.dims()
        );
        tiles
    }

    /// Width and height of the crops in source pixels, `[T, 1]` each, without a graph.
    fn extent(&self) -> (Tensor<2>, Tensor<2>) {
        let [x0, y0, x1, y1] = self.edges();
        (x1 - x0, y1 - y0)
    }

    /// The four edges, `[T, 1]` each, without a graph.
    fn edges(&self) -> [Tensor<2>; 4] {
        let boxes = self.boxes.clone().inner();
        [0, 1, 2, 3].map(|edge| boxes.clone().narrow(1, edge, 1))
    }

    /// Diagonal of one of `side`² cells in source pixels, `[T, 1]`.
    fn cell_diagonal(&self, side: usize) -> Tensor<2> {
        let (width, height) = self.extent();
        (width.square() + height.square())
            .sqrt()
            .div_scalar(side as f64)
    }
}

/// Centres of the cells of a `side` × `side` map in source pixels.
///
/// ```text
/// x = x0 + (flip ? s − u − ½ : u + ½) · w / s
/// y = y0 + (v + ½) · h / s            cell index = v · s + u
/// ```
///
/// Source: `method.md`, *Bookkeeping*.
///
/// # Shapes
/// - output: `[T, side², 2]`, (x, y), cells row-major; on the views' device, without a graph
///
/// # Panics
/// If the boxes are not `[T, 4]` or the flips not `[T]`.
///
/// # Example: a mirrored view of two by two cells
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_loss::{Views, cell_centers};
///
/// let device = Device::flex();
/// let views = Views {
///     boxes: Tensor::from_floats([[10.0, 0.0, 14.0, 8.0]], &device),
///     flips: Tensor::from_floats([1.0], &device),
/// };
/// let centers: Vec<f32> = cell_centers(&views, 2).try_into_vec_as().unwrap();
/// assert_eq!(centers, [13.0, 2.0, 11.0, 2.0, 13.0, 6.0, 11.0, 6.0]);
/// ```
pub fn cell_centers(views: &Views, side: usize) -> Tensor<3> {
    let tiles = views.tiles();
    let [x0, y0, ..] = views.edges();
    let (width, height) = views.extent();
    let cells = side * side;
    let device = x0.device();
    // Cell coordinates as shares of the tile, [1, S²].
    let share = |index: &dyn Fn(usize) -> usize| {
        let values: Vec<f32> = (0..cells)
            .map(|cell| ((index(cell) as f64 + 0.5) / side as f64) as f32)
            .collect();
        Tensor::<2>::from_data(TensorData::new(values, [1, cells]), &device)
    };
    let u = share(&|cell| cell % side);
    let v = share(&|cell| cell / side);
    let flips = views.flips.clone().inner().reshape([tiles, 1]);
    // u where not flipped, 1 − u where flipped.
    let u = u.clone() + flips * (u.mul_scalar(-2.0).add_scalar(1.0));
    let x = x0 + u * width;
    let y = y0 + v * height;
    Tensor::stack(vec![x, y], 2)
}

/// Distance between the cells of two views of the same images.
///
/// ```text
/// d(a, b) = ‖c_q(a) − c_k(b)‖ / max(diag_q, diag_k)
/// ```
///
/// c are the centres of [`cell_centers`], diag the diagonal of a cell, all in source pixels.
/// Source: PixPro (Xie et al., 2021), as `method.md`, *Losses*, has it.
///
/// # Shapes
/// - output: `[T, side², side²]`, query cell by key cell; without a graph
///
/// # Panics
/// If the two views do not hold the same number of tiles.
pub fn cell_distance(query: &Views, key: &Views, side: usize) -> Tensor<3> {
    assert_eq!(
        query.tiles(),
        key.tiles(),
        "query views {:?} and key views {:?} must hold the same tiles",
        query.boxes.dims(),
        key.boxes.dims()
    );
    let query_centers = cell_centers(query, side);
    let key_centers = cell_centers(key, side).swap_dims(1, 2);
    let offset =
        |axis| query_centers.clone().narrow(2, axis, 1) - key_centers.clone().narrow(1, axis, 1);
    let squared = offset(0).square() + offset(1).square();
    let diagonal = query.cell_diagonal(side).max_pair(key.cell_diagonal(side));
    squared.sqrt() / diagonal.unsqueeze_dim::<3>(2)
}
