//! The kernels as operations on burn-flex tensors, with their backwards.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::{Flex, FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};

use super::buffers::{give, take};
use super::kernel::{Affine, ConvShape, Cpu, NormShape, PoolShape};
use super::{BatchNormed, Epilogue, SgdStep};

/// A tensor that an operation can do without.
#[derive(ExtensionType)]
pub(super) enum Maybe<B: Backend> {
    Given(FloatTensor<B>),
    Absent,
}

impl<B: Backend> Maybe<B> {
    fn get(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Absent, Self::Given)
    }
}

/// The operations of this folder; `Dispatch` routes to flex with and without autodiff.
#[backend_extension(Flex, Autodiff)]
pub(super) trait KernelBackend: Backend {
    fn kernel_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;

    /// Output, mean and variance.
    fn kernel_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        #[extension_type] residual: Maybe<Self>,
        config: NormConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    fn kernel_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        #[extension_type] residual: Maybe<Self>,
        relu: bool,
    ) -> FloatTensor<Self>;

    fn kernel_max_pool2d(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;
}

#[derive(Debug, Clone, Copy)]
pub(super) struct NormConfig {
    groups: usize,
    epsilon: f32,
    relu: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

/// Whether `x` lies where the kernels run.
pub(super) fn runs<const D: usize>(x: &Tensor<D>) -> bool {
    x.device() == Device::flex() && x.dtype() == DType::F32
}

/// Whether the kernels know the padding.
pub(super) fn symmetric(options: &ConvOptions<2>) -> bool {
    options
        .padding
        .iter()
        .all(|(before, after)| before == after)
}

pub(super) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let bias = Maybe::from(bias.map(Tensor::into_dispatch));
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(Dispatch::kernel_conv2d(x, weight, bias, options))
}

pub(super) fn batch_norm(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epilogue: Epilogue,
    groups: usize,
    epsilon: f64,
) -> BatchNormed {
    let config = NormConfig {
        groups,
        epsilon: epsilon as f32,
        relu: epilogue.relu,
    };
    let (output, mean, variance) = Dispatch::kernel_batch_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        Maybe::from(epilogue.residual.map(Tensor::into_dispatch)),
        config,
    );
    let statistic = |tensor| Tensor::<2>::from_dispatch(tensor).inner();
    BatchNormed {
        output: Tensor::from_dispatch(output),
        mean: statistic(mean),
        variance: statistic(variance),
    }
}

pub(super) fn affine(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    epilogue: Epilogue,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::kernel_affine(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        Maybe::from(epilogue.residual.map(Tensor::into_dispatch)),
        epilogue.relu,
    ))
}

pub(super) fn max_pool2d(
    x: Tensor<4>,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let window = Window {
        kernel,
        stride,
        padding,
    };
    Tensor::from_dispatch(Dispatch::kernel_max_pool2d(x.into_dispatch(), window))
}

/// The tensor's values in order, held by nothing else if `tensor` was not.
fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.try_into_primitive::<Flex>() {
        Ok(tensor) => in_order(tensor),
        Err(error) => panic!("a tensor on flex without autodiff is needed: {error:?}"),
    }
}

pub(super) fn sgd<const D: usize>(
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

pub(super) fn ema<const D: usize>(momentum: f64, value: Tensor<D>, other: Tensor<D>) -> Tensor<D> {
    let (mut value, other) = (primitive(value), primitive(other));
    Cpu::detect().ema(momentum, value.storage_mut(), other.storage());
    Tensor::from_primitive::<Flex>(value)
}

// Tensors and slices.

fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}

/// The tensor with its values in order, from the first of its buffer.
fn in_order(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let whole = layout.num_elements() * size_of::<f32>() == tensor.bytes().len();
    if layout.is_contiguous() && layout.start_offset() == 0 && whole {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape.into()),
        DType::F32,
    )
}

// The operations without autodiff.

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

fn norm_shape(x: &FlexTensor, groups: usize) -> NormShape {
    let [images, channels, height, width] = dims(x);
    NormShape {
        images,
        channels,
        plane: height * width,
        groups,
    }
}

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

impl KernelBackend for Flex {
    fn kernel_conv2d(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Maybe<Self>,
        options: ConvOptions<2>,
    ) -> FlexTensor {
        let (x, weight, bias) = (in_order(x), in_order(weight), bias.get().map(in_order));
        let shape = conv_shape(&x, &weight, &options);
        let [height, width] = shape.output_size();
        let mut y = take(shape.images * shape.output * height * width);
        let bias = bias.as_ref().map(FlexTensor::storage::<f32>);
        Cpu::detect().conv2d_forward(&shape, x.storage(), weight.storage(), bias, &mut y);
        give(x);
        tensor(y, [shape.images, shape.output, height, width])
    }

    fn kernel_batch_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: Maybe<Self>,
        config: NormConfig,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let cpu = Cpu::detect();
        let shape = norm_shape(&x, config.groups);
        let (x, weight, bias) = (in_order(x), in_order(weight), in_order(bias));
        let residual = residual.get().map(in_order);
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

    fn kernel_affine(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        residual: Maybe<Self>,
        relu: bool,
    ) -> FlexTensor {
        let shape = norm_shape(&x, 1);
        let (x, scale, shift) = (in_order(x), in_order(scale), in_order(shift));
        let residual = residual.get().map(in_order);
        let affine = Affine {
            scale: scale.storage(),
            shift: shift.storage(),
        };
        apply_affine(&shape, x, affine, residual, relu)
    }

    fn kernel_max_pool2d(x: FlexTensor, window: Window) -> FlexTensor {
        max_pool(x, window).0
    }
}

/// Output and sources.
fn max_pool(x: FlexTensor, window: Window) -> (FlexTensor, PoolShape, Vec<u32>) {
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

// Their backwards.

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

impl<C: CheckpointStrategy> KernelBackend for Autodiff<Flex, C> {
    fn kernel_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let bias = bias.get();
        let output = |options| {
            let bias = Maybe::from(bias.as_ref().map(|bias| bias.primitive().clone()));
            let (x, weight) = (x.primitive().clone(), weight.primitive().clone());
            Flex::kernel_conv2d(x, weight, bias, options)
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

    fn kernel_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: Maybe<Self>,
        config: NormConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        use burn::backend::AutodiffBackend;

        let residual = residual.get();
        let (y, mean, variance) = Flex::kernel_batch_norm(
            x.primitive().clone(),
            weight.primitive().clone(),
            bias.primitive().clone(),
            Maybe::from(residual.as_ref().map(|r| r.primitive().clone())),
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
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn kernel_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        residual: Maybe<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let residual = residual.get();
        let scale = in_order(scale.into_primitive());
        let y = Flex::kernel_affine(
            x.primitive().clone(),
            scale.clone(),
            shift.into_primitive(),
            Maybe::from(residual.as_ref().map(|r| r.primitive().clone())),
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

    fn kernel_max_pool2d(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let size = dims(x.primitive());
        match PoolBackward
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let (y, shape, sources) = max_pool(x.into_primitive(), window);
                prep.finish((shape, size, sources), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(max_pool(x.into_primitive(), window).0),
        }
    }
}
