//! See `fuzz/src/proxy_protocol.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenferry_fuzz::proxy_protocol(data));
