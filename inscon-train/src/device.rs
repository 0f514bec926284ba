//! The device a run computes on, chosen at run time among the backends that were compiled in.

use burn::tensor::Device;

/// Opens the device named on the command line.
///
/// | name | backend | Cargo feature |
/// |---|---|---|
/// | `cpu` | burn-flex, pure Rust | `flex` (default) |
/// | `wgpu` | WGSL through Vulkan, Metal or DirectX 12 | `wgpu` |
/// | `cuda`, `cuda:1` | CUDA, by device index | `cuda` |
///
/// The device is the plain one; the loops add autodiff where they need gradients.
///
/// # Errors
/// A name that is none of these, and a backend that this binary was built without; the message
/// says how to build it in.
pub fn open_device(name: &str) -> Result<Device, DeviceError> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => {
            let index = index
                .parse::<usize>()
                .map_err(|_| DeviceError::Unknown(name.into()))?;
            (kind, Some(index))
        }
        None => (name, None),
    };
    match (kind, index) {
        ("cpu", None) => cpu(),
        ("wgpu", None) => wgpu(),
        ("cuda", index) => cuda(index.unwrap_or(0)),
        _ => Err(DeviceError::Unknown(name.into())),
    }
}

/// Why a device could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is not one of the known kinds.
    #[error("unknown device `{0}`: write `cpu`, `wgpu` or `cuda:N`")]
    Unknown(String),
    /// The backend was not compiled in.
    #[error(
        "this binary was built without `{0}`: build it with \
         `cargo build -p inscon-train --release --features {0}`"
    )]
    NotCompiled(&'static str),
}

#[cfg(feature = "flex")]
fn cpu() -> Result<Device, DeviceError> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn cpu() -> Result<Device, DeviceError> {
    Err(DeviceError::NotCompiled("flex"))
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, DeviceError> {
    Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<Device, DeviceError> {
    Err(DeviceError::NotCompiled("wgpu"))
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    Ok(Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotCompiled("cuda"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        for name in ["gpu", "cpu:1", "cuda:x", ""] {
            let error = open_device(name).unwrap_err();
            assert!(
                error.to_string().contains("`cpu`, `wgpu` or `cuda:N`"),
                "{error}"
            );
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_backend_names_the_feature() {
        let error = open_device("cuda:1").unwrap_err();
        assert!(error.to_string().contains("--features cuda"), "{error}");
    }
}
