//! What one receiver's copy of a message has of its own.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut, BytesMut};
use rmqtt_codec::types::QoS;

use super::Message;
use crate::frame::variable_length;
use crate::packet::body_offset;
use crate::properties::{MESSAGE_EXPIRY, SUBSCRIPTION_ID, TOPIC_ALIAS};
use crate::session::Version;

/// The longest packet: type, four bytes of length, and what those can say (§2.1.4).
const PACKET_BYTES_MAX: usize = 5 + REMAINING_BYTES_MAX;
const REMAINING_BYTES_MAX: usize = 268_435_455;

/// How a message goes to one receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// Over QoS 0.
    pub(crate) packet_id: Option<NonZeroU16>,
    /// MQTT 5.
    pub(crate) subscription_ids: &'a [NonZeroU32],
    /// MQTT 5.
    pub(crate) alias: Option<Alias>,
    /// MQTT 5: Message Expiry Interval.
    pub(crate) remaining_secs: Option<u32>,
}

/// A Topic Alias (§3.3.2.3.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alias {
    pub(crate) number: NonZeroU16,
    /// The receiver has been told what it stands for: the name is left out.
    pub(crate) is_known: bool,
}

impl Envelope<'_> {
    fn first_byte(&self) -> u8 {
        0x30 | u8::from(self.dup) << 3 | self.qos.value() << 1 | u8::from(self.retain)
    }

    fn is_plain(&self) -> bool {
        self.remaining_secs.is_none() && self.subscription_ids.is_empty() && self.alias.is_none()
    }

    fn properties_len(&self) -> usize {
        let ids = self.subscription_ids.iter();
        ids.map(|id| 1 + variable_width(id.get())).sum::<usize>()
            + self.alias.map_or(0, |_| 3)
            + self.remaining_secs.map_or(0, |_| 5)
    }

    fn write_properties(&self, out: &mut BytesMut) {
        if let Some(alias) = self.alias {
            out.put_u8(TOPIC_ALIAS);
            out.put_u16(alias.number.get());
        }
        if let Some(secs) = self.remaining_secs {
            out.put_u8(MESSAGE_EXPIRY);
            out.put_u32(secs);
        }
        for id in self.subscription_ids {
            out.put_u8(SUBSCRIPTION_ID);
            put_variable(id.get(), out);
        }
    }
}

impl Message {
    /// Bytes of the packet in that envelope; `None` if there is no such packet.
    pub(crate) fn packet_bytes(&self, envelope: &Envelope<'_>) -> Option<u32> {
        let frame = self.frame(envelope.version, envelope.qos);
        if frame.is_empty() {
            return None;
        }
        let bytes = if envelope.is_plain() {
            frame.len()
        } else {
            let remaining = Spliced::new(frame, envelope).remaining_len();
            1 + variable_width(u32::try_from(remaining).ok()?) + remaining
        };
        u32::try_from(bytes)
            .ok()
            .filter(|_| bytes <= PACKET_BYTES_MAX)
    }

    /// Appends the packet, for which there must be [`Self::packet_bytes`].
    pub(crate) fn write(&self, envelope: &Envelope<'_>, out: &mut BytesMut) {
        let start = out.len();
        let frame = self.frame(envelope.version, envelope.qos);
        if envelope.is_plain() {
            out.extend_from_slice(frame);
        } else {
            Spliced::new(frame, envelope).write(out);
        }
        out[start] = envelope.first_byte();
        if let Some(packet_id) = envelope.packet_id {
            let name_at = start + body_offset(&out[start..]);
            let name_len = u16::from_be_bytes([out[name_at], out[name_at + 1]]);
            let at = name_at + 2 + usize::from(name_len);
            out[at..at + 2].copy_from_slice(&packet_id.get().to_be_bytes());
        }
    }
}

/// A frame of MQTT 5 taken apart where properties are to be added.
struct Spliced<'a> {
    envelope: &'a Envelope<'a>,
    /// The topic name with its length.
    name: &'a [u8],
    packet_id: &'a [u8],
    properties_len: usize,
    /// The properties that are there, and the payload.
    rest: &'a [u8],
}

impl<'a> Spliced<'a> {
    /// `frame` is one that the codec has written: it has all its parts.
    fn new(frame: &'a [u8], envelope: &'a Envelope<'a>) -> Self {
        let body = &frame[body_offset(frame)..];
        let name_len = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (name, body) = body.split_at(name_len);
        let has_id = envelope.qos != QoS::AtMostOnce;
        let (packet_id, body) = body.split_at(if has_id { 2 } else { 0 });
        let length = variable_length(body).ok().flatten();
        let (width, value) = length.map_or((0, 0), |length| (length.width, length.value));
        Self {
            envelope,
            name: if envelope.alias.is_some_and(|alias| alias.is_known) {
                &[0, 0]
            } else {
                name
            },
            packet_id,
            properties_len: value as usize + envelope.properties_len(),
            rest: &body[usize::from(width)..],
        }
    }

    fn remaining_len(&self) -> usize {
        self.name.len()
            + self.packet_id.len()
            + variable_width(self.properties_len as u32)
            + self.envelope.properties_len()
            + self.rest.len()
    }

    fn write(&self, out: &mut BytesMut) {
        out.reserve(5 + self.remaining_len());
        out.put_u8(self.envelope.first_byte());
        put_variable(self.remaining_len() as u32, out);
        out.put_slice(self.name);
        out.put_slice(self.packet_id);
        put_variable(self.properties_len as u32, out);
        self.envelope.write_properties(out);
        out.put_slice(self.rest);
    }
}

/// Bytes of a Variable Byte Integer (§1.5.5).
fn variable_width(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

fn put_variable(mut value: u32, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
