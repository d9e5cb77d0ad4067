//! Receivers as anybody may write them: `sekali::testing::receivers` says which.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekali::testing::receivers::read(data));
