//! libFuzzer drives `fuzz::stored::record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stored::record(bytes));
