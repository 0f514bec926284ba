//! RoIAlign as an operation of a backend, with its backward.

use std::ops::Deref;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::RoiPlan;

/// A plan that the forward and the backward share.
#[derive(Debug, Clone)]
pub(in crate::op) struct Plan(Arc<RoiPlan>);

impl From<RoiPlan> for Plan {
    fn from(plan: RoiPlan) -> Self {
        Self(Arc::new(plan))
    }
}

impl Deref for Plan {
    type Target = RoiPlan;

    fn deref(&self) -> &RoiPlan {
        &self.0
    }
}

impl Plan {
    /// Shape of the output for maps of shape `map`.
    pub(in crate::op) fn pooled(&self, map: &Shape) -> Shape {
        let [_, channels, ..] = map.dims::<4>();
        [self.rois(), channels, self.output(), self.output()].into()
    }

    /// Shape of map `level` for an output of shape `pooled`.
    pub(in crate::op) fn map(&self, pooled: &Shape, level: usize) -> Shape {
        let [_, channels, ..] = pooled.dims::<4>();
        let map = self.maps()[level];
        let [height, width] = map.size;
        [map.images, channels, height, width].into()
    }
}

/// RoIAlign of one map and of four, and the gradient of a map.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub(in crate::op) trait RoiBackend: Backend {
    #[fusion(dtype = x, shape = plan.pooled(x))]
    fn roi_align(x: FloatTensor<Self>, plan: Plan) -> FloatTensor<Self>;

    #[fusion(dtype = x0, shape = plan.pooled(x0))]
    fn roi_align_pyramid(
        x0: FloatTensor<Self>,
        x1: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        x3: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = dy, shape = plan.map(dy, *level))]
    fn roi_align_gradient(dy: FloatTensor<Self>, plan: Plan, level: usize) -> FloatTensor<Self>;
}

/// Whether `x` lies where a kernel runs.
pub(super) fn runs(x: &Tensor<4>) -> bool {
    #[cfg(feature = "flex")]
    if crate::op::flex::runs(x) {
        return true;
    }
    #[cfg(feature = "cube")]
    if crate::op::cube::runs(x) {
        return true;
    }
    false
}

pub(super) fn roi_align(x: Tensor<4>, plan: Plan) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::roi_align(x.into_dispatch(), plan))
}

pub(super) fn roi_align_pyramid(x: [Tensor<4>; 4], plan: Plan) -> Tensor<4> {
    let [x0, x1, x2, x3] = x.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::roi_align_pyramid(x0, x1, x2, x3, plan))
}

impl<B: RoiBackend, C: CheckpointStrategy> RoiBackend for Autodiff<B, C> {
    fn roi_align(x: FloatTensor<Self>, plan: Plan) -> FloatTensor<Self> {
        let prep = Backward::<B, 1>::prepare::<C>(RoiBackward, [x.node()]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::roi_align(x.into_primitive(), plan.clone());
                prep.finish(plan, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::roi_align(x.into_primitive(), plan)),
        }
    }

    fn roi_align_pyramid(
        x0: FloatTensor<Self>,
        x1: FloatTensor<Self>,
        x2: FloatTensor<Self>,
        x3: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let nodes = [x0.node(), x1.node(), x2.node(), x3.node()];
        let y = B::roi_align_pyramid(
            x0.into_primitive(),
            x1.into_primitive(),
            x2.into_primitive(),
            x3.into_primitive(),
            plan.clone(),
        );
        let prep = Backward::<B, 4>::prepare::<C>(RoiBackward, nodes);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(plan, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn roi_align_gradient(_: FloatTensor<Self>, _: Plan, _: usize) -> FloatTensor<Self> {
        unreachable!("the backward of RoIAlign runs below autodiff")
    }
}

#[derive(Debug)]
struct RoiBackward;

impl RoiBackward {
    /// The gradient of every map that is tracked; the last takes the output's.
    fn gradients<B: RoiBackend>(
        nodes: &[Option<NodeId>],
        plan: &Plan,
        dy: FloatTensor<B>,
        grads: &mut Gradients,
    ) {
        let tracked = |(level, node): (usize, &Option<NodeId>)| Some((level, (*node)?));
        let mut levels = nodes.iter().enumerate().filter_map(tracked).peekable();
        let mut dy = Some(dy);
        while let Some((level, node)) = levels.next() {
            let last = levels.peek().is_none();
            let source = if last { dy.take() } else { dy.clone() };
            if let Some(source) = source {
                let gradient = B::roi_align_gradient(source, plan.clone(), level);
                grads.register::<B>(node, gradient);
            }
        }
    }
}

impl<B: RoiBackend> Backward<B, 1> for RoiBackward {
    type State = Plan;

    fn backward(self, ops: Ops<Plan, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        Self::gradients::<B>(&nodes, &ops.state, dy, grads);
    }
}

impl<B: RoiBackend> Backward<B, 4> for RoiBackward {
    type State = Plan;

    fn backward(self, ops: Ops<Plan, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        Self::gradients::<B>(&nodes, &ops.state, dy, grads);
    }
}
