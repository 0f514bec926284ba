//! See [`inscon_eval_fuzz::polygon`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: inscon_eval_fuzz::Drawing| inscon_eval_fuzz::polygon(&input));
