//! libFuzzer drives `fuzz::outside::websocket`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::outside::websocket(bytes));
