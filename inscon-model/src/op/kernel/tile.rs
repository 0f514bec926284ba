//! The two register tiles that all arithmetic of a convolution goes through.

use std::array::from_fn;

use pulp::Simd;

/// Vectors of pixels in a panel of columns.
pub(super) const PANEL: usize = 3;

/// Rows of the weight in a tile: as many as the registers hold accumulators for.
pub(super) fn tile_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

/// `tile[m][p] += Σ_k weight[k][m] · panel[k][p]` for `VECTORS` vectors of pixels.
///
/// `weight` is `[K, ROWS]`, `panel` is `[K, PANEL vectors]`. Each sum runs over k upwards, so it
/// does not depend on how the pixels are cut.
#[inline(always)]
fn product<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    weight: &[f32],
    panel: &[S::f32s],
    mut sums: [[S::f32s; VECTORS]; ROWS],
) -> [[S::f32s; VECTORS]; ROWS] {
    let (weight, _) = weight.as_chunks::<ROWS>();
    let (panel, _) = panel.as_chunks::<PANEL>();
    for (weight, columns) in weight.iter().zip(panel) {
        let columns: [S::f32s; VECTORS] = from_fn(|v| columns[v]);
        for (sums, &weight) in sums.iter_mut().zip(weight) {
            let weight = simd.splat_f32s(weight);
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = simd.mul_add_f32s(weight, column, *sum);
            }
        }
    }
    sums
}

/// Writes the product of a weight tile `[K, ROWS]` and a panel `[K, PANEL vectors]`, of which
/// `vectors` are filled, to `tile`, rows of PANEL vectors; or adds it where `add` says so.
#[inline(always)]
pub(super) fn product_into<S: Simd>(
    simd: S,
    weight: &[f32],
    panel: &[f32],
    vectors: usize,
    add: bool,
    tile: &mut [f32],
) {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(
        simd: S,
        weight: &[f32],
        panel: &[S::f32s],
        add: bool,
        tile: &mut [S::f32s],
    ) {
        let (tile, _) = tile.as_chunks_mut::<PANEL>();
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        if add {
            for (sums, tile) in sums.iter_mut().zip(&*tile) {
                sums.copy_from_slice(&tile[..VECTORS]);
            }
        }
        let sums = product::<S, ROWS, VECTORS>(simd, weight, panel, sums);
        for (tile, sums) in tile.iter_mut().zip(&sums) {
            tile[..VECTORS].copy_from_slice(sums);
        }
    }
    let (panel, _) = S::as_simd_f32s(panel);
    let (tile, _) = S::as_mut_simd_f32s(tile);
    match (S::REGISTER_COUNT >= 32, vectors) {
        (true, 1) => run::<S, 8, 1>(simd, weight, panel, add, tile),
        (true, 2) => run::<S, 8, 2>(simd, weight, panel, add, tile),
        (true, _) => run::<S, 8, 3>(simd, weight, panel, add, tile),
        (false, 1) => run::<S, 4, 1>(simd, weight, panel, add, tile),
        (false, 2) => run::<S, 4, 2>(simd, weight, panel, add, tile),
        (false, _) => run::<S, 4, 3>(simd, weight, panel, add, tile),
    }
}

/// Rows of both sides of a tile of dot products.
pub(super) fn dot_rows<S: Simd>() -> [usize; 2] {
    if S::REGISTER_COUNT >= 32 {
        [4, 6]
    } else {
        [3, 4]
    }
}

/// `put(a, b, Σ_p left[a][p] · right[b][p])` for a tile of rows; each row is a whole number of
/// vectors long, `rows` on each side count.
#[inline(always)]
pub(super) fn dots<'a, S: Simd>(
    simd: S,
    len: usize,
    left: impl Fn(usize) -> &'a [f32],
    right: impl Fn(usize) -> &'a [f32],
    put: impl FnMut(usize, usize, f32),
) {
    #[inline(always)]
    fn run<'a, S: Simd, const LEFT: usize, const RIGHT: usize>(
        simd: S,
        len: usize,
        left: impl Fn(usize) -> &'a [f32],
        right: impl Fn(usize) -> &'a [f32],
        mut put: impl FnMut(usize, usize, f32),
    ) {
        let len = len / S::F32_LANES;
        let left: [&[S::f32s]; LEFT] = from_fn(|row| &S::as_simd_f32s(left(row)).0[..len]);
        let right: [&[S::f32s]; RIGHT] = from_fn(|row| &S::as_simd_f32s(right(row)).0[..len]);
        let mut sums = [[simd.splat_f32s(0.0); RIGHT]; LEFT];
        for at in 0..len {
            let right: [S::f32s; RIGHT] = from_fn(|row| right[row][at]);
            for (sums, left) in sums.iter_mut().zip(&left) {
                let left = left[at];
                for (sum, &right) in sums.iter_mut().zip(&right) {
                    *sum = simd.mul_add_f32s(left, right, *sum);
                }
            }
        }
        for (a, sums) in sums.iter().enumerate() {
            for (b, &sum) in sums.iter().enumerate() {
                put(a, b, simd.reduce_sum_f32s(sum));
            }
        }
    }
    if S::REGISTER_COUNT >= 32 {
        run::<S, 4, 6>(simd, len, left, right, put);
    } else {
        run::<S, 3, 4>(simd, len, left, right, put);
    }
}
