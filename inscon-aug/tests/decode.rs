//! Decoding against PIL: awkward formats, truncated and broken files.
//!
//! `fixtures/generate.py` makes the files and what PIL's `exif_transpose` + `convert("RGB")` gives
//! for them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use inscon_aug::{AugError, decode_rgb};
use proptest::prelude::*;

/// Levels by which a JPEG of four components may differ, which another decoder than ours reads. All
/// else must be equal.
const FOUR_COMPONENT_TOLERANCE: u8 = 1;
/// The mean of that difference over an image.
const FOUR_COMPONENT_MEAN_TOLERANCE: f64 = 0.7;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// All files that have an expected picture, by name.
fn files() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|e| {
            e.unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .strip_suffix(".expected.png")
                .map(String::from)
        })
        .collect();
    names.sort();
    assert!(names.len() > 20, "fixtures are missing: {names:?}");
    names
}

fn differences(a: &RgbImage, b: &RgbImage) -> (u8, f64) {
    let all = || a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = all().map(u64::from).sum();
    (all().max().unwrap(), sum as f64 / a.len() as f64)
}

#[test]
fn pictures_equal_pils() {
    for name in files() {
        let ours = decode_rgb(&read(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = image::load_from_memory(&read(&format!("{name}.expected.png"))).unwrap();
        let expected = expected.into_rgb8();
        assert_eq!(ours.dimensions(), expected.dimensions(), "{name}");
        let (most, mean) = differences(&ours, &expected);
        let (most_allowed, mean_allowed) = if ["cmyk.jpg", "ycck.jpg"].contains(&name.as_str()) {
            (FOUR_COMPONENT_TOLERANCE, FOUR_COMPONENT_MEAN_TOLERANCE)
        } else {
            (0, 0.0)
        };
        println!("{name}: at most {most}, mean {mean:.3}");
        assert!(
            most <= most_allowed && mean <= mean_allowed,
            "{name}: at most {most}, mean {mean}"
        );
    }
}

#[test]
fn a_truncated_jpeg_is_refused() {
    let error = decode_rgb(&read("truncated.jpg")).unwrap_err();
    assert!(matches!(error, AugError::Truncated(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "truncated JPEG: 647 bytes end before the end-of-image marker"
    );
}

/// PIL refuses all of these too (the script checked), but for the cuts behind a PNG's last pixels.
#[test]
fn every_truncation_is_refused() {
    let intact = 22;
    for name in files() {
        let bytes = read(&name);
        let must_fail = if name.ends_with(".png") {
            bytes.len() - intact
        } else {
            bytes.len() - 2
        };
        for cut in 0..must_fail {
            assert!(
                decode_rgb(&bytes[..cut]).is_err(),
                "{name} cut to {cut} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn what_is_no_image_is_named() {
    for bytes in [
        &b""[..],
        b"hello, world",
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00",
    ] {
        let error = decode_rgb(bytes).unwrap_err();
        assert!(
            matches!(error, AugError::UnknownFormat(n) if n == bytes.len()),
            "{error:?}"
        );
    }
}

#[test]
fn an_enormous_image_is_refused_before_its_memory_is_taken() {
    // 60,000 x 60,000 px in a few bytes: the size fields of a real BMP, overwritten.
    let mut bytes = read("rgb.bmp");
    bytes[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bytes[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    let error = decode_rgb(&bytes).unwrap_err();
    assert!(
        matches!(error, AugError::TooLarge { width: 60_000, .. }),
        "{error:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    /// Flipped bytes may change the picture or be refused, but never end the program.
    #[test]
    fn broken_bytes_never_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let names = files();
        let mut bytes = read(&names[file.index(names.len())]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let result = decode_rgb(&bytes);
        prop_assert!(!matches!(result, Err(AugError::DecoderPanicked)), "the decoder panicked");
    }
}
