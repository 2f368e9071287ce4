//! A PUBLISH on its way to subscribers.
//!
//! A message is decoded once and encoded at most once per form (MQTT 3 or 5,
//! QoS 0 or 1), however many subscribers it has; what differs between them, the
//! packet identifier, is written over the copy in the connection's buffer.
//! Application properties of MQTT 5 pass on unaltered (§3.3.2.3); topic alias
//! and subscription identifiers belong to one connection and never do.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishProperties;

use crate::packet::{encode_v3, encode_v5};
use crate::session::Version;

/// A message and its encoded forms. Meant to be shared in an `Arc`.
///
/// It keeps the frame it was decoded from alive, so frames should be
/// allocations of their own and not slices of a large read buffer.
pub struct Message {
    topic: ByteString,
    payload: Bytes,
    qos: QoS,
    properties: Option<Box<PublishProperties>>,
    frames: [OnceLock<Bytes>; 4],
}

impl Message {
    /// A message of the server's own. `topic` must be a valid topic name.
    pub fn new(topic: ByteString, payload: Bytes, qos: QoS) -> Self {
        Self {
            topic,
            payload,
            qos,
            properties: None,
            frames: Default::default(),
        }
    }

    /// The message of a client's PUBLISH, whose topic is checked already.
    pub(crate) fn from_publish(publish: Publish) -> Self {
        let properties = publish.properties.map(for_subscribers);
        Self {
            properties: properties
                .filter(|p| *p != PublishProperties::default())
                .map(Box::new),
            ..Self::new(publish.topic, publish.payload, publish.qos)
        }
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

    /// The encoded PUBLISH for subscribers of `version` at `qos`; made on first use.
    ///
    /// At QoS 1 the packet identifier is 1, to be overwritten; it stands right
    /// behind the topic name. QoS 2 is not spoken and counts as 1.
    /// Empty if the message has no such form, because the packet would be over
    /// the 268,435,455 bytes of the protocol or the topic over 65,535 bytes.
    pub fn frame(&self, version: Version, qos: QoS) -> &Bytes {
        let acknowledged = qos != QoS::AtMostOnce;
        let is_v5 = version == Version::V5;
        let slot = usize::from(is_v5) * 2 + usize::from(acknowledged);
        self.frames[slot].get_or_init(|| self.encode(is_v5, acknowledged))
    }

    /// Where the packet identifier (two bytes, big endian) stands in a QoS 1 frame.
    pub(crate) fn packet_id_offset(&self, frame: &[u8]) -> usize {
        let length_width = frame[1..]
            .iter()
            .take_while(|byte| **byte & 0x80 != 0)
            .count()
            + 1;
        1 + length_width + 2 + self.topic.len()
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

/// What of a publisher's properties is meant for the subscribers.
fn for_subscribers(properties: PublishProperties) -> PublishProperties {
    PublishProperties {
        topic_alias: None,
        subscription_ids: Vec::new(),
        ..properties
    }
}

impl fmt::Debug for Message {
    /// The payload is private to its senders and receivers: only its size shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
