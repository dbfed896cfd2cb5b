//! See `fuzz/src/configuration.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenferry_fuzz::configuration(data));
