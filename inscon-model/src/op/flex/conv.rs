//! Convolution on burn-flex.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::ops::ConvOptions;

use super::{AutodiffTensor, dims, in_order, norm_shape, tensor};
use crate::op::buffers::{give, take};
use crate::op::kernel::{ConvShape, Cpu};

fn conv_shape(x: &FlexTensor, weight: &FlexTensor, options: &ConvOptions<2>) -> ConvShape {
    let [images, input, height, width] = dims(x);
    let [output, _, rows, columns] = dims(weight);
    ConvShape {
        images,
        input,
        output,
        size: [height, width],
        kernel: [rows, columns],
        stride: options.stride,
        padding: options.padding.map(|(before, _)| before),
        dilation: options.dilation,
        groups: options.groups,
    }
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    options: ConvOptions<2>,
) -> FlexTensor {
    let (x, weight, bias) = (in_order(x), in_order(weight), bias.map(in_order));
    let shape = conv_shape(&x, &weight, &options);
    let [height, width] = shape.output_size();
    let mut y = take(shape.images * shape.output * height * width);
    let bias = bias.as_ref().map(FlexTensor::storage::<f32>);
    Cpu::detect().conv2d_forward(&shape, x.storage(), weight.storage(), bias, &mut y);
    give(x);
    tensor(y, [shape.images, shape.output, height, width])
}

pub(super) fn tracked<C: CheckpointStrategy>(
    x: AutodiffTensor<Flex>,
    weight: AutodiffTensor<Flex>,
    bias: Option<AutodiffTensor<Flex>>,
    options: ConvOptions<2>,
) -> AutodiffTensor<Flex> {
    let output = |options| {
        let bias = bias.as_ref().map(|bias| bias.primitive().clone());
        let (x, weight) = (x.primitive().clone(), weight.primitive().clone());
        forward(x, weight, bias, options)
    };
    /// Both numbers of parents take the same steps.
    macro_rules! finish {
        ($nodes:expr) => {
            match ConvBackward.prepare::<C>($nodes).compute_bound().stateful() {
                OpsKind::Tracked(mut prep) => {
                    let state = (
                        prep.checkpoint(&x),
                        prep.checkpoint(&weight),
                        options.clone(),
                    );
                    prep.finish(state, output(options))
                }
                OpsKind::UnTracked(prep) => prep.finish(output(options)),
            }
        };
    }
    match &bias {
        Some(bias) => finish!([x.node(), weight.node(), bias.node()]),
        None => finish!([x.node(), weight.node()]),
    }
}

#[derive(Debug)]
struct ConvBackward;

type ConvState = (NodeId, NodeId, ConvOptions<2>);

impl ConvBackward {
    /// Gradients of input and weight for their nodes; the output's gradient comes back.
    fn gradients(
        [node_x, node_weight]: [Option<NodeId>; 2],
        (x, weight, options): ConvState,
        dy: FlexTensor,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) -> FlexTensor {
        let cpu = Cpu::detect();
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x);
        let weight = checkpointer.retrieve_node_output::<FlexTensor>(weight);
        let shape = conv_shape(&x, &weight, &options);
        let dy = in_order(dy);
        if let Some(node) = node_weight {
            let x = in_order(x.clone());
            let mut gradient = take(weight.layout().num_elements());
            cpu.conv2d_weight_gradient(&shape, x.storage(), dy.storage(), &mut gradient);
            grads.register::<Flex>(node, tensor(gradient, dims::<4>(&weight)));
        }
        if let Some(node) = node_x {
            let size = dims::<4>(&x);
            // The input's last use may be behind us: its memory serves for the gradient.
            give(x);
            let mut gradient = take(size.iter().product());
            let weight = in_order(weight);
            cpu.conv2d_input_gradient(&shape, weight.storage(), dy.storage(), &mut gradient);
            grads.register::<Flex>(node, tensor(gradient, size));
        }
        dy
    }
}

impl Backward<Flex, 2> for ConvBackward {
    type State = ConvState;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        give(Self::gradients(nodes, ops.state, dy, grads, checkpointer));
    }
}

impl Backward<Flex, 3> for ConvBackward {
    type State = ConvState;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [x, weight, bias] = ops.parents.map(|node| node.map(|node| node.id));
        let dy = Self::gradients([x, weight], ops.state, dy, grads, checkpointer);
        if let Some(node) = bias {
            let shape = norm_shape(&dy, 1);
            let sums = Cpu::detect().channel_sums(&shape, dy.storage());
            grads.register::<Flex>(node, tensor(sums, [shape.channels]));
        }
        give(dy);
    }
}
