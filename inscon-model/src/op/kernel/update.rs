//! Updates of parameters, in place.

use rayon::prelude::*;

use super::{Cpu, GRAIN};
use crate::op::SgdStep;

impl Cpu {
    /// `g ← g + weight_decay·p`, `v ← momentum·v + g`, `p ← p − lr·v` (`torch.optim.SGD` without
    /// dampening and Nesterov): one pass that reads three vectors and writes two.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn sgd(self, step: SgdStep, value: &mut [f32], velocity: &mut [f32], gradient: &[f32]) {
        assert_eq!(value.len(), velocity.len(), "sgd: velocity");
        assert_eq!(value.len(), gradient.len(), "sgd: gradient");
        let SgdStep {
            lr,
            momentum,
            weight_decay,
        } = step;
        let [lr, momentum, weight_decay] = [lr, momentum, weight_decay].map(|x| x as f32);
        value
            .par_chunks_mut(GRAIN)
            .zip(velocity.par_chunks_mut(GRAIN))
            .zip(gradient.par_chunks(GRAIN))
            .for_each(|((value, velocity), gradient)| {
                self.dispatch(
                    #[inline(always)]
                    || {
                        for ((p, v), g) in value.iter_mut().zip(velocity).zip(gradient) {
                            *v = *v * momentum + (g + *p * weight_decay);
                            *p -= *v * lr;
                        }
                    },
                );
            });
    }

    /// `value ← momentum·value + (1 − momentum)·other`: one pass.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn ema(self, momentum: f64, value: &mut [f32], other: &[f32]) {
        assert_eq!(value.len(), other.len(), "ema: lengths");
        let (keep, take) = (momentum as f32, (1.0 - momentum) as f32);
        value
            .par_chunks_mut(GRAIN)
            .zip(other.par_chunks(GRAIN))
            .for_each(|(value, other)| {
                self.dispatch(
                    #[inline(always)]
                    || {
                        for (value, other) in value.iter_mut().zip(other) {
                            *value = *value * keep + other * take;
                        }
                    },
                );
            });
    }
}
