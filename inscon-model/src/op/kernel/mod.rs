//! Kernels on slices of `f32`: no tensors, no networks. All of them spread over rayon's current
//! pool, and none of their results depends on how many threads it has: work is cut by size, and
//! each sum is made by one task in a fixed order.

mod conv;
mod gather;
mod norm;
mod pool;
mod product;
mod roi_align;
mod tile;
mod update;
mod weight_gradient;
mod winograd;
mod winograd_gradient;

use std::fmt;

use pulp::{Arch, WithSimd};

pub use conv::*;
pub use norm::*;
pub use pool::*;

/// An instruction set that the kernels run on: AVX-512, AVX2 with FMA, NEON, or none.
///
/// ```
/// # #[cfg(feature = "flex")] {
/// use inscon_model::op::kernel::{ConvShape, Cpu};
///
/// let shape = ConvShape { input: 1, output: 1, size: [1, 3], ..ConvShape::new(1, [1, 2]) };
/// let mut y = [0.0; 2];
/// Cpu::detect().conv2d_forward(&shape, &[1.0, 2.0, 4.0], &[-1.0, 1.0], None, &mut y);
/// assert_eq!(y, [1.0, 2.0]);
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Cpu(Arch);

impl Cpu {
    /// The widest instruction set of this processor, found at run time.
    #[must_use]
    pub fn detect() -> Self {
        Self(Arch::new())
    }

    /// Every instruction set that this processor can run, the widest last: for tests.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self(Arch::Scalar)];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        all.extend(pulp::x86::V3::try_new().map(|v3| Self(Arch::V3(v3))));
        let best = Self::detect();
        if all.iter().all(|cpu| cpu.to_string() != best.to_string()) {
            all.push(best);
        }
        all
    }

    #[inline(always)]
    fn dispatch<Op: WithSimd>(self, op: Op) -> Op::Output {
        self.0.dispatch(op)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.0);
        f.write_str(name.split(['(', ' ']).next().unwrap_or_default())
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cpu({self})")
    }
}

/// Cuts `len` items of `cost` values each in pieces for rayon: at least this many values a piece.
const GRAIN: usize = 1 << 14;

/// Items of `cost` values in a piece of [`GRAIN`] values.
fn items_of(cost: usize) -> usize {
    (GRAIN / cost.max(1)).max(1)
}
