//! Exponential moving average of an encoder's parameters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::Encoder;
use crate::is_buffer;
use crate::op::ema;

/// MoCo's momentum update, heads included (`method.md`, Heads; arXiv 1911.05722, Eq. 2):
///
/// ```text
/// key ← m·key + (1 − m)·query
/// ```
/// Parameters only: the running statistics of batch norm are the key encoder's own. The result has
/// no autodiff.
///
/// # Panics
/// If the two encoders differ in architecture.
#[must_use]
pub fn ema_update(key: Encoder, query: &Encoder, momentum: f64) -> Encoder {
    let mut parameters = Parameters::default();
    query.visit(&mut parameters);
    let mut blend = Blend {
        momentum,
        query: parameters.values,
        path: Vec::new(),
    };
    let key = key.map(&mut blend);
    assert!(
        blend.query.is_empty(),
        "the query encoder has parameters that the key lacks: {:?}",
        blend.query.keys()
    );
    key
}

/// The query's parameters by path, as flat vectors of the inner device.
#[derive(Default)]
struct Parameters {
    values: BTreeMap<String, Tensor<1>>,
    path: Vec<String>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if !is_buffer(&path) {
            self.values.insert(path, param.val().inner().reshape([-1]));
        }
    }
}

struct Blend {
    momentum: f64,
    query: BTreeMap<String, Tensor<1>>,
    path: Vec<String>,
}

impl ModuleMapper for Blend {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if is_buffer(&path) {
            return param;
        }
        let query = self
            .query
            .remove(&path)
            .unwrap_or_else(|| panic!("the query encoder has no parameter `{path}`"));
        param.map(|key| {
            let query = query.reshape(key.dims()).to_device(&key.device());
            ema(self.momentum, key.inner(), query)
        })
    }
}
