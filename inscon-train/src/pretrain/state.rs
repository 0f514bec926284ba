//! Everything that changes during pretraining, and its checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use inscon_aug::stream;
use inscon_model::{
    Encoder, EncoderConfig, ModelError, Queue, StateDict, Strictness, load_state_dict, state_dict,
};
use serde_json::{Value, json};

use crate::config::ExperimentConfig;
use crate::data::{HEADS, QUEUES};
use crate::{Checkpoint, CheckpointError, CheckpointHeader, Sgd, initial_backbone, prefixed};

/// The state of a pretraining run between two steps.
#[derive(Debug)]
pub struct PretrainState {
    /// The encoder that is trained, on the device with autodiff.
    pub query: Encoder,
    /// Its moving average, on the plain device.
    pub key: Encoder,
    /// Momentum buffers of the query encoder's parameters.
    pub sgd: Sgd,
    /// Keys of earlier batches.
    pub instances: Queue,
    /// Mean cells of earlier key tiles; absent without a cell head.
    pub cells: Option<Queue>,
    /// Steps done.
    pub step: u64,
    /// Steps in an epoch.
    pub steps_per_epoch: u64,
}

/// The encoder of a recipe: without a cell term it has no cell head.
#[must_use]
pub fn encoder_config(config: &ExperimentConfig) -> EncoderConfig {
    let hidden = match config.pretrain.hidden {
        0 => config.model.channels()[3],
        hidden => hidden,
    };
    let (dim, cell_head) = (config.pretrain.dim, config.pretrain.lambda > 0.0);
    EncoderConfig {
        resnet: config.model,
        hidden,
        dim,
        cell_head,
    }
}

/// What decides the shapes in a pretraining checkpoint.
#[must_use]
pub fn pretrain_architecture(config: &ExperimentConfig) -> Value {
    let encoder = encoder_config(config);
    json!({
        "model": config.model,
        "hidden": encoder.hidden,
        "dim": encoder.dim,
        "cell_head": encoder.cell_head,
        "queue": config.pretrain.queue,
    })
}

impl PretrainState {
    /// The state before the first step: the backbone is [`initial_backbone`]'s, the key
    /// encoder is a copy of the query encoder, the queues hold random directions.
    ///
    /// # Errors
    /// An architecture that does not exist, initial weights that do not fit it.
    pub fn new(
        config: &ExperimentConfig,
        steps_per_epoch: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let (p, plain) = (&config.pretrain, device.clone().inner());
        let query = initial_encoder(config, &plain.clone().autodiff())?;
        let mut rng = stream(config.seed, &[QUEUES]);
        let instances = Queue::new(p.queue, p.dim, &mut rng, &plain);
        let cells = (p.lambda > 0.0).then(|| Queue::new(p.queue, p.dim, &mut rng, &plain));
        let key = query.to_key();
        let sgd = Sgd::new(p.momentum, p.weight_decay, p.weight_decay);
        Ok(Self {
            query,
            key,
            sgd,
            instances,
            cells,
            step: 0,
            steps_per_epoch,
        })
    }

    /// Epochs done.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.step / self.steps_per_epoch
    }

    /// The query encoder's backbone under torchvision's names.
    #[must_use]
    pub fn backbone(&self) -> StateDict {
        state_dict(&self.query.backbone)
    }

    /// The whole state.
    #[must_use]
    pub fn checkpoint(&self, config: &ExperimentConfig) -> Checkpoint {
        let mut tensors = prefixed("query.", state_dict(&self.query));
        tensors.extend(prefixed("key.", state_dict(&self.key)));
        tensors.extend(prefixed("sgd.", self.sgd.state()));
        let mut counters = BTreeMap::new();
        for (name, queue) in self.queues() {
            tensors.insert(format!("queue.{name}"), queue.tensor().into_data());
            counters.insert(format!("queue.{name}"), queue.pointer() as u64);
        }
        let header = CheckpointHeader {
            phase: "pretrain".to_owned(),
            architecture: pretrain_architecture(config),
            step: self.step,
            epoch: self.epoch(),
            counters,
            detector: Value::Null,
        };
        Checkpoint { header, tensors }
    }

    /// Puts a checkpoint into a state of the same recipe.
    ///
    /// # Errors
    /// [`CheckpointError`]: another architecture, or a file that is not a whole checkpoint.
    pub fn restore(self, config: &ExperimentConfig, path: &Path) -> Result<Self, CheckpointError> {
        let saved = Checkpoint::read(path, "pretrain", &pretrain_architecture(config))?;
        let weights = |source| CheckpointError::Weights {
            path: path.to_owned(),
            source,
        };
        let plain = self.instances.tensor().device();

        let exact = Strictness::Exact;
        let (query, _) =
            load_state_dict(self.query, &saved.tensors, "query.", exact).map_err(weights)?;
        let (key, _) = load_state_dict(self.key, &saved.tensors, "key.", exact).map_err(weights)?;
        let mut sgd = self.sgd;
        sgd.load_state(saved.part("sgd."), &plain);
        let queue = |name: &str, kept: &Queue| -> Result<Queue, CheckpointError> {
            let name = format!("queue.{name}");
            let dims = kept.tensor().dims();
            let rows = saved
                .tensors
                .get(&name)
                .filter(|rows| rows.shape().to_vec() == dims);
            let pointer = saved
                .header
                .counters
                .get(&name)
                .filter(|&&p| p < dims[0] as u64);
            match (rows, pointer) {
                (Some(rows), Some(&pointer)) => {
                    Ok(Queue::from_parts(rows.clone(), pointer as usize, &plain))
                }
                _ => Err(CheckpointError::Header {
                    path: path.to_owned(),
                    what: format!("it has no `{name}` of {dims:?} with a position"),
                }),
            }
        };
        let instances = queue("instance", &self.instances)?;
        let cells = self
            .cells
            .as_ref()
            .map(|cells| queue("cell", cells))
            .transpose()?;
        Ok(Self {
            query,
            key,
            sgd,
            instances,
            cells,
            step: saved.header.step,
            ..self
        })
    }

    fn queues(&self) -> impl Iterator<Item = (&'static str, &Queue)> {
        let cells = self.cells.iter().map(|queue| ("cell", queue));
        std::iter::once(("instance", &self.instances)).chain(cells)
    }
}

/// The encoder before the first step, on `device`. Backbone and heads come from streams of their
/// own, so that every arm of a seed starts from the same backbone.
fn initial_encoder(config: &ExperimentConfig, device: &Device) -> Result<Encoder, ModelError> {
    let backbone = initial_backbone(config, device)?;
    encoder_config(config).init_heads(backbone, &mut stream(config.seed, &[HEADS]), device)
}
