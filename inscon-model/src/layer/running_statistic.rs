//! A buffer that a forward pass may change: batch norm's running mean and variance.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{Device, Tensor};

/// One vector, never trained: without gradient, outside the optimizer, the weight decay and the
/// EMA, yet a named tensor of the state dict.
///
/// burn's `RunningState` postpones an update until the next one of the same thread, so a state
/// dict read after a step lacks that step; here the value is the value. A clone is a copy: a key
/// encoder cloned from a query encoder has statistics of its own.
#[derive(Debug)]
pub struct RunningStatistic {
    id: ParamId,
    value: Mutex<Tensor<1>>,
}

impl RunningStatistic {
    /// A buffer that starts at `value`, `[C]`.
    #[must_use]
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        Self {
            id,
            value: Mutex::new(value.detach()),
        }
    }

    /// The present value, `[C]`, without gradient.
    pub fn value(&self) -> Tensor<1> {
        self.lock().clone()
    }

    /// Replaces the value; any gradient graph it hangs on is dropped.
    ///
    /// # Panics
    /// If the length differs.
    pub fn set(&self, value: Tensor<1>) {
        let mut held = self.lock();
        assert_eq!(
            held.dims(),
            value.dims(),
            "a running statistic keeps its length"
        );
        *held = value.detach();
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_value(self) -> (ParamId, Tensor<1>) {
        (
            self.id,
            self.value
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Clone for RunningStatistic {
    fn clone(&self) -> Self {
        Self::with_id(self.id, self.value())
    }
}

impl Module for RunningStatistic {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let (id, value) = self.into_value();
        let (id, value, _) = mapper.map_float(Param::initialized(id, value)).consume();
        Self::with_id(id, value.set_require_grad(false))
    }

    fn to_device(self, device: &Device) -> Self {
        let (id, value) = self.into_value();
        Self::with_id(id, value.to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Vec<Device>) -> Vec<Device> {
        let device = self.value().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        let (id, value) = self.into_value();
        Self::with_id(id, value.autodiff())
    }
}

impl ModuleDisplayDefault for RunningStatistic {
    fn content(&self, content: Content) -> Option<Content> {
        content.set_top_level_type("RunningStatistic").optional()
    }
}

impl ModuleDisplay for RunningStatistic {}
