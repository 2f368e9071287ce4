//! libFuzzer drives `fuzz::outside::proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::outside::proxy(bytes));
