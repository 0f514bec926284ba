//! Damaged files: an error each time, never a panic, never more memory than the file is worth.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use inscon_model::{ModelError, WeightFile};
use rand::RngExt;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights");
    std::fs::read(folder.join(name)).unwrap()
}

/// Opens the bytes as a file and reads every tensor.
fn read_all(path: &Path, bytes: &[u8]) -> Result<usize, ModelError> {
    std::fs::write(path, bytes).unwrap();
    let file = WeightFile::open(path)?;
    let mut values = 0;
    for (name, info) in file.tensors() {
        match file.read(name) {
            Ok(data) => {
                assert_eq!(data.shape().to_vec(), info.shape, "{name}");
                values += info.elements();
            }
            // Types that are not read are refused one by one.
            Err(ModelError::DType { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(values)
}

const FILES: [&str; 6] = [
    "resnet18.pth",
    "legacy.pth",
    "moco.pth",
    "odd.pth",
    "half.safetensors",
    "detectron2.pkl",
];

/// The most memory that this process has held, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// One test, so that the memory is that of these files.
#[cfg(target_os = "linux")]
#[test]
fn cut_and_flipped_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.bin");
    let before = peak_memory();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
    for name in FILES {
        let whole = fixture(name);
        let readable = read_all(&path, &whole).is_ok();
        assert_eq!(readable, name != "detectron2.pkl", "{name}");

        // Every short beginning, then in steps; a file that is cut is never read as whole.
        let lengths = (0..200).chain((200..whole.len()).step_by(whole.len() / 50));
        for length in lengths.chain([whole.len() - 1]) {
            let cut = read_all(&path, &whole[..length]);
            let error = cut.expect_err(&format!("{name} cut at {length}"));
            assert!(
                error.to_string().contains("damaged.bin"),
                "{name}, {length}: {error}"
            );
        }

        // Bytes of pickles, headers and directories rather than of values.
        let (mut read, mut refused) = (0, 0);
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = match rng.random_range(0..4) {
                    0 => rng.random_range(0..bytes.len()),
                    1 => bytes.len() - 1 - rng.random_range(0..bytes.len().min(16_000)),
                    _ => rng.random_range(0..bytes.len().min(16_000)),
                };
                bytes[at] = rng.random();
            }
            match read_all(&path, &bytes) {
                Ok(_) => read += 1,
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        assert!(refused > 20, "{name}: {read} read, {refused} refused");
    }
    let grown = peak_memory() - before;
    println!("{} MB more at the peak", grown >> 20);
    assert!(grown < 64 << 20, "{} MB", grown >> 20);
}

/// Random bytes behind the first bytes of every format.
#[test]
fn noise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noise.pth");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(12);
    for start in [
        &b""[..],
        b"PK\x03\x04",
        b"\x80\x02",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x10\0\0\0\0\0\0\0{",
        b"<!DOCTYPE html>",
    ] {
        for _ in 0..300 {
            let mut bytes = start.to_vec();
            bytes.extend((0..rng.random_range(0..400)).map(|_| rng.random::<u8>()));
            let error = read_all(&path, &bytes).expect_err("noise is not weights");
            assert!(error.to_string().contains("noise.pth"), "{error}");
        }
    }
}
