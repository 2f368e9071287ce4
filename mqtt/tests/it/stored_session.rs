//! Sessions whose state outlives the connection: the caller has the state, the session
//! speaks for it.

use std::sync::Arc;

use mqtt::{
    Accepted, Action, Delivery, Discarded, DropReason, Message, Outgoing, PublishOutcome, QoS,
    StoredDelivery, Version,
};
use rmqtt_codec::types::Publish;
use rmqtt_codec::{v3, v5};

use crate::connect::{connack_v5, open};
use crate::script::*;

fn stored(version: Version, received: &[u16]) -> Client {
    let mut client = Client::new(version);
    open(client.connect(connect_of(version)));
    let received: Vec<_> = received.iter().map(|packet_id| id(*packet_id)).collect();
    client.accept_as(&Accepted {
        session_present: true,
        session_expiry_secs: 60,
        is_stored: true,
        received: &received,
        ..Default::default()
    });
    client.out.clear();
    client
}

fn push(client: &mut Client, packet_id: u16, what: StoredDelivery<'_>) -> Delivery {
    let Client {
        session,
        limits,
        out,
        now_ms,
        ..
    } = client;
    session.deliver_stored(id(packet_id), what, true, *now_ms, limits, out)
}

fn push_message(client: &mut Client, packet_id: u16, qos: QoS, dup: bool) -> Delivery {
    let message = own_message("a", &packet_id.to_string(), qos);
    let what = StoredDelivery::Publish {
        message: &message,
        options: Outgoing::from(qos),
        dup,
    };
    push(client, packet_id, what)
}

// MQTT-3.1.2-5, MQTT-3.2.2-3
#[test]
fn connack_tells_what_was_granted() {
    for asked in [0, 3600] {
        let mut client = Client::new(Version::V5);
        let connect = v5::Connect {
            clean_start: false,
            session_expiry_interval_secs: asked,
            ..connect_v5()
        };
        let request = open(client.connect(Connect::V5(connect)));
        assert_eq!(
            (request.clean_start, request.session_expiry_secs),
            (false, asked)
        );
        client.limits.session_expiry_secs_max = 600;
        let granted = client.limits.session_expiry_secs(asked);
        client.accept_as(&Accepted {
            session_present: true,
            session_expiry_secs: granted,
            is_stored: granted > 0,
            ..Default::default()
        });
        let connack = connack_v5(&mut client);
        assert!(connack.session_present);
        let expected = (asked > 0).then_some(600);
        assert_eq!(connack.session_expiry_interval_secs, expected);
    }
}

#[test]
fn without_clean_session_mqtt_3_asks_for_ever() {
    for version in V3 {
        for clean_session in [true, false] {
            let connect = v3::Connect {
                clean_session,
                ..connect_v3(version)
            };
            let request = open(Client::new(version).connect(Connect::V3(connect)));
            let expected = if clean_session { 0 } else { u32::MAX };
            assert_eq!(request.session_expiry_secs, expected);
        }
    }
}

// MQTT-3.3.1-1, MQTT-4.4.0-1, MQTT-4.6.0-1
#[test]
fn what_is_redelivered_has_its_identifiers_its_order_and_dup() {
    for version in ALL {
        let mut client = stored(version, &[]);
        for (packet_id, qos, dup) in [
            (40, QoS::ExactlyOnce, true),
            (7, QoS::AtLeastOnce, true),
            (9, QoS::AtLeastOnce, false),
        ] {
            let sent = push_message(&mut client, packet_id, qos, dup);
            assert_eq!(sent, Delivery::Sent);
        }
        let sent: Vec<_> = client
            .published()
            .iter()
            .map(|publish| (publish.packet_id.unwrap().get(), publish.qos, publish.dup))
            .collect();
        assert_eq!(
            sent,
            [
                (40, QoS::ExactlyOnce, true),
                (7, QoS::AtLeastOnce, true),
                (9, QoS::AtLeastOnce, false),
            ]
        );
    }
}

// MQTT-4.3.2-3, MQTT-4.3.3-3, MQTT-4.3.3-5
#[test]
fn every_identifier_comes_back_by_an_action() {
    for version in ALL {
        let mut client = stored(version, &[]);
        let _ = push_message(&mut client, 7, QoS::AtLeastOnce, false);
        let _ = push_message(&mut client, 8, QoS::ExactlyOnce, false);
        client.out.clear();
        let action = client.send_ack(PUBACK, 7);
        assert!(matches!(action, Action::Acknowledged(found) if found == id(7)));
        let action = client.send_ack(PUBACK, 7);
        assert!(matches!(action, Action::Continue), "once: {action:?}");

        let action = client.send_ack(PUBREC, 8);
        assert!(matches!(action, Action::Received(found) if found == id(8)));
        assert!(client.acks().is_empty(), "PUBREL waits for the caller");
        let action = client.send_ack(PUBREC, 8);
        assert!(matches!(action, Action::Continue), "once: {action:?}");
        let action = client.send_ack(PUBCOMP, 8);
        assert!(matches!(action, Action::Continue), "too early: {action:?}");
        client.session.release(id(8), &mut client.out);
        client.session.release(id(8), &mut client.out);
        assert_eq!(client.acks(), [(PUBREL, 8, 0)]);
        let action = client.send_ack(PUBCOMP, 8);
        assert!(matches!(action, Action::Acknowledged(found) if found == id(8)));
    }
}

// MQTT-4.4.0-2
#[test]
fn an_error_in_pubrec_is_an_acknowledgement() {
    let mut client = stored(Version::V5, &[]);
    let _ = push_message(&mut client, 8, QoS::ExactlyOnce, false);
    client.out.clear();
    let action = client.send_raw(&[PUBREC, 3, 0, 8, 0x83]);
    assert!(matches!(action, Action::Acknowledged(found) if found == id(8)));
    assert!(client.acks().is_empty());
}

// MQTT-4.3.3-6, MQTT-4.4.0-1
#[test]
fn an_exchange_that_was_received_goes_on_with_pubrel() {
    for version in ALL {
        let mut client = stored(version, &[]);
        assert_eq!(
            push(&mut client, 8, StoredDelivery::Release),
            Delivery::Sent
        );
        assert_eq!(client.acks(), [(PUBREL, 8, 0)]);
        let action = client.send_ack(PUBCOMP, 8);
        assert!(matches!(action, Action::Acknowledged(found) if found == id(8)));
    }
}

// MQTT-3.3.4-9, MQTT-4.9.0-2
#[test]
fn the_window_holds_for_what_is_pushed() {
    for version in ALL {
        let mut client = stored(version, &[]);
        for packet_id in 1..=6 {
            let expected = if packet_id <= 3 {
                Delivery::Sent
            } else {
                Delivery::Queued
            };
            let delivery = push_message(&mut client, packet_id, QoS::AtLeastOnce, false);
            assert_eq!(delivery, expected);
        }
        client.limits.queue_messages_max = 1;
        let queued = push_message(&mut client, 7, QoS::AtLeastOnce, false);
        assert_eq!(queued, Delivery::Queued, "the caller bounds the queue");
        client.out.clear();
        let mut order = Vec::new();
        for packet_id in 1..=7 {
            let action = client.send_ack(PUBACK, packet_id);
            assert!(matches!(action, Action::Acknowledged(_)), "{action:?}");
            order.extend(client.published().iter().map(|sent| sent.payload.clone()));
        }
        assert_eq!(order, ["4", "5", "6", "7"]);
        assert_eq!(client.session.outbound_bytes(), 0);
    }
}

#[test]
fn without_room_what_is_pushed_waits() {
    let mut client = stored(Version::V5, &[]);
    let message = own_message("a", "x", QoS::AtLeastOnce);
    let what = StoredDelivery::Publish {
        message: &message,
        options: QoS::AtLeastOnce.into(),
        dup: false,
    };
    let Client {
        session,
        limits,
        out,
        now_ms,
        ..
    } = &mut client;
    let delivery = session.deliver_stored(id(1), what, false, *now_ms, limits, out);
    assert_eq!(delivery, Delivery::Queued);
    assert!(out.is_empty());
    client.resume(usize::MAX);
    assert_eq!(client.published()[0].packet_id, Some(id(1)));
}

// MQTT-4.3.3-7
#[test]
fn what_was_sent_does_not_expire_and_what_was_not_does() {
    let properties = v5::PublishProperties {
        message_expiry_interval: 10.try_into().ok(),
        ..Default::default()
    };
    let publish = Publish {
        properties: Some(properties),
        ..message("a", QoS::AtLeastOnce)
    };
    let expiring = Client::connected(Version::V5).publish_inbound(publish);
    let expiring = Arc::new(expiring.message);
    for (dup, expected) in [
        (true, Delivery::Sent),
        (false, Delivery::Dropped(DropReason::Expired)),
    ] {
        let mut client = stored(Version::V5, &[]);
        client.now_ms += 11_000;
        let what = StoredDelivery::Publish {
            message: &expiring,
            options: QoS::AtLeastOnce.into(),
            dup,
        };
        assert_eq!(push(&mut client, 1, what), expected);
    }
    // The same in the queue: the caller hears of it.
    let mut client = stored(Version::V5, &[]);
    client.limits.inflight_max = 1;
    let _ = push_message(&mut client, 1, QoS::AtLeastOnce, false);
    for (packet_id, dup) in [(2, false), (3, true)] {
        let what = StoredDelivery::Publish {
            message: &expiring,
            options: QoS::AtLeastOnce.into(),
            dup,
        };
        assert_eq!(push(&mut client, packet_id, what), Delivery::Queued);
    }
    client.out.clear();
    client.now_ms += 11_000;
    let action = client.send_ack(PUBACK, 1);
    assert!(matches!(action, Action::Acknowledged(_)), "{action:?}");
    // QoS 1 with DUP, and nothing is left of the interval, which the codec cannot read.
    let sent = client.out.split();
    assert_eq!(sent[..7], *b"\x3A\x10\x00\x01a\x00\x03");
    assert_eq!(sent.len(), 18);
    let discarded = Discarded {
        packet_id: Some(id(2)),
        reason: DropReason::Expired,
    };
    assert_eq!(client.session.take_discarded(), [discarded]);
    assert_eq!(client.session.take_discarded(), []);
}

// MQTT-4.3.3-10, MQTT-4.3.3-11, MQTT-4.3.3-12
#[test]
fn received_identifiers_are_known_after_a_reconnect() {
    for version in ALL {
        let mut client = stored(version, &[5, 6]);
        let again = Publish {
            dup: true,
            packet_id: Some(id(5)),
            ..message("a", QoS::ExactlyOnce)
        };
        let action = client.publish(again.clone());
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert_eq!(client.acks(), [(PUBREC, 5, 0)]);
        let action = client.send_ack(PUBREL, 5);
        assert!(matches!(action, Action::Release(found) if found == id(5)));
        let action = client.send_ack(PUBREL, 5);
        assert!(matches!(action, Action::Continue), "once: {action:?}");
        assert!(client.acks().is_empty(), "PUBCOMP waits for the caller");
        client.session.released(id(5), &mut client.out);
        assert_eq!(client.acks(), [(PUBCOMP, 5, 0)]);
        let action = client.publish(again);
        assert!(matches!(action, Action::Publish(_)), "free: {action:?}");
    }
}

// MQTT-3.3.4-7
#[test]
fn what_was_received_before_does_not_count_against_the_receive_maximum() {
    let mut client = stored(Version::V5, &[5, 6, 8]);
    client.limits.receive_max = 2;
    for packet_id in [1, 2] {
        let publish = Publish {
            packet_id: Some(id(packet_id)),
            ..message("a", QoS::ExactlyOnce)
        };
        let inbound = client.publish_inbound(publish);
        let Client { session, out, .. } = &mut client;
        session.published(inbound.packet_id, PublishOutcome::Routed, out);
    }
    client.session.released(id(5), &mut client.out);
    client.out.clear();
    let action = client.publish(message("a", QoS::ExactlyOnce));
    assert!(matches!(action, Action::Close(_)), "{action:?}");
}

#[test]
fn only_qos_0_comes_by_deliver() {
    let mut client = stored(Version::V5, &[]);
    let message = Arc::new(Message::new("a".into(), "x".into(), QoS::AtLeastOnce));
    let delivery = client.deliver(&message, QoS::AtLeastOnce.into());
    assert_eq!(delivery, Delivery::Sent);
    assert_eq!(client.published()[0].qos, QoS::AtMostOnce);
}
