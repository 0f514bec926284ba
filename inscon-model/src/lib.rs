//! Networks of InsCon-in-Rust: ResNet, the two heads of contrastive pretraining with momentum
//! encoder and queues, and Faster and Mask R-CNN; all in [Burn](burn), on whatever device the caller names.
//!
//! | folder | holds |
//! |---|---|
//! | `layer` | convolution, linear, batch norm with an explicit [`NormMode`] |
//! | [`op`] | convolution, batch norm and pooling as operations: own kernels on flex, burn's elsewhere |
//! | `backbone` | [`ResNet`]: torchvision's V1.5 layout and parameter names |
//! | `neck` | instance head and cell head of the pretraining |
//! | `pretrain` | [`Encoder`], [`ema_update`], [`Queue`], [`Split`] |
//! | [`detection`] | RoIAlign, FPN, RPN, Faster and Mask R-CNN on FPN or C4 |
//! | `weights` | [`StateDict`], safetensors and PyTorch files, names of torchvision, timm and detectron2 |
//!
//! # Conventions
//! - Tensors are `[N, C, H, W]`, `f32`. Boxes are continuous, half-open, pixel edges, xyxy.
//! - A parameter's path in its module *is* its torchvision name (`layer1.0.downsample.0.weight`).
//! - Layers are initialised from the caller's `rand` generator, never from a device's seed.
//! - Shape mistakes inside `forward` panic with the shapes; whatever comes from a file or a
//!   configuration is a [`ModelError`].
//!
//! # Example: three steps of a momentum-contrast pair
//! ```
//! use burn::tensor::{Device, Tensor};
//! use inscon_model::{EncoderConfig, NormMode, ResNetConfig, Split, ema_update};
//! use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
//!
//! let device = Device::flex();
//! let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
//! let resnet = ResNetConfig { depth: 18, width: 0.125, output_stride: 32 };
//! let config = EncoderConfig { resnet, hidden: 16, dim: 8, cell_head: true };
//! let query = config.init(&mut rng, &device.clone().autodiff())?;
//! let key = query.to_key();
//!
//! let canvases = Tensor::ones([2, 3, 128, 128], &device.clone().autodiff());
//! let out = query.forward(canvases, 2, Split::Slice, NormMode::Train, 1);
//! assert_eq!(out.instance.dims(), [8, 8]); // 2 canvases of 2×2 tiles
//! assert_eq!(out.cells.unwrap().dims(), [8, 4, 8]); // 2×2 cells a tile
//!
//! let key = ema_update(key, &query, 0.999);
//! let keys = key.forward(Tensor::ones([2, 3, 128, 128], &device), 2, Split::Slice, NormMode::Train, 2);
//! assert!(!keys.instance.is_autodiff());
//! # Ok::<(), inscon_model::ModelError>(())
//! ```

mod backbone;
pub mod detection;
mod error;
mod init;
mod layer;
mod neck;
pub mod op;
mod pretrain;
mod weights;

pub use backbone::*;
pub use error::*;
pub use init::*;
pub use layer::*;
pub use neck::*;
pub use op::{AllReduce, SyncGroup};
pub use pretrain::*;
pub use weights::*;
