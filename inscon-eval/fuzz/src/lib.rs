//! What the fuzz targets of inscon-eval check: no panic, no run-away memory, and one answer from
//! two ways. Each function is the body of the target of its name.
//!
//! ```text
//! cargo install cargo-fuzz
//! RUSTC_BOOTSTRAP=1 cargo fuzz run results_json corpus/results_json seeds/results_json \
//!     -- -dict=json.dict -max_total_time=600 -max_len=4096 -rss_limit_mb=1024
//! ```
//!
//! cargo-fuzz sets `cfg(fuzzing)`, under which the reader's blocks are 64 bytes instead of 512 KiB:
//! small inputs then go through several blocks and several threads.

mod json;
mod masks;

pub use json::{results_json, truth_json};
pub use masks::{Drawing, TwoMasks, polygon, rle_text};
