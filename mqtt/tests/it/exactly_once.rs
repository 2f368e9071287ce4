//! QoS 2, both ways.

use mqtt::{Action, Delivery, PublishOutcome, QoS, Version};
use rmqtt_codec::types::Publish;

use crate::script::*;

fn exactly_once(packet_id: u16) -> Publish {
    Publish {
        packet_id: Some(id(packet_id)),
        ..message("a", QoS::ExactlyOnce)
    }
}

fn receive(client: &mut Client, packet_id: u16, outcome: PublishOutcome) {
    let inbound = client.publish_inbound(exactly_once(packet_id));
    assert_eq!(inbound.packet_id, Some(id(packet_id)));
    let closed = client
        .session
        .published(inbound.packet_id, outcome, &mut client.out);
    assert_eq!(closed, None);
}

fn assert_continues(action: &Action) {
    assert!(matches!(action, Action::Continue), "{action:?}");
}

// MQTT-2.2.1-5, MQTT-3.3.4-1, MQTT-3.5.2-1, MQTT-3.7.2-1, MQTT-4.3.3-8, MQTT-4.3.3-11
#[test]
fn a_message_is_received_and_then_released() {
    for version in ALL {
        let mut client = Client::connected(version);
        receive(&mut client, 7, PublishOutcome::Routed);
        assert_eq!(client.acks(), [(PUBREC, 7, 0)]);
        assert_continues(&client.send_ack(PUBREL, 7));
        assert_eq!(client.acks(), [(PUBCOMP, 7, 0)]);
    }
}

// MQTT-4.3.3-10, MQTT-4.3.3-12
#[test]
fn a_repeated_message_is_answered_and_not_routed_again() {
    for version in ALL {
        let mut client = Client::connected(version);
        receive(&mut client, 7, PublishOutcome::Routed);
        for dup in [true, false] {
            let again = Publish {
                dup,
                ..exactly_once(7)
            };
            assert_continues(&client.publish(again));
        }
        assert_eq!(client.acks(), [(PUBREC, 7, 0); 3]);
        assert_continues(&client.send_ack(PUBREL, 7));
        client.out.clear();
        // After PUBCOMP the identifier is free for another message.
        receive(&mut client, 7, PublishOutcome::Routed);
        assert_eq!(client.acks(), [(PUBREC, 7, 0)]);
    }
}

// MQTT-4.3.3-10
#[test]
fn a_message_repeated_before_its_answer_is_answered_once() {
    for version in ALL {
        let mut client = Client::connected(version);
        let first = client.publish_inbound(exactly_once(7));
        assert_continues(&client.publish(exactly_once(7)));
        let second = client.publish_inbound(exactly_once(8));
        assert_continues(&client.publish(exactly_once(7)));
        assert_continues(&client.publish(exactly_once(8)));
        assert!(client.acks().is_empty());
        for inbound in [first, second] {
            let Client { session, out, .. } = &mut client;
            session.published(inbound.packet_id, PublishOutcome::Routed, out);
        }
        assert_eq!(client.acks(), [(PUBREC, 7, 0), (PUBREC, 8, 0)]);
    }
}

// MQTT-4.3.3-9
#[test]
fn after_an_error_the_identifier_is_free_in_mqtt_5() {
    let mut client = Client::connected(Version::V5);
    for (outcome, code) in [
        (PublishOutcome::NotAuthorized, 0x87),
        (PublishOutcome::QuotaExceeded, 0x97),
        (PublishOutcome::Failed, 0x83),
        (PublishOutcome::NoMatchingSubscribers, 0x10),
    ] {
        receive(&mut client, 7, outcome);
        assert_eq!(client.acks(), [(PUBREC, 7, code)]);
    }
    // 0x10 is no error: the handshake goes on.
    assert_continues(&client.publish(exactly_once(7)));
    assert_continues(&client.send_ack(PUBREL, 7));
    assert_eq!(client.acks(), [(PUBREC, 7, 0), (PUBCOMP, 7, 0)]);
}

#[test]
fn mqtt_3_is_told_of_no_error_and_completes() {
    for version in V3 {
        let mut client = Client::connected(version);
        receive(&mut client, 7, PublishOutcome::NotAuthorized);
        assert_continues(&client.send_ack(PUBREL, 7));
        assert_eq!(client.acks(), [(PUBREC, 7, 0), (PUBCOMP, 7, 0)]);
    }
}

// MQTT-3.7.2-1, MQTT-4.3.3-11
#[test]
fn an_unknown_release_is_completed_as_such() {
    for version in ALL {
        let mut client = Client::connected(version);
        assert_continues(&client.send_ack(PUBREL, 9));
        let code = if version == Version::V5 { 0x92 } else { 0 };
        assert_eq!(client.acks(), [(PUBCOMP, 9, code)]);
    }
}

#[test]
fn mqtt_31_may_repeat_a_release_with_the_dup_flag() {
    for (version, accepted) in [
        (Version::V31, true),
        (Version::V311, false),
        (Version::V5, false),
    ] {
        let mut client = Client::connected(version);
        let action = client.send_ack(0x6A, 9);
        assert_eq!(matches!(action, Action::Continue), accepted, "{version:?}");
    }
}

// MQTT-4.3.3-13
#[test]
fn the_handshake_goes_on_when_the_message_has_expired() {
    // Its interval is 0 in the first and 5 seconds in the second.
    for interval in [0, 5] {
        let mut publish = *b"\x34\x0B\0\x01a\0\x07\x05\x02\0\0\0\0";
        publish[12] = interval;
        let mut client = Client::connected(Version::V5);
        let Action::Publish(inbound) = client.send_raw(&publish) else {
            panic!("not routed")
        };
        client.now_ms += 10_000;
        assert!(inbound.message.is_expired(client.now_ms));
        let Client { session, out, .. } = &mut client;
        let outcome = PublishOutcome::NoMatchingSubscribers;
        session.published(inbound.packet_id, outcome, out);
        assert_continues(&client.send_raw(&publish));
        assert_continues(&client.send_ack(PUBREL, 7));
        assert_eq!(
            client.acks(),
            [(PUBREC, 7, 0x10), (PUBREC, 7, 0), (PUBCOMP, 7, 0)]
        );
    }
}

// MQTT-3.3.4-7, MQTT-3.3.4-8
#[test]
fn a_handshake_counts_against_the_receive_maximum_until_it_is_over() {
    for releases in [true, false] {
        let mut client = Client::connected(Version::V5);
        client.limits.receive_max = 2;
        receive(&mut client, 1, PublishOutcome::Routed);
        receive(&mut client, 2, PublishOutcome::Routed);
        assert_continues(&client.send_raw(&[0xC0, 0]));
        if releases {
            assert_continues(&client.send_ack(PUBREL, 1));
        }
        client.out.clear();
        let action = client.publish(exactly_once(3));
        if releases {
            assert!(matches!(action, Action::Publish(_)), "{action:?}");
        } else {
            let code = rmqtt_codec::v5::DisconnectReasonCode::ReceiveMaximumExceeded;
            client.assert_thrown_out(&action, code);
        }
    }
}

#[test]
fn mqtt_3_has_no_receive_maximum() {
    for version in V3 {
        let mut client = Client::connected(version);
        client.limits.receive_max = 1;
        for packet_id in 1..100 {
            receive(&mut client, packet_id, PublishOutcome::Routed);
        }
        assert_eq!(client.acks().len(), 99);
    }
}

fn send_one(client: &mut Client) -> u16 {
    let message = own_message("a", "x", QoS::ExactlyOnce);
    let delivery = client.deliver(&message, QoS::ExactlyOnce.into());
    assert_eq!(delivery, Delivery::Sent);
    let [publish] = &client.published()[..] else {
        panic!("one PUBLISH")
    };
    assert_eq!((publish.qos, publish.dup), (QoS::ExactlyOnce, false));
    publish.packet_id.unwrap().get()
}

// MQTT-2.2.1-5, MQTT-3.6.2-1, MQTT-4.3.3-1, MQTT-4.3.3-2, MQTT-4.3.3-4, MQTT-4.3.3-5
#[test]
fn a_message_is_sent_and_then_released() {
    for version in ALL {
        let mut client = Client::connected(version);
        let packet_id = send_one(&mut client);
        assert_continues(&client.send_ack(PUBREC, packet_id));
        assert_eq!(client.acks(), [(PUBREL, packet_id, 0)]);
        assert_continues(&client.send_ack(PUBCOMP, packet_id));
        assert!(client.acks().is_empty());
        assert_eq!(client.session.outbound_bytes(), 0);
    }
}

// MQTT-3.3.4-9, MQTT-4.3.3-3, MQTT-4.3.3-5, MQTT-4.9.0-2
#[test]
fn a_place_is_free_after_pubcomp_and_not_before() {
    for version in ALL {
        let mut client = Client::connected(version);
        client.limits.inflight_max = 1;
        let packet_id = send_one(&mut client);
        let next = own_message("a", "next", QoS::ExactlyOnce);
        let delivery = client.deliver(&next, QoS::ExactlyOnce.into());
        assert_eq!(delivery, Delivery::Queued);
        // A PUBACK is not the answer to QoS 2.
        client.publish_ack(packet_id);
        assert_continues(&client.send_ack(PUBREC, packet_id));
        assert_eq!(client.acks(), [(PUBREL, packet_id, 0)]);
        assert_continues(&client.send_ack(PUBCOMP, packet_id));
        assert_eq!(client.published()[0].payload, "next");
    }
}

// MQTT-4.4.0-2, MQTT-4.8.2-6
#[test]
fn a_pubrec_with_an_error_ends_the_exchange() {
    let mut client = Client::connected(Version::V5);
    client.limits.inflight_max = 1;
    let packet_id = send_one(&mut client);
    let next = own_message("a", "next", QoS::AtLeastOnce);
    assert_eq!(
        client.deliver(&next, QoS::ExactlyOnce.into()),
        Delivery::Queued
    );
    let [high, low] = packet_id.to_be_bytes();
    assert_continues(&client.send_raw(&[PUBREC, 3, high, low, 0x97]));
    assert_eq!(client.published()[0].payload, "next", "and no PUBREL");
}

// MQTT-3.6.2-1
#[test]
fn an_unknown_pubrec_is_released_as_such() {
    for version in ALL {
        let mut client = Client::connected(version);
        assert_continues(&client.send_ack(PUBREC, 9));
        let code = if version == Version::V5 { 0x92 } else { 0 };
        assert_eq!(client.acks(), [(PUBREL, 9, code)]);
        assert_continues(&client.send_ack(PUBCOMP, 9));
        assert!(client.acks().is_empty());
    }
}

// MQTT-4.3.3-6
#[test]
fn a_repeated_pubrec_gets_pubrel_again_and_never_publish() {
    for version in ALL {
        let mut client = Client::connected(version);
        let packet_id = send_one(&mut client);
        for _ in 0..2 {
            assert_continues(&client.send_ack(PUBREC, packet_id));
        }
        assert_eq!(client.acks(), [(PUBREL, packet_id, 0); 2]);
    }
}

// MQTT-3.1.2-29, MQTT-3.5.2-2, MQTT-3.6.2-2, MQTT-3.7.2-2
#[test]
fn reason_strings_are_left_out_where_they_do_not_fit_or_are_not_wanted() {
    for (bytes_max, wanted, has_text) in [(200, true, true), (40, true, false), (200, false, false)]
    {
        let connect = rmqtt_codec::v5::Connect {
            max_packet_size: bytes_max.try_into().ok(),
            request_problem_info: wanted,
            ..connect_v5()
        };
        let mut client = Client::connected_with(Connect::V5(connect));
        let longest = |client: &mut Client| {
            let bytes = client.out.split().len();
            assert!(
                bytes <= bytes_max as usize && (bytes > 10) == has_text,
                "{bytes}"
            );
        };
        assert_continues(&client.send_ack(PUBREL, 9));
        longest(&mut client);
        assert_continues(&client.send_ack(PUBREC, 9));
        longest(&mut client);
        receive(&mut client, 7, PublishOutcome::NotAuthorized);
        longest(&mut client);
    }
}
