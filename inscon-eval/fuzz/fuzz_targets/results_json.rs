//! See [`inscon_eval_fuzz::results_json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| inscon_eval_fuzz::results_json(text));
