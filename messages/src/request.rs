//! What may be asked of the keeper of messages.
//!
//! Whatever comes from a connection names its [`Attachment`]; if another connection has the session
//! by then, it is ignored.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use topics::TopicFilter;

use crate::id::{Attachment, Carrier, StoredRef};
use crate::message::{Message, Will};
use crate::record::{Retain, Subscription};

/// A question or an order.
#[derive(Clone, Debug)]
pub enum Request {
    /// A CONNECT that wants a stored session or may have one. Answered by
    /// [`Answer::Attached`](crate::Answer::Attached) or [`Answer::Refused`](crate::Answer::Refused).
    Attach(Box<Attach>),
    /// The connection ended. Not answered.
    Detach(Detach),
    /// A SUBSCRIBE. Answered by [`Answer::Subscribed`](crate::Answer::Subscribed).
    Subscribe(Subscribe),
    /// An UNSUBSCRIBE. Answered by [`Answer::Unsubscribed`](crate::Answer::Unsubscribed).
    Unsubscribe(Unsubscribe),
    /// A message for queues, to be retained, or both. Answered by
    /// [`Answer::Published`](crate::Answer::Published) if `reply_to` says where.
    Publish(Box<Publish>),
    /// PUBACK, PUBCOMP or PUBREC with an error: the message is done with. Not answered.
    Acknowledged(Attachment, u16),
    /// PUBREC. Answered by [`Answer::Release`](crate::Answer::Release).
    Received(Attachment, u16),
    /// PUBREL. Answered by [`Answer::Released`](crate::Answer::Released).
    Release(Attachment, u16),
    /// Says when all that was asked before has been decided, whether or not it is durable. Answered by
    /// [`Answer::Reached`](crate::Answer::Reached) with this number.
    Reach(Carrier, u64),
}

/// A connection that wants a stored session, or may have one.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The organisation's id.
    pub org: CompactString,
    /// MQTT client identifier.
    pub client_id: CompactString,
    /// The user, without the organisation's suffix.
    pub username: CompactString,
    /// Clean Start (§3.1.2.4).
    pub clean_start: bool,
    /// Session Expiry Interval as granted, seconds; [`NEVER`](crate::NEVER) for ever.
    pub expiry_secs: u32,
    /// The connection.
    pub carrier: Carrier,
    /// Its will, if the session is stored. (One whose session is not stored stays with the
    /// connection.)
    pub will: Option<Box<Will>>,
    /// What it may be subscribed to; none: everything.
    pub permit: Option<Arc<dyn Permit>>,
}

/// What a client may be subscribed to as it logs in now: its rights may have been others when it
/// subscribed.
pub trait Permit: fmt::Debug + Send + Sync {
    /// Whether it may have this subscription.
    fn allows(&self, filter: TopicFilter<'_>) -> bool;
}

/// A connection that ended.
#[derive(Clone, Copy, Debug)]
pub struct Detach {
    /// Which one.
    pub attachment: Attachment,
    /// A Session Expiry Interval that its DISCONNECT changed, seconds (§3.14.2.2.2).
    pub expiry_secs: Option<u32>,
    /// Whether its will is to be sent: at every end but a DISCONNECT with 0x00 (MQTT-3.14.4-3).
    pub with_will: bool,
}

/// Subscriptions to be made.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// For whom.
    pub attachment: Attachment,
    /// Packet identifier of the SUBSCRIBE, for the answer.
    pub packet_id: u16,
    /// In the order of the packet.
    pub wanted: Vec<Wanted>,
    /// Subscriptions that the session may have.
    pub subscriptions_max: usize,
}

/// One subscription to be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A valid filter, with `$share/{group}/` if it is shared.
    pub filter: CompactString,
    /// What to subscribe with.
    pub subscription: Subscription,
    /// The QoS that it grants.
    pub qos: u8,
    /// Which retained messages are to be sent (Retain Handling, §3.8.3.1). A shared one gets none.
    pub retained: RetainHandling,
}

/// When retained messages are sent to a new subscription (§3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// Always.
    Always,
    /// If there was no such subscription.
    IfNew,
    /// Never.
    Never,
}

/// Subscriptions to be ended.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    /// Of whom.
    pub attachment: Attachment,
    /// Packet identifier of the UNSUBSCRIBE, for the answer.
    pub packet_id: u16,
    /// In the order of the packet.
    pub filters: Vec<CompactString>,
}

/// A message that must outlive something.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The organisation's id.
    pub org: CompactString,
    /// The message.
    pub message: Message,
    /// If its publisher has a stored session and sent it at QoS 2: under which packet identifier.
    pub received: Option<(Attachment, u16)>,
    /// If it is the will of a stored session: which, as [`Answer::Will`](crate::Answer::Will) said.
    pub will: Option<Attachment>,
    /// What it does to the retained message of its topic.
    pub retain: Retain,
    /// The stored sessions that get it at QoS 1 or 2, each once. (At QoS 0 it goes to the carrier
    /// directly, or nowhere.)
    pub targets: Vec<To>,
    /// Whom to tell when it is durable.
    pub reply_to: Option<ReplyTo>,
    /// If there are others who get it, not from here, once it is decided whether it is new: the
    /// connection whose event loop has it, and its number there. Answered by
    /// [`Answer::Settled`](crate::Answer::Settled), always.
    pub held_back: Option<(Carrier, u64)>,
}

/// A stored session that gets a message.
#[derive(Clone, Debug)]
pub struct To {
    /// The session.
    pub session: StoredRef,
    /// The QoS at which it gets it: 1 or 2.
    pub qos: u8,
    /// Whether the client sees the retain flag (Retain As Published).
    pub retain: bool,
    /// Identifiers of the matching subscriptions.
    pub subscription_ids: Box<[u32]>,
}

/// Where an answer to a publisher goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The connection. It need not have a stored session.
    pub carrier: Carrier,
    /// Packet identifier of the PUBLISH.
    pub packet_id: u16,
    /// Its QoS: 1 or 2.
    pub qos: u8,
    /// Whether others got it whose sessions are not stored, for the answer.
    pub is_routed: bool,
}
