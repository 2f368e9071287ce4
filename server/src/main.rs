//! The binary `whosthere`.
fn main() {}
