//! Requests of any bytes: `sekali::testing::requests` says which.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekali::testing::requests::answer(data));
