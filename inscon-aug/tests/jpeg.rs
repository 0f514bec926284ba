//! The JPEG decoder against PIL (libjpeg-turbo), to the last bit, and against itself.
//!
//! `fixtures/generate_jpeg.py` makes the files and the checksums of what PIL decodes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use inscon_aug::jpeg::{JpegDecoder, JpegError};
use inscon_aug::{AugError, BBox, DecodeLimits, Decoder, PixelRegion};
use proptest::prelude::*;

const EVERYTHING: BBox = BBox::new(0.0, 0.0, f32::MAX, f32::MAX);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jpeg")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.jpg"))).unwrap()
}

/// Width, height and checksum by name and denominator.
fn expected() -> BTreeMap<(String, u32), (u32, u32, u32)> {
    let lines = fs::read_to_string(folder().join("expected.txt")).unwrap();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, denominator, width, height, crc] = fields.as_slice() else {
            panic!("{line:?}");
        };
        (
            ((*name).to_string(), denominator.parse().unwrap()),
            (
                width.parse().unwrap(),
                height.parse().unwrap(),
                u32::from_str_radix(crc, 16).unwrap(),
            ),
        )
    };
    let all: BTreeMap<_, _> = lines.lines().map(parse).collect();
    assert!(all.len() > 200, "fixtures are missing");
    all
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = expected().into_keys().map(|(name, _)| name).collect();
    names.dedup();
    names
}

/// CRC-32 as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

fn image(region: &PixelRegion<'_>) -> RgbImage {
    RgbImage::from_raw(region.width, region.height, region.pixels.to_vec()).unwrap()
}

/// Whether `part` is the rectangle of `whole` that it says.
fn is_part_of(part: &PixelRegion<'_>, whole: &RgbImage) -> bool {
    let inside = part.x + part.width <= whole.width() && part.y + part.height <= whole.height();
    inside
        && *image::imageops::crop_imm(whole, part.x, part.y, part.width, part.height).to_image()
            == *part.pixels
}

#[test]
fn pictures_equal_pils_at_every_scale() {
    let mut decoder = Decoder::new();
    for ((name, denominator), (width, height, crc)) in expected() {
        let bytes = read(&name);
        let region = decoder.decode_region(&bytes, &EVERYTHING, denominator);
        let region = region.unwrap_or_else(|e| panic!("{name}: {e}"));
        let about = format!("{name} at 1/{denominator}");
        assert_eq!((region.width, region.height), (width, height), "{about}");
        assert_eq!((region.x, region.y), (0, 0), "{about}");
        assert_eq!(region.denominator, denominator, "{about}");
        assert_eq!(crc32(region.pixels), crc, "{about}");
        let [w, h] = decoder.size(&bytes).unwrap();
        assert_eq!([w, h].map(|s| s.div_ceil(denominator)), [width, height]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(3000)
    })]

    #[test]
    fn a_region_is_the_same_rectangle_of_the_whole(
        file in any::<prop::sample::Index>(),
        shift in 0u32..4,
        edges in prop::array::uniform4(-0.1f32..1.1),
    ) {
        let names = names();
        let name = &names[file.index(names.len())];
        let bytes = read(name);
        let denominator = 1u32 << shift;
        let mut decoder = Decoder::new();
        let [width, height] = decoder.size(&bytes).unwrap().map(|s| s as f32);
        let [a, b, c, d] = edges;
        let crop = BBox::new(
            a.min(c) * width,
            b.min(d) * height,
            a.max(c) * width,
            b.max(d) * height,
        );
        let whole = image(&decoder.decode_region(&bytes, &EVERYTHING, denominator).unwrap());
        let part = decoder.decode_region(&bytes, &crop, denominator).unwrap();
        prop_assert!(is_part_of(&part, &whole), "{name} 1/{denominator} {crop:?}: {part:?}");
        // All of the crop, and no row or column more.
        let clipped = crop.clip(width, height);
        let own = part.locate(&clipped);
        let (w, h) = (part.width as f32, part.height as f32);
        prop_assert!(own.x0 >= 0.0 && own.y0 >= 0.0 && own.x1 <= w && own.y1 <= h, "{own:?}");
        if clipped.area() > 0.0 {
            let d = denominator as f32;
            let slack = 1.0 / d + 1.0;
            prop_assert!(own.x0 < slack && own.y0 < slack, "{own:?}");
            prop_assert!(own.x1 > w - slack && own.y1 > h - slack, "{own:?}");
        }
    }

    /// Changed, cut and repeated bytes may change the picture or be refused, but never end the
    /// program or take more memory than allowed.
    #[test]
    fn broken_bytes_never_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        (from, to) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        cut in prop::bool::weighted(0.2),
        shift in 0u32..4,
        edges in prop::array::uniform4(0.0f32..70.0),
    ) {
        let names = names();
        let mut bytes = read(&names[file.index(names.len())]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            bytes.splice(from.min(to)..from.max(to), []);
        }
        let limits = DecodeLimits { max_bytes: 1 << 20 };
        let mut decoder = Decoder::with_limits(limits);
        let [x0, y0, x1, y1] = edges;
        let first = decoder
            .decode_region(&bytes, &BBox::new(x0, y0, x1, y1), 1u32 << shift)
            .map(|region| image(&region));
        prop_assert!(!matches!(first, Err(AugError::DecoderPanicked)));
        let _ = decoder.decode(&bytes);
        // Pixels twice (turned), coefficients, and the file's own length and strips.
        prop_assert!(decoder.buffer_size() < 5 << 20, "{} bytes", decoder.buffer_size());
        // What the decoder has seen before makes no difference.
        let _ = decoder.decode(&read("420"));
        let again = decoder.decode_region(&bytes, &BBox::new(x0, y0, x1, y1), 1u32 << shift);
        match (first, again) {
            (Ok(first), Ok(again)) => prop_assert_eq!(first, image(&again)),
            (first, again) => prop_assert_eq!(first.is_err(), again.is_err()),
        }
    }
}

#[test]
fn regions_are_turned_as_exif_says() {
    let folder = folder().with_file_name("decode");
    for orientation in 2..=8 {
        let bytes = fs::read(folder.join(format!("orientation{orientation}.jpg"))).unwrap();
        let mut decoder = Decoder::new();
        let whole = image(&decoder.decode(&bytes).unwrap());
        let (width, height) = whole.dimensions();
        assert_eq!(decoder.size(&bytes).unwrap(), [width, height]);
        for x0 in 0..width {
            for (x1, y0, y1) in [(width, 0, 1), (x0 + 1, 3, height), (x0 + 3, 7, 9)] {
                let crop = [x0, y0, x1.min(width), y1].map(|v| v as f32);
                let crop = BBox::new(crop[0], crop[1], crop[2], crop[3]);
                let part = decoder.decode_region(&bytes, &crop, 1).unwrap();
                assert_eq!([part.x, part.y], [x0, y0], "{orientation} {crop:?}");
                assert!(is_part_of(&part, &whole), "{orientation} {crop:?}");
                assert_eq!(part.locate(&crop).x0, 0.0);
            }
        }
        // 22 x 17 px: a mirrored side is only reduced if its pixels begin at the turned edge.
        for denominator in [2, 4, 8] {
            let region = decoder
                .decode_region(&bytes, &EVERYTHING, denominator)
                .unwrap();
            let d = region.denominator;
            assert!(d <= denominator);
            assert_eq!(region.image_size, [width, height]);
            assert_eq!(
                [region.width, region.height],
                [width, height].map(|s| s.div_ceil(d))
            );
            if matches!(orientation, 2 | 8) && denominator == 2 {
                assert_eq!(d, 2, "{orientation}");
            }
            if d > 1 {
                let reduced = image(&region);
                let crop = BBox::new(5.0, 6.0, 11.0, 9.0);
                let part = decoder.decode_region(&bytes, &crop, denominator).unwrap();
                assert!(is_part_of(&part, &reduced), "{orientation} 1/{denominator}");
                // Each reduced pixel is about the mean of those that it covers.
                for (x, y, pixel) in reduced.enumerate_pixels() {
                    let (w, h) = (d.min(width - d * x), d.min(height - d * y));
                    let covered = image::imageops::crop_imm(&whole, d * x, d * y, w, h).to_image();
                    for c in 0..3 {
                        let sum: u32 = covered.pixels().map(|p| u32::from(p[c])).sum();
                        let mean = (sum / (w * h)) as u8;
                        // Pixels at the stored edge are filled up by the encoder.
                        let partial = w < d || h < d;
                        let allowed = if partial { 60 } else { 12 };
                        let away = mean.abs_diff(pixel[c]);
                        assert!(away < allowed, "{orientation} 1/{d} {x} {y}: {away}");
                    }
                }
            }
        }
    }
}

#[test]
fn buffers_are_kept_from_image_to_image() {
    let files: Vec<Vec<u8>> = names().iter().map(|name| read(name)).collect();
    let mut decoder = Decoder::new();
    for bytes in &files {
        decoder.decode(bytes).unwrap();
    }
    let size = decoder.buffer_size();
    let pixels = decoder.decode(&files[0]).unwrap().pixels.as_ptr();
    for round in 0..20 {
        for bytes in &files {
            let crop = BBox::new(round as f32, 0.0, 40.0, 2.0 * round as f32);
            decoder
                .decode_region(bytes, &crop, 1 << (round % 4))
                .unwrap();
        }
    }
    assert_eq!(decoder.buffer_size(), size);
    assert_eq!(decoder.decode(&files[0]).unwrap().pixels.as_ptr(), pixels);
}

/// The position of the `n`th marker `FF marker` in a file.
fn find(bytes: &[u8], marker: u8, n: usize) -> usize {
    let places = bytes.windows(2).enumerate();
    let mut places = places.filter(|(_, pair)| *pair == [0xff, marker]);
    places.nth(n).unwrap().0
}

#[test]
fn intervals_outside_of_the_region_are_not_read() {
    // One row of 16 pixels an interval.
    let mut bytes = read("restart_1");
    let whole = image(&Decoder::new().decode(&bytes).unwrap());
    let (first, second) = (find(&bytes, 0xd0, 0), find(&bytes, 0xd1, 0));
    // No Huffman code is so long.
    let ones = [0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00];
    bytes.splice(first - 40..first - 32, ones);
    let mut decoder = Decoder::new();
    let error = decoder.decode(&bytes).unwrap_err();
    assert!(
        matches!(error, AugError::Jpeg(JpegError::Entropy { .. })),
        "{error:?}"
    );
    let below = decoder
        .decode_region(&bytes, &BBox::new(20.0, 33.0, 50.0, 45.0), 1)
        .unwrap();
    assert!(is_part_of(&below, &whole));
    // Nor is what comes behind the last row, but for the end-of-image marker.
    let mut bytes = read("restart_1");
    bytes.splice(second + 10..second + 18, ones);
    let above = decoder
        .decode_region(&bytes, &BBox::new(20.0, 0.0, 50.0, 20.0), 1)
        .unwrap();
    assert!(is_part_of(&above, &whole));
    bytes.truncate(bytes.len() - 2);
    let error = decoder
        .decode_region(&bytes, &BBox::new(20.0, 0.0, 50.0, 20.0), 1)
        .unwrap_err();
    assert!(matches!(error, AugError::Truncated(_)), "{error:?}");
}

#[test]
fn enormous_images_are_refused_before_their_memory_is_taken() {
    for (name, frame) in [("420", 0xc0), ("420_progressive", 0xc2), ("grey", 0xc0)] {
        let mut bytes = read(name);
        let at = find(&bytes, frame, 0) + 5;
        for side in [at, at + 2] {
            bytes[side..side + 2].copy_from_slice(&50_000u16.to_be_bytes());
        }
        let mut decoder = Decoder::new();
        // Even if only a corner is asked for, so that a file is good or bad for every crop.
        for crop in [EVERYTHING, BBox::new(0.0, 0.0, 9.0, 9.0)] {
            let error = decoder.decode_region(&bytes, &crop, 8).unwrap_err();
            assert_eq!(
                error.to_string(),
                "cannot decode the JPEG: 50000 x 50000 px need 7500000000 bytes, more than the \
                 limit of 536870912"
            );
        }
        assert!(decoder.size(&bytes).is_err());
        assert!(decoder.buffer_size() < 1 << 16);
    }
}

#[test]
fn limits_hold_for_pixels_coefficients_and_other_formats() {
    let limits = |max_bytes| Decoder::with_limits(DecodeLimits { max_bytes });
    let bytes = read("420_progressive");
    // 61 x 45 px are 8,235 bytes; 4 x 3 MCUs of 6 blocks 9,288.
    assert!(limits(9288).decode(&bytes).is_ok());
    assert!(limits(8235).decode(&read("420")).is_ok());
    for (limit, bytes) in [(9287, &bytes), (8234, &read("420"))] {
        let error = limits(limit).decode(bytes).unwrap_err();
        let AugError::Jpeg(JpegError::TooLarge { needed, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(needed, limit + 1);
    }
    let png = fs::read(folder().with_file_name("decode").join("rgb16.png")).unwrap();
    assert!(limits(1 << 20).decode(&png).is_ok());
    let error = limits(200).decode(&png).unwrap_err();
    assert!(
        matches!(error, AugError::TooLarge { needed: 864, .. }),
        "{error:?}"
    );
}

#[test]
fn other_formats_come_whole() {
    let folder = folder().with_file_name("decode");
    let mut decoder = Decoder::new();
    for name in [
        "cmyk.jpg",
        "rgb.bmp",
        "lossless.webp",
        "orientation6.jpg",
        "rgb.tiff",
    ] {
        let bytes = fs::read(folder.join(name)).unwrap();
        let [width, height] = decoder.size(&bytes).unwrap();
        let whole = image(&decoder.decode(&bytes).unwrap());
        assert_eq!(whole.dimensions(), (width, height), "{name}");
        let part = decoder
            .decode_region(&bytes, &BBox::new(3.0, 4.0, 9.0, 8.0), 2)
            .unwrap();
        assert!(is_part_of(&part, &whole) || part.denominator == 2, "{name}");
        if name != "orientation6.jpg" {
            assert_eq!(
                (part.width, part.height, part.denominator),
                (width, height, 1),
                "{name}"
            );
        }
    }
}

/// Each break of a good file, and what is said of it.
#[test]
fn what_is_wrong_is_named() {
    let good = read("420");
    let progressive = read("420_progressive");
    let restart = read("restart_1B");
    let broken = |bytes: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        JpegDecoder::new()
            .open(&bytes)
            .and_then(|image| image.decode(0..99, 0..99, 1).map(|_| ()))
            .unwrap_err()
            .to_string()
    };
    let frame = find(&good, 0xc0, 0);
    let scan = find(&good, 0xda, 0);
    let tables = find(&good, 0xdb, 0);
    // Class and number, lengths, symbols.
    let huffman = find(&good, 0xc4, 0);
    let cases: [(&str, String); 14] = [
        (
            "the data end before the end-of-image marker",
            broken(&good, &|b| b.truncate(scan + 99)),
        ),
        (
            "a second frame header",
            broken(&good, &|b| {
                let header = b[frame..frame + 19].to_vec();
                b.splice(frame..frame, header);
            }),
        ),
        (
            "an image without pixels",
            broken(&good, &|b| b[frame + 5..frame + 7].fill(0)),
        ),
        (
            "a sampling factor out of 1..=4",
            broken(&good, &|b| b[frame + 11] = 0x52),
        ),
        (
            "no multiples of each other",
            broken(&good, &|b| {
                (b[frame + 11], b[frame + 14]) = (0x32, 0x21);
            }),
        ),
        (
            "a component that is not there",
            broken(&good, &|b| b[scan + 5] = 77),
        ),
        (
            "does not fit the number of components",
            broken(&good, &|b| b[scan + 4] = 0),
        ),
        (
            "a scan needs quantisation table 3",
            broken(&good, &|b| b[frame + 12] = 3),
        ),
        (
            "a quantisation table number above 3",
            broken(&good, &|b| b[tables + 4] = 9),
        ),
        (
            "DC table 0 has a symbol above 15",
            broken(&good, &|b| b[huffman + 21] = 16),
        ),
        (
            "a scan needs AC table 3, which is not defined before it",
            broken(&good, &|b| b[scan + 6] = 0x03),
        ),
        (
            "a JPEG of other than 8 bits a sample is not supported",
            broken(&good, &|b| {
                b[frame + 4] = 12;
            }),
        ),
        (
            "a scan that does not continue those before it",
            broken(&progressive, &|b| {
                let second = find(b, 0xda, 1);
                b[second + 9] = 0x21;
            }),
        ),
        (
            "not the restart marker that comes next",
            broken(&restart, &|b| {
                let at = find(b, 0xd1, 0);
                b[at + 1] = 0xd6;
            }),
        ),
    ];
    for (expected, said) in cases {
        assert!(said.contains(expected), "{said:?} is not {expected:?}");
    }
    // Where the marker is that it is said of, whatever is wrong with it.
    let second = find(&progressive, 0xda, 1);
    let next = find(&restart, 0xd1, 0);
    for (position, said) in [
        (frame, broken(&good, &|b| b[frame + 5..frame + 7].fill(0))),
        (scan, broken(&good, &|b| b[scan + 3] = 1)),
        (second, broken(&progressive, &|b| b[second + 9] = 0x21)),
        (next, broken(&restart, &|b| b[next + 1] = 0xd6)),
        (
            scan,
            broken(&good, &|b| drop(b.splice(scan.., *b"\xff\xd9"))),
        ),
        (
            scan,
            broken(&good, &|b| drop(b.splice(scan.., *b"\xff\xd8"))),
        ),
        (
            scan + 1,
            broken(&good, &|b| drop(b.splice(scan.., *b"\xff\xff\xc8\0\x02"))),
        ),
    ] {
        assert!(
            said.contains(&format!(" at byte {position}: ")),
            "{position}: {said}"
        );
    }
    // A marker cut out: its interval is gone, and the end comes early.
    let error = broken(&restart, &|b| {
        let at = find(b, 0xd0, 1);
        b.drain(at..at + 2);
    });
    assert!(error.contains("restart marker"), "{error}");
}
