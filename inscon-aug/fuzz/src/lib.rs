//! What the fuzz targets of inscon-aug check: no panic, no run-away memory, and parts of an image
//! that are its parts. Each function is the body of the target of its name.
//!
//! ```text
//! cargo install cargo-fuzz
//! RUSTC_BOOTSTRAP=1 cargo fuzz run -s none decode corpus/decode ../tests/fixtures/decode \
//!     ../tests/fixtures/jpeg ../tests/fixtures/corrupt \
//!     -- -dict=image.dict -max_total_time=600 -max_len=4096 -rss_limit_mb=512
//! ```
//!
//! The seeds are the fixtures of the tests. A gibibyte taken at once, or an input of more than
//! 25 seconds, is a finding as well (`-malloc_limit_mb` is that of `-rss_limit_mb`, `-timeout`).

mod jpeg;
mod whole;

pub use jpeg::{Jpeg, jpeg};
pub use whole::decode;
