//! libFuzzer drives `fuzz::outside::query`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::outside::query(bytes));
