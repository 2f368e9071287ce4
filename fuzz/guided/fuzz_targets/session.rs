//! libFuzzer drives `fuzz::session::check`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::session::check(bytes));
