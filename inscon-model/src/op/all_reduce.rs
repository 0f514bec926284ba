//! A sum over devices that gradients pass through.

use std::fmt::Debug;
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData, try_read_sync};

/// How the devices of a training add up short vectors.
///
/// A collective call: every device calls [`AllReduce::sum`] equally often, in the same order, with
/// equal lengths, each from a thread of its own; the call returns when all have called.
pub trait AllReduce: Debug + Send + Sync {
    /// Number of devices.
    fn devices(&self) -> usize;

    /// Replaces `values` by the sum over the devices, the same bits on each.
    fn sum(&self, values: &mut [f32]);
}

/// One device's handle to the others.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inscon_model::SyncGroup;
///
/// let sums: Vec<f32> = std::thread::scope(|scope| {
///     let threads: Vec<_> = SyncGroup::of_threads(2)
///         .into_iter()
///         .zip([1.0f32, 2.0])
///         .map(|(group, value)| {
///             scope.spawn(move || {
///                 let x = Tensor::<1>::from_floats([value], &Device::flex());
///                 group.sum(x).into_scalar::<f32>()
///             })
///         })
///         .collect();
///     threads.into_iter().map(|thread| thread.join().unwrap()).collect()
/// });
/// assert_eq!(sums, [3.0, 3.0]);
/// ```
#[derive(Debug, Clone)]
pub struct SyncGroup(Arc<dyn AllReduce>);

impl SyncGroup {
    /// A handle to a group.
    pub fn new(group: impl AllReduce + 'static) -> Self {
        Self(Arc::new(group))
    }

    /// The handles of a group whose devices are driven by threads of this process.
    ///
    /// A thread that ends early leaves the others waiting: end the process then.
    #[must_use]
    pub fn of_threads(devices: usize) -> Vec<Self> {
        let meeting = Arc::new(Meeting {
            values: (0..devices).map(|_| Mutex::default()).collect(),
            barrier: Barrier::new(devices),
        });
        let member = |rank| {
            Self::new(Member {
                rank,
                meeting: Arc::clone(&meeting),
            })
        };
        (0..devices).map(member).collect()
    }

    /// Number of devices.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.0.devices()
    }

    /// The sum of every device's `x`, element by element: `[C]` to `[C]`. The gradient of each
    /// device's `x` is the sum of the devices' gradients of the result, in the backward pass a
    /// collective call like this one.
    ///
    /// # Panics
    /// On a device other than flex: this crate has no transport for its values yet.
    #[must_use]
    pub fn sum(&self, x: Tensor<1>) -> Tensor<1> {
        Tensor::from_dispatch(Dispatch::sum_over_devices(x.into_dispatch(), self.clone()))
    }
}

/// Where threads put their values.
#[derive(Debug)]
struct Meeting {
    values: Vec<Mutex<Vec<f32>>>,
    barrier: Barrier,
}

#[derive(Debug)]
struct Member {
    rank: usize,
    meeting: Arc<Meeting>,
}

impl AllReduce for Member {
    fn devices(&self) -> usize {
        self.meeting.values.len()
    }

    fn sum(&self, values: &mut [f32]) {
        let at = |rank: usize| {
            let slot = &self.meeting.values[rank];
            slot.lock().unwrap_or_else(PoisonError::into_inner)
        };
        *at(self.rank) = values.to_vec();
        self.meeting.barrier.wait();
        // In the order of ranks on every device, so that the bits are equal.
        values.fill(0.0);
        for rank in 0..self.devices() {
            let theirs = at(rank);
            assert_eq!(theirs.len(), values.len(), "lengths of a sum over devices");
            for (sum, value) in values.iter_mut().zip(theirs.iter()) {
                *sum += value;
            }
        }
        self.meeting.barrier.wait();
    }
}

#[backend_extension(Flex: cfg(feature = "flex"), Autodiff)]
trait AllReduceBackend: Backend {
    fn sum_over_devices(x: FloatTensor<Self>, group: SyncGroup) -> FloatTensor<Self> {
        let device = x.device();
        let data = try_read_sync(Self::float_into_data(x));
        let Some(Ok(data)) = data else {
            panic!("the values of a sum over devices cannot be read: {data:?}");
        };
        let shape = data.shape().clone();
        let mut values: Vec<f32> = data.iter::<f32>().collect();
        group.0.sum(&mut values);
        Self::float_from_data(TensorData::new(values, shape), &device)
    }
}

#[cfg(feature = "flex")]
impl AllReduceBackend for burn::backend::flex::Flex {}

impl<B: AllReduceBackend, C: CheckpointStrategy> AllReduceBackend for Autodiff<B, C> {
    fn sum_over_devices(x: FloatTensor<Self>, group: SyncGroup) -> FloatTensor<Self> {
        match AllReduceBackward
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let y = B::sum_over_devices(x.into_primitive(), group.clone());
                prep.finish(group, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::sum_over_devices(x.into_primitive(), group)),
        }
    }
}

#[derive(Debug)]
struct AllReduceBackward;

impl<B: AllReduceBackend> Backward<B, 1> for AllReduceBackward {
    type State = SyncGroup;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let dx = B::sum_over_devices(dy, ops.state);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, dx);
        }
    }
}
