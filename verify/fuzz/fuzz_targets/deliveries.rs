//! Deliveries of any bytes, signed and forged: `sekali::testing::receivers` says which.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sekali::testing::receivers::deliver(data));
