//! Updates of parameters on burn-flex.

use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::Tensor;

use super::{dims, in_order, tensor};
use crate::op::SgdStep;
use crate::op::buffers::give;
use crate::op::kernel::Cpu;

/// The tensor's values in order, held by nothing else if `tensor` was not.
fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.try_into_primitive::<Flex>() {
        Ok(tensor) => in_order(tensor),
        Err(error) => panic!("a tensor on flex without autodiff is needed: {error:?}"),
    }
}

pub(in crate::op) fn sgd<const D: usize>(
    step: SgdStep,
    value: Tensor<D>,
    velocity: Option<Tensor<D>>,
    gradient: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let (mut value, gradient) = (primitive(value), primitive(gradient));
    let mut velocity = match velocity {
        Some(velocity) => primitive(velocity),
        None => tensor(vec![0.0; value.layout().num_elements()], dims::<D>(&value)),
    };
    let (target, speed) = (value.storage_mut(), velocity.storage_mut());
    Cpu::detect().sgd(step, target, speed, gradient.storage());
    give(gradient);
    (
        Tensor::from_primitive::<Flex>(value),
        Tensor::from_primitive::<Flex>(velocity),
    )
}

pub(in crate::op) fn ema<const D: usize>(
    momentum: f64,
    value: Tensor<D>,
    other: Tensor<D>,
) -> Tensor<D> {
    let (mut value, other) = (primitive(value), primitive(other));
    Cpu::detect().ema(momentum, value.storage_mut(), other.storage());
    Tensor::from_primitive::<Flex>(value)
}
