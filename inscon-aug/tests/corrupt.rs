//! Damaged, disguised and monstrous files: each is a picture or an error that says what is wrong,
//! without a panic, within the memory that [`DecodeLimits`] promises.
//!
//! `INSCON_REGENERATE=1` writes `fixtures/corrupt/expected.txt` anew, `INSCON_CORRUPT=FOLDER` writes
//! the files and our pictures of them to a folder for `fixtures/compare_corrupt.py`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod corrupt_variants;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use corrupt_variants::{Expected, Variant, WHOLE, by_chance, variants};
use image::codecs::{png::PngEncoder, webp::WebPEncoder};
use image::{ImageEncoder, RgbImage};
use inscon_aug::{AugError, BBox, DecodeLimits, Decoder};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The peak is of the whole program, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// What the tests allow; the bombs within it have 3000 x 1000 px.
const LIMIT: u64 = 12 << 20;

/// Bytes that a decoder may have at most, as `DecodeLimits` says.
fn bound(limits: DecodeLimits, file: usize) -> usize {
    4 * limits.max_bytes as usize + 16 * file + (1 << 20)
}

fn crops([width, height]: [u32; 2]) -> Vec<BBox> {
    let (w, h) = (width as f32, height as f32);
    vec![
        BBox::new(0.0, 0.0, 1.0, 1.0),
        BBox::new(0.3 * w, 0.2 * h, 0.6 * w, 0.5 * h),
        BBox::new(w - 1.0, h - 1.0, w, h),
        BBox::new(-1e9, 2.0 * h, 1e9, 3.0 * h),
        BBox::new(f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN),
    ]
}

/// The whole, and whether any part is a picture.
fn tried(decoder: &mut Decoder, name: &str, bytes: &[u8]) -> (Result<(), AugError>, bool) {
    let size = decoder.size(bytes);
    if let Err(error) = &size {
        named(name, error);
    }
    let size = size.ok();
    let whole = decoder.decode(bytes).map(|region| {
        assert_eq!(Some([region.width, region.height]), size, "{name}");
        assert_eq!(region.image_size, [region.width, region.height], "{name}");
        let pixels = region.width as usize * region.height as usize;
        assert_eq!(region.pixels.len(), 3 * pixels, "{name}");
    });
    let mut any = whole.is_ok();
    for crop in crops(size.unwrap_or([17, 9])) {
        for denominator in [1, 2, 4, 8] {
            match decoder.decode_region(bytes, &crop, denominator) {
                Ok(region) => {
                    any = true;
                    assert_eq!(Some(region.image_size), size, "{name}");
                    let pixels = region.width as usize * region.height as usize;
                    assert_eq!(region.pixels.len(), 3 * pixels, "{name}");
                }
                Err(error) => {
                    assert!(whole.is_err(), "{name}: {crop:?} fails alone: {error}");
                    named(name, &error);
                }
            }
        }
    }
    if let Err(error) = &whole {
        named(name, error);
    }
    (whole, any)
}

/// An error says what is wrong.
fn named(name: &str, error: &AugError) {
    assert!(
        !matches!(error, AugError::DecoderPanicked),
        "{name}: {error}"
    );
    let text = error.to_string();
    let vague = text.len() < 20 || text.to_lowercase().contains("unknown error");
    assert!(!vague, "{name}: {text:?}");
}

fn outcome(decoder: &mut Decoder, name: &str, bytes: &[u8]) -> (Expected, String) {
    match tried(decoder, name, bytes) {
        (Ok(()), _) => (Expected::Ok, String::new()),
        (Err(error), true) => (Expected::Partly, error.to_string()),
        (Err(error), false) => (Expected::Broken, error.to_string()),
    }
}

/// All files with what became of them; asserts what holds of each alone.
#[test]
fn every_variant_is_a_picture_or_a_named_error_within_the_bound() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = variants();
    assert!(all.len() >= 500, "{} files", all.len());
    let names: BTreeSet<_> = all.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), all.len(), "two files of one name");
    if std::env::var_os("INSCON_REGENERATE").is_some() {
        record(&mut all);
    }
    let limits = DecodeLimits { max_bytes: LIMIT };
    let mut wrong = Vec::new();
    let (mut most, mut longest) = ((0.0, ""), (0.0, ""));
    let mut counts = [0; 3];
    for (name, bytes, expected) in &all {
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let started = Instant::now();
        let (found, error) = outcome(&mut Decoder::with_limits(limits), name, bytes);
        let seconds = started.elapsed().as_secs_f64();
        let peak = MEMORY.peak_usage().saturating_sub(before);
        let share = peak as f64 / bound(limits, bytes.len()) as f64;
        if share > most.0 {
            most = (share, name);
        }
        if seconds > longest.0 {
            longest = (seconds, name);
        }
        counts[found as usize] += 1;
        if share > 1.0 {
            wrong.push(format!("{name} takes {peak} bytes"));
        }
        if found != *expected {
            wrong.push(format!("{name} is {found:?}, not {expected:?}: {error}"));
        }
        let message = MESSAGES.iter().find(|(n, _)| n == name);
        if let Some((_, part)) = message
            && !error.contains(part)
        {
            wrong.push(format!("{name}: {error:?} does not say {part:?}"));
        }
        dump(name, bytes, &error);
    }
    println!(
        "{} files: {counts:?} pictures, partly, broken; most of the bound: {most:?}; longest: \
         {longest:?}",
        all.len()
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for (name, _) in MESSAGES {
        assert!(names_of(&all).contains(name), "no file {name}");
    }
}

fn names_of(all: &[Variant]) -> BTreeSet<&str> {
    all.iter().map(|(name, ..)| name.as_str()).collect()
}

/// Writes what becomes of the files that are made by chance.
fn record(all: &mut [Variant]) {
    let mut lines = String::new();
    let chance: BTreeSet<_> = by_chance().into_iter().map(|(name, _)| name).collect();
    let mut decoder = Decoder::with_limits(DecodeLimits { max_bytes: LIMIT });
    for (name, bytes, expected) in all.iter_mut().filter(|(name, ..)| chance.contains(name)) {
        *expected = outcome(&mut decoder, name, bytes).0;
        lines += &format!("{} {name}\n", format!("{expected:?}").to_lowercase());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corrupt/expected.txt");
    fs::write(path, lines).unwrap();
}

/// Writes a file and what we make of it for `compare_corrupt.py`: a picture, or a message.
fn dump(name: &str, bytes: &[u8], error: &str) {
    let Some(folder) = std::env::var_os("INSCON_CORRUPT") else {
        return;
    };
    let path = Path::new(&folder).join(name);
    fs::write(&path, bytes).unwrap();
    match inscon_aug::decode_rgb(bytes) {
        Ok(image) => image.save(format!("{}.ours.png", path.display())).unwrap(),
        Err(_) => fs::write(format!("{}.error.txt", path.display()), error).unwrap(),
    }
}

/// Whole files of rare kinds look as in PIL; only the lossy WebPs are not equal.
#[test]
fn whole_files_equal_pils() {
    let mut compared = 0;
    for (path, bytes) in WHOLE {
        let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let Ok(expected) = fs::read(expected.join(format!("{path}.expected.png"))) else {
            continue;
        };
        let expected = image::load_from_memory(&expected).unwrap().into_rgb8();
        let ours = inscon_aug::decode_rgb(bytes).unwrap();
        assert_eq!(ours.dimensions(), expected.dimensions(), "{path}");
        let differences = ours
            .iter()
            .zip(expected.iter())
            .map(|(a, b)| a.abs_diff(*b));
        let most = differences.max().unwrap();
        let lossy = path.ends_with(".webp") || path.contains("cmyk");
        assert!(most <= if lossy { 1 } else { 0 }, "{path}: {most}");
        compared += 1;
    }
    assert!(compared > 25, "{compared}");
}

/// What a decoder keeps from image to image counts as well: larger and larger ones, in several scans
/// and in one, turned, then of other formats.
#[test]
fn the_bound_holds_for_a_decoder_that_lives_long() {
    let limits = DecodeLimits { max_bytes: LIMIT };
    let mut files = Vec::new();
    // Pixels and coefficients are of 60, 70 and 80 percent of the limit, and nearly all of it.
    for side in [1586, 1713, 1831, 2032] {
        for progressive in [true, false] {
            files.push(corrupt_variants::jpeg::turned_zeros([side; 2], progressive));
        }
    }
    let exif = corrupt_variants::jpeg::exif(0x0112, 3, 1, 6, 0);
    let image = RgbImage::new(2032, 2032);
    let (mut png, mut webp) = (Vec::new(), Vec::new());
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_exif_metadata(exif.clone()).unwrap();
    image.write_with_encoder(encoder).unwrap();
    let mut encoder = WebPEncoder::new_lossless(&mut webp);
    encoder.set_exif_metadata(exif).unwrap();
    image.write_with_encoder(encoder).unwrap();
    files.extend([png, webp]);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for first in 0..files.len() {
        let before = MEMORY.current_usage();
        let mut decoder = Decoder::with_limits(limits);
        // Once around, so that each comes behind each.
        for step in 0..files.len() {
            let n = (first + step) % files.len();
            MEMORY.reset_peak_usage();
            let region = decoder.decode(&files[n]);
            let region = region.unwrap_or_else(|e| panic!("file {n}: {e}"));
            assert!(region.pixels.len() > LIMIT as usize / 2);
            let peak = MEMORY.peak_usage().saturating_sub(before);
            let bound = bound(limits, files[n].len());
            let share = peak as f64 / bound as f64;
            assert!(
                share <= 1.0,
                "file {n} behind {step} others from {first}: {share:.3}"
            );
        }
    }
}

/// The samples of a row of MCUs count where they are more than the pixels.
#[test]
fn a_row_of_mcus_is_within_the_limit() {
    let wide = variants();
    let (_, wide, _) = wide
        .iter()
        .find(|v| v.0 == "jpeg_scans_high_mcus.jpg")
        .unwrap();
    // Rows of 8 samples a block and the last one of the MCUs before, and what is upsampled.
    let strips = 65_536 * (33 + 33 + 17 + 3 * 3);
    let decoded = |max_bytes| {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = DecodeLimits { max_bytes };
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let decoded = Decoder::with_limits(limits).decode(wide).map(drop);
        let peak = MEMORY.peak_usage() - before;
        assert!(peak <= bound(limits, wide.len()), "{peak}");
        decoded.map_err(|error| error.to_string())
    };
    decoded(strips).unwrap();
    let error = decoded(strips - 1).unwrap_err();
    assert!(error.contains("65500 x 5 px need 6029312 bytes"), "{error}");
    decoded(1 << 20).unwrap_err();
}

/// A mebibyte of scans that say nothing is refused at once, also where each is valid.
#[test]
fn scans_without_end_are_bounded_work() {
    let file = corrupt_variants::jpeg::endless(9000);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let started = Instant::now();
    let error = Decoder::new().decode(&file).map(drop).unwrap_err();
    let seconds = started.elapsed().as_secs_f64();
    println!("{} bytes: {error} after {seconds:.2} s", file.len());
    assert!(error.to_string().contains("more than 500 scans"), "{error}");
    // 0.6 s on a core of 2020 for 633 million blocks; forty times that is a machine in trouble.
    assert!(seconds < 60.0, "{seconds} s");
}

/// Files and a part of the message that each must have.
const MESSAGES: &[(&str, &str)] = &[
    (
        "arithmetic_whole.jpg",
        "an arithmetic-coded JPEG is not supported",
    ),
    (
        "arithmetic_progressive_whole.jpg",
        "an arithmetic-coded JPEG is not supported",
    ),
    (
        "arithmetic_bomb.jpg",
        "an arithmetic-coded JPEG is not supported",
    ),
    (
        "jpeg_frame_arithmetic.jpg",
        "an arithmetic-coded JPEG is not supported",
    ),
    (
        "jpeg_frame_lossless.jpg",
        "a lossless or hierarchical JPEG is not supported",
    ),
    ("jpeg_frame_12_bits.jpg", "other than 8 bits a sample"),
    ("jpeg_frame_no_rows.jpg", "an image without pixels"),
    (
        "jpeg_frame_sampling_0.jpg",
        "a sampling factor out of 1..=4",
    ),
    (
        "jpeg_frame_sampling_5.jpg",
        "a sampling factor out of 1..=4",
    ),
    ("jpeg_frame_18_blocks.jpg", "more than 10 blocks in an MCU"),
    (
        "jpeg_tables_no_quantisation.jpg",
        "needs quantisation table 0",
    ),
    (
        "jpeg_tables_overfull.jpg",
        "Huffman codes that do not fit their lengths",
    ),
    (
        "jpeg_restart_swapped.jpg",
        "not the restart marker that comes next",
    ),
    ("jpeg_restart_missing.jpg", "a restart marker is missing"),
    ("jpeg_scans_896_of_much.jpg", "more than 500 scans"),
    (
        "jpeg_scans_10000_alike.jpg",
        "a scan that does not continue those before it",
    ),
    (
        "jpeg_scans_dc_only.jpg",
        "ends before its scans have said all of it",
    ),
    (
        "jpeg_scans_without_last.jpg",
        "ends before its scans have said all of it",
    ),
    ("jpeg_app_length_1.jpg", "length below 2"),
    (
        "jpeg_app_length_65535.jpg",
        "end before the end-of-image marker",
    ),
    ("rgb_bomb.jpg", "50000 x 50000 px need 7500000000 bytes"),
    (
        "progressive_bomb.jpg",
        "50000 x 50000 px need 7500000000 bytes",
    ),
    ("cmyk_bomb.jpg", "50000 x 50000 px need"),
    (
        "cmyk_progressive_allowed.jpg",
        "1000 x 3000 px need 24000000 bytes",
    ),
    ("png_bomb.png", "50000 x 50000 px need 7500000000 bytes"),
    ("png_bomb_16_bits.png", "50000 x 50000 px need"),
    (
        "png_too_large_as_rgb.png",
        "3000 x 3000 px need 27000000 bytes",
    ),
    (
        "png_palette_of_5_bytes.png",
        "a palette that is no list of colours",
    ),
    ("png_header_crc.png", "CRC error"),
    ("webp_lossless_bomb.webp", "16383 x 16383 px need"),
    ("webp_canvas_bomb.webp", "50001 x 50001 px need"),
    ("webp_exif_4_gib.webp", "a chunk ends behind what it is in"),
    (
        "webp_frame_bomb_on_small_canvas.webp",
        "a frame larger than its canvas",
    ),
    (
        "webp_moving_bomb_within.webp",
        "a frame larger than its canvas",
    ),
    (
        "lossless_cut0.webp",
        "the file ends before its RIFF container",
    ),
    ("bmp_bomb.bmp", "50000 x 50000 px need 7500000000 bytes"),
    ("tiff_bomb.tiff", "50000 x 50000 px need 7500000000 bytes"),
    ("tiff_compression_unknown.tiff", "ompression"),
    ("jpeg_frame_second_of_cmyk.jpg", "a second frame header"),
    ("rgb_cut0.bmp", "truncated file"),
    ("gif.jpg", "not a JPEG, PNG, WebP, BMP or TIFF image"),
    ("nothing.png", "(0 bytes)"),
];
