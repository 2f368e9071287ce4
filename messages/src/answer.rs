//! What the keeper of messages says, each to one connection, after what it follows from is durable.

use bytes::Bytes;
use compact_str::CompactString;

use crate::id::{Attachment, Carrier};
use crate::message::Will;
use crate::record::Subscription;

/// An answer and where it goes: `None` for a will, which any event loop may publish.
pub type Letter = (Option<Carrier>, Answer);

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The session is the connection's.
    Attached(Box<Attached>),
    /// The connection gets no stored session.
    Refused(Refused),
    /// What became of a message.
    Published {
        /// Packet identifier of the PUBLISH.
        packet_id: u16,
        /// Its QoS.
        qos: u8,
        /// As it was asked.
        is_routed: bool,
        /// What became of it.
        outcome: Outcome,
    },
    /// A message that was held back may go to those who wait for it, or goes to nobody.
    Settled {
        /// Its number, as [`Publish::held_back`](crate::Publish::held_back) said.
        number: u64,
        /// Not so if it came before, if its publisher no longer has the session and sends it
        /// again, or if the log cannot be written.
        is_new: bool,
    },
    /// All that was asked before [`Request::Reach`](crate::Request::Reach) with this number has been
    /// decided.
    Reached(u64),
    /// Messages to be sent, in this order.
    Push(Vec<Push>),
    /// Send PUBREL (MQTT-4.3.3-4).
    Release(u16),
    /// Send PUBCOMP (MQTT-4.3.3-11).
    Released(u16),
    /// Send SUBACK: per filter whether the subscription is new, or why there is none.
    Subscribed(u16, Vec<Result<bool, NotSubscribed>>),
    /// Send UNSUBACK: per filter whether there was a subscription.
    Unsubscribed(u16, Vec<bool>),
    /// Publish the will of a stored session, and tell the keeper with
    /// [`Publish::will`](crate::Publish::will), whether anybody gets it or not.
    Will {
        /// Which.
        id: Attachment,
        /// The organisation's id.
        org: CompactString,
        /// The will.
        will: Box<Will>,
    },
    /// Close the connection: what waits for it cannot be read from the disk. It is still there for
    /// the next connection.
    Close(Attachment),
}

/// What a connection takes up.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// Session Present (§3.2.2.1.1).
    pub session_present: bool,
    /// The session, under the number of this connection. `None` if nothing is stored for it: there
    /// was nothing, and nothing is to outlive it.
    pub attachment: Option<Attachment>,
    /// Its subscriptions: filter and what with.
    pub subscriptions: Vec<(CompactString, Subscription)>,
    /// Packet identifiers of QoS 2 messages that the client sent and has not released.
    pub received: Vec<u16>,
    /// How many subscriptions it had and may not have any more.
    pub withdrawn: usize,
    /// The first messages, to be sent after CONNACK.
    pub window: Vec<Push>,
}

/// A message, or the rest of one, to be sent to the client of a stored session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Under this packet identifier.
    pub packet_id: u16,
    /// What.
    pub what: Pushed,
}

/// What is sent under a packet identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// PUBLISH.
    Publish {
        /// The message in its stored form.
        body: Bytes,
        /// At this QoS: 1 or 2.
        qos: u8,
        /// Whether it may have been sent before (MQTT-3.3.1-1).
        dup: bool,
        /// Whether the client sees the retain flag.
        retain: bool,
        /// Identifiers of the matching subscriptions.
        subscription_ids: Box<[u32]>,
    },
    /// PUBREL: the client has the message already.
    Release,
}

/// Why a connection gets no stored session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The log cannot be written (0x88 Server unavailable).
    Unavailable,
    /// The organisation has as many as it may (0x97 Quota exceeded).
    TooMany,
    /// A later connection of the client has it already (0x8E Session taken over).
    TakenOver,
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSubscribed {
    /// The session has as many as it may (0x97).
    TooMany,
    /// The log cannot be written (0x80).
    Unavailable,
}

/// What became of a message, durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Queues that it entered.
    pub queued: usize,
    /// Queues that were full: it is lost to them, and counted.
    pub full: usize,
    /// It came before, under the same packet identifier, and was not done again.
    pub is_repeated: bool,
    /// It could not be retained: the organisation has as much as it may.
    pub not_retained: bool,
    /// The log cannot be written: nothing was done. The publisher may try again.
    pub is_unavailable: bool,
}
