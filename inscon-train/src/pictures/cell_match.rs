//! Which cells of two views are the same place, one pair at a time.
//!
//! The loss does this on the device for a whole batch ([`inscon_loss::cell_distance`]); here it is
//! done with [`ViewTransform`] alone, for pictures, and as its check (`tests/geometry.rs`).

use inscon_aug::ViewTransform;

/// A query cell and a key cell that are the same place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellMatch {
    /// Row-major index of the query cell.
    pub query: usize,
    /// Row-major index of the key cell.
    pub key: usize,
    /// Distance of their centres in the larger of the two cell diagonals.
    pub distance: f32,
}

/// The centre of a cell in pixels of the view itself.
#[must_use]
pub fn cell_in_view(view: &ViewTransform, side: usize, cell: usize) -> (f32, f32) {
    let along = |index: usize, length: u32| (index as f32 + 0.5) * length as f32 / side as f32;
    (
        along(cell % side, view.width),
        along(cell / side, view.height),
    )
}

/// The centre of a cell in source pixels: the view's geometry undone.
///
/// ```
/// use inscon_aug::{BBox, ViewTransform};
/// use inscon_train::pictures::cell_in_source;
///
/// let crop = BBox::new(10.0, 0.0, 14.0, 8.0);
/// let view = ViewTransform { crop, flip: true, width: 64, height: 64 };
/// assert_eq!(cell_in_source(&view, 2, 0), (13.0, 2.0));
/// ```
#[must_use]
pub fn cell_in_source(view: &ViewTransform, side: usize, cell: usize) -> (f32, f32) {
    let (x, y) = cell_in_view(view, side, cell);
    view.unmap_point(x, y)
}

/// Distance of two cells' centres in source pixels, in the larger of the two cell diagonals
/// (PixPro's; `method.md`, *Losses*).
#[must_use]
pub fn cell_distance(
    (query, a): (&ViewTransform, usize),
    (key, b): (&ViewTransform, usize),
    side: usize,
) -> f32 {
    let diagonal = |view: &ViewTransform| view.crop.width().hypot(view.crop.height()) / side as f32;
    let (ax, ay) = cell_in_source(query, side, a);
    let (bx, by) = cell_in_source(key, side, b);
    (ax - bx).hypot(ay - by) / diagonal(query).max(diagonal(key))
}

/// All pairs of cells nearer than `positive_below`, by query cell, then by key cell.
///
/// ```
/// use inscon_aug::{BBox, ViewTransform};
/// use inscon_train::pictures::match_cells;
///
/// // With identical crops, each cell is itself and no other: its neighbours are 0.7071 away.
/// let crop = BBox::new(3.0, 5.0, 83.0, 85.0);
/// let view = ViewTransform { crop, flip: false, width: 64, height: 64 };
/// let pairs = match_cells(&view, &view, 4, 0.7);
/// assert_eq!(pairs.len(), 16);
/// assert!(pairs.iter().all(|pair| pair.query == pair.key));
/// ```
#[must_use]
pub fn match_cells(
    query: &ViewTransform,
    key: &ViewTransform,
    side: usize,
    positive_below: f64,
) -> Vec<CellMatch> {
    let cells = side * side;
    let pairs = (0..cells).flat_map(|a| (0..cells).map(move |b| (a, b)));
    let measured = pairs.map(|(a, b)| CellMatch {
        query: a,
        key: b,
        distance: cell_distance((query, a), (key, b), side),
    });
    measured
        .filter(|pair| f64::from(pair.distance) < positive_below)
        .collect()
}
