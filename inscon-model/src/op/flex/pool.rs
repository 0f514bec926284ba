//! Max pooling on burn-flex.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};

use super::{AutodiffTensor, Window, dims, in_order, tensor};
use crate::op::buffers::{give, take};
use crate::op::kernel::{Cpu, PoolShape};

/// Output and sources.
pub(super) fn forward(x: FlexTensor, window: Window) -> (FlexTensor, PoolShape, Vec<u32>) {
    let [images, channels, height, width] = dims(&x);
    let shape = PoolShape {
        planes: images * channels,
        size: [height, width],
        kernel: window.kernel,
        stride: window.stride,
        padding: window.padding,
    };
    let x = in_order(x);
    let [rows, columns] = shape.output_size();
    let mut y = take(shape.planes * rows * columns);
    let sources = Cpu::detect().max_pool2d(&shape, x.storage(), &mut y);
    give(x);
    (tensor(y, [images, channels, rows, columns]), shape, sources)
}

pub(super) fn tracked<C: CheckpointStrategy>(
    x: AutodiffTensor<Flex>,
    window: Window,
) -> AutodiffTensor<Flex> {
    let size = dims(x.primitive());
    match PoolBackward
        .prepare::<C>([x.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let (y, shape, sources) = forward(x.into_primitive(), window);
            prep.finish((shape, size, sources), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(x.into_primitive(), window).0),
    }
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = (PoolShape, [usize; 4], Vec<u32>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = in_order(grads.consume::<Flex>(&ops.node));
        let (shape, size, sources) = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            let mut dx = take(size.iter().product());
            Cpu::detect().max_pool2d_gradient(&shape, &sources, dy.storage(), &mut dx);
            grads.register::<Flex>(node.id, tensor(dx, size));
        }
        give(dy);
    }
}
