//! Answers to PUBLISH that come late, because the message is made durable first.

use mqtt::{Action, CloseReason, PublishOutcome, QoS, Version};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::DisconnectReasonCode as Code;

use crate::script::*;

fn publish(client: &mut Client, packet_id: u16, qos: QoS) {
    let publish = Publish {
        packet_id: Some(id(packet_id)),
        ..message("a", qos)
    };
    client.publish_inbound(publish);
}

fn answer(client: &mut Client, packet_id: u16, outcome: PublishOutcome) -> Option<CloseReason> {
    let Client { session, out, .. } = client;
    session.published(Some(id(packet_id)), outcome, out)
}

// MQTT-4.6.0-2, MQTT-4.6.0-3
#[test]
fn answers_go_out_in_the_order_of_receipt() {
    use PublishOutcome::{NoMatchingSubscribers, Routed};
    for version in ALL {
        let mut client = Client::connected(version);
        publish(&mut client, 1, QoS::AtLeastOnce);
        publish(&mut client, 2, QoS::ExactlyOnce);
        publish(&mut client, 3, QoS::AtLeastOnce);
        publish(&mut client, 4, QoS::ExactlyOnce);
        assert_eq!(client.session.unanswered(), 4);
        assert_eq!(answer(&mut client, 4, Routed), None);
        assert_eq!(answer(&mut client, 3, NoMatchingSubscribers), None);
        assert!(client.acks().is_empty());
        assert_eq!(answer(&mut client, 1, Routed), None);
        assert_eq!(client.acks(), [(PUBACK, 1, 0)]);
        assert_eq!(answer(&mut client, 2, Routed), None);
        let none = if version == Version::V5 { 0x10 } else { 0 };
        assert_eq!(
            client.acks(),
            [(PUBREC, 2, 0), (PUBACK, 3, none), (PUBREC, 4, 0)]
        );
        assert_eq!(client.session.unanswered(), 0);
    }
}

// MQTT-4.6.0-2
#[test]
fn what_the_session_answers_itself_waits_its_turn() {
    for version in ALL {
        let mut client = Client::connected(version);
        publish(&mut client, 1, QoS::AtLeastOnce);
        let refused = Publish {
            packet_id: Some(id(2)),
            ..message("$SYS/x", QoS::AtLeastOnce)
        };
        let action = client.publish(refused);
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert!(client.acks().is_empty());
        assert_eq!(answer(&mut client, 1, PublishOutcome::Routed), None);
        let refused = if version == Version::V5 { 0x87 } else { 0 };
        assert_eq!(client.acks(), [(PUBACK, 1, 0), (PUBACK, 2, refused)]);
    }
}

// MQTT-4.3.2-5
#[test]
fn a_qos_1_message_repeated_before_its_answer_is_another_message() {
    for version in ALL {
        let mut client = Client::connected(version);
        publish(&mut client, 1, QoS::AtLeastOnce);
        publish(&mut client, 1, QoS::AtLeastOnce);
        for _ in 0..2 {
            assert_eq!(answer(&mut client, 1, PublishOutcome::Routed), None);
        }
        assert_eq!(client.acks(), [(PUBACK, 1, 0); 2]);
    }
}

// MQTT-3.3.4-7
#[test]
fn more_than_the_receive_maximum_ends_an_mqtt_5_session() {
    let mut client = Client::connected(Version::V5);
    for packet_id in 1..=20 {
        publish(&mut client, packet_id, QoS::AtLeastOnce);
    }
    // QoS 0 does not count.
    let action = client.publish(message("a", QoS::AtMostOnce));
    assert!(matches!(action, Action::Publish(_)), "{action:?}");
    let action = client.publish(message("a", QoS::AtLeastOnce));
    client.assert_thrown_out(&action, Code::ReceiveMaximumExceeded);
}

#[test]
fn mqtt_3_may_have_as_many_under_way_as_there_are_identifiers() {
    let mut client = Client::connected(Version::V311);
    for packet_id in 1..=u16::MAX {
        publish(&mut client, packet_id, QoS::AtLeastOnce);
    }
    assert_eq!(client.session.unanswered(), 65_535);
    let action = client.publish(message("a", QoS::AtLeastOnce));
    client.assert_thrown_out(&action, Code::ReceiveMaximumExceeded);
}

#[test]
fn answers_to_nothing_are_ignored() {
    for version in ALL {
        let mut client = Client::connected(version);
        assert_eq!(answer(&mut client, 1, PublishOutcome::Routed), None);
        publish(&mut client, 1, QoS::AtLeastOnce);
        assert_eq!(answer(&mut client, 2, PublishOutcome::Routed), None);
        publish(&mut client, 3, QoS::AtLeastOnce);
        assert_eq!(answer(&mut client, 2, PublishOutcome::Routed), None);
        assert!(client.acks().is_empty());
        client.session.released(id(1), &mut client.out);
        client.session.release(id(1), &mut client.out);
        assert!(client.acks().is_empty());
    }
}

#[test]
fn a_failure_closes_only_those_who_cannot_be_told() {
    for version in ALL {
        let mut client = Client::connected(version);
        publish(&mut client, 1, QoS::AtLeastOnce);
        let closed = answer(&mut client, 1, PublishOutcome::Failed);
        if version == Version::V5 {
            assert_eq!(closed, None);
            assert_eq!(client.acks(), [(PUBACK, 1, 0x83)]);
        } else {
            assert_eq!(closed, Some(CloseReason::PublishFailed));
            client.assert_closed();
        }
    }
}
