//! A PUBLISH on its way to subscribers.
//!
//! A message is decoded once and encoded at most once per form (MQTT 3 or 5,
//! with or without a packet identifier), however many subscribers it has. What
//! differs between them is the [`Envelope`]: flags and packet identifier are
//! written over the copy in the connection's buffer; subscription identifiers,
//! topic alias and what is left of the Message Expiry Interval are spliced in,
//! only for those that have them. Application properties of MQTT 5 pass on
//! unaltered (§3.3.2.3).

mod envelope;
mod stored;

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishProperties;

use crate::packet::{encode_v3, encode_v5};
use crate::session::Version;
pub(crate) use envelope::{Alias, Envelope};
pub use stored::StoredMessageError;

/// A message and its encoded forms. Meant to be shared in an `Arc`.
///
/// It keeps the frame it was decoded from alive, so frames should be
/// allocations of their own and not slices of a large read buffer.
pub struct Message {
    topic: ByteString,
    payload: Bytes,
    /// Without those that are a receiver's own, and without the expiry.
    properties: Option<Box<PublishProperties>>,
    expiry: Option<Expiry>,
    qos: QoS,
    retain: bool,
    frames: [OnceLock<Bytes>; 4],
}

/// Message Expiry Interval (§3.3.2.3.3) and since when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expiry {
    secs: u32,
    since_ms: u64,
}

impl Expiry {
    fn ends_at_ms(self) -> u64 {
        self.since_ms.saturating_add(u64::from(self.secs) * 1000)
    }
}

impl Message {
    /// A message of the server's own, not retained. `topic` must be a valid topic name.
    pub fn new(topic: ByteString, payload: Bytes, qos: QoS) -> Self {
        Self {
            topic,
            payload,
            properties: None,
            expiry: None,
            qos,
            retain: false,
            frames: Default::default(),
        }
    }

    /// The message of a client's PUBLISH, whose topic is checked already.
    /// `expires_at_once` says that its Message Expiry Interval is 0, which the
    /// codec cannot.
    pub(crate) fn from_publish(publish: Publish, expires_at_once: bool, now_ms: u64) -> Self {
        let expiry = publish
            .properties
            .as_ref()
            .and_then(|properties| properties.message_expiry_interval)
            .map(|secs| Expiry {
                secs: if expires_at_once { 0 } else { secs.get() },
                since_ms: now_ms,
            });
        let properties = publish.properties.map(for_subscribers);
        Self {
            properties: properties
                .filter(|p| *p != PublishProperties::default())
                .map(Box::new),
            expiry,
            retain: publish.retain,
            ..Self::new(publish.topic, publish.payload, publish.qos)
        }
    }

    /// The same message, with that RETAIN flag.
    #[must_use]
    pub fn with_retain(self, retain: bool) -> Self {
        Self { retain, ..self }
    }

    /// The topic name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The application message, uninterpreted.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// The RETAIN flag it was published with (§3.3.1.3).
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// When its Message Expiry Interval is over, in milliseconds of the clock that
    /// [`crate::Session::handle_frame`] is told; `None` if it has none.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.expiry.map(Expiry::ends_at_ms)
    }

    /// Whether its Message Expiry Interval is over (MQTT-3.3.2-5).
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms().is_some_and(|end| now_ms > end)
    }

    /// Its Message Expiry Interval less the whole seconds that it has waited
    /// (MQTT-3.3.2-6).
    pub(crate) fn remaining_secs(&self, now_ms: u64) -> Option<u32> {
        self.expiry.map(|expiry| {
            let waited_secs = now_ms.saturating_sub(expiry.since_ms) / 1000;
            let waited_secs = u32::try_from(waited_secs).unwrap_or(u32::MAX);
            expiry.secs.saturating_sub(waited_secs)
        })
    }

    /// Lets its Message Expiry Interval run from `now_ms`: a will's does from when it
    /// is published (§3.1.3.2.4).
    pub(crate) fn restart_expiry(&mut self, now_ms: u64) {
        if let Some(expiry) = &mut self.expiry {
            expiry.since_ms = now_ms;
        }
    }

    /// The encoded PUBLISH for subscribers of `version` at `qos`, without what is a
    /// receiver's own; made on first use.
    ///
    /// Over QoS 0 its flags are those of QoS 1 and the packet identifier, which
    /// stands right behind the topic name, is 1, all to be overwritten.
    /// Empty if the message has no such form, because the packet would be over
    /// the 268,435,455 bytes of the protocol or the topic over 65,535 bytes.
    pub fn frame(&self, version: Version, qos: QoS) -> &Bytes {
        let acknowledged = qos != QoS::AtMostOnce;
        let is_v5 = version == Version::V5;
        let slot = usize::from(is_v5) * 2 + usize::from(acknowledged);
        self.frames[slot].get_or_init(|| self.encode(is_v5, acknowledged))
    }

    fn encode(&self, is_v5: bool, acknowledged: bool) -> Bytes {
        let publish = Publish {
            dup: false,
            retain: false,
            qos: if acknowledged {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            },
            topic: self.topic.clone(),
            packet_id: acknowledged.then_some(NonZeroU16::MIN),
            payload: self.payload.clone(),
            properties: self.properties.as_deref().filter(|_| is_v5).cloned(),
        };
        let mut frame = BytesMut::new();
        let encoded = if is_v5 {
            encode_v5(publish.into(), &mut frame)
        } else {
            encode_v3(publish.into(), &mut frame)
        };
        if encoded {
            frame.freeze()
        } else {
            Bytes::new()
        }
    }
}

/// What of a publisher's properties is meant for all subscribers alike.
fn for_subscribers(properties: PublishProperties) -> PublishProperties {
    PublishProperties {
        topic_alias: None,
        message_expiry_interval: None,
        subscription_ids: Vec::<NonZeroU32>::new(),
        ..properties
    }
}

impl fmt::Debug for Message {
    /// The payload is private to its senders and receivers: only its size shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
