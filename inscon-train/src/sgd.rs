//! Stochastic gradient descent with momentum and weight decay, in PyTorch's form.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use inscon_model::op::{self, SgdStep};

/// `g ← g + wd·p`, `v ← momentum·v + g`, `p ← p − lr·v`: `torch.optim.SGD` without dampening and
/// without Nesterov.
///
/// Momentum buffers are keyed by the parameter's path in the module (`backbone.conv1.weight`), so
/// they survive a checkpoint and a process; tensors that carry no gradient (batch-norm buffers,
/// frozen layers) are left as they are.
#[derive(Debug, Clone)]
pub struct Sgd {
    /// Momentum factor.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// L2 penalty of batch norm's weight and bias; detectron2 uses 0, MoCo `weight_decay`.
    pub weight_decay_norm: f64,
    velocity: BTreeMap<String, Tensor<1>>,
}

impl Sgd {
    /// An optimizer with empty buffers.
    #[must_use]
    pub fn new(momentum: f64, weight_decay: f64, weight_decay_norm: f64) -> Self {
        Self {
            momentum,
            weight_decay,
            weight_decay_norm,
            velocity: BTreeMap::new(),
        }
    }

    /// One step: takes each parameter's gradient out of `gradients` and returns the new module.
    #[must_use]
    pub fn step<M: Module>(&mut self, lr: f64, module: M, mut gradients: Gradients) -> M {
        let mut mapper = Update {
            sgd: self,
            lr,
            gradients: &mut gradients,
            path: Vec::new(),
        };
        module.map(&mut mapper)
    }

    /// The momentum buffers, flat, by parameter path.
    #[must_use]
    pub fn state(&self) -> BTreeMap<String, TensorData> {
        self.velocity
            .iter()
            .map(|(k, v)| (k.clone(), v.to_data()))
            .collect()
    }

    /// Puts saved buffers back.
    pub fn load_state(&mut self, state: BTreeMap<String, TensorData>, device: &Device) {
        self.velocity = state
            .into_iter()
            .map(|(k, v)| (k, Tensor::from_data(v, device)))
            .collect();
    }
}

struct Update<'a> {
    sgd: &'a mut Sgd,
    lr: f64,
    gradients: &'a mut Gradients,
    /// Field name and the type that holds it.
    path: Vec<(String, bool)>,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path
            .push((name.to_owned(), container.contains("BatchNorm")));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        if !value.is_require_grad() {
            return Param::from_mapped_value(id, value, mapper);
        }
        let Some(gradient) = value.grad_remove(self.gradients) else {
            return Param::from_mapped_value(id, value, mapper);
        };
        let path = self
            .path
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(".");
        let in_norm = self.path.iter().any(|(_, norm)| *norm);
        let decay = if in_norm {
            self.sgd.weight_decay_norm
        } else {
            self.sgd.weight_decay
        };

        let value = value.inner();
        let shape = value.dims();
        let step = SgdStep {
            lr: self.lr,
            momentum: self.sgd.momentum,
            weight_decay: decay,
        };
        let velocity = self.sgd.velocity.remove(&path);
        let velocity = velocity.map(|velocity| velocity.reshape(shape));
        let (value, velocity) = op::sgd(step, value, velocity, gradient);
        self.sgd.velocity.insert(path, velocity.reshape([-1]));
        let value = Tensor::from_inner(value).require_grad();
        Param::from_mapped_value(id, value, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};

    /// Three steps of `torch.optim.SGD(lr=.1, momentum=.9, weight_decay=.01)` by hand.
    #[test]
    fn follows_torch_sgd() {
        let device = Device::flex().autodiff();
        let mut layer: Linear = LinearConfig::new(1, 1).with_bias(false).init(&device);
        layer = {
            struct Set;
            impl ModuleMapper for Set {
                fn map_float<const D: usize>(&mut self, p: Param<Tensor<D>>) -> Param<Tensor<D>> {
                    p.map(|t| Tensor::from_inner((t.inner() * 0.0) + 2.0).require_grad())
                }
            }
            layer.map(&mut Set)
        };
        let mut sgd = Sgd::new(0.9, 0.01, 0.0);
        let (mut p, mut v) = (2.0f64, 0.0f64);
        for step in 0..3 {
            let x = Tensor::<2>::from_data([[3.0f32]], &device);
            let gradients = layer.forward(x).powi_scalar(2).sum().backward();
            layer = sgd.step(0.1 / (step + 1) as f64, layer, gradients);
            v = 0.9 * v + (2.0 * 9.0 * p + 0.01 * p);
            p -= 0.1 / (step + 1) as f64 * v;
            let got = layer.weight.val().into_data().try_to_vec::<f32>().unwrap()[0] as f64;
            assert!(
                (got - p).abs() < 1e-4 * p.abs().max(1.0),
                "step {step}: {got} against {p}"
            );
        }
        assert_eq!(sgd.state().keys().collect::<Vec<_>>(), ["weight"]);
    }
}
