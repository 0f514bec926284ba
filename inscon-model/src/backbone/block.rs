//! The two residual blocks of ResNet.

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::{BatchNorm2d, Conv2d, Conv2dConfig, NormMode, WeightInit};

/// Geometry of one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockConfig {
    pub(super) input: usize,
    /// Width of the 3×3 convolution.
    pub(super) middle: usize,
    pub(super) output: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) bottleneck: bool,
}

impl BlockConfig {
    pub(super) fn init(&self, rng: &mut impl Rng, device: &Device) -> Block {
        if self.bottleneck {
            Block::Bottleneck(Bottleneck::new(self, rng, device))
        } else {
            Block::Basic(BasicBlock::new(self, rng, device))
        }
    }

    fn conv(
        &self,
        [input, output]: [usize; 2],
        kernel: usize,
        strided: bool,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Conv2d {
        let dilation = if kernel == 3 && self.bottleneck {
            self.dilation
        } else {
            1
        };
        Conv2dConfig {
            stride: if strided { self.stride } else { 1 },
            padding: if kernel == 3 { dilation } else { 0 },
            dilation,
            bias: false,
            ..Conv2dConfig::new(input, output, kernel)
        }
        .init(WeightInit::KaimingNormalFanOut, rng, device)
    }

    /// Projection of the shortcut where the block changes shape.
    fn downsample(&self, rng: &mut impl Rng, device: &Device) -> Option<(Conv2d, BatchNorm2d)> {
        (self.stride != 1 || self.input != self.output).then(|| {
            let conv = self.conv([self.input, self.output], 1, true, rng, device);
            (conv, BatchNorm2d::new(self.output, device))
        })
    }
}

/// One residual block.
// Not derived: see `Module for Block`.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a network is made of one kind only
pub enum Block {
    /// Two 3×3 convolutions (ResNet-18, 34).
    Basic(BasicBlock),
    /// 1×1, 3×3, 1×1 (ResNet-50, 101).
    Bottleneck(Bottleneck),
}

/// `relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x))))))`, both kernels 3×3.
#[derive(Module, Debug)]
pub struct BasicBlock {
    /// 3×3; carries the stride.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm2d,
    /// 3×3.
    pub conv2: Conv2d,
    /// After `conv2`.
    pub bn2: BatchNorm2d,
    /// Shortcut's 1×1 convolution and batch norm, where the shape changes.
    pub downsample: Option<(Conv2d, BatchNorm2d)>,
}

/// 1×1 reduce, 3×3, 1×1 expand ×4. The stride is on the 3×3, not on the first 1×1 as in the paper
/// (arXiv 1512.03385): torchvision's "V1.5".
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// 1×1, reduces.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm2d,
    /// 3×3; carries the stride or the dilation.
    pub conv2: Conv2d,
    /// After `conv2`.
    pub bn2: BatchNorm2d,
    /// 1×1, expands.
    pub conv3: Conv2d,
    /// After `conv3`.
    pub bn3: BatchNorm2d,
    /// Shortcut's 1×1 convolution and batch norm, where the shape changes.
    pub downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    fn new(config: &BlockConfig, rng: &mut impl Rng, device: &Device) -> Self {
        let &BlockConfig { input, output, .. } = config;
        Self {
            conv1: config.conv([input, output], 3, true, rng, device),
            bn1: BatchNorm2d::new(output, device),
            conv2: config.conv([output, output], 3, false, rng, device),
            bn2: BatchNorm2d::new(output, device),
            downsample: config.downsample(rng, device),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: NormMode, groups: usize) -> Tensor<4> {
        let identity = shortcut(self.downsample.as_ref(), x.clone(), mode, groups);
        let x = self.conv1.forward(x);
        let x = self.bn1.forward_relu(x, None, mode, groups);
        let x = self.conv2.forward(x);
        self.bn2.forward_relu(x, Some(identity), mode, groups)
    }
}

impl Bottleneck {
    fn new(config: &BlockConfig, rng: &mut impl Rng, device: &Device) -> Self {
        let &BlockConfig {
            input,
            middle,
            output,
            ..
        } = config;
        Self {
            conv1: config.conv([input, middle], 1, false, rng, device),
            bn1: BatchNorm2d::new(middle, device),
            conv2: config.conv([middle, middle], 3, true, rng, device),
            bn2: BatchNorm2d::new(middle, device),
            conv3: config.conv([middle, output], 1, false, rng, device),
            bn3: BatchNorm2d::new(output, device),
            downsample: config.downsample(rng, device),
        }
    }

    fn forward(&self, x: Tensor<4>, mode: NormMode, groups: usize) -> Tensor<4> {
        let identity = shortcut(self.downsample.as_ref(), x.clone(), mode, groups);
        let x = self.conv1.forward(x);
        let x = self.bn1.forward_relu(x, None, mode, groups);
        let x = self.conv2.forward(x);
        let x = self.bn2.forward_relu(x, None, mode, groups);
        let x = self.conv3.forward(x);
        self.bn3.forward_relu(x, Some(identity), mode, groups)
    }
}

fn shortcut(
    downsample: Option<&(Conv2d, BatchNorm2d)>,
    x: Tensor<4>,
    mode: NormMode,
    groups: usize,
) -> Tensor<4> {
    match downsample {
        Some((conv, norm)) => norm.forward(conv.forward(x), mode, groups),
        None => x,
    }
}

impl Block {
    /// # Shapes
    /// - `x`: `[N, in, H, W]`
    /// - output: `[N, out, H / stride, W / stride]`, rounded up
    ///
    /// # Panics
    /// As [`BatchNorm2d::forward`].
    pub fn forward(&self, x: Tensor<4>, mode: NormMode, groups: usize) -> Tensor<4> {
        match self {
            Self::Basic(block) => block.forward(x, mode, groups),
            Self::Bottleneck(block) => block.forward(x, mode, groups),
        }
    }
}

impl Block {
    pub(super) fn norms_mut(&mut self) -> Vec<&mut BatchNorm2d> {
        let (mut norms, downsample) = match self {
            Self::Basic(block) => (vec![&mut block.bn1, &mut block.bn2], &mut block.downsample),
            Self::Bottleneck(block) => (
                vec![&mut block.bn1, &mut block.bn2, &mut block.bn3],
                &mut block.downsample,
            ),
        };
        norms.extend(downsample.as_mut().map(|(_, norm)| norm));
        norms
    }
}

/// Hands every call to the block inside, so that a path is `layer1.0.conv1.weight` without the
/// variant's name, which the derive would put in.
macro_rules! delegate {
    ($block:expr, $inner:ident => $call:expr) => {
        match $block {
            Block::Basic($inner) => Block::Basic($call),
            Block::Bottleneck($inner) => Block::Bottleneck($call),
        }
    };
}

impl Module for Block {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        match self {
            Self::Basic(block) => block.visit(visitor),
            Self::Bottleneck(block) => block.visit(visitor),
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        delegate!(self, block => block.map(mapper))
    }

    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        match self {
            Self::Basic(block) => block.collect_devices(devices),
            Self::Bottleneck(block) => block.collect_devices(devices),
        }
    }

    fn fork(self, device: &Device) -> Self {
        delegate!(self, block => block.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        delegate!(self, block => block.to_device(device))
    }

    fn train(self) -> Self {
        delegate!(self, block => block.train())
    }

    fn valid(&self) -> Self {
        delegate!(self, block => block.valid())
    }

    fn materialize(self) -> Self {
        delegate!(self, block => block.materialize())
    }
}

impl ModuleDisplayDefault for Block {
    fn content(&self, content: Content) -> Option<Content> {
        match self {
            Self::Basic(block) => ModuleDisplayDefault::content(block, content),
            Self::Bottleneck(block) => ModuleDisplayDefault::content(block, content),
        }
    }
}

impl ModuleDisplay for Block {}
