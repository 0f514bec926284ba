//! What the golden tests share.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// From `INSCON_EVAL_CASES` if it is set and has the file (see `fixtures/generate.py`), else from the
/// committed folder.
pub fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let folder = std::env::var_os("INSCON_EVAL_CASES").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join(name).is_file());
    let folder =
        folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    read(&folder.join(name))
}

pub fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // The generator is Python: its NaN is not JSON.
    let text = text
        .replace(":NaN", ":\"NaN\"")
        .replace("Infinity", "\"Infinity\"");
    let text = text.replace("-\"Infinity\"", "\"-Infinity\"");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `digest` of `generate.py`: depends on every bit of every element and on their order.
pub fn digest<'a>(values: impl IntoIterator<Item = &'a f64>) -> String {
    let sum = values
        .into_iter()
        .zip(1_u64..)
        .fold(0_u64, |sum, (value, i)| {
            let mut z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z = (z ^ (z >> 31)) | 1;
            sum.wrapping_add(value.to_bits().wrapping_mul(z))
        });
    format!("{sum:016x}")
}
