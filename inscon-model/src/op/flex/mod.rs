//! The kernels as operations on burn-flex tensors, with their backwards.

mod conv;
mod norm;
mod pool;
mod roi_align;
mod update;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::{Flex, FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};

use super::kernel::NormShape;
use super::{BatchNormed, Epilogue};

pub(super) use update::{ema, sgd};

/// A tensor of burn-flex in an autodiff graph.
type AutodiffTensor<B> = FloatTensor<Autodiff<B>>;

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

fn norm_shape(x: &FlexTensor, groups: usize) -> NormShape {
    let [images, channels, height, width] = dims(x);
    NormShape {
        images,
        channels,
        plane: height * width,
        groups,
    }
}

impl KernelBackend for Flex {
    fn kernel_conv2d(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Maybe<Self>,
        options: ConvOptions<2>,
    ) -> FlexTensor {
        conv::forward(x, weight, bias.get(), options)
    }

    fn kernel_batch_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: Maybe<Self>,
        config: NormConfig,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        norm::batch_norm(x, weight, bias, residual.get(), config)
    }

    fn kernel_affine(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        residual: Maybe<Self>,
        relu: bool,
    ) -> FlexTensor {
        norm::affine(x, scale, shift, residual.get(), relu)
    }

    fn kernel_max_pool2d(x: FlexTensor, window: Window) -> FlexTensor {
        pool::forward(x, window).0
    }
}

impl<C: CheckpointStrategy> KernelBackend for Autodiff<Flex, C> {
    fn kernel_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        conv::tracked::<C>(x, weight, bias.get(), options)
    }

    fn kernel_batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: Maybe<Self>,
        config: NormConfig,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm::batch_norm_tracked::<C>(x, weight, bias, residual.get(), config)
    }

    fn kernel_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        residual: Maybe<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        norm::affine_tracked::<C>(x, scale, shift, residual.get(), relu)
    }

    fn kernel_max_pool2d(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        pool::tracked::<C>(x, window)
    }
}
