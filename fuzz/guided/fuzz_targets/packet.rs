//! libFuzzer drives `fuzz::packet::check`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::packet::check(bytes));
