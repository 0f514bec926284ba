//! See [`inscon_aug_fuzz::jpeg`].
#![no_main]

use inscon_aug_fuzz::Jpeg;

libfuzzer_sys::fuzz_target!(|input: Jpeg| inscon_aug_fuzz::jpeg(&input));
