//! The inverse discrete cosine transform, at full and reduced size.
//!
//! libjpeg's integer transforms ("islow" and its reductions to 4 × 4, 2 × 2 and 1 × 1) are Loeffler,
//! Ligtenberg and Moschytz's flow graphs. Between the roundings they are linear and integer, so the
//! product with the graph's matrix gives the same bits, needs no transposition between the two
//! passes, and is short enough for a compiler to vectorise: over columns in the first pass, over
//! the outputs of a row in the second.

use crate::lanes::Lanes;

/// Where coefficient `k` of a block, in zigzag order, is stored; what lies beyond the block goes to
/// place 64.
///
/// Rows are stored in pairs (0, 2), (1, 3), (4, 6) and (5, 7), interleaved by column: two even or
/// two odd rows that are multiplied together.
pub(super) const PLACES: [u8; 256] = places();

/// A stored block, with room for what lies beyond it.
pub(super) type Block = [i16; 256];

const fn places() -> [u8; 256] {
    let mut places = [64; 256];
    let (mut row, mut column) = (0, 0);
    let mut k = 0;
    while k < 64 {
        let pair = row / 4 * 2 + row % 2;
        places[k] = (pair * 16 + column * 2 + row / 2 % 2) as u8;
        // Up and right on even diagonals, down and left on odd ones.
        if (row + column) % 2 == 0 {
            if column == 7 {
                row += 1;
            } else {
                column += 1;
                row = if row == 0 { 0 } else { row - 1 };
            }
        } else if row == 7 {
            column += 1;
        } else {
            row += 1;
            column = if column == 0 { 0 } else { column - 1 };
        }
        k += 1;
    }
    places
}

/// A quantisation table, given in zigzag order, as blocks are stored. Products are of 16 bits, as
/// libjpeg-turbo's.
pub(super) fn stored_quantization(table: &[u16; 64]) -> [i16; 64] {
    let mut stored = [0; 64];
    for (&value, &place) in table.iter().zip(&PLACES) {
        stored[usize::from(place)] = value as i16;
    }
    stored
}

/// The matrix of a transform to `S` outputs, of integers in units of 2⁻¹³.
struct Matrix<const S: usize> {
    /// Of inputs (0, 2), (1, 3), (4, 6) and (5, 7), the factors for the outputs (0, 1) and (2, 3),
    /// eight times for each output: those of the first half. A lone output stands twice.
    columns: [[[i16; 32]; 2]; 4],
    /// Of inputs (0, 1), (2, 3), (4, 5) and (6, 7), interleaved, the factors for all outputs, and
    /// zeros, twice.
    rows: [[i16; 32]; 4],
    /// Bits to shift out behind the first and the second pass.
    shifts: [u32; 2],
    /// Input 0 is counted twice, as its factor does not fit.
    double: bool,
}

/// `even` and `odd` are the factors of the first half of the outputs. Even inputs give the second
/// half the mirror image, odd ones its negative.
const fn matrix<const S: usize, const H: usize>(
    even: [[i16; H]; 4],
    odd: [[i16; H]; 4],
    shifts: [u32; 2],
    double: bool,
) -> Matrix<S> {
    let mut all = [[0; S]; 8];
    let mut u = 0;
    while u < 8 {
        let mut y = 0;
        while y < H {
            let value = if u % 2 == 0 {
                even[u / 2][y]
            } else {
                odd[u / 2][y]
            };
            all[u][y] = value;
            all[u][S - 1 - y] = if u % 2 == 0 { value } else { -value };
            y += 1;
        }
        u += 1;
    }
    let (mut columns, mut rows) = ([[[0; 32]; 2]; 4], [[0; 32]; 4]);
    let mut p = 0;
    while p < 4 {
        let first = p / 2 * 4 + p % 2;
        let mut i = 0;
        while i < 64 {
            let y = i / 16;
            let y = if y < H { y } else { H - 1 };
            columns[p][i / 32][i % 32] = all[first + i % 2 * 2][y];
            i += 1;
        }
        let mut i = 0;
        while i < 32 {
            let x = i % 16 / 2;
            if x < S {
                rows[p][i] = all[2 * p + i % 2][x];
            }
            i += 1;
        }
        p += 1;
    }
    Matrix {
        columns,
        rows,
        shifts,
        double,
    }
}

const FULL: Matrix<8> = matrix(
    [
        [8192, 8192, 8192, 8192],
        [10703, 4433, -4433, -10703],
        [8192, -8192, -8192, 8192],
        [4433, -10704, 10704, -4433],
    ],
    [
        [11363, 9633, 6437, 2260],
        [9633, -2259, -11362, -6436],
        [6437, -11362, 2261, 9633],
        [2260, -6436, 9633, -11363],
    ],
    [11, 18],
    false,
);

const HALF: Matrix<4> = matrix(
    [[16384, 16384], [15137, -15137], [0, 0], [-6270, 6270]],
    [
        [20995, 8697],
        [7373, -17799],
        [-4926, 11893],
        [-4176, -1730],
    ],
    [12, 19],
    false,
);

/// The factor of input 0 is 2¹⁵.
const QUARTER: Matrix<2> = matrix(
    [[16384], [0], [0], [0]],
    [[29692], [-10426], [6967], [-5906]],
    [13, 20],
    true,
);

/// Transforms a block of which no coefficient behind `last`, in zigzag order, is other than zero,
/// to `side × side` samples: rows of `stride` from the first of `out` on.
#[inline(always)]
pub(super) fn transform(
    lanes: impl Lanes,
    block: &[i16; 64],
    quantization: &[i16; 64],
    last: u32,
    side: u32,
    out: &mut [u8],
    stride: usize,
) {
    if last == 0 || side == 1 {
        let dc = i32::from(block[0].wrapping_mul(quantization[0]));
        let value = (((dc + 4) >> 3) + 128).clamp(0, 255) as u8;
        for row in out.chunks_mut(stride).take(side as usize) {
            row[..side as usize].fill(value);
        }
        return;
    }
    // The first ten coefficients lie in the first four rows and columns.
    match (side, last < 10) {
        (8, true) => product::<8, true>(lanes, &FULL, block, quantization, out, stride),
        (8, false) => product::<8, false>(lanes, &FULL, block, quantization, out, stride),
        (4, _) => product::<4, false>(lanes, &HALF, block, quantization, out, stride),
        _ => product::<2, false>(lanes, &QUARTER, block, quantization, out, stride),
    }
}

/// `SPARSE` where only the first four rows and columns are looked at.
//
// Plain loops, because closures given to `array::map` and the like are not always inlined, and then
// not compiled for the instruction set.
#[inline(always)]
fn product<const S: usize, const SPARSE: bool>(
    lanes: impl Lanes,
    matrix: &Matrix<S>,
    block: &[i16; 64],
    quantization: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) {
    let used = if SPARSE { 2 } else { 4 };
    // Pairs of rows, interleaved.
    let (blocks, tables) = (block.as_chunks::<16>().0, quantization.as_chunks::<16>().0);
    let mut pairs = [[0i16; 16]; 4];
    for (p, pair) in pairs.iter_mut().enumerate().take(used) {
        for (i, value) in pair.iter_mut().enumerate() {
            *value = blocks[p][i].wrapping_mul(tables[p][i]);
        }
    }
    let pairs = [
        twice(pairs[0]),
        twice(pairs[1]),
        twice(pairs[2]),
        twice(pairs[3]),
    ];
    for step in 0..(S / 2).div_ceil(2) {
        // Two rows of outputs of the upper half, one behind the other; a lone one twice.
        let mut even = lanes.products(pairs[0], matrix.columns[0][step]);
        let mut odd = lanes.products(pairs[1], matrix.columns[1][step]);
        if !SPARSE {
            even = add(even, lanes.products(pairs[2], matrix.columns[2][step]));
            odd = add(odd, lanes.products(pairs[3], matrix.columns[3][step]));
        }
        if matrix.double {
            even = add(even, even);
        }
        even = add(even, [1 << (matrix.shifts[0] - 1); 16]);
        let (mut upper, mut lower) = ([0; 16], [0; 16]);
        for x in 0..16 {
            let (sum, difference) = (even[x].wrapping_add(odd[x]), even[x].wrapping_sub(odd[x]));
            upper[x] = (sum >> matrix.shifts[0]).clamp(-32768, 32767) as i16;
            lower[x] = (difference >> matrix.shifts[0]).clamp(-32768, 32767) as i16;
        }
        let upper = second_pass::<S>(lanes, matrix, upper, used);
        let lower = second_pass::<S>(lanes, matrix, lower, used);
        let (y, z) = (2 * step, (2 * step + 1).min(S / 2 - 1));
        let rows = [
            (y, upper, 0),
            (z, upper, 8),
            (S - 1 - y, lower, 0),
            (S - 1 - z, lower, 8),
        ];
        for (y, samples, first) in rows {
            out[y * stride..y * stride + S].copy_from_slice(&samples[first..first + S]);
        }
    }
}

/// The samples of two rows, eight for each.
#[inline(always)]
fn second_pass<const S: usize>(
    lanes: impl Lanes,
    matrix: &Matrix<S>,
    inputs: [i16; 16],
    used: usize,
) -> [u8; 16] {
    // Rounding, and 128 behind the shift.
    let mut sums = [(1 << (matrix.shifts[1] - 1)) + (128 << matrix.shifts[1]); 16];
    for p in 0..used {
        let mut both = [0; 32];
        for (i, value) in both.iter_mut().enumerate() {
            *value = inputs[i / 16 * 8 + 2 * p + i % 2];
        }
        sums = add(sums, lanes.products(both, matrix.rows[p]));
    }
    let mut samples = [0; 16];
    for i in 0..16 {
        if matrix.double {
            sums[i] = sums[i].wrapping_add(i32::from(inputs[i / 8 * 8]) * 16384);
        }
        samples[i] = (sums[i] >> matrix.shifts[1]).clamp(0, 255) as u8;
    }
    samples
}

#[inline(always)]
fn twice(values: [i16; 16]) -> [i16; 32] {
    let mut all = [0; 32];
    for (i, value) in all.iter_mut().enumerate() {
        *value = values[i % 16];
    }
    all
}

#[inline(always)]
fn add(a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
    let mut sums = [0; 16];
    for i in 0..16 {
        sums[i] = a[i].wrapping_add(b[i]);
    }
    sums
}

#[cfg(test)]
mod tests {
    use pulp::Arch;
    use rand::Rng;

    use super::*;
    use crate::lanes::{Run, dispatch};
    use crate::rng::{below, stream};

    struct Job<'a> {
        block: &'a [i16; 64],
        quantization: &'a [i16; 64],
        last: u32,
        side: u32,
    }

    impl Run for Job<'_> {
        type Output = [u8; 72];

        #[inline(always)]
        fn run(self, lanes: impl Lanes) -> [u8; 72] {
            let Self {
                block,
                quantization,
                last,
                side,
            } = self;
            let mut out = [0; 72];
            transform(lanes, block, quantization, last, side, &mut out, 9);
            out
        }
    }

    /// The product with the same matrix, factor by factor.
    fn naive<const S: usize>(matrix: &Matrix<S>, inputs: [i64; 8], pass: usize) -> [i64; S] {
        let mut outputs = [1 << (matrix.shifts[pass] - 1); S];
        for (y, output) in outputs.iter_mut().enumerate() {
            for (p, row) in matrix.rows.iter().enumerate() {
                let factor = |i: usize| i64::from(row[2 * y + i]);
                *output += factor(0) * inputs[2 * p] + factor(1) * inputs[2 * p + 1];
            }
            if matrix.double {
                *output += 16384 * inputs[0];
            }
            *output >>= matrix.shifts[pass];
        }
        outputs
    }

    fn check<const S: usize>(matrix: &Matrix<S>, seed: u64) {
        let mut rng = stream(seed, &[S as u64]);
        let quantization: [i16; 64] = std::array::from_fn(|_| 1 + below(&mut rng, 60) as i16);
        let last = below(&mut rng, 64) as u32;
        let (mut block, mut natural) = ([0; 64], [[0i64; 8]; 8]);
        for &place in &PLACES[..=last as usize] {
            let place = usize::from(place);
            block[place] = (rng.next_u32() % 21) as i16 - 10;
            let (pair, column, second) = (place / 16, place % 16 / 2, place % 2);
            let row = pair / 2 * 4 + pair % 2 + 2 * second;
            natural[row][column] = i64::from(block[place] * quantization[place]);
        }
        let columns: [[i64; S]; 8] = std::array::from_fn(|x| {
            let inputs = natural.map(|row| row[x]);
            naive(matrix, inputs, 0).map(|v| v.clamp(-32768, 32767))
        });
        let mut expected = [0; 72];
        for y in 0..S {
            let samples = naive(matrix, columns.map(|column| column[y]), 1);
            for (x, v) in samples.into_iter().enumerate() {
                expected[9 * y + x] = (v + 128).clamp(0, 255) as u8;
            }
        }
        let mut archs = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        for arch in archs {
            let job = Job {
                block: &block,
                quantization: &quantization,
                last,
                side: S as u32,
            };
            let out = dispatch(arch, job);
            // A lone DC coefficient takes the short way, which for smaller sides rounds alike.
            assert_eq!(out, expected, "{arch:?}, side {S}, last {last}, {block:?}");
        }
    }

    #[test]
    fn every_instruction_set_multiplies_by_the_matrix() {
        for seed in 0..500 {
            check(&FULL, seed);
            check(&HALF, seed);
            check(&QUARTER, seed);
        }
    }
}
