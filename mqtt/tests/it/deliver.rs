//! Messages to the client: the window, the queue, and that they arrive unaltered.

use std::collections::BTreeSet;
use std::sync::Arc;

use mqtt::{Action, Delivery, DropReason, Message, QoS, Version};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{self, PublishProperties};

use crate::script::*;

fn deliver(client: &mut Client, message: &Arc<Message>, granted: QoS) -> Delivery {
    client.session.deliver(
        message,
        granted.into(),
        true,
        client.now_ms,
        &client.limits,
        &mut client.out,
    )
}

// MQTT-3.8.4-8, MQTT-4.3.1-1, MQTT-4.3.2-2, MQTT-4.3.3-2, MQTT-3.3.1-3, MQTT-3.3.2-3
#[test]
fn a_message_is_sent_at_the_lower_qos() {
    use QoS::{AtLeastOnce as One, AtMostOnce as Zero, ExactlyOnce as Two};
    let rows = [
        (Zero, Two, Zero),
        (One, Zero, Zero),
        (One, One, One),
        (One, Two, One),
        (Two, Zero, Zero),
        (Two, One, One),
        (Two, Two, Two),
    ];
    for version in ALL {
        for (published, granted, sent) in rows {
            let mut client = Client::connected(version);
            let message = own_message("a/b", "hello", published);
            assert_eq!(deliver(&mut client, &message, granted), Delivery::Sent);
            let [publish] = &client.published()[..] else {
                panic!("one PUBLISH")
            };
            assert_eq!(
                (&*publish.topic, &publish.payload[..]),
                ("a/b", &b"hello"[..])
            );
            assert_eq!(
                (publish.qos, publish.dup, publish.retain),
                (sent, false, false)
            );
            assert_eq!(publish.packet_id.is_some(), sent != Zero);
        }
    }
}

// MQTT-3.3.1-3
#[test]
fn a_message_that_came_with_dup_goes_out_without() {
    for version in ALL {
        let repeated = Publish {
            dup: true,
            ..message("a", QoS::ExactlyOnce)
        };
        let inbound = Client::connected(version).publish_inbound(repeated);
        let message = Arc::new(inbound.message);
        for granted in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut client = Client::connected(version);
            assert_eq!(deliver(&mut client, &message, granted), Delivery::Sent);
            assert!(!client.published()[0].dup);
        }
    }
}

// MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20
#[test]
fn application_properties_pass_on_unaltered() {
    let properties = PublishProperties {
        correlation_data: Some("c".into()),
        message_expiry_interval: 60.try_into().ok(),
        content_type: Some("text/plain".into()),
        user_properties: vec![
            ("b".into(), "1".into()),
            ("a".into(), "2".into()),
            ("b".into(), "3".into()),
        ],
        is_utf8_payload: true,
        response_topic: Some("reply/here".into()),
        ..Default::default()
    };
    let publish = Publish {
        properties: Some(properties.clone()),
        ..message("a", QoS::AtLeastOnce)
    };
    let Action::Publish(inbound) = Client::connected(Version::V5).publish(publish) else {
        panic!("not routed")
    };
    let message = Arc::new(inbound.message);
    let mut client = Client::connected(Version::V5);
    assert_eq!(
        deliver(&mut client, &message, QoS::AtLeastOnce),
        Delivery::Sent
    );
    assert_eq!(client.published()[0].properties.as_ref(), Some(&properties));
    let mut client = Client::connected(Version::V311);
    assert_eq!(
        deliver(&mut client, &message, QoS::AtMostOnce),
        Delivery::Sent
    );
    assert_eq!(client.published()[0].payload, "hello");
}

#[test]
fn a_message_is_encoded_once_per_form() {
    let message = own_message("a", "x", QoS::AtLeastOnce);
    let first = message.frame(Version::V31, QoS::AtMostOnce).as_ptr();
    assert_eq!(
        message.frame(Version::V311, QoS::AtMostOnce).as_ptr(),
        first
    );
    assert_ne!(message.frame(Version::V5, QoS::AtMostOnce).as_ptr(), first);
}

#[test]
fn a_message_in_a_log_shows_its_topic_and_not_its_payload() {
    let shown = format!("{:?}", own_message("a/b", "secret", QoS::AtLeastOnce));
    assert!(shown.contains("a/b") && shown.contains('6'), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

// MQTT-4.7.3-3
#[test]
fn a_message_that_has_no_packet_is_dropped() {
    let message = own_message(&"t".repeat(65_536), "x", QoS::AtMostOnce);
    for version in ALL {
        let mut client = Client::connected(version);
        let delivery = deliver(&mut client, &message, QoS::AtMostOnce);
        assert_eq!(delivery, Delivery::Dropped(DropReason::PacketTooLarge));
        assert!(client.out.is_empty());
    }
}

// MQTT-3.1.2-24, MQTT-3.1.2-25
#[test]
fn the_clients_packet_size_is_respected_to_the_byte() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let message = own_message("a", &"x".repeat(60), qos);
        let bytes = message.frame(Version::V5, qos).len() as u32;
        for (bytes_max, fits) in [(bytes, true), (bytes - 1, false)] {
            let connect = v5::Connect {
                max_packet_size: bytes_max.try_into().ok(),
                ..connect_v5()
            };
            let mut client = Client::connected_with(Connect::V5(connect));
            let delivery = deliver(&mut client, &message, qos);
            let dropped = Delivery::Dropped(DropReason::PacketTooLarge);
            assert_eq!(delivery, if fits { Delivery::Sent } else { dropped });
            assert_eq!(client.out.is_empty(), !fits);
        }
    }
}

// MQTT-3.3.4-9, MQTT-4.3.2-3, MQTT-4.6.0-5, MQTT-4.6.0-6, MQTT-4.9.0-1, MQTT-4.9.0-2
#[test]
fn beyond_the_window_messages_wait_in_order() {
    for version in ALL {
        let mut client = Client::connected(version);
        let send = |client: &mut Client, payload: &str| {
            deliver(
                client,
                &own_message("a", payload, QoS::AtLeastOnce),
                QoS::AtLeastOnce,
            )
        };
        for payload in ["1", "2", "3"] {
            assert_eq!(send(&mut client, payload), Delivery::Sent);
        }
        for payload in ["4", "5", "6", "7"] {
            assert_eq!(send(&mut client, payload), Delivery::Queued);
        }
        assert!(client.session.outbound_bytes() > 0);
        assert_eq!(send(&mut client, "8"), Delivery::QueueFull);

        let sent = client.published();
        assert_eq!(sent.len(), 3);
        client.publish_ack(sent[1].packet_id.unwrap().get());
        let next = client.published();
        assert_eq!(next.len(), 1);
        assert_eq!(next[0].payload, "4");

        let mut order = Vec::new();
        let mut unanswered = vec![sent[0].clone(), sent[2].clone(), next[0].clone()];
        while let Some(publish) = unanswered.pop() {
            client.publish_ack(publish.packet_id.unwrap().get());
            for publish in client.published() {
                order.push(publish.payload.clone());
                unanswered.insert(0, publish);
            }
        }
        assert_eq!(order, ["5", "6", "7"]);
        assert_eq!(client.session.outbound_bytes(), 0);
        assert_eq!(
            send(&mut client, "9"),
            Delivery::Sent,
            "the window is free again"
        );
    }
}

// MQTT-4.9.0-2, MQTT-4.9.0-3
#[test]
fn qos_0_does_not_wait_behind_qos_1() {
    let mut client = Client::connected(Version::V5);
    for _ in 0..4 {
        let _ = deliver(
            &mut client,
            &own_message("a", "1", QoS::AtLeastOnce),
            QoS::AtLeastOnce,
        );
    }
    client.out.clear();
    let message = own_message("a", "0", QoS::AtMostOnce);
    assert_eq!(
        deliver(&mut client, &message, QoS::AtLeastOnce),
        Delivery::Sent
    );
    assert_eq!(client.published()[0].payload, "0");
}

// MQTT-3.3.4-10, MQTT-4.9.0-3
#[test]
fn a_full_window_holds_up_no_other_packet() {
    let mut client = Client::connected(Version::V5);
    let waiting = own_message("a", "1", QoS::AtLeastOnce);
    for _ in 0..4 {
        let _ = deliver(&mut client, &waiting, QoS::AtLeastOnce);
    }
    client.out.clear();
    let action = client.send_raw(&[0xC0, 0]);
    assert!(matches!(action, Action::Continue), "{action:?}");
    assert_eq!(client.out.split()[..], [0xD0, 0], "PINGRESP");
    let inbound = client.publish_inbound(message("b", QoS::ExactlyOnce));
    let Client { session, out, .. } = &mut client;
    session.published(inbound.packet_id, mqtt::PublishOutcome::Routed, out);
    let action = client.send_ack(PUBREL, 7);
    assert!(matches!(action, Action::Continue), "{action:?}");
    assert_eq!(client.acks(), [(PUBREC, 7, 0), (PUBCOMP, 7, 0)]);
    let action = client.send_raw(b"\x82\x07\x00\x09\x00\x00\x01a\x00");
    let Action::Subscribe(request) = action else {
        panic!("{action:?}")
    };
    client.session.subscribed(&request, &mut client.out);
    assert_eq!(client.out[..], *b"\x90\x04\x00\x09\x00\x00", "SUBACK");
}

// MQTT-3.3.4-9, MQTT-4.9.0-1
#[test]
fn the_window_is_the_smaller_of_both_sides() {
    for (receive_max, inflight_max, window) in [(2, 10, 2), (10, 2, 2), (u16::MAX, 3, 3), (5, 0, 1)]
    {
        let connect = connect_v5().receive_max(receive_max);
        let mut client = Client::connected_with(Connect::V5(connect));
        client.limits.inflight_max = inflight_max;
        let message = own_message("a", "1", QoS::AtLeastOnce);
        let sent =
            (0..5).filter(|_| deliver(&mut client, &message, QoS::AtLeastOnce) == Delivery::Sent);
        assert_eq!(sent.count(), window);
    }
}

#[test]
fn the_queue_is_limited_in_bytes() {
    let mut client = Client::connected(Version::V5);
    let message = own_message("a", &"x".repeat(150), QoS::AtLeastOnce);
    for _ in 0..3 {
        assert_eq!(
            deliver(&mut client, &message, QoS::AtLeastOnce),
            Delivery::Sent
        );
    }
    for _ in 0..2 {
        assert_eq!(
            deliver(&mut client, &message, QoS::AtLeastOnce),
            Delivery::Queued
        );
    }
    assert_eq!(
        deliver(&mut client, &message, QoS::AtLeastOnce),
        Delivery::QueueFull
    );
    assert!(client.session.outbound_bytes() <= 400);
}

#[test]
fn an_acknowledgement_of_nothing_is_let_pass() {
    for version in ALL {
        let mut client = Client::connected(version);
        client.publish_ack(5);
        let message = own_message("a", "1", QoS::AtLeastOnce);
        let _ = deliver(&mut client, &message, QoS::AtLeastOnce);
        let packet_id = client.published()[0].packet_id.unwrap().get();
        client.publish_ack(packet_id.wrapping_add(1).max(1));
        client.publish_ack(packet_id);
        client.publish_ack(packet_id);
        assert!(client.session.is_connected());
        assert!(client.out.is_empty());
    }
}

// MQTT-4.4.0-2, MQTT-4.8.2-6
#[test]
fn a_negative_acknowledgement_frees_the_place_too() {
    let mut client = Client::connected(Version::V5);
    client.limits.inflight_max = 1;
    let message = own_message("a", "1", QoS::AtLeastOnce);
    assert_eq!(
        deliver(&mut client, &message, QoS::AtLeastOnce),
        Delivery::Sent
    );
    assert_eq!(
        deliver(&mut client, &message, QoS::AtLeastOnce),
        Delivery::Queued
    );
    let packet_id = client.published()[0].packet_id.unwrap();
    let reason_code = v5::PublishAckReason::QuotaExceeded;
    let ack = v5::PublishAck {
        packet_id,
        reason_code,
        ..Default::default()
    };
    let _ = client.send_v5(ack.into());
    assert_eq!(client.published().len(), 1);
}

// MQTT-2.2.1-4, MQTT-4.3.2-1
#[test]
fn packet_identifiers_in_flight_are_never_used_again() {
    let mut client = Client::connected(Version::V311);
    let message = own_message("a", "1", QoS::AtLeastOnce);
    // One that is never acknowledged stays in the way of every round.
    let _ = deliver(&mut client, &message, QoS::AtLeastOnce);
    let stuck = client.published()[0].packet_id.unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..70_000 {
        assert_eq!(
            deliver(&mut client, &message, QoS::AtLeastOnce),
            Delivery::Sent
        );
        let packet_id = client.published()[0].packet_id.unwrap();
        assert_ne!(packet_id, stuck);
        seen.insert(packet_id);
        client.publish_ack(packet_id.get());
    }
    assert_eq!(seen.len(), 65_534, "all but the one in flight");
}

#[test]
fn without_room_a_message_waits_and_goes_out_in_order_when_there_is() {
    let mut client = Client::connected(Version::V5);
    for payload in ["one", "two", "three"] {
        let message = own_message("a", payload, QoS::AtLeastOnce);
        let outcome = client.session.deliver(
            &message,
            QoS::AtLeastOnce.into(),
            false,
            client.now_ms,
            &client.limits,
            &mut client.out,
        );
        assert_eq!(outcome, Delivery::Queued);
    }
    assert!(client.published().is_empty(), "nothing was written");

    // Room for one byte lets one message out, as does room for just that one: the limit is looked
    // at before each.
    let message = own_message("a", "one", QoS::AtLeastOnce);
    let one = message.frame(Version::V5, QoS::AtLeastOnce).len();
    let mut first = Vec::new();
    for (room, count) in [(1, 1), (one, 2)] {
        client.resume(room);
        first.extend(client.published());
        assert_eq!(first.len(), count);
    }
    client.resume(usize::MAX);
    let payloads: Vec<_> = first
        .into_iter()
        .chain(client.published())
        .map(|publish| publish.payload)
        .collect();
    assert_eq!(payloads, ["one", "two", "three"]);
}
