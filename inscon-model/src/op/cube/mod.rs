//! Operations on burn's Cube backends: CUDA, ROCm, and WGSL through Vulkan, Metal or DirectX 12.

mod roi_align;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Tensor};

/// Whether `x` lies where the kernels run.
pub(super) fn runs<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Cube(_)) && x.dtype() == DType::F32
}
