//! The few MQTT 5 packets of an idle client, written out byte by byte.
//!
//! They do not come from the codec that the server uses, so that a fault there cannot hide
//! behind its own mirror image.

use anyhow::{Result, bail, ensure};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

const KEEP_ALIVE_SECS: u16 = 1_200;

/// User name flag and clean start.
const CONNECT_FLAGS: u8 = 0x82;

/// CONNECT of client `number`: a client id of 20 characters, user `user-N` of `org_abc`.
pub(super) fn connect(number: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    push_text(&mut body, "MQTT");
    body.extend([5, CONNECT_FLAGS]);
    body.extend(KEEP_ALIVE_SECS.to_be_bytes());
    body.push(0); // no properties
    push_text(&mut body, &format!("bench-client-{number:07}"));
    push_text(&mut body, &format!("user-{number}@org_abc"));
    packet(CONNECT, &body)
}

/// SUBSCRIBE of client `number` to its own topic with QoS 0.
pub(super) fn subscribe(number: usize) -> Vec<u8> {
    subscribe_to(&format!("dev/{number}/cmd"), 0)
}

/// SUBSCRIBE to a topic.
pub(super) fn subscribe_to(topic: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0]; // packet identifier 1, no properties
    push_text(&mut body, topic);
    body.push(qos);
    packet(SUBSCRIBE, &body)
}

/// Appends a PUBLISH; at QoS 1 with this packet identifier.
pub(super) fn push_publish(
    bytes: &mut Vec<u8>,
    topic: &str,
    packet_id: Option<u16>,
    payload: &[u8],
) {
    let id_length = packet_id.map_or(0, |_| 2);
    let length = 2 + topic.len() + id_length + 1 + payload.len();
    debug_assert!(length < 128);
    bytes.extend([if packet_id.is_some() { 0x32 } else { 0x30 }, length as u8]);
    push_text(bytes, topic);
    if let Some(id) = packet_id {
        bytes.extend(id.to_be_bytes());
    }
    bytes.push(0); // no properties
    bytes.extend(payload);
}

/// Appends a PUBACK that says that all is well.
pub(super) fn push_puback(bytes: &mut Vec<u8>, packet_id: u16) {
    bytes.extend([0x40, 2]);
    bytes.extend(packet_id.to_be_bytes());
}

/// Takes a CONNACK from the front of `input` if it is there in full; a refusal is an error.
pub(super) fn take_connack(input: &mut Vec<u8>) -> Result<bool> {
    let Some(body) = take_packet(input, CONNACK)? else {
        return Ok(false);
    };
    ensure!(
        body.get(1) == Some(&0),
        "connection refused: CONNACK {body:02x?}"
    );
    Ok(true)
}

/// Takes a SUBACK that grants QoS 0 from the front of `input` if it is there in full; anything else
/// is an error.
pub(super) fn take_suback(input: &mut Vec<u8>) -> Result<bool> {
    take_suback_of(input, 0)
}

/// As [`take_suback`], for another QoS.
pub(super) fn take_suback_of(input: &mut Vec<u8>, qos: u8) -> Result<bool> {
    let Some(body) = take_packet(input, SUBACK)? else {
        return Ok(false);
    };
    ensure!(
        body.last() == Some(&qos),
        "subscription refused: SUBACK {body:02x?}"
    );
    Ok(true)
}

/// A packet with a body short enough for a length of one byte.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    debug_assert!(body.len() < 128);
    let mut packet = vec![kind, body.len() as u8];
    packet.extend(body);
    packet
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// The body of the first packet, which must be of `kind`. `None`: not all of it is here yet.
fn take_packet(input: &mut Vec<u8>, kind: u8) -> Result<Option<Vec<u8>>> {
    let &[first, length, ..] = input.as_slice() else {
        return Ok(None);
    };
    if first != kind || length >= 128 {
        bail!(
            "expected a short packet {kind:#04x}, got {:02x?}",
            &input[..input.len().min(16)]
        );
    }
    let end = 2 + usize::from(length);
    if input.len() < end {
        return Ok(None);
    }
    let body = input.drain(..end).skip(2).collect();
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_has_the_sizes_the_benchmark_promises() {
        let packet = connect(42);
        assert_eq!(usize::from(packet[1]), packet.len() - 2);
        let client_id = &packet[15..35];
        assert_eq!(client_id, b"bench-client-0000042");
        assert_eq!(packet[13..15], [0, 20]);
    }

    #[test]
    fn half_an_acknowledgement_is_waited_for_and_a_refusal_is_an_error() {
        let mut input = vec![0x20, 3, 0];
        assert!(!take_connack(&mut input).unwrap());
        input.extend([0, 0, 0x90]);
        assert!(take_connack(&mut input).unwrap());
        assert_eq!(input, [0x90]);
        assert!(take_connack(&mut vec![0x20, 3, 0, 0x87, 0]).is_err());
    }
}
