//! The small words: which stored session, which of its connections, where that is.

use presence::{Address, SessionRef};

/// Names one stored session for ever: the number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredRef(pub u64);

/// One connection's time with a stored session. What a connection says after another has taken
/// the session over is told by its number, and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The stored session.
    pub session: StoredRef,
    /// Counts its attachments from 1.
    pub number: u32,
}

/// The connection that carries a stored session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Where it is.
    pub address: Address,
    /// Tells it from another that gets its place in the event loop.
    pub ticket: u32,
    /// The session that `presence` knows it by.
    pub session: SessionRef,
}
