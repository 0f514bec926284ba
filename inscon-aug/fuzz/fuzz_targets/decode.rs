//! See [`inscon_aug_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inscon_aug_fuzz::decode(bytes));
