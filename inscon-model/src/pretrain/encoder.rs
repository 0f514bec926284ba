//! Backbone and heads: what query and key run through.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{CellHead, InstanceHead, ModelError, NormMode, ResNet, ResNetConfig, Split};

/// Architecture of an [`Encoder`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncoderConfig {
    /// The backbone.
    pub resnet: ResNetConfig,
    /// Width of the hidden layer of both heads; 0 is the width of C5.
    pub hidden: usize,
    /// Dimension of the embedding.
    pub dim: usize,
    /// Whether there is a cell head.
    pub cell_head: bool,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            resnet: ResNetConfig::default(),
            hidden: 0,
            dim: 128,
            cell_head: true,
        }
    }
}

impl EncoderConfig {
    /// Random weights: the backbone draws first, then the instance head, then the cell head.
    ///
    /// # Errors
    /// As [`ResNetConfig::validate`], and [`ModelError::Config`] for `dim` = 0.
    pub fn init(&self, rng: &mut impl Rng, device: &Device) -> Result<Encoder, ModelError> {
        let backbone = self.resnet.init(rng, device)?;
        self.init_heads(backbone, rng, device)
    }

    /// Random heads on a given backbone, so that backbone and heads can draw from streams of
    /// their own.
    ///
    /// # Errors
    /// [`ModelError::Config`] for `dim` = 0.
    pub fn init_heads(
        &self,
        backbone: ResNet,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Encoder, ModelError> {
        if self.dim == 0 {
            return Err(ModelError::Config {
                field: "dim",
                value: "0".to_owned(),
                mend: "write the dimension of the embedding, 128 in MoCo".to_owned(),
            });
        }
        let [.., channels] = self.resnet.channels();
        let hidden = if self.hidden == 0 {
            channels
        } else {
            self.hidden
        };
        let instance_head = InstanceHead::new(channels, hidden, self.dim, rng, device);
        let cell_head = self
            .cell_head
            .then(|| CellHead::new(channels, hidden, self.dim, rng, device));
        Ok(Encoder {
            backbone,
            instance_head,
            cell_head,
        })
    }
}

/// A backbone with the instance head and, if the cell term is used, the cell head.
#[derive(Module, Debug)]
pub struct Encoder {
    /// The network that is transferred afterwards.
    pub backbone: ResNet,
    /// One vector a tile.
    pub instance_head: InstanceHead,
    /// One vector a cell.
    pub cell_head: Option<CellHead>,
}

/// Features of the T tiles of a batch of canvases; tile t = canvas·grid² + slot, slots row-major.
#[derive(Debug, Clone)]
pub struct EncoderOutput {
    /// C5 of each tile: `[T, C, S, S]`.
    pub map: Tensor<4>,
    /// Instance vectors: `[T, dim]`, length 1.
    pub instance: Tensor<2>,
    /// Cell vectors: `[T, S², dim]`, length 1, cells row-major (v·S + u).
    pub cells: Option<Tensor<3>>,
}

impl Encoder {
    /// # Shapes
    /// - `canvases`: `[M, 3, H, H]`
    /// - output: [`EncoderOutput`], T = M·grid²
    ///
    /// # Panics
    /// If the canvas is not square or does not split (see [`Split::apply`]), or as
    /// [`ResNet::forward`].
    pub fn forward(
        &self,
        canvases: Tensor<4>,
        grid: usize,
        split: Split,
        mode: NormMode,
        groups: usize,
    ) -> EncoderOutput {
        let dims @ [_, _, height, width] = canvases.dims();
        assert_eq!(height, width, "canvases {dims:?} are not square");
        let [.., c5] = self.backbone.forward(canvases, mode, groups);
        let map = split.apply(c5, grid, height, self.backbone.output_stride);
        let instance = self.instance_head.forward(map.clone());
        let cells = self
            .cell_head
            .as_ref()
            .map(|head| head.forward(map.clone()));
        EncoderOutput {
            map,
            instance,
            cells,
        }
    }

    /// The key encoder at step 0: the same values without autodiff, statistics of its own.
    #[must_use]
    pub fn to_key(&self) -> Self {
        self.valid()
    }
}
