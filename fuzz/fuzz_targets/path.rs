//! See `fuzz/src/path.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenferry_fuzz::path(data));
