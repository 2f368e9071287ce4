//! What the log of messages keeps: every change of what outlives a connection, each complete in
//! itself.
//!
//! Stored sessions are named by their number; the beginning says whose it is. A message stands in
//! one record with everything it changes: the queues it enters, with its packet identifiers, the
//! identifier under which its publisher sent it, the retained message it replaces. So a crash
//! leaves all of that or nothing.

mod format;

use compact_str::CompactString;

use crate::id::{Attachment, StoredRef};
use crate::message::{Message, Will};

pub(crate) use format::{will_from_bytes, will_to_bytes};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A stored session began, attached.
    Began(Began),
    /// A connection attached itself to a stored session.
    Attached {
        /// The session.
        session: StoredRef,
        /// When, Unix milliseconds.
        at_ms: u64,
        /// Its Session Expiry Interval from now on.
        expiry_secs: u32,
        /// The will of the new connection.
        will: Option<Box<Will>>,
    },
    /// The connection ended, and the session goes on without it.
    Detached {
        /// The session.
        session: StoredRef,
        /// When, Unix milliseconds.
        at_ms: u64,
        /// Its Session Expiry Interval from now on.
        expiry_secs: u32,
        /// Whether the connection's will is to be sent.
        with_will: bool,
        /// How many messages at the front of the queue may have been sent to the client.
        sent: u32,
    },
    /// A session and all that is kept of it is gone; a will that is pending is due.
    Ended {
        /// The session.
        session: StoredRef,
    },
    /// The will of a session that is away is due.
    WillDue {
        /// The session.
        session: StoredRef,
    },
    /// A subscription was made or replaced (MQTT-3.8.4-3).
    Subscribed {
        /// The session.
        session: StoredRef,
        /// The filter, with `$share/{group}/` if it is shared.
        filter: CompactString,
        /// What to.
        subscription: Subscription,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// The session.
        session: StoredRef,
        /// The filter.
        filter: CompactString,
    },
    /// A message entered queues, was retained, or both.
    Published(Published),
    /// The client has acknowledged a message for good (PUBACK, PUBCOMP, or PUBREC with an error),
    /// or it expired before it was sent.
    Acknowledged {
        /// The session.
        session: StoredRef,
        /// The message's packet identifier.
        packet_id: u16,
    },
    /// The client has the message (PUBREC): from now on only PUBREL is sent (MQTT-4.3.3-7).
    Received {
        /// The session.
        session: StoredRef,
        /// The message's packet identifier.
        packet_id: u16,
    },
    /// The client has released a packet identifier of its own (PUBREL).
    Released {
        /// The session.
        session: StoredRef,
        /// The packet identifier.
        packet_id: u16,
    },
    /// A retained message expired.
    Cleared {
        /// The organisation.
        org: CompactString,
        /// The topic.
        topic: CompactString,
    },
}

/// The beginning of a stored session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    /// Its number.
    pub session: StoredRef,
    /// The organisation.
    pub org: CompactString,
    /// MQTT client identifier.
    pub client_id: CompactString,
    /// The user, without the organisation's suffix.
    pub username: CompactString,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Session Expiry Interval in seconds; [`NEVER`] is for ever.
    pub expiry_secs: u32,
    /// The will of its connection.
    pub will: Option<Box<Will>>,
}

/// A Session Expiry Interval without an end (§3.1.2.11.2).
pub const NEVER: u32 = u32::MAX;

/// What a session is subscribed to a filter with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Subscription Options in the caller's form.
    pub options: u8,
    /// Subscription Identifier (§3.8.2.1.2); `None` if there is none.
    pub id: Option<u32>,
}

/// A message and all that it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The organisation.
    pub org: CompactString,
    /// The message.
    pub message: Message,
    /// The stored session that sent it at QoS 2, and its packet identifier there, which is in use
    /// from now on.
    pub received: Option<(StoredRef, u16)>,
    /// The will that it was.
    pub will: Option<Attachment>,
    /// What it does to the retained message of its topic.
    pub retain: Retain,
    /// The queues that it enters.
    pub targets: Vec<Target>,
}

/// What a message does to the retained message of its topic (§3.3.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain {
    /// Nothing.
    #[default]
    No,
    /// It takes its place.
    Set,
    /// It removes it, being empty.
    Clear,
}

/// A queue that a message enters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The session.
    pub session: StoredRef,
    /// The packet identifier under which the client gets it, however often it is sent.
    pub packet_id: u16,
    /// The QoS at which it gets it: 1 or 2.
    pub qos: u8,
    /// Whether the client sees the retain flag.
    pub retain: bool,
    /// The identifiers of the matching subscriptions.
    pub subscription_ids: Box<[u32]>,
}
