//! Encoder, momentum update, split.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use burn::tensor::{Device, Tensor};
use common::{noise_tensor, rng, values};
use inscon_model::{
    Encoder, EncoderConfig, NormMode, Queue, ResNetConfig, Split, ema_update, is_buffer, state_dict,
};

fn config(output_stride: usize) -> EncoderConfig {
    let resnet = ResNetConfig {
        depth: 18,
        width: 0.125,
        output_stride,
    };
    EncoderConfig {
        resnet,
        hidden: 24,
        dim: 8,
        cell_head: true,
    }
}

fn encoder(seed: u64, device: &Device) -> Encoder {
    config(32).init(&mut rng(seed), device).unwrap()
}

/// key ← m·key + (1 − m)·query on every parameter, heads included; statistics untouched; no
/// autodiff in the result.
#[test]
fn momentum_update_is_its_formula() {
    let device = Device::flex();
    let query = encoder(1, &device.clone().autodiff());
    let key = encoder(2, &device);
    key.forward(
        noise_tensor([2, 3, 64, 64], 1, &device),
        2,
        Split::Slice,
        NormMode::Train,
        1,
    );
    let (before, other) = (state_dict(&key), state_dict(&query));
    let after = state_dict(&ema_update(key, &query, 0.9));
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    let mut moved = 0;
    for (name, after) in &after {
        let read = |data: &burn::tensor::TensorData| data.try_to_vec::<f32>().unwrap();
        let (after, before, query) = (read(after), read(&before[name]), read(&other[name]));
        for ((after, before), query) in after.into_iter().zip(before).zip(query) {
            if is_buffer(name) {
                assert_eq!(after, before, "{name}");
            } else {
                let expected = 0.9 * f64::from(before) + 0.1 * f64::from(query);
                assert!((f64::from(after) - expected).abs() < 1e-6, "{name}");
                moved += usize::from(after != before);
            }
        }
    }
    assert!(moved > 100_000, "{moved} values moved");
}

#[test]
fn momentum_one_keeps_and_zero_copies() {
    let device = Device::flex();
    let query = encoder(1, &device.clone().autodiff());
    let kept = state_dict(&ema_update(encoder(2, &device), &query, 1.0));
    assert_eq!(kept, state_dict(&encoder(2, &device)));
    let copied = state_dict(&ema_update(encoder(2, &device), &query, 0.0));
    assert_eq!(copied, state_dict(&query)); // both buffers are still 0 and 1
}

/// The key of step 0 has the query's values, no autodiff, and statistics of its own.
#[test]
fn key_starts_as_the_query() {
    let device = Device::flex();
    let query = encoder(1, &device.clone().autodiff());
    let key = query.to_key();
    assert_eq!(state_dict(&key), state_dict(&query));
    let x = noise_tensor([4, 3, 32, 32], 1, &device);
    let out = key.forward(x.clone(), 1, Split::Slice, NormMode::Train, 2);
    assert!(!out.instance.is_autodiff());
    assert_ne!(state_dict(&key), state_dict(&query));

    // Trained statistics without autodiff equal those with: the trap of `burn-notes.md`.
    let tracked = query.forward(x, 1, Split::Slice, NormMode::Train, 2);
    assert_eq!(values(out.instance), values(tracked.instance));
    assert_eq!(state_dict(&key), state_dict(&query));
}

#[test]
fn output_is_unit_vectors_in_tile_order() {
    let device = Device::flex();
    let encoder = encoder(1, &device);
    let x = noise_tensor([2, 3, 128, 128], 1, &device);
    let out = encoder.forward(x, 2, Split::Slice, NormMode::Eval, 1);
    assert_eq!(out.map.dims(), [8, 64, 2, 2]);
    assert_eq!(out.instance.dims(), [8, 8]);
    let cells = out.cells.unwrap();
    assert_eq!(cells.dims(), [8, 4, 8]);
    for row in values(out.instance)
        .chunks(8)
        .chain(values(cells.clone()).chunks(8))
    {
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    // Cell v·S + u is the head on cell (v, u) alone.
    let one = out.map.slice([3..4, 0..64, 1..2, 0..1]);
    let alone = values(encoder.cell_head.as_ref().unwrap().forward(one));
    for (got, expected) in values(cells)[(3 * 4 + 2) * 8..][..8].iter().zip(alone) {
        assert!((got - expected).abs() < 1e-5);
    }
}

/// Both splits of the same map, at the sizes of `method.md` and others.
#[test]
fn slice_equals_roi_align() {
    for (canvases, grid, stride, tile) in [
        (2, 2, 32, 64),
        (1, 3, 32, 96),
        (2, 1, 32, 96),
        (1, 2, 16, 64),
        (1, 2, 32, 224),
    ] {
        let canvas = grid * tile;
        let side = canvas / stride;
        let map = noise_tensor([canvases, 3, side, side], 4, &Device::flex());
        let sliced = Split::Slice.apply(map.clone(), grid, canvas, stride);
        let aligned = Split::RoiAlign.apply(map.clone(), grid, canvas, stride);
        assert_eq!(sliced.dims(), aligned.dims());
        if grid == 1 {
            assert_eq!(values(sliced.clone()), values(map.clone()));
        }
        for (sliced, aligned) in values(sliced.clone()).iter().zip(values(aligned)) {
            assert!(
                (sliced - aligned).abs() < 1e-5,
                "grid {grid}: {sliced} against {aligned}"
            );
        }
        // Tile t = canvas·grid² + row·grid + column, by index.
        let (cells, whole) = (values(sliced), values(map));
        let s = side / grid;
        for t in 0..canvases * grid * grid {
            let (m, row, column) = (t / (grid * grid), t / grid % grid, t % grid);
            for (c, v, u) in [(0, 0, 0), (2, s - 1, 0), (1, 0, s - 1)] {
                let tile = cells[((t * 3 + c) * s + v) * s + u];
                let at = ((m * 3 + c) * side + row * s + v) * side + column * s + u;
                assert_eq!(tile, whole[at]);
            }
        }
    }
}

/// Tiles that are no multiple of the stride: RoIAlign gives ⌈tile / stride⌉² cells.
#[test]
fn roi_align_splits_uneven_tiles() {
    let map = Tensor::<4>::ones([1, 3, 7, 7], &Device::flex()); // 224 px canvas of 112 px tiles
    let tiles = Split::RoiAlign.apply(map, 2, 224, 32);
    assert_eq!(tiles.dims(), [4, 3, 4, 4]);
    assert!(values(tiles).iter().all(|v| (v - 1.0).abs() < 1e-6));
}

#[test]
#[should_panic(expected = "does not slice into 2×2 tiles")]
fn slice_refuses_uneven_tiles() {
    let _ = Split::Slice.apply(Tensor::ones([1, 3, 7, 7], &Device::flex()), 2, 224, 32);
}

#[test]
fn autotraits() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Encoder>();
    check::<Queue>();
    check::<EncoderConfig>();
}
