//! The few vector operations that a compiler does not find by itself, and running code compiled for
//! the processor's instruction set.

use pulp::{Arch, Scalar, Simd, WithSimd};

/// Pixels that are interleaved together.
pub(crate) const CHUNK: usize = 32;
/// Rows that are transposed together.
pub(crate) const ROWS: usize = 16;

/// Two squares of bytes side by side.
pub(crate) type Squares = [[u8; 2 * ROWS]; ROWS];

/// An instruction set. All give the same results.
pub(crate) trait Lanes: Copy {
    /// `a[2i]·b[2i] + a[2i + 1]·b[2i + 1]`.
    fn products(self, a: [i16; 32], b: [i16; 32]) -> [i32; 16];

    /// `[a[0], b[0], c[0], a[1], …]`.
    fn interleave(self, channels: [[u8; CHUNK]; 3]) -> [u8; 3 * CHUNK];

    /// Each square transposed where it lies. Four times each row of the upper half is interleaved
    /// with one of the lower: a perfect shuffle, which rotates the bits of a byte's row and column
    /// by one.
    fn transpose(self, squares: Squares) -> Squares;
}

/// Whatever the compiler makes of plain loops.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Lanes for Plain {
    #[inline(always)]
    fn products(self, a: [i16; 32], b: [i16; 32]) -> [i32; 16] {
        let mut sums = [0i32; 16];
        for (i, sum) in sums.iter_mut().enumerate() {
            let [low, high] = [2 * i, 2 * i + 1].map(|at| i32::from(a[at]) * i32::from(b[at]));
            *sum = low.wrapping_add(high);
        }
        sums
    }

    #[inline(always)]
    fn interleave(self, channels: [[u8; CHUNK]; 3]) -> [u8; 3 * CHUNK] {
        let mut out = [0; 3 * CHUNK];
        for (i, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = [channels[0][i], channels[1][i], channels[2][i]];
        }
        out
    }

    #[inline(always)]
    fn transpose(self, mut squares: Squares) -> Squares {
        for _ in 0..4 {
            let mut shuffled = [[0; 2 * ROWS]; ROWS];
            for (i, two) in shuffled.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let (upper, lower) = (&squares[i], &squares[i + ROWS / 2]);
                for (half, to) in two.iter_mut().enumerate() {
                    for j in 0..ROWS / 2 {
                        for square in [0, ROWS] {
                            let from = square + half * ROWS / 2 + j;
                            to[square + 2 * j] = upper[from];
                            to[square + 2 * j + 1] = lower[from];
                        }
                    }
                }
            }
            squares = shuffled;
        }
        squares
    }
}

/// AVX2.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Lanes for pulp::x86::V3 {
    #[inline(always)]
    fn products(self, a: [i16; 32], b: [i16; 32]) -> [i32; 16] {
        let [a, b]: [[pulp::i16x16; 2]; 2] = [pulp::cast(a), pulp::cast(b)];
        pulp::cast([
            self.multiply_wrapping_add_adjacent_i16x16(a[0], b[0]),
            self.multiply_wrapping_add_adjacent_i16x16(a[1], b[1]),
        ])
    }

    #[inline(always)]
    fn interleave(self, channels: [[u8; CHUNK]; 3]) -> [u8; 3 * CHUNK] {
        /// Where the bytes of the `k`th 16 of 48 lie in 16 bytes of channel `c`, twice; 0x80 if
        /// they do not.
        const fn places(k: usize, c: usize) -> [u8; 32] {
            let mut places = [0x80; 32];
            let mut i = 0;
            while i < 32 {
                let at = 16 * k + i % 16;
                if at % 3 == c {
                    places[i] = (at / 3) as u8;
                }
                i += 1;
            }
            places
        }
        const PLACES: [[[u8; 32]; 3]; 3] = [
            [places(0, 0), places(0, 1), places(0, 2)],
            [places(1, 0), places(1, 1), places(1, 2)],
            [places(2, 0), places(2, 1), places(2, 2)],
        ];
        // No closures: they would not be compiled for this instruction set.
        let [a, b, c] = [
            pulp::cast(channels[0]),
            pulp::cast(channels[1]),
            pulp::cast(channels[2]),
        ];
        let mut out = [[0; 16]; 6];
        for (k, [of_a, of_b, of_c]) in PLACES.into_iter().enumerate() {
            let a = self.avx2._mm256_shuffle_epi8(a, pulp::cast(of_a));
            let b = self.avx2._mm256_shuffle_epi8(b, pulp::cast(of_b));
            let c = self.avx2._mm256_shuffle_epi8(c, pulp::cast(of_c));
            let all = self
                .avx2
                ._mm256_or_si256(self.avx2._mm256_or_si256(a, b), c);
            let halves: [[u8; 16]; 2] = pulp::cast(all);
            out[k] = halves[0];
            out[k + 3] = halves[1];
        }
        pulp::cast(out)
    }

    #[inline(always)]
    fn transpose(self, mut squares: Squares) -> Squares {
        for _ in 0..4 {
            let mut shuffled = [[0; 2 * ROWS]; ROWS];
            for i in 0..ROWS / 2 {
                let upper = pulp::cast(squares[i]);
                let lower = pulp::cast(squares[i + ROWS / 2]);
                shuffled[2 * i] = pulp::cast(self.avx2._mm256_unpacklo_epi8(upper, lower));
                shuffled[2 * i + 1] = pulp::cast(self.avx2._mm256_unpackhi_epi8(upper, lower));
            }
            squares = shuffled;
        }
        squares
    }
}

/// AVX-512.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
impl Lanes for pulp::x86::V4 {
    #[inline(always)]
    fn products(self, a: [i16; 32], b: [i16; 32]) -> [i32; 16] {
        pulp::cast(self.multiply_wrapping_add_adjacent_i16x32(pulp::cast(a), pulp::cast(b)))
    }

    #[inline(always)]
    fn interleave(self, channels: [[u8; CHUNK]; 3]) -> [u8; 3 * CHUNK] {
        Lanes::interleave(*self, channels)
    }

    #[inline(always)]
    fn transpose(self, squares: Squares) -> Squares {
        Lanes::transpose(*self, squares)
    }
}

/// Something to run for an instruction set: a type of its own, since a closure that is not inlined
/// runs without the instruction set's vectors.
pub(crate) trait Run {
    type Output;

    /// Must be inlined, with all that it calls.
    fn run(self, lanes: impl Lanes) -> Self::Output;
}

/// Runs code compiled for this processor.
pub(crate) fn vectorized<R: Run>(run: R) -> R::Output {
    dispatch(Arch::new(), run)
}

/// Runs code compiled for `arch`.
pub(crate) fn dispatch<R: Run>(arch: Arch, run: R) -> R::Output {
    struct Op<R, L>(R, L);

    impl<R: Run, L: Lanes> WithSimd for Op<R, L> {
        type Output = R::Output;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> R::Output {
            self.0.run(self.1)
        }
    }

    match arch {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V4(v4) => Simd::vectorize(v4, Op(run, v4)),
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        Arch::V3(v3) => Simd::vectorize(v3, Op(run, v3)),
        Arch::Scalar => Simd::vectorize(Scalar::new(), Op(run, Plain)),
        other => other.dispatch(Op(run, Plain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Transpose(Squares);

    impl Run for Transpose {
        type Output = Squares;

        #[inline(always)]
        fn run(self, lanes: impl Lanes) -> Squares {
            lanes.transpose(self.0)
        }
    }

    #[test]
    fn squares_are_transposed() {
        let mut squares: Squares = [[0; 2 * ROWS]; ROWS];
        let mut value = 0u8;
        for v in squares.iter_mut().flatten() {
            // Every byte of a square is another.
            value = value.wrapping_mul(5).wrapping_add(3);
            *v = value;
        }
        for turned in [vectorized(Transpose(squares)), Plain.transpose(squares)] {
            for (y, row) in turned.iter().enumerate() {
                for (x, &v) in row.iter().enumerate() {
                    let square = x / ROWS * ROWS;
                    assert_eq!(v, squares[x % ROWS][square + y], "row {y}, column {x}");
                }
            }
        }
    }
}
