//! libFuzzer drives `fuzz::stored::message`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stored::message(bytes));
