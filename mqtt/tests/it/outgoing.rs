//! What a receiver's copy of a message has of its own: flags, identifiers, expiry.

use std::num::NonZeroU32;
use std::sync::Arc;

use mqtt::{Action, Delivery, Discarded, DropReason, Message, Outgoing, QoS, Version};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{self, PublishProperties};

use crate::script::*;

fn with_expiry(secs: u32) -> Arc<Message> {
    let properties = PublishProperties {
        message_expiry_interval: secs.try_into().ok(),
        correlation_data: Some("c".into()),
        ..Default::default()
    };
    let publish = Publish {
        properties: Some(properties),
        ..message("a", QoS::ExactlyOnce)
    };
    Arc::new(
        Client::connected(Version::V5)
            .publish_inbound(publish)
            .message,
    )
}

fn expiry_of(publish: &Publish) -> Option<u32> {
    let properties = publish.properties.as_ref()?;
    properties.message_expiry_interval.map(|secs| secs.get())
}

// MQTT-3.3.1-12, MQTT-3.3.1-13
#[test]
fn the_retain_flag_is_as_the_caller_says() {
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for retain in [true, false] {
                let message = Message::new("a".into(), "x".into(), qos).with_retain(!retain);
                assert_eq!(message.retain(), !retain);
                let mut client = Client::connected(version);
                let options = Outgoing {
                    retain,
                    ..qos.into()
                };
                assert_eq!(client.deliver(&Arc::new(message), options), Delivery::Sent);
                assert_eq!(client.published()[0].retain, retain);
            }
        }
    }
}

// MQTT-3.3.4-3, MQTT-3.3.4-4
#[test]
fn subscription_identifiers_go_to_mqtt_5_in_the_one_copy() {
    let ids: Vec<NonZeroU32> = [1, 128, 268_435_455]
        .into_iter()
        .map(|id: u32| id.try_into().unwrap())
        .collect();
    let message = with_expiry(60);
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut client = Client::connected(version);
            let options = Outgoing {
                subscription_ids: &ids,
                ..qos.into()
            };
            assert_eq!(client.deliver(&message, options), Delivery::Sent);
            let publish = client.published().remove(0);
            assert_eq!(
                (&publish.topic[..], &publish.payload[..]),
                ("a", &b"hello"[..])
            );
            assert_eq!(publish.packet_id.is_some(), qos != QoS::AtMostOnce);
            if version == Version::V5 {
                let properties = publish.properties.unwrap();
                assert_eq!(properties.subscription_ids, ids);
                assert_eq!(properties.correlation_data.as_deref(), Some(&b"c"[..]));
            }
        }
    }
}

#[test]
fn identifiers_and_flags_survive_the_queue() {
    let mut client = Client::connected(Version::V5);
    client.limits.inflight_max = 1;
    let message = own_message("a", "x", QoS::AtLeastOnce);
    let _ = client.deliver(&message, QoS::AtLeastOnce.into());
    let first = client.published()[0].packet_id.unwrap().get();
    let options = Outgoing {
        qos: QoS::AtLeastOnce,
        retain: true,
        subscription_ids: &[NonZeroU32::MIN],
    };
    assert_eq!(client.deliver(&message, options), Delivery::Queued);
    client.publish_ack(first);
    let publish = client.published().remove(0);
    assert!(publish.retain);
    let properties = publish.properties.unwrap();
    assert_eq!(properties.subscription_ids, [NonZeroU32::MIN]);
}

// MQTT-1.5.5-1: a session takes no padded length, so what it is sent back has none.
#[test]
fn lengths_of_what_is_sent_take_no_more_bytes_than_they_need() {
    let name_bytes = [117, 118, 119, 120, 121, 122, 123, 124, 125];
    let payload_bytes = (90..130).chain(16_360..16_390);
    let sizes = name_bytes.iter().map(|name| (*name, 1));
    for (name_bytes, payload_bytes) in sizes.chain(payload_bytes.map(|payload| (1, payload))) {
        let properties = PublishProperties {
            message_expiry_interval: 60.try_into().ok(),
            user_properties: vec![("n".repeat(name_bytes).into(), "".into())],
            ..Default::default()
        };
        let publish = Publish {
            properties: Some(properties),
            payload: vec![b'x'; payload_bytes].into(),
            ..message("a", QoS::AtLeastOnce)
        };
        let sent = encode_v5(publish.clone().into());
        let message = Arc::new(
            Client::connected(Version::V5)
                .publish_inbound(publish)
                .message,
        );
        let mut client = Client::connected(Version::V5);
        let delivery = client.deliver(&message, QoS::AtLeastOnce.into());
        assert_eq!(delivery, Delivery::Sent);
        assert_eq!(client.out.len(), sent.len(), "{name_bytes} {payload_bytes}");
        let again = Client::connected(Version::V5).send_raw(&client.out);
        assert!(matches!(again, Action::Publish(_)), "{again:?}");
    }
}

// MQTT-3.3.2-6
#[test]
fn the_expiry_interval_is_less_by_the_time_waited() {
    let message = with_expiry(60);
    for (waited_ms, left_secs) in [(0, 60), (999, 60), (1000, 59), (59_999, 1)] {
        let mut client = Client::connected(Version::V5);
        client.now_ms += waited_ms;
        let delivery = client.deliver(&message, QoS::AtMostOnce.into());
        assert_eq!(delivery, Delivery::Sent);
        assert_eq!(expiry_of(&client.published()[0]), Some(left_secs));
    }
}

// MQTT-3.3.2-5
#[test]
fn an_expired_message_is_not_sent_to_anybody() {
    let message = with_expiry(60);
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let mut client = Client::connected(version);
            client.now_ms += 60_001;
            let delivery = client.deliver(&message, qos.into());
            assert_eq!(delivery, Delivery::Dropped(DropReason::Expired));
            assert!(client.out.is_empty());
        }
    }
}

// MQTT-3.3.2-5, MQTT-3.3.2-6
#[test]
fn messages_expire_in_the_queue_too() {
    for version in ALL {
        let mut client = Client::connected(version);
        client.limits.inflight_max = 1;
        let first = own_message("a", "first", QoS::AtLeastOnce);
        let _ = client.deliver(&first, QoS::AtLeastOnce.into());
        let first = client.published()[0].packet_id.unwrap().get();
        for secs in [5, 60] {
            let message = with_expiry(secs);
            let delivery = client.deliver(&message, QoS::AtLeastOnce.into());
            assert_eq!(delivery, Delivery::Queued);
        }
        client.now_ms += 10_000;
        client.publish_ack(first);
        let sent = client.published();
        assert_eq!(sent.len(), 1);
        if version == Version::V5 {
            assert_eq!(expiry_of(&sent[0]), Some(50));
        }
        let discarded = Discarded {
            packet_id: None,
            reason: DropReason::Expired,
        };
        assert_eq!(client.session.take_discarded(), [discarded]);
        assert_eq!(client.session.outbound_bytes(), 0);
    }
}

// MQTT-3.3.2-5
#[test]
fn an_interval_of_zero_is_legal_and_over_at_once() {
    let rows: [&[u8]; 2] = [
        b"\x30\x0A\x00\x01a\x05\x02\x00\x00\x00\x00x",
        b"\x32\x0E\x00\x01a\x00\x01\x07\x01\x00\x02\x00\x00\x00\x00x",
    ];
    for bytes in rows {
        let mut client = Client::connected(Version::V5);
        let action = client.send_raw(bytes);
        let Action::Publish(inbound) = action else {
            panic!("{action:?}")
        };
        let message = Arc::new(inbound.message);
        let mut receiver = Client::connected(Version::V5);
        let delivery = receiver.deliver(&message, QoS::AtMostOnce.into());
        assert_eq!(delivery, Delivery::Sent);
        let sent = receiver.out.split();
        let expected = b"\x30\x0A\x00\x01a\x05\x02\x00\x00\x00\x00x";
        assert_eq!(sent, expected[..]);
        receiver.now_ms += 1;
        let delivery = receiver.deliver(&message, QoS::AtMostOnce.into());
        assert_eq!(delivery, Delivery::Dropped(DropReason::Expired));
    }
}

// MQTT-4.3.3-4, MQTT-4.3.3-7
#[test]
fn an_exchange_goes_on_when_its_message_has_expired() {
    let message = with_expiry(5);
    for version in ALL {
        let mut client = Client::connected(version);
        let delivery = client.deliver(&message, QoS::ExactlyOnce.into());
        assert_eq!(delivery, Delivery::Sent);
        let packet_id = client.published()[0].packet_id.unwrap().get();
        client.now_ms += 10_000;
        let _ = client.send_ack(PUBREC, packet_id);
        assert_eq!(client.acks(), [(PUBREL, packet_id, 0)]);
    }
}

// MQTT-3.1.2-24
#[test]
fn what_is_spliced_in_counts_towards_the_packet_size() {
    let ids = [NonZeroU32::MIN; 3];
    let options = Outgoing {
        subscription_ids: &ids,
        ..QoS::AtMostOnce.into()
    };
    let message = own_message("a", &"x".repeat(60), QoS::AtMostOnce);
    let bytes = message.frame(Version::V5, QoS::AtMostOnce).len() as u32 + 6;
    for (bytes_max, fits) in [(bytes, true), (bytes - 1, false)] {
        let connect = v5::Connect {
            max_packet_size: bytes_max.try_into().ok(),
            ..connect_v5()
        };
        let mut client = Client::connected_with(Connect::V5(connect));
        let dropped = Delivery::Dropped(DropReason::PacketTooLarge);
        let expected = if fits { Delivery::Sent } else { dropped };
        assert_eq!(client.deliver(&message, options), expected);
        assert_eq!(client.out.len(), if fits { bytes as usize } else { 0 });
    }
}
