//! The bytes of a stored message: what was written once is read for ever.

use bytes::Bytes;
use mqtt::{Action, Inbound, Message, QoS, StoredMessageError, Version};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::PublishProperties;

use crate::script::*;

/// Version 1, as the first server that had it wrote it.
const VERSION_1: &[u8] = b"\x01\x00\x00\x01\xA3\x18\x5C\x50\x00\
    \x35\x16\x00\x03a/b\x00\x01\x0C\x02\x00\x00\x00\x3C\x26\x00\x01k\x00\x01vhi";

#[test]
fn version_1_stays_readable_and_is_written_like_that() {
    let stored = Message::decode_stored(Bytes::from_static(VERSION_1)).unwrap();
    assert_eq!(stored.topic(), "a/b");
    assert_eq!(stored.payload(), "hi");
    assert_eq!(stored.qos(), QoS::ExactlyOnce);
    assert!(stored.retain());
    assert_eq!(stored.expires_at_ms(), Some(1_800_000_000_000 + 60_000));

    let properties = PublishProperties {
        message_expiry_interval: 60.try_into().ok(),
        user_properties: vec![("k".into(), "v".into())],
        ..Default::default()
    };
    let publish = Publish {
        retain: true,
        payload: "hi".into(),
        properties: Some(properties),
        ..message("a/b", QoS::ExactlyOnce)
    };
    let mut client = Client::connected(Version::V5);
    client.limits.retain_available = true;
    let action = client.publish(publish);
    let Action::Publish(Inbound { message, .. }) = action else {
        panic!("{action:?}")
    };
    assert_eq!(message.encode_stored().unwrap(), VERSION_1);
}

#[test]
fn an_expiry_of_zero_survives() {
    let mut client = Client::connected(Version::V5);
    let action = client.send_raw(b"\x30\x0A\x00\x01a\x05\x02\x00\x00\x00\x00x");
    let Action::Publish(Inbound { message, .. }) = action else {
        panic!("{action:?}")
    };
    let stored = message.encode_stored().unwrap();
    let again = Message::decode_stored(stored).unwrap();
    assert_eq!(again.expires_at_ms(), Some(client.now_ms));
    assert_eq!(again.payload(), "x");
}

#[test]
fn what_is_no_stored_message_is_told_apart() {
    let rows: [(&[u8], StoredMessageError); 5] = [
        (b"", StoredMessageError::Damaged),
        (b"\x01", StoredMessageError::Damaged),
        (b"\x02\x00", StoredMessageError::UnknownVersion(2)),
        (&VERSION_1[..20], StoredMessageError::Damaged),
        (
            b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\xC0\x00",
            StoredMessageError::Damaged,
        ),
    ];
    for (bytes, error) in rows {
        let decoded = Message::decode_stored(Bytes::from_static(bytes));
        assert_eq!(decoded.map(|_| ()), Err(error), "{bytes:?}");
    }
}

#[test]
fn a_message_that_has_no_packet_cannot_be_stored() {
    let topic = "t".repeat(65_536);
    let message = Message::new(topic.into(), "x".into(), QoS::AtMostOnce);
    assert_eq!(message.encode_stored(), None);
}
