//! See `fuzz/src/token_answer.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenferry_fuzz::token_answer(data));
