//! What must hold for any bytes at all.
//!
//! Each target takes bytes and panics if something does not hold. A coverage-guided fuzzer drives
//! them by hand (`fuzz/guided`, for libFuzzer on a nightly toolchain); every test run drives them
//! for a moment with seeded noise on the stable one (`tests/briefly.rs`). No I/O, no clock.
//!
//! - [`packet`]: one packet of any version, and where it ends
//! - [`session`]: a client that sends anything, and a caller that answers anyhow
//! - [`filter`]: topic filters against a matcher that is slow and plain
//! - [`stored`]: messages and records as they lie on disk
//! - [`outside`]: the doors of the server: HTTP queries, PROXY headers, WebSocket frames
//! - `noise`: numbers and texts out of bytes; [`SEEDS`]: inputs to begin with

pub mod filter;
mod noise;
pub mod outside;
pub mod packet;
mod seeds;
pub mod session;
pub mod stored;

pub use noise::Noise;
pub use seeds::SEEDS;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 8] = [
    ("packet", packet::check),
    ("session", session::check),
    ("filter", filter::check),
    ("message", stored::message),
    ("record", stored::record),
    ("query", outside::query),
    ("proxy", outside::proxy),
    ("websocket", outside::websocket),
];
