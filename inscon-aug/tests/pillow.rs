//! Pixel operations against PIL and torchvision, on a 24 x 20 px picture with fixed parameters.
//!
//! `fixtures/generate.py` makes the pictures; `fixtures/versions.txt` names the versions.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::Path;

use image::RgbImage;
use inscon_aug::{
    BBox, BlurKernel, ColorOp, IMAGENET_MEAN, IMAGENET_STD, SampledView, crop_resize,
    gaussian_blur, grayscale, horizontal_flip, normalize_into,
};
use ndarray::Array3;

/// Both filter rows first and round in between; none of these crops is one of which Pillow 13 filters
/// columns first.
const RESIZE_TOLERANCE: u8 = 0;
/// Every operation of it is PIL's to the last bit.
const VIEW_TOLERANCE: u8 = 0;

fn picture(name: &str) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ops/{name}.png"));
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    image::load_from_memory(&bytes).unwrap().into_rgb8()
}

fn check(name: &str, tolerance: u8, ours: &RgbImage) {
    let expected = picture(name);
    assert_eq!(ours.dimensions(), expected.dimensions(), "{name}");
    let most = ours
        .iter()
        .zip(expected.iter())
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap();
    let unequal = ours
        .iter()
        .zip(expected.iter())
        .filter(|(a, b)| a != b)
        .count();
    println!(
        "{name}: at most {most}, {unequal} of {} unequal",
        expected.len()
    );
    assert!(
        most <= tolerance,
        "{name}: differs by {most}, more than {tolerance}"
    );
}

fn changed(change: impl Fn(&mut RgbImage)) -> RgbImage {
    let mut img = picture("source");
    change(&mut img);
    img
}

#[test]
fn crop_and_resize() {
    for (name, crop, side) in [
        ("crop_3_2_18_15_to_8", BBox::new(3.0, 2.0, 21.0, 17.0), 8),
        ("crop_5_4_9_11_to_24", BBox::new(5.0, 4.0, 14.0, 15.0), 24),
        ("crop_0_0_24_20_to_16", BBox::new(0.0, 0.0, 24.0, 20.0), 16),
        ("crop_7_6_12_12_to_12", BBox::new(7.0, 6.0, 19.0, 18.0), 12),
    ] {
        check(
            name,
            RESIZE_TOLERANCE,
            &crop_resize(&picture("source"), &crop, side, side),
        );
    }
    let whole = crop_resize(&picture("source"), &BBox::of_size(24, 20), 29, 24);
    check("resize_whole_29_24", RESIZE_TOLERANCE, &whole);
}

#[test]
fn colors_are_equal_to_the_last_bit() {
    for factor in ["0.6", "1.0", "1.37"] {
        let value = factor.parse().unwrap();
        for (name, op) in [
            ("brightness", ColorOp::Brightness(value)),
            ("contrast", ColorOp::Contrast(value)),
            ("saturation", ColorOp::Saturation(value)),
        ] {
            check(
                &format!("{name}_{factor}"),
                0,
                &changed(|img| op.apply(img)),
            );
        }
    }
    for turns in ["-0.1", "0.0", "0.063", "0.5"] {
        let op = ColorOp::Hue(turns.parse().unwrap());
        check(&format!("hue_{turns}"), 0, &changed(|img| op.apply(img)));
    }
    check("grayscale", 0, &changed(grayscale));
    check(
        "grayscale",
        0,
        &changed(|img| ColorOp::Grayscale.apply(img)),
    );
    check("flip", 0, &changed(horizontal_flip));
}

#[test]
fn blur_is_equal_to_the_last_bit() {
    for sigma in ["0.1", "0.7", "1.3", "2.0", "3.5"] {
        let value = sigma.parse().unwrap();
        check(
            &format!("blur_{sigma}"),
            0,
            &changed(|img| gaussian_blur(img, value)),
        );
    }
}

#[test]
fn a_whole_view() {
    let view = SampledView {
        source_size: [24, 20],
        crop: BBox::new(2.0, 1.0, 21.0, 18.0),
        flip: true,
        size: [16, 16],
        colors: vec![
            ColorOp::Hue(0.08),
            ColorOp::Contrast(1.2),
            ColorOp::Saturation(0.7),
            ColorOp::Brightness(0.9),
        ],
        grayscale: false,
        blur: Some(0.9),
        blur_kernel: BlurKernel::Pil,
        solarize: None,
    };
    check(
        "moco_v2_view",
        VIEW_TOLERANCE,
        &view.apply_rgb(&picture("source")),
    );
}

#[test]
fn normalisation_is_torchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ops/moco_v2_view.f32");
    let expected: Vec<f32> = fs::read(path)
        .unwrap()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let mut out = Array3::zeros((3, 16, 16));
    normalize_into(
        &picture("moco_v2_view"),
        IMAGENET_MEAN,
        IMAGENET_STD,
        out.view_mut(),
    );
    // Every fourth row and third column were kept.
    let ours: Vec<f32> = out
        .indexed_iter()
        .filter(|((_, y, x), _)| y % 4 == 0 && x % 3 == 0)
        .map(|(_, &v)| v)
        .collect();
    assert_eq!(ours.len(), expected.len());
    for (a, b) in ours.iter().zip(&expected) {
        assert!((a - b).abs() <= f32::EPSILON * 4.0, "{a} and {b}");
    }
}
