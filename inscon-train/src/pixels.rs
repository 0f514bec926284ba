//! Canvases from bytes on the host to normalised floats on the device.

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Int, Tensor, TensorData};
use inscon_aug::normalize_canvases;
use ndarray::Array4;

/// Uploads canvases `[N, H, W, 3]` and returns `(v / 255 − mean) / std` of them as `[N, 3, H, W]`.
///
/// A GPU is sent the bytes, a quarter of the floats, and normalises; the CPU backend is handed the
/// floats at once.
///
/// # Panics
/// If the canvases have not three channels.
#[must_use]
pub fn upload_canvases(
    canvases: &Array4<u8>,
    mean: [f32; 3],
    std: [f32; 3],
    device: &Device,
) -> Tensor<4> {
    if is_host(device) {
        let (n, h, w, c) = canvases.dim();
        let floats = normalize_canvases(canvases.view(), mean, std);
        let (values, _) = floats.into_raw_vec_and_offset();
        return Tensor::from_data(TensorData::new(values, [n, c, h, w]), device);
    }
    normalised_on_device(canvases, mean, std, device)
}

/// Whether the device's memory is the host's.
#[cfg(feature = "flex")]
fn is_host(device: &Device) -> bool {
    let mut device = device.as_dispatch();
    if let DispatchDevice::Autodiff(inner) = device {
        device = inner;
    }
    matches!(device, DispatchDevice::Flex(_))
}

#[cfg(not(feature = "flex"))]
fn is_host(_device: &Device) -> bool {
    false
}

/// Not every backend has tensors of bytes (WebGPU has none), so four of them travel as one word.
fn normalised_on_device(
    canvases: &Array4<u8>,
    mean: [f32; 3],
    std: [f32; 3],
    device: &Device,
) -> Tensor<4> {
    let (n, h, w, c) = canvases.dim();
    assert_eq!(
        c,
        3,
        "canvases of {:?} are not [N, H, W, 3]",
        canvases.dim()
    );
    let canvases = canvases.as_standard_layout();
    let bytes = canvases.as_slice().expect("the standard layout is a slice");
    let (whole, rest) = bytes.as_chunks::<4>();
    let mut words: Vec<i32> = whole.iter().map(|b| i32::from_le_bytes(*b)).collect();
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        words.push(i32::from_le_bytes(last));
    }
    let count = words.len();
    let words = Tensor::<1, Int>::from_data(TensorData::new(words, [count]), device);
    let byte = |k: u32| {
        words
            .clone()
            .bitwise_right_shift_scalar(8 * k)
            .bitwise_and_scalar(0xff)
    };
    let bytes: Tensor<2, Int> = Tensor::stack((0..4).map(byte).collect(), 1);
    let row = |values: [f32; 3]| Tensor::<1>::from_floats(values, device).reshape([1, 3, 1, 1]);
    let floats = bytes
        .float()
        .reshape([4 * count])
        .narrow(0, 0, n * h * w * c);
    let floats = floats.reshape([n, h, w, c]).permute([0, 3, 1, 2]);
    (floats.div_scalar(255.0) - row(mean)) / row(std)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use inscon_aug::{IMAGENET_MEAN, IMAGENET_STD};

    #[test]
    fn host_and_device_agree() {
        let device = Device::flex();
        // 3 · 5 · 7 · 3 bytes are no whole number of words.
        for shape in [(3, 5, 7, 3), (2, 4, 4, 3), (1, 1, 1, 3)] {
            let mut next = 0u32;
            let canvases = Array4::from_shape_simple_fn(shape, || {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (next >> 24) as u8
            });
            let host = upload_canvases(&canvases, IMAGENET_MEAN, IMAGENET_STD, &device);
            let other = normalised_on_device(&canvases, IMAGENET_MEAN, IMAGENET_STD, &device);
            assert_eq!(host.dims(), [shape.0, 3, shape.1, shape.2]);
            assert_eq!(host.dims(), other.dims());
            let (host, other) = (host.into_data(), other.into_data());
            for (i, (a, b)) in host.iter::<f32>().zip(other.iter::<f32>()).enumerate() {
                assert!((a - b).abs() < 1e-5, "{shape:?} element {i}: {a} and {b}");
            }
            // And both are the formula's.
            let v = f32::from(canvases[[0, 0, 0, 2]]);
            let expected = (v / 255.0 - IMAGENET_MEAN[2]) / IMAGENET_STD[2];
            let index = 2 * shape.1 * shape.2;
            let got: Vec<f32> = host.iter::<f32>().collect();
            assert!((got[index] - expected).abs() < 1e-5);
        }
    }
}
