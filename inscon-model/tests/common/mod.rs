//! What several tests need.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)] // each test file takes a part

use burn::tensor::{Device, Tensor, TensorData};
use inscon_model::detection::BitMask;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

pub fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Uniform in [−1, 1), the integer mixing of `fixtures/resnet.py`.
pub fn noise(n: usize, seed: u32) -> Vec<f64> {
    (0..n as u64)
        .map(|i| {
            let mut h = (i.wrapping_mul(2_654_435_761).wrapping_add(u64::from(seed))) as u32;
            for _ in 0..2 {
                h ^= h >> 16;
                h = h.wrapping_mul(0x045D_9F3B);
            }
            h ^= h >> 16;
            f64::from(h) / 2f64.powi(31) - 1.0
        })
        .collect()
}

pub fn noise_tensor<const D: usize>(shape: [usize; D], seed: u32, device: &Device) -> Tensor<D> {
    let data = noise(shape.iter().product(), seed)
        .into_iter()
        .map(|v| v as f32)
        .collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

/// The mask of a box of whole pixels in an image of `[height, width]`.
pub fn rectangle(bbox: [usize; 4], [height, width]: [usize; 2]) -> BitMask {
    let [x0, y0, x1, y1] = bbox;
    let mut mask = BitMask::zeros(height, width);
    for y in y0..y1 {
        mask.data[y * width + x0..y * width + x1].fill(1);
    }
    mask
}
