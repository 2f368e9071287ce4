//! The small words of presence: which session, where its connection is, which protocol it speaks.

/// Names one session of one organisation, for as long as the process lives.
///
/// The slot says where the session is kept and is used again; the serial never is, so a reference
/// to a session that has ended finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionRef {
    pub(crate) slot: u32,
    /// Counts the sessions of the organisation in the order of their opening, from 0.
    pub serial: u64,
}

/// Names one session for ever, in every organisation and on every node: a UUID made by the caller,
/// so that it is unique without anyone being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

/// The system that a client runs on, in the words of the webhook contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Os {
    /// `iOS`
    Ios,
    /// `Android`
    Android,
    /// `Websocket`: a browser, or whatever else came over a WebSocket.
    Websocket,
}

/// Where a session's connection is: which event loop, and which of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The event loop.
    pub worker: u16,
    /// The connection's place in it.
    pub connection: u32,
}

/// The protocol level that a client reported in CONNECT (MQTT 5 §3.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// MQTT 3.1
    V31 = 3,
    /// MQTT 3.1.1
    V311 = 4,
    /// MQTT 5.0
    V5 = 5,
}

impl Protocol {
    /// The level as it stands in the packet: 3, 4 or 5.
    #[must_use]
    pub fn level(self) -> u8 {
        self as u8
    }
}
