//! RoIAlign on burn-flex.

use burn::backend::flex::{Flex, FlexTensor};

use super::{dims, in_order, tensor};
use crate::op::buffers::{give, take};
use crate::op::kernel::Cpu;
use crate::op::roi::backend::{Plan, RoiBackend};

fn forward<const LEVELS: usize>(x: [FlexTensor; LEVELS], plan: &Plan) -> FlexTensor {
    let shape = plan.pooled(x[0].layout().shape());
    let [_, channels, ..] = dims::<4>(&x[0]);
    let x = x.map(in_order);
    let mut y = take(shape.num_elements());
    let maps = x.each_ref().map(FlexTensor::storage::<f32>);
    Cpu::detect().roi_align(plan, channels, &maps, &mut y);
    x.into_iter().for_each(give);
    tensor(y, shape)
}

impl RoiBackend for Flex {
    fn roi_align(x: FlexTensor, plan: Plan) -> FlexTensor {
        forward([x], &plan)
    }

    fn roi_align_pyramid(
        x0: FlexTensor,
        x1: FlexTensor,
        x2: FlexTensor,
        x3: FlexTensor,
        plan: Plan,
    ) -> FlexTensor {
        forward([x0, x1, x2, x3], &plan)
    }

    fn roi_align_gradient(dy: FlexTensor, plan: Plan, level: usize) -> FlexTensor {
        let shape = plan.map(dy.layout().shape(), level);
        let [_, channels, ..] = shape.dims::<4>();
        let dy = in_order(dy);
        let mut dx = take(shape.num_elements());
        Cpu::detect().roi_align_gradient(&plan, channels, level, dy.storage(), &mut dx);
        give(dy);
        tensor(dx, shape)
    }
}
