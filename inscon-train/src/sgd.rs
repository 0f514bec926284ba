//! Stochastic gradient descent with momentum and weight decay, in PyTorch's form.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use inscon_model::op::{self, SgdStep};
use serde::{Deserialize, Serialize};

/// A bound of gradients, applied before the weight decay: detectron2's `SOLVER.CLIP_GRADIENTS`.
///
/// Norms are L2. As `torch.nn.utils.clip_grad_norm_`, a gradient whose norm is above `value` is
/// multiplied by `value / (norm + 1e-6)`.
///
/// ```
/// use inscon_train::ClipGradients;
/// #[derive(serde::Deserialize)]
/// struct Recipe {
///     clip_gradients: ClipGradients,
/// }
/// let text = "clip_gradients = { kind = \"full-model\", value = 0.1 }";
/// let recipe: Recipe = toml::from_str(text)?;
/// assert_eq!(recipe.clip_gradients, ClipGradients::FullModel { value: 0.1 });
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClipGradients {
    /// Each element to `[-value, value]` (detectron2's `value`).
    Value {
        /// Bound; detectron2's default is 1.
        value: f64,
    },
    /// The norm of each parameter's gradient by itself (detectron2's `norm`).
    Norm {
        /// Bound; detectron2's default is 1.
        value: f64,
    },
    /// The norm of all gradients together (detectron2's `full_model`).
    FullModel {
        /// Bound; detectron2's default is 1.
        value: f64,
    },
}

impl ClipGradients {
    /// The bound.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Value { value } | Self::Norm { value } | Self::FullModel { value } => value,
        }
    }
}

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
    /// Bound of the gradients; `None` leaves them as they are.
    pub clip: Option<ClipGradients>,
    velocity: BTreeMap<String, Tensor<1>>,
}

impl Sgd {
    /// An optimizer with empty buffers that does not clip.
    #[must_use]
    pub fn new(momentum: f64, weight_decay: f64, weight_decay_norm: f64) -> Self {
        Self {
            momentum,
            weight_decay,
            weight_decay_norm,
            clip: None,
            velocity: BTreeMap::new(),
        }
    }

    /// The same with a bound of the gradients.
    #[must_use]
    pub fn with_clip(self, clip: Option<ClipGradients>) -> Self {
        Self { clip, ..self }
    }

    /// One step: takes each parameter's gradient out of `gradients` and returns the new module.
    #[must_use]
    pub fn step<M: Module>(&mut self, lr: f64, module: M, mut gradients: Gradients) -> M {
        let shrink = match self.clip {
            Some(ClipGradients::FullModel { value }) => {
                shrink(gradient_norm(&module, &gradients), value)
            }
            _ => 1.0,
        };
        let mut mapper = Update {
            sgd: self,
            lr,
            shrink,
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

/// L2 norm of all gradients of a module's parameters together.
///
/// Rows are summed on the device, their sums here in `f64`: the value does not depend on the number
/// of threads.
#[must_use]
pub fn gradient_norm<M: Module>(module: &M, gradients: &Gradients) -> f64 {
    struct Squares<'a> {
        gradients: &'a Gradients,
        rows: Vec<Tensor<1>>,
    }

    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if !value.is_require_grad() {
                return;
            }
            if let Some(gradient) = value.grad(self.gradients) {
                self.rows.push(squares(gradient));
            }
        }
    }

    let mut visitor = Squares {
        gradients,
        rows: Vec::new(),
    };
    module.visit(&mut visitor);
    if visitor.rows.is_empty() {
        return 0.0;
    }
    sum(Tensor::cat(visitor.rows, 0)).sqrt()
}

/// Sums of squares along the first axis.
fn squares<const D: usize>(gradient: Tensor<D>) -> Tensor<1> {
    let rows = gradient.dims()[0];
    let flat = gradient.reshape([rows as i32, -1]);
    (flat.clone() * flat).sum_dim(1).reshape([rows])
}

fn sum(values: Tensor<1>) -> f64 {
    values.into_data().iter::<f32>().map(f64::from).sum()
}

/// torch's `clip_coef`, at most 1.
fn shrink(norm: f64, bound: f64) -> f64 {
    let factor = bound / (norm + 1e-6);
    // Not `min`, which would make 1 of NaN.
    if factor > 1.0 { 1.0 } else { factor }
}

struct Update<'a> {
    sgd: &'a mut Sgd,
    lr: f64,
    /// Factor of every gradient.
    shrink: f64,
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

        let gradient = match self.sgd.clip {
            None => gradient,
            Some(ClipGradients::Value { value }) => gradient.clamp(-value, value),
            Some(ClipGradients::Norm { value }) => {
                let norm = sum(squares(gradient.clone())).sqrt();
                gradient * shrink(norm, value)
            }
            Some(ClipGradients::FullModel { .. }) => gradient * self.shrink,
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

    const WEIGHT: [f64; 4] = [2.0, -3.0, 0.5, 1.0];
    const BIAS: [f64; 2] = [0.5, -0.25];
    /// The gradients that [`gradients`] makes.
    const OF_WEIGHT: [f64; 4] = [3.0, -0.5, 0.25, -4.0];
    const OF_BIAS: [f64; 2] = [12.0, 0.75];

    fn layer() -> Linear {
        struct Set;
        impl ModuleMapper for Set {
            fn map_float<const D: usize>(&mut self, p: Param<Tensor<D>>) -> Param<Tensor<D>> {
                p.map(|held| {
                    let values = if D == 2 { &WEIGHT[..] } else { &BIAS[..] };
                    let data = TensorData::new(values.to_vec(), held.dims()).convert::<f32>();
                    Tensor::from_data(data, &held.device()).require_grad()
                })
            }
        }
        let device = Device::flex().autodiff();
        LinearConfig::new(2, 2).init(&device).map(&mut Set)
    }

    fn gradients(layer: &Linear) -> Gradients {
        let device = Device::flex().autodiff();
        let of = |values: &[f64], shape: &[usize]| {
            TensorData::new(values.to_vec(), shape.to_vec()).convert::<f32>()
        };
        let weight = Tensor::<2>::from_data(of(&OF_WEIGHT, &[2, 2]), &device);
        let bias = Tensor::<1>::from_data(of(&OF_BIAS, &[2]), &device);
        let of_bias = (layer.bias.as_ref().unwrap().val() * bias).sum();
        ((layer.weight.val() * weight).sum() + of_bias).backward()
    }

    fn values(layer: &Linear) -> [Vec<f64>; 2] {
        let read = |data: TensorData| data.iter::<f32>().map(f64::from).collect();
        let bias = layer.bias.as_ref().unwrap().val().into_data();
        [read(layer.weight.val().into_data()), read(bias)]
    }

    /// Each kind against the same by hand, with weight decay: it is added to the clipped gradient.
    #[test]
    fn gradients_are_clipped_before_the_weight_decay() {
        let norm = |g: &[f64]| g.iter().map(|x| x * x).sum::<f64>().sqrt();
        let (of_weight, of_bias) = (norm(&OF_WEIGHT), norm(&OF_BIAS));
        let all = (of_weight.powi(2) + of_bias.powi(2)).sqrt();
        let measured = layer();
        let found = gradient_norm(&measured, &gradients(&measured));
        assert!((found - all).abs() < 1e-5, "{found} against {all}");
        let factor = |norm: f64, bound: f64| (bound / (norm + 1e-6)).min(1.0);
        type ByHand<'a> = Box<dyn Fn(f64, f64) -> f64 + 'a>;
        let cases: [(ClipGradients, ByHand<'_>); 4] = [
            (
                ClipGradients::Value { value: 1.0 },
                Box::new(|g, _| g.clamp(-1.0, 1.0)),
            ),
            // 5.03 of the weight is left, 12.02 of the bias is cut.
            (
                ClipGradients::Norm { value: 6.0 },
                Box::new(|g, own| g * factor(own, 6.0)),
            ),
            (
                ClipGradients::FullModel { value: 2.0 },
                Box::new(|g, _| g * factor(all, 2.0)),
            ),
            (
                ClipGradients::FullModel { value: 100.0 },
                Box::new(|g, _| g),
            ),
        ];
        for (clip, by_hand) in cases {
            let mut sgd = Sgd::new(0.9, 0.1, 0.0).with_clip(Some(clip));
            let before = layer();
            let gradients = gradients(&before);
            let [weight, bias] = values(&sgd.step(0.5, before, gradients));
            let expected = |start: &[f64], g: &[f64]| -> Vec<f64> {
                let own = norm(g);
                let step = |(p, g): (&f64, &f64)| p - 0.5 * (by_hand(*g, own) + 0.1 * p);
                start.iter().zip(g).map(step).collect()
            };
            let close = |got: &[f64], want: &[f64]| {
                let pairs = got.iter().zip(want);
                assert!(
                    pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5),
                    "{clip:?}: {got:?} {want:?}"
                );
            };
            close(&weight, &expected(&WEIGHT, &OF_WEIGHT));
            close(&bias, &expected(&BIAS, &OF_BIAS));
        }
    }

    /// A norm that is no number is not taken for a small one.
    #[test]
    fn gradients_that_are_no_numbers_stay_so() {
        assert!(shrink(f64::NAN, 1.0).is_nan());
        assert_eq!(shrink(f64::INFINITY, 1.0), 0.0);
        assert_eq!(shrink(0.5, 1.0), 1.0);
    }

    /// detectron2's `WEIGHT_DECAY_NORM = 0`: without gradients worth mentioning, convolutions
    /// shrink and batch norms stay.
    #[test]
    fn norms_are_not_decayed() {
        use burn::tensor::Tensor;
        use inscon_model::{ResNetConfig, state_dict};

        let device = Device::flex().autodiff();
        let config = ResNetConfig {
            depth: 18,
            width: 0.125,
            output_stride: 32,
        };
        let mut rng = inscon_aug::stream(1, &[]);
        let resnet = config.init(&mut rng, &device).unwrap();
        let before = state_dict(&resnet);
        let x = Tensor::<4>::ones([2, 3, 32, 32], &device);
        let out = resnet.forward_stem(x, inscon_model::NormMode::Eval, 1);
        let gradients = (out.sum() * 0.0).backward();
        let after = state_dict(&Sgd::new(0.0, 0.5, 0.0).step(0.1, resnet, gradients));
        let ratio = |name: &str| {
            let read =
                |dict: &inscon_model::StateDict| -> Vec<f32> { dict[name].iter::<f32>().collect() };
            let (a, b) = (read(&before), read(&after));
            let largest = (0..a.len())
                .max_by(|&i, &j| a[i].abs().total_cmp(&a[j].abs()))
                .unwrap();
            f64::from(b[largest] / a[largest])
        };
        assert!((ratio("conv1.weight") - 0.95).abs() < 1e-6);
        assert_eq!(ratio("bn1.weight"), 1.0);
        // Not in the graph, so without any step: a frozen stage looks the same.
        assert_eq!(ratio("layer1.0.conv1.weight"), 1.0);
    }
}
