//! See [`inscon_eval_fuzz::rle_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: inscon_eval_fuzz::TwoMasks| inscon_eval_fuzz::rle_text(&input));
