//! More than 500 damaged, disguised and monstrous image files, the same ones on every machine.
//!
//! Most are made from small whole files under `fixtures`: cut, with flipped bits, with runs of
//! zeros or ones. Others are built for a purpose ([`jpeg`], [`png_webp`], [`bmp_tiff`]). What is to be expected of
//! the former stands in `fixtures/corrupt/expected.txt`, of which `corrupt.rs` writes a new one;
//! what is to be expected of the latter stands beside them.
//!
//! Needs nothing but the standard library, so that other crates' tests can include it by path.

mod bmp_tiff;
pub(crate) mod jpeg;
mod png_webp;

use std::collections::HashMap;

/// What decoding makes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A picture.
    Ok,
    /// An error of the whole; but a crop that the damage is not in may be a picture.
    Partly,
    /// An error, whichever part is asked for.
    Broken,
}

/// A file's name with extension, its bytes, and what is to be expected of it.
pub(crate) type Variant = (String, Vec<u8>, Expected);

macro_rules! fixtures {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../fixtures/", $name)).as_slice())),*]
    };
}

/// Whole files of all kinds that are read.
pub(crate) const WHOLE: [(&str, &[u8]); 36] = fixtures![
    "decode/rgb.jpg" "decode/progressive.jpg" "decode/grey.jpg" "decode/cmyk.jpg"
    "decode/orientation6.jpg" "jpeg/restart_1.jpg" "jpeg/restart_3B_progressive.jpg"
    "jpeg/separate_scans.jpg" "jpeg/420_progressive.jpg" "corrupt/cmyk_progressive.jpg"
    "decode/rgba.png" "decode/rgb16.png" "decode/rgba16.png" "decode/grey16.png"
    "decode/grey_alpha.png" "decode/palette_transparent.png" "decode/bilevel.png"
    "corrupt/palette1.png" "corrupt/palette2.png" "corrupt/palette4.png" "corrupt/palette8.png"
    "corrupt/palette1_interlaced.png" "corrupt/palette4_interlaced.png"
    "corrupt/rgb_interlaced.png" "corrupt/rgb16_interlaced.png"
    "decode/lossless.webp" "corrupt/lossy.webp" "corrupt/alpha.webp" "corrupt/animated.webp"
    "corrupt/orientation6.webp"
    "decode/rgb.bmp" "corrupt/palette.bmp" "corrupt/bilevel.bmp"
    "decode/rgb.tiff" "corrupt/deflate.tiff" "corrupt/packbits.tiff"
];

/// JPEGs of a kind that nothing here reads.
pub(crate) const ARITHMETIC: [(&str, &[u8]); 2] =
    fixtures!["corrupt/arithmetic.jpg" "corrupt/arithmetic_progressive.jpg"];

/// What fuzzing found to make a decoder panic or take too much.
const FUZZED: [(&str, &[u8]); 1] = fixtures!["corrupt/fuzz_second_frame.jpg"];

/// What [`variants`] expects of the files that are made by chance.
const RECORDED: &str = include_str!("../fixtures/corrupt/expected.txt");

/// All files.
pub(crate) fn variants() -> Vec<Variant> {
    let recorded: HashMap<&str, Expected> = RECORDED.lines().filter_map(record).collect();
    let mut all: Vec<Variant> = by_chance()
        .into_iter()
        .map(|(name, bytes)| {
            let expected = recorded.get(name.as_str()).copied();
            (name, bytes, expected.unwrap_or(Expected::Broken))
        })
        .collect();
    all.extend(built());
    all
}

/// A line of the record: what to expect, and a name.
fn record(line: &str) -> Option<(&str, Expected)> {
    let (expected, name) = line.split_once(' ')?;
    let expected = match expected {
        "ok" => Expected::Ok,
        "partly" => Expected::Partly,
        "broken" => Expected::Broken,
        _ => return None,
    };
    Some((name, expected))
}

/// Files of which only trying tells what becomes of them.
pub(crate) fn by_chance() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (path, whole) in WHOLE {
        let (stem, extension) = parts(path);
        let mut chance = Chance::new(path);
        let mut add = |kind: &str, i: usize, bytes| {
            all.push((format!("{stem}_{kind}{i}.{extension}"), bytes));
        };
        for i in 0..6 {
            add("cut", i, whole[..chance.below(whole.len())].to_vec());
        }
        // Whether a flip in its zlib stream is noticed depends on flate2's backend, which is whatever
        // the crates of a build choose together: zlib-rs takes files that miniz_oxide refuses.
        if path == "corrupt/deflate.tiff" {
            continue;
        }
        // In the header, where lengths and sizes stand, and anywhere.
        for i in 0..6 {
            let mut bytes = whole.to_vec();
            let end = if i < 3 { whole.len() / 3 } else { whole.len() };
            for _ in 0..=i % 3 {
                bytes[2 + chance.below(end - 2)] ^= 1 << chance.below(8);
            }
            add("flip", i, bytes);
        }
        for (i, value) in [0, 0xff].into_iter().enumerate() {
            let mut bytes = whole.to_vec();
            let start = whole.len() / 4 + chance.below(whole.len() / 2);
            let end = whole.len().min(start + 1 + chance.below(64));
            bytes[start..end].fill(value);
            add("run", i, bytes);
        }
    }
    all
}

/// Files built for a purpose.
fn built() -> Vec<Variant> {
    let mut all = Vec::new();
    for (i, (path, whole)) in WHOLE.into_iter().enumerate() {
        let (stem, extension) = parts(path);
        all.push((
            format!("{stem}_whole.{extension}"),
            whole.to_vec(),
            Expected::Ok,
        ));
        let mut bytes = whole.to_vec();
        match i % 3 {
            0 => bytes.extend_from_slice(b"<html>404 Not Found</html>"),
            1 => bytes.extend_from_slice(&[0; 4096]),
            _ => bytes.extend_from_slice(WHOLE[(i + 7) % WHOLE.len()].1),
        }
        all.push((format!("{stem}_and_more.{extension}"), bytes, Expected::Ok));
    }
    // The bytes count, not the name.
    for (i, (path, whole)) in WHOLE.into_iter().enumerate().step_by(4) {
        let other = ["webp", "jpg", "png", "bmp", "tiff"][i % 5];
        let (stem, _) = parts(path);
        all.push((
            format!("{stem}_disguised.{other}"),
            whole.to_vec(),
            Expected::Ok,
        ));
    }
    let gif = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\0\0\0\0\x01\0\x01\0\0\
        \x02\x02D\x01\x00;";
    for (name, bytes) in [
        ("gif.jpg", &gif[..]),
        ("html.png", b"<!DOCTYPE html><title>403</title>"),
        ("text.webp", b"RIFF for beginners"),
        ("zip.tiff", b"PK\x03\x04\x14\0\0\0\x08\0"),
        ("avif.jpg", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B"),
        (
            "lfs.jpg",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        ),
    ] {
        all.push((name.into(), bytes.to_vec(), Expected::Broken));
    }
    for extension in ["jpg", "png", "webp", "bmp", "tiff"] {
        for (kind, bytes) in [
            ("nothing", vec![]),
            ("zeros", vec![0; 777]),
            ("ones", vec![0xff; 777]),
        ] {
            all.push((format!("{kind}.{extension}"), bytes, Expected::Broken));
        }
    }
    for (path, whole) in ARITHMETIC.into_iter().chain(FUZZED) {
        let (stem, extension) = parts(path);
        let name = format!("{stem}_whole.{extension}");
        all.push((name, whole.to_vec(), Expected::Broken));
    }
    all.extend(jpeg::files());
    all.extend(png_webp::pngs());
    all.extend(png_webp::webps());
    all.extend(bmp_tiff::bmps());
    all.extend(bmp_tiff::tiffs());
    all
}

/// A fixture by its path.
fn whole(path: &str) -> &'static [u8] {
    let found = WHOLE.iter().chain(&ARITHMETIC).find(|(p, _)| *p == path);
    found.unwrap_or_else(|| panic!("no fixture {path}")).1
}

/// The name of a fixture without folder and extension, and the extension.
fn parts(path: &str) -> (&str, &str) {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').unwrap_or((name, ""))
}

/// Numbers that look random and depend on nothing but a text (SplitMix64).
struct Chance(u64);

impl Chance {
    fn new(seed: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(seed.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % end as u64) as usize
    }
}
