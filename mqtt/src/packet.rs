//! Packets in and out, by the codec, with the checks that it leaves out.
//!
//! [`decode`] brings the three versions to one shape, so that the session has
//! one rule for each thing; what only MQTT 5 can say is absent for MQTT 3. The
//! codec is made anew for each packet: it has no state worth its memory in every
//! idle session. Found missing in rmqtt-codec 0.3.1 and done here: bytes after
//! the end of PINGREQ and DISCONNECT, reserved bits of an MQTT 3 SUBSCRIBE,
//! padded lengths, U+0000, DUP at QoS 0, packets in the wrong direction, and what
//! `properties.rs` is for. CONNECT has its own checks in `session/connect/`.

use std::num::NonZeroU16;

use bytes::{Buf, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode, PublishAckReason};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use crate::frame::{variable_length, whole_frame};
use crate::properties::{self, SUBSCRIPTION_ID, TOPIC_ALIAS};
use crate::reason::Violation;
use crate::session::Version;

/// What a connected client may send.
pub(crate) enum Packet {
    Publish {
        publish: Box<Publish>,
        /// Its Message Expiry Interval is 0, and 1 in `publish`.
        expires_at_once: bool,
    },
    PublishAck(NonZeroU16),
    PublishReceived {
        packet_id: NonZeroU16,
        /// Its reason code is 0x80 or greater.
        is_error: bool,
    },
    PublishRelease(NonZeroU16),
    PublishComplete(NonZeroU16),
    Subscribe(v5::Subscribe),
    Unsubscribe {
        packet_id: NonZeroU16,
        filters: Vec<ByteString>,
    },
    Ping,
    Disconnect(v5::Disconnect),
}

/// Decodes one packet of a connected client. `frame` must be exactly that packet.
pub(crate) fn decode(mut frame: BytesMut, version: Version) -> Result<Packet, Violation> {
    if whole_frame(&frame, u32::MAX)? != Some(frame.len()) {
        return Err(Violation::malformed("not exactly one packet"));
    }
    check_direction(frame[0])?;
    check_length(&frame, version)?;
    if version == Version::V31 {
        clear_dup_of_requests(&mut frame);
    }
    match version {
        Version::V5 => {
            let expires_at_once = mend_properties(&mut frame)?;
            from_v5(decode_v5(frame)?, expires_at_once)
        }
        Version::V31 | Version::V311 => decode_request_v3(frame),
    }
}

/// Says of a number in the properties what the codec would not, and mends the one that is
/// legal: a Message Expiry Interval of 0, of which it tells.
fn mend_properties(frame: &mut [u8]) -> Result<bool, Violation> {
    let Some(at) = properties_at(frame).filter(|at| frame.get(*at).is_some_and(|len| *len != 0))
    else {
        return Ok(false);
    };
    if properties::are_padded(frame, at) {
        return Err(Violation::malformed("number among properties is padded")); // MQTT-1.5.5-1
    }
    match frame[0] >> 4 {
        3 if properties::is_zero(frame, at, TOPIC_ALIAS, 2) => {
            let code = DisconnectReasonCode::TopicAliasInvalid; // MQTT-3.3.2-8
            Err(Violation::new(code, "topic alias 0"))
        }
        3 => Ok(properties::mend_zero_expiry(frame, at)),
        8 if properties::is_zero(frame, at, SUBSCRIPTION_ID, 1) => {
            // §3.8.2.1.2
            Err(Violation::protocol("subscription identifier 0"))
        }
        _ => Ok(false),
    }
}

/// Where the length of an MQTT 5 packet's properties stands, if it is long enough to have any.
fn properties_at(frame: &[u8]) -> Option<usize> {
    let body = body_offset(frame);
    match frame[0] >> 4 {
        3 => {
            let name = frame.get(body..).and_then(properties::text_len)?;
            let packet_id = if frame[0] & 0b110 == 0 { 0 } else { 2 };
            Some(body + name + packet_id)
        }
        4..=7 => Some(body + 3), // identifier, reason code
        8 | 10 => Some(body + 2),
        14 => Some(body + 1),
        _ => None,
    }
}

/// Refuses what only a server sends, and what this server has no use for.
fn check_direction(first_byte: u8) -> Result<(), Violation> {
    match first_byte >> 4 {
        1 => Err(Violation::protocol("second CONNECT")), // MQTT-3.1.0-2
        2 | 9 | 11 | 13 => Err(Violation::protocol("packet that only a server sends")),
        15 if first_byte & 0x0F != 0 => Err(Violation::malformed("flags of AUTH")), // MQTT-3.15.1-1
        15 => Err(Violation::protocol("AUTH without an authentication method")),    // MQTT-4.12.0-7
        _ => Ok(()),
    }
}

fn check_length(frame: &[u8], version: Version) -> Result<(), Violation> {
    let packet_type = frame[0] >> 4;
    let has_body = body_offset(frame) < frame.len();
    if has_body && (packet_type == 12 || packet_type == 14 && version != Version::V5) {
        return Err(Violation::malformed("bytes after the end of the packet"));
    }
    // MQTT-1.5.5-1; MQTT 3 does not forbid the longer forms.
    let length = variable_length(&frame[1..])?;
    if version == Version::V5 && length.is_some_and(|length| length.is_padded()) {
        return Err(Violation::malformed("packet length is padded"));
    }
    Ok(())
}

/// MQTT 3.1 lets a client repeat PUBREL, SUBSCRIBE and UNSUBSCRIBE with the DUP flag
/// (3.1 §3.6, §3.8, §3.10); the codec knows only the later fixed flags.
fn clear_dup_of_requests(frame: &mut BytesMut) {
    if matches!(frame[0], 0x6A | 0x8A | 0xAA) {
        frame[0] &= !0x08;
    }
}

fn from_v5(packet: v5::Packet, expires_at_once: bool) -> Result<Packet, Violation> {
    match packet {
        v5::Packet::Publish(publish) => Ok(Packet::Publish {
            publish,
            expires_at_once,
        }),
        v5::Packet::PublishAck(ack) => {
            check_reason(ack.reason_string.as_ref(), &ack.properties)?;
            Ok(Packet::PublishAck(ack.packet_id))
        }
        v5::Packet::PublishReceived(ack) => {
            check_reason(ack.reason_string.as_ref(), &ack.properties)?;
            Ok(Packet::PublishReceived {
                packet_id: ack.packet_id,
                is_error: is_error(ack.reason_code),
            })
        }
        v5::Packet::PublishRelease(ack) => {
            check_reason(ack.reason_string.as_ref(), &ack.properties)?;
            Ok(Packet::PublishRelease(ack.packet_id))
        }
        v5::Packet::PublishComplete(ack) => {
            check_reason(ack.reason_string.as_ref(), &ack.properties)?;
            Ok(Packet::PublishComplete(ack.packet_id))
        }
        v5::Packet::Subscribe(subscribe) => {
            check_user_properties(&subscribe.user_properties)?;
            Ok(Packet::Subscribe(subscribe))
        }
        v5::Packet::Unsubscribe(unsubscribe) => {
            check_user_properties(&unsubscribe.user_properties)?;
            let v5::Unsubscribe {
                packet_id,
                topic_filters: filters,
                ..
            } = unsubscribe;
            Ok(Packet::Unsubscribe { packet_id, filters })
        }
        v5::Packet::PingRequest => Ok(Packet::Ping),
        v5::Packet::Disconnect(disconnect) => {
            check_reason(
                disconnect.reason_string.as_ref(),
                &disconnect.user_properties,
            )?;
            Ok(Packet::Disconnect(disconnect))
        }
        _ => Err(Violation::protocol("unexpected packet")),
    }
}

/// Whether a PUBACK or PUBREC says that the message was not taken (§4.4).
pub(crate) fn is_error(code: PublishAckReason) -> bool {
    u8::from(code) >= 0x80
}

fn check_reason(text: Option<&ByteString>, pairs: &[v5::UserProperty]) -> Result<(), Violation> {
    text.map_or(Ok(()), |text| check_text(text))?;
    check_user_properties(pairs)
}

fn decode_request_v3(frame: BytesMut) -> Result<Packet, Violation> {
    // Only a SUBSCRIBE has bits that the codec drops silently; it is small.
    let raw = (frame[0] >> 4 == 8).then(|| frame.clone());
    match decode_v3(frame)? {
        v3::Packet::Publish(publish) => Ok(Packet::Publish {
            publish,
            expires_at_once: false,
        }),
        v3::Packet::PublishAck { packet_id } => Ok(Packet::PublishAck(packet_id)),
        v3::Packet::PublishReceived { packet_id } => Ok(Packet::PublishReceived {
            packet_id,
            is_error: false,
        }),
        v3::Packet::PublishRelease { packet_id } => Ok(Packet::PublishRelease(packet_id)),
        v3::Packet::PublishComplete { packet_id } => Ok(Packet::PublishComplete(packet_id)),
        v3::Packet::Subscribe {
            packet_id,
            topic_filters,
        } => {
            check_reserved_bits(&raw.unwrap_or_default(), &topic_filters)?;
            Ok(Packet::Subscribe(v5_subscribe(packet_id, topic_filters)))
        }
        v3::Packet::Unsubscribe {
            packet_id,
            topic_filters: filters,
        } => Ok(Packet::Unsubscribe { packet_id, filters }),
        v3::Packet::PingRequest => Ok(Packet::Ping),
        v3::Packet::Disconnect => Ok(Packet::Disconnect(v5::Disconnect::default())),
        _ => Err(Violation::protocol("unexpected packet")),
    }
}

/// MQTT-3.8.3-4 of 3.1.1: the upper six bits beside each filter must be 0.
fn check_reserved_bits(raw: &[u8], filters: &[(ByteString, QoS)]) -> Result<(), Violation> {
    let body = &raw[body_offset(raw)..];
    let mut end = 2;
    for (filter, _) in filters {
        end += 2 + filter.len() + 1;
        if body
            .get(end - 1)
            .is_none_or(|options| options & 0b1111_1100 != 0)
        {
            return Err(Violation::malformed("reserved bits of SUBSCRIBE"));
        }
    }
    Ok(())
}

fn v5_subscribe(packet_id: NonZeroU16, filters: Vec<(ByteString, QoS)>) -> v5::Subscribe {
    let options = |qos| v5::SubscriptionOptions {
        qos,
        ..Default::default()
    };
    v5::Subscribe {
        packet_id,
        id: None,
        user_properties: Vec::new(),
        topic_filters: filters
            .into_iter()
            .map(|(filter, qos)| (filter, options(qos)))
            .collect(),
    }
}

/// Where the body begins, after type and length.
pub(crate) fn body_offset(frame: &[u8]) -> usize {
    let length = variable_length(frame.get(1..).unwrap_or_default());
    1 + length
        .ok()
        .flatten()
        .map_or(0, |length| usize::from(length.width))
}

/// MQTT-1.5.4-2: no text may hold U+0000.
pub(crate) fn check_text(text: &str) -> Result<(), Violation> {
    if text.as_bytes().contains(&0) {
        return Err(Violation::malformed("U+0000 in a text"));
    }
    Ok(())
}

/// [`check_text`] for names and values.
pub(crate) fn check_user_properties(pairs: &[v5::UserProperty]) -> Result<(), Violation> {
    pairs
        .iter()
        .try_for_each(|(name, value)| check_text(name).and_then(|()| check_text(value)))
}

pub(crate) fn decode_v3(mut frame: BytesMut) -> Result<v3::Packet, Violation> {
    let decoded = v3::Codec::new(0).decode(&mut frame)?;
    exactly_one(decoded.map(|(packet, _)| packet), &frame)
}

pub(crate) fn decode_v5(mut frame: BytesMut) -> Result<v5::Packet, Violation> {
    let decoded = v5::Codec::new(0, 0).decode(&mut frame)?;
    exactly_one(decoded.map(|(packet, _)| packet), &frame)
}

fn exactly_one<P>(packet: Option<P>, rest: &BytesMut) -> Result<P, Violation> {
    match packet {
        Some(packet) if !rest.has_remaining() => Ok(packet),
        _ => Err(Violation::malformed("not exactly one packet")),
    }
}

/// Appends an MQTT 3 packet; `false` and nothing appended if it cannot be encoded.
pub(crate) fn encode_v3(packet: v3::Packet, out: &mut BytesMut) -> bool {
    let start = out.len();
    let encoded = v3::Codec::new(0).encode(packet, out).is_ok();
    if !encoded {
        out.truncate(start);
    }
    encoded
}

/// Appends an MQTT 5 packet; `false` and nothing appended if it cannot be encoded.
pub(crate) fn encode_v5(packet: v5::Packet, out: &mut BytesMut) -> bool {
    let start = out.len();
    let encoded = v5::Codec::new(0, 0).encode(packet, out).is_ok();
    if !encoded {
        out.truncate(start);
    }
    encoded
}

/// Appends the MQTT 5 reply that `packet` makes of a Reason String, or without
/// the string, or not at all, whichever first fits in the client's Maximum
/// Packet Size (MQTT-3.1.2-24, MQTT-3.9.2-1 and its kin).
///
/// The codec is not told that size: it subtracts from it without looking and
/// panics in debug builds when a client says less than 7.
pub(crate) fn reply_v5(
    packet_bytes_max: u32,
    reason: Option<&str>,
    out: &mut BytesMut,
    packet: impl Fn(Option<ByteString>) -> v5::Packet,
) {
    let start = out.len();
    let with_reason = reason
        .filter(|reason| !reason.is_empty())
        .map(ByteString::from);
    for reason in [with_reason, None] {
        let encoded = encode_v5(packet(reason), out);
        if encoded && u32::try_from(out.len() - start).is_ok_and(|bytes| bytes <= packet_bytes_max)
        {
            return;
        }
        out.truncate(start);
    }
}
