//! What the journal tells: a session opened, a session ended.
//!
//! A fact is complete in itself: whoever reads an ending need not have seen the opening. How facts
//! lie on disk is the business of the record format alone; nothing here depends on it.

use std::net::SocketAddr;

use compact_str::CompactString;
use presence::{EndReason, Protocol};

pub use presence::{Os, SessionId};

/// The place of a fact in the journal, counted from 0 without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Something that happened, in the order in which it was appended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A session opened.
    Opened(Opened),
    /// A session ended.
    Ended(Ended),
}

impl Fact {
    /// When it happened, in Unix milliseconds.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Opened(opened) => opened.at_ms,
            Self::Ended(ended) => ended.at_ms,
        }
    }
}

/// A session that opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opened {
    /// The organisation that it belongs to.
    pub org: CompactString,
    /// Its name.
    pub session: SessionId,
    /// The user, without the organisation's suffix.
    pub username: CompactString,
    /// MQTT client identifier.
    pub client_id: CompactString,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The client's address, if known.
    pub peer: Option<SocketAddr>,
    /// The system that the client runs on, if known.
    pub os: Option<Os>,
    /// When it opened, in Unix milliseconds.
    pub at_ms: u64,
    /// The node that its connection is on.
    pub node: u16,
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    /// The organisation that it belonged to.
    pub org: CompactString,
    /// Its name.
    pub session: SessionId,
    /// The user, without the organisation's suffix.
    pub username: CompactString,
    /// MQTT client identifier.
    pub client_id: CompactString,
    /// The protocol it spoke.
    pub protocol: Protocol,
    /// The client's address, if known.
    pub peer: Option<SocketAddr>,
    /// When it had opened, in Unix milliseconds.
    pub connected_at_ms: u64,
    /// When it ended, in Unix milliseconds.
    pub at_ms: u64,
    /// Why.
    pub reason: EndReason,
}
