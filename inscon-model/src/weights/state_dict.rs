//! A module as tensors by name, and back.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::ModelError;

/// Tensors by name; the names are those of PyTorch's `state_dict()`.
pub type StateDict = BTreeMap<String, TensorData>;

/// Free text stored with a safetensors file.
pub type Metadata = HashMap<String, String>;

/// Whether a name is a buffer (running statistics of batch norm), not a parameter.
#[must_use]
pub fn is_buffer(name: &str) -> bool {
    matches!(
        name.rsplit('.').next(),
        Some("running_mean" | "running_var")
    )
}

/// Every parameter and buffer of a module by its path, as `f32`.
///
/// # Example
/// ```
/// use burn::tensor::Device;
/// use inscon_model::{ResNetConfig, load_state_dict, Strictness, state_dict};
/// use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
///
/// let config = ResNetConfig { depth: 18, width: 0.125, output_stride: 32 };
/// let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
/// let first = config.init(&mut rng, &Device::flex())?;
/// let dict = state_dict(&first);
/// assert!(dict.contains_key("layer2.0.downsample.0.weight"));
///
/// let second = config.init(&mut rng, &Device::flex())?;
/// let (second, report) = load_state_dict(second, &dict, "", Strictness::Exact)?;
/// assert_eq!(report.loaded.len(), dict.len());
/// assert_eq!(state_dict(&second)["conv1.weight"], dict["conv1.weight"]);
/// # Ok::<(), inscon_model::ModelError>(())
/// ```
#[must_use]
pub fn state_dict<M: Module>(module: &M) -> StateDict {
    struct Collect {
        dict: StateDict,
        path: Vec<String>,
    }

    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data().convert::<f32>();
            self.dict.insert(self.path.join("."), data);
        }
    }

    let mut collect = Collect {
        dict: StateDict::new(),
        path: Vec::new(),
    };
    module.visit(&mut collect);
    collect.dict
}

/// What [`load_state_dict`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Every tensor of the model is there, and nothing else under the prefix.
    Exact,
    /// Every tensor of the model is there; more is let pass (a classifier, another head).
    AllowUnexpected,
    /// Whatever fits by name; the report says what is missing and what is unexpected.
    Partial,
}

/// What [`load_state_dict`] did, by the model's names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Tensors taken from the state dict.
    pub loaded: Vec<String>,
    /// Tensors of the model that the state dict lacks; they keep their values.
    pub missing: Vec<String>,
    /// Tensors under the prefix that the model does not have.
    pub unexpected: Vec<String>,
}

/// Puts the tensors of `dict` whose name is `prefix` + a path of the module into the module.
///
/// `prefix` is `""` or ends with a dot (`"backbone."`). Names ending in `num_batches_tracked` are
/// ignored. Values keep their device and whether they are trained; `F16`, `BF16` and `F64` become
/// `f32`.
///
/// # Errors
/// [`ModelError::Shape`] at the first tensor of another shape, [`ModelError::DType`] at the first
/// that is not floating point, [`ModelError::Missing`] and [`ModelError::Unexpected`] as
/// `strictness` asks. The module is lost then: clone it first if it is still wanted.
pub fn load_state_dict<M: Module>(
    module: M,
    dict: &StateDict,
    prefix: &str,
    strictness: Strictness,
) -> Result<(M, LoadReport), ModelError> {
    let mut load = Load {
        dict,
        prefix,
        path: Vec::new(),
        report: LoadReport::default(),
        error: None,
    };
    let module = module.map(&mut load);
    let Load {
        mut report, error, ..
    } = load;
    if let Some(error) = error {
        return Err(error);
    }
    let known: std::collections::BTreeSet<&str> =
        report.loaded.iter().map(String::as_str).collect();
    let unexpected = dict
        .keys()
        .filter_map(|name| name.strip_prefix(prefix))
        .filter(|name| !known.contains(name) && !name.ends_with("num_batches_tracked"))
        .map(str::to_owned)
        .collect();
    report.unexpected = unexpected;
    if strictness != Strictness::Partial && !report.missing.is_empty() {
        let names = report
            .missing
            .iter()
            .map(|name| format!("{prefix}{name}"))
            .collect();
        return Err(ModelError::Missing { names });
    }
    if strictness == Strictness::Exact && !report.unexpected.is_empty() {
        let names = report
            .unexpected
            .iter()
            .map(|name| format!("{prefix}{name}"))
            .collect();
        return Err(ModelError::Unexpected { names });
    }
    Ok((module, report))
}

struct Load<'a> {
    dict: &'a StateDict,
    prefix: &'a str,
    path: Vec<String>,
    report: LoadReport,
    error: Option<ModelError>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let path = self.path.join(".");
        let name = format!("{}{path}", self.prefix);
        let Some(data) = self.dict.get(&name) else {
            self.report.missing.push(path);
            return param;
        };
        let expected = param.lazy_shape().to_vec();
        let found = data.shape().to_vec();
        if found != expected {
            self.error = Some(ModelError::Shape {
                name,
                found,
                expected,
            });
            return param;
        }
        if !data.dtype().is_float() {
            self.error = Some(ModelError::DType {
                name,
                dtype: format!("{:?}", data.dtype()),
            });
            return param;
        }
        self.report.loaded.push(path);
        let data = data.clone().convert::<f32>();
        param.map(|held| {
            let grad = held.is_require_grad();
            let value = Tensor::from_data(data, &held.device());
            if grad { value.require_grad() } else { value }
        })
    }
}

/// The part of a state dict under `prefix`, the prefix taken off: `"backbone."` makes torchvision's
/// names of an encoder's.
#[must_use]
pub fn strip_prefix(dict: &StateDict, prefix: &str) -> StateDict {
    dict.iter()
        .filter_map(|(name, data)| Some((name.strip_prefix(prefix)?.to_owned(), data.clone())))
        .collect()
}
