//! Batch norm on burn-flex.

use burn::backend::AutodiffBackend;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::{Flex, FlexTensor};

use super::{AutodiffTensor, NormConfig, dims, in_order, norm_shape, tensor};
use crate::op::buffers::{give, take};
use crate::op::kernel::{Affine, Cpu, NormShape};

/// Scale of each statistic: `weight / √(variance + ε)`.
fn norm_scale(weight: &[f32], variance: &[f32], epsilon: f32) -> Vec<f32> {
    let weights = weight.iter().cycle();
    let scale = |(weight, variance): (&f32, &f32)| weight / (variance + epsilon).sqrt();
    weights.zip(variance).map(scale).collect()
}

/// `x·scale + shift` with its epilogue, in place where nothing else holds `x`.
fn apply_affine(
    shape: &NormShape,
    mut x: FlexTensor,
    affine: Affine<'_>,
    residual: Option<FlexTensor>,
    relu: bool,
) -> FlexTensor {
    let cpu = Cpu::detect();
    let values = residual.as_ref().map(FlexTensor::storage::<f32>);
    let y = match x.try_storage_mut::<f32>() {
        Some(y) => {
            cpu.affine_in_place(shape, affine, values, relu, y);
            x
        }
        None => {
            let mut y = take(x.layout().num_elements());
            cpu.affine(shape, x.storage(), affine, values, relu, &mut y);
            tensor(y, dims::<4>(&x))
        }
    };
    if let Some(residual) = residual {
        give(residual);
    }
    y
}

pub(super) fn batch_norm(
    x: FlexTensor,
    weight: FlexTensor,
    bias: FlexTensor,
    residual: Option<FlexTensor>,
    config: NormConfig,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let cpu = Cpu::detect();
    let shape = norm_shape(&x, config.groups);
    let (x, weight, bias) = (in_order(x), in_order(weight), in_order(bias));
    let residual = residual.map(in_order);
    let (mean, variance) = cpu.batch_statistics(&shape, x.storage());
    let scale = norm_scale(weight.storage(), &variance, config.epsilon);
    let bias = bias.storage::<f32>().iter().cycle();
    let shift: Vec<f32> = bias
        .zip(mean.iter().zip(&scale))
        .map(|(bias, (mean, scale))| bias - mean * scale)
        .collect();
    let affine = Affine {
        scale: &scale,
        shift: &shift,
    };
    let y = apply_affine(&shape, x, affine, residual, config.relu);
    let statistics = [config.groups, shape.channels];
    let (mean, variance) = (tensor(mean, statistics), tensor(variance, statistics));
    (y, mean, variance)
}

pub(super) fn affine(
    x: FlexTensor,
    scale: FlexTensor,
    shift: FlexTensor,
    residual: Option<FlexTensor>,
    relu: bool,
) -> FlexTensor {
    let shape = norm_shape(&x, 1);
    let (x, scale, shift) = (in_order(x), in_order(scale), in_order(shift));
    let residual = residual.map(in_order);
    let affine = Affine {
        scale: scale.storage(),
        shift: shift.storage(),
    };
    apply_affine(&shape, x, affine, residual, relu)
}

pub(super) fn batch_norm_tracked<C: CheckpointStrategy>(
    x: AutodiffTensor<Flex>,
    weight: AutodiffTensor<Flex>,
    bias: AutodiffTensor<Flex>,
    residual: Option<AutodiffTensor<Flex>>,
    config: NormConfig,
) -> (
    AutodiffTensor<Flex>,
    AutodiffTensor<Flex>,
    AutodiffTensor<Flex>,
) {
    let (y, mean, variance) = batch_norm(
        x.primitive().clone(),
        weight.primitive().clone(),
        bias.primitive().clone(),
        residual.as_ref().map(|r| r.primitive().clone()),
        config,
    );
    macro_rules! finish {
        ($nodes:expr) => {
            match NormBackward.prepare::<C>($nodes).compute_bound().stateful() {
                OpsKind::Tracked(mut prep) => {
                    let state = NormState {
                        x: prep.checkpoint(&x),
                        weight: prep.checkpoint(&weight),
                        mean: mean.clone(),
                        variance: variance.clone(),
                        y: config.relu.then(|| y.clone()),
                        config,
                    };
                    prep.finish(state, y)
                }
                OpsKind::UnTracked(prep) => prep.finish(y),
            }
        };
    }
    let y = match &residual {
        Some(residual) => {
            finish!([x.node(), weight.node(), bias.node(), residual.node()])
        }
        None => finish!([x.node(), weight.node(), bias.node()]),
    };
    (
        y,
        Autodiff::<Flex, C>::from_inner(mean),
        Autodiff::<Flex, C>::from_inner(variance),
    )
}

pub(super) fn affine_tracked<C: CheckpointStrategy>(
    x: AutodiffTensor<Flex>,
    scale: AutodiffTensor<Flex>,
    shift: AutodiffTensor<Flex>,
    residual: Option<AutodiffTensor<Flex>>,
    relu: bool,
) -> AutodiffTensor<Flex> {
    let scale = in_order(scale.into_primitive());
    let y = affine(
        x.primitive().clone(),
        scale.clone(),
        shift.into_primitive(),
        residual.as_ref().map(|r| r.primitive().clone()),
        relu,
    );
    macro_rules! finish {
        ($nodes:expr) => {
            match AffineBackward
                .prepare::<C>($nodes)
                .compute_bound()
                .stateful()
            {
                OpsKind::Tracked(prep) => {
                    let state = (scale, relu.then(|| y.clone()));
                    prep.finish(state, y)
                }
                OpsKind::UnTracked(prep) => prep.finish(y),
            }
        };
    }
    match &residual {
        Some(residual) => finish!([x.node(), residual.node()]),
        None => finish!([x.node()]),
    }
}

/// What the backward of a batch norm needs.
#[derive(Debug, Clone)]
struct NormState {
    x: NodeId,
    weight: NodeId,
    mean: FlexTensor,
    variance: FlexTensor,
    /// The output, where a ReLU ends the operation.
    y: Option<FlexTensor>,
    config: NormConfig,
}

#[derive(Debug)]
struct NormBackward;

impl NormBackward {
    fn gradients(
        nodes: [Option<NodeId>; 3],
        residual: Option<NodeId>,
        state: NormState,
        dy: FlexTensor,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let cpu = Cpu::detect();
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(state.x));
        let weight = in_order(checkpointer.retrieve_node_output::<FlexTensor>(state.weight));
        let mut dy = in_order(dy);
        let mut y = state.y;
        if let Some(node) = residual {
            if let Some(y) = y.take() {
                cpu.relu_gradient(y.storage(), dy.storage_mut());
                give(y);
            }
            // Both gradients start from this one and are changed further on.
            let mut copy = take(dy.layout().num_elements());
            cpu.copy(dy.storage(), &mut copy);
            grads.register::<Flex>(node, tensor(copy, dims::<4>(&dy)));
        }
        let shape = norm_shape(&x, state.config.groups);
        let held = y;
        let y = held.as_ref().map(FlexTensor::storage::<f32>);
        let (mean, variance) = (state.mean.storage::<f32>(), state.variance.storage::<f32>());
        let sums = cpu.norm_sums(&shape, x.storage(), mean, y, dy.storage());

        let [node_x, node_weight, node_bias] = nodes;
        let channels = shape.channels;
        let over_groups = |value: &dyn Fn(usize) -> f32| -> FlexTensor {
            let sum = |channel| {
                (0..shape.groups)
                    .map(|group| value(group * channels + channel))
                    .sum()
            };
            tensor((0..channels).map(sum).collect(), [channels])
        };
        let deviation = |row: usize| (variance[row] + state.config.epsilon).sqrt();
        if let Some(node) = node_weight {
            let gradient = over_groups(&|row| sums.centred[row] / deviation(row));
            grads.register::<Flex>(node, gradient);
        }
        if let Some(node) = node_bias {
            grads.register::<Flex>(node, over_groups(&|row| sums.gradient[row]));
        }
        if let Some(node) = node_x {
            let count = shape.count() as f32;
            let scale = norm_scale(weight.storage(), variance, state.config.epsilon);
            let rows = 0..scale.len();
            let slope: Vec<f32> = rows
                .clone()
                .map(|row| {
                    let variance = variance[row] + state.config.epsilon;
                    -scale[row] * sums.centred[row] / (variance * count)
                })
                .collect();
            let shift: Vec<f32> = rows
                .map(|row| -scale[row] * sums.gradient[row] / count)
                .collect();
            let (scale, shift) = (&scale, &shift);
            cpu.norm_gradient(
                &shape,
                x.storage(),
                mean,
                &slope,
                Affine { scale, shift },
                y,
                dy.storage_mut(),
            );
            grads.register::<Flex>(node, dy);
        }
        give(x);
        if let Some(y) = held {
            give(y);
        }
    }
}

impl Backward<Flex, 3> for NormBackward {
    type State = NormState;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        Self::gradients(nodes, None, ops.state, dy, grads, checkpointer);
    }
}

impl Backward<Flex, 4> for NormBackward {
    type State = NormState;

    fn backward(
        self,
        ops: Ops<Self::State, 4>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [x, weight, bias, residual] = ops.parents.map(|node| node.map(|node| node.id));
        Self::gradients(
            [x, weight, bias],
            residual,
            ops.state,
            dy,
            grads,
            checkpointer,
        );
    }
}

/// The scale, and the output where a ReLU ends the operation.
type AffineState = (FlexTensor, Option<FlexTensor>);

#[derive(Debug)]
struct AffineBackward;

impl AffineBackward {
    fn gradients(
        [x, residual]: [Option<NodeId>; 2],
        (scale, y): AffineState,
        dy: FlexTensor,
        grads: &mut Gradients,
    ) {
        let cpu = Cpu::detect();
        let mut dy = in_order(dy);
        if let Some(y) = y {
            cpu.relu_gradient(y.storage(), dy.storage_mut());
            give(y);
        }
        if let Some(node) = residual {
            grads.register::<Flex>(node, dy.clone());
        }
        if let Some(node) = x {
            let shape = norm_shape(&dy, 1);
            cpu.scale(&shape, scale.storage(), dy.storage_mut());
            grads.register::<Flex>(node, dy);
        }
    }
}

impl Backward<Flex, 1> for AffineBackward {
    type State = AffineState;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [x] = ops.parents.map(|node| node.map(|node| node.id));
        Self::gradients([x, None], ops.state, dy, grads);
    }
}

impl Backward<Flex, 2> for AffineBackward {
    type State = AffineState;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        Self::gradients(nodes, ops.state, dy, grads);
    }
}
