//! The inverse discrete cosine transform, at full and reduced size.
//!
//! libjpeg's integer transforms ("islow" and its reductions to 4 × 4, 2 × 2 and 1 × 1) are Loeffler,
//! Ligtenberg and Moschytz's flow graphs. Between the roundings they are linear and integer, so the
//! product with the graph's matrix gives the same bits, needs no transposition between the two
//! passes, and is short enough for a compiler to vectorise: over columns in the first pass, over
//! the outputs of a row in the second.

/// Where coefficient `k` of a block, in zigzag order, is stored; what lies beyond the block goes to
/// place 64.
///
/// Rows are stored in pairs (0, 2), (1, 3), (4, 6) and (5, 7), interleaved by column: two even or
/// two odd rows that are multiplied together.
pub(super) const PLACES: [u8; 256] = places();

/// A stored block, with room for what lies beyond it.
pub(super) type Block = [i16; 128];

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

/// Products of input `u` and output `y`: the first half of the outputs of even inputs, then of odd
/// ones. Even inputs give the second half the mirror image, odd ones its negative.
struct Matrix<const H: usize> {
    even: [[i32; H]; 4],
    odd: [[i32; H]; 4],
    /// Bits to shift out behind the first and the second pass.
    shifts: [u32; 2],
}

/// Constants are in units of 2⁻¹³.
const FULL: Matrix<4> = Matrix {
    even: [
        [8192, 8192, 8192, 8192],
        [10703, 4433, -4433, -10703],
        [8192, -8192, -8192, 8192],
        [4433, -10704, 10704, -4433],
    ],
    odd: [
        [11363, 9633, 6437, 2260],
        [9633, -2259, -11362, -6436],
        [6437, -11362, 2261, 9633],
        [2260, -6436, 9633, -11363],
    ],
    shifts: [11, 18],
};

const HALF: Matrix<2> = Matrix {
    even: [[16384, 16384], [15137, -15137], [0, 0], [-6270, 6270]],
    odd: [
        [20995, 8697],
        [7373, -17799],
        [-4926, 11893],
        [-4176, -1730],
    ],
    shifts: [12, 19],
};

const QUARTER: Matrix<1> = Matrix {
    even: [[32768], [0], [0], [0]],
    odd: [[29692], [-10426], [6967], [-5906]],
    shifts: [13, 20],
};

/// Transforms a block of which no coefficient behind `last`, in zigzag order, is other than zero,
/// to `side × side` samples: rows of `stride` from the first of `out` on.
#[inline(always)]
pub(super) fn transform(
    block: &[i16; 64],
    quantization: &[i16; 64],
    last: u32,
    side: u32,
    out: &mut [u8],
    stride: usize,
) {
    if last == 0 || side == 1 {
        let dc = i32::from(block[0].wrapping_mul(quantization[0]));
        let value = ((dc + 4 >> 3) + 128).clamp(0, 255) as u8;
        for row in out.chunks_mut(stride).take(side as usize) {
            row[..side as usize].fill(value);
        }
        return;
    }
    // The first ten coefficients lie in the first four rows and columns.
    match (side, last < 10) {
        (8, true) => product::<8, 4, true>(&FULL, block, quantization, out, stride),
        (8, false) => product::<8, 4, false>(&FULL, block, quantization, out, stride),
        (4, _) => product::<4, 2, false>(&HALF, block, quantization, out, stride),
        _ => product::<2, 1, false>(&QUARTER, block, quantization, out, stride),
    }
}

/// `S` is twice `H`. `SPARSE` where only the first four rows and columns are looked at.
#[inline(always)]
fn product<const S: usize, const H: usize, const SPARSE: bool>(
    matrix: &Matrix<H>,
    block: &[i16; 64],
    quantization: &[i16; 64],
    out: &mut [u8],
    stride: usize,
) {
    let used = if SPARSE { 4 } else { 8 };
    let mut values = [0i32; 64];
    for i in 0..used * 8 {
        values[i] = i32::from(block[i].wrapping_mul(quantization[i]));
    }
    let mut rows = [[0i32; 8]; S];
    let round = 1i32 << (matrix.shifts[0] - 1);
    for y in 0..H {
        for x in 0..8 {
            let at = |pair: usize, which: usize| values[pair * 16 + x * 2 + which];
            let mut even = at(0, 0).wrapping_mul(matrix.even[0][y]);
            even = even.wrapping_add(at(0, 1).wrapping_mul(matrix.even[1][y]));
            let mut odd = at(1, 0).wrapping_mul(matrix.odd[0][y]);
            odd = odd.wrapping_add(at(1, 1).wrapping_mul(matrix.odd[1][y]));
            if !SPARSE {
                even = even.wrapping_add(at(2, 0).wrapping_mul(matrix.even[2][y]));
                even = even.wrapping_add(at(2, 1).wrapping_mul(matrix.even[3][y]));
                odd = odd.wrapping_add(at(3, 0).wrapping_mul(matrix.odd[2][y]));
                odd = odd.wrapping_add(at(3, 1).wrapping_mul(matrix.odd[3][y]));
            }
            even = even.wrapping_add(round);
            let shift = |v: i32| (v >> matrix.shifts[0]).clamp(-32768, 32767);
            rows[y][x] = shift(even.wrapping_add(odd));
            rows[S - 1 - y][x] = shift(even.wrapping_sub(odd));
        }
    }
    let round = 1i32 << (matrix.shifts[1] - 1);
    for (row, out) in rows.iter().zip(out.chunks_mut(stride)) {
        let mut sums = [round; S];
        for v in 0..used {
            let factors = if v % 2 == 0 { &matrix.even } else { &matrix.odd };
            let factors = &factors[v / 2];
            for (x, sum) in sums.iter_mut().enumerate() {
                let factor = match (x < H, v % 2) {
                    (true, _) => factors[x],
                    (false, 0) => factors[S - 1 - x],
                    (false, _) => -factors[S - 1 - x],
                };
                *sum = sum.wrapping_add(row[v].wrapping_mul(factor));
            }
        }
        for (to, sum) in out[..S].iter_mut().zip(sums) {
            *to = ((sum >> matrix.shifts[1]) + 128).clamp(0, 255) as u8;
        }
    }
}
