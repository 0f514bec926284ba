//! The scalar geometry of views (`ViewTransform`) and the loss' geometry on the device agree.

use burn::tensor::{Device, Tensor, TensorData};
use inscon_aug::{ViewAugmentation, ViewTransform, stream};
use inscon_loss::{CellLossConfig, Correspondence, Views, cell_centers};
use inscon_train::pictures::{cell_distance, cell_in_source};

/// The two roundings may fall on different sides of a bound when a distance is this close to it.
const TIE: f32 = 1e-4;

const TILES: usize = 24;

fn sampled(side_of_pair: u64) -> Vec<ViewTransform> {
    let augmentation = ViewAugmentation::moco_v2(64);
    (0..TILES as u64)
        .map(|i| {
            let (width, height) = (100 + 17 * i as u32, 300 - 9 * i as u32);
            augmentation
                .sample(&mut stream(9, &[side_of_pair, i]), width, height)
                .transform()
        })
        .collect()
}

fn on_device(views: &[ViewTransform], device: &Device) -> Views {
    let boxes: Vec<f32> = views.iter().flat_map(|v| v.crop.to_array()).collect();
    let flips: Vec<f32> = views.iter().map(|v| f32::from(u8::from(v.flip))).collect();
    Views {
        boxes: Tensor::from_data(TensorData::new(boxes, [views.len(), 4]), device),
        flips: Tensor::from_data(TensorData::new(flips, [views.len()]), device),
    }
}

#[test]
fn cell_centres_agree() {
    let views = sampled(0);
    assert!(views.iter().any(|v| v.flip) && views.iter().any(|v| !v.flip));
    for side in [1, 4, 7] {
        let centres = cell_centers(&on_device(&views, &Device::flex()), side);
        let centres: Vec<f32> = centres.into_data().try_to_vec().unwrap();
        for (at, centre) in centres.chunks(2).enumerate() {
            let (tile, cell) = (at / (side * side), at % (side * side));
            let (x, y) = cell_in_source(&views[tile], side, cell);
            // Source coordinates reach 500 px, where f32 is good to 6e-5.
            let close = (x - centre[0]).abs() < 1e-3 && (y - centre[1]).abs() < 1e-3;
            assert!(close, "tile {tile}, cell {cell}: ({x}, {y}) and {centre:?}");
        }
    }
}

#[test]
fn matches_agree() {
    let config = CellLossConfig::default();
    let (query, key) = (sampled(0), sampled(1));
    for side in [2, 4, 7] {
        let device = Device::flex();
        let (q, k) = (on_device(&query, &device), on_device(&key, &device));
        let found = Correspondence::new(&config, &q, &k, side, None);
        let flags = |t: Tensor<3, burn::tensor::Bool>| -> Vec<i32> {
            t.int().into_data().convert::<i32>().try_to_vec().unwrap()
        };
        let (positive, counted) = (flags(found.positive), flags(found.counted));
        let cells = side * side;
        let (mut matched, mut ignored) = (0, 0);
        for (at, (&positive, &counted)) in positive.iter().zip(&counted).enumerate() {
            let (tile, a, b) = (at / (cells * cells), at / cells % cells, at % cells);
            let d = cell_distance((&query[tile], a), (&key[tile], b), side);
            let near = |bound: f64| (d - bound as f32).abs() < TIE;
            if near(config.positive_below) || near(config.negative_from) {
                continue;
            }
            let is_positive = f64::from(d) < config.positive_below;
            let is_far = f64::from(d) >= config.negative_from;
            assert_eq!(positive == 1, is_positive, "tile {tile}, {a} and {b}: {d}");
            assert_eq!(
                counted == 1,
                is_positive || is_far,
                "tile {tile}, {a} and {b}: {d}"
            );
            matched += usize::from(is_positive);
            ignored += usize::from(!is_positive && !is_far);
        }
        assert!(
            matched > TILES && ignored > 0,
            "{matched} matched, {ignored} ignored"
        );
    }
}
