//! PUBLISH from the client: what is routed, what is answered, what is not served.

use mqtt::{Action, CloseReason, Inbound, PublishOutcome, QoS, Version};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{DisconnectReasonCode as Code, PublishAckReason, PublishProperties};
use rmqtt_codec::{v3, v5};

use crate::script::*;

fn inbound(action: Action) -> Inbound {
    match action {
        Action::Publish(inbound) => inbound,
        other => panic!("not routed: {other:?}"),
    }
}

fn puback_v5(client: &mut Client) -> v5::PublishAck {
    match &client.replies_v5()[..] {
        [v5::Packet::PublishAck(ack)] => ack.clone(),
        other => panic!("not one PUBACK: {other:?}"),
    }
}

// MQTT-2.2.1-2, MQTT-3.3.4-1
#[test]
fn qos_0_is_routed_and_not_answered() {
    for version in ALL {
        let mut client = Client::connected(version);
        let inbound = inbound(client.publish(message("a/b", QoS::AtMostOnce)));
        assert_eq!(inbound.packet_id, None);
        assert_eq!(inbound.message.topic(), "a/b");
        assert_eq!(inbound.message.payload(), "hello");
        assert_eq!(inbound.message.qos(), QoS::AtMostOnce);
        for outcome in [PublishOutcome::Routed, PublishOutcome::QuotaExceeded] {
            assert_eq!(
                client.session.published(None, outcome, &mut client.out),
                None
            );
        }
        assert!(client.out.is_empty());
    }
}

// MQTT-2.2.1-5, MQTT-3.3.4-1, MQTT-3.4.2-1, MQTT-4.3.2-4
#[test]
fn qos_1_is_answered_with_what_became_of_it() {
    let rows = [
        (PublishOutcome::Routed, PublishAckReason::Success),
        (
            PublishOutcome::NoMatchingSubscribers,
            PublishAckReason::NoMatchingSubscribers,
        ),
        (
            PublishOutcome::NotAuthorized,
            PublishAckReason::NotAuthorized,
        ),
        (
            PublishOutcome::QuotaExceeded,
            PublishAckReason::QuotaExceeded,
        ),
        (
            PublishOutcome::Failed,
            PublishAckReason::ImplementationSpecificError,
        ),
    ];
    for (outcome, code) in rows {
        let mut client = Client::connected(Version::V5);
        let inbound = inbound(client.publish(message("a", QoS::AtLeastOnce)));
        assert_eq!(inbound.packet_id, Some(id(7)));
        let closed = client
            .session
            .published(inbound.packet_id, outcome, &mut client.out);
        assert_eq!(closed, None);
        let ack = puback_v5(&mut client);
        assert_eq!((ack.packet_id, ack.reason_code), (id(7), code));
        let is_error = u8::from(code) >= 0x80;
        assert_eq!(ack.reason_string.is_some(), is_error, "errors are in words");
    }
}

// MQTT-3.3.4-1, MQTT-4.3.2-4
#[test]
fn mqtt_3_is_acknowledged_or_closed() {
    for version in V3 {
        for (outcome, closes) in [
            (PublishOutcome::Routed, false),
            (PublishOutcome::NoMatchingSubscribers, false),
            (PublishOutcome::NotAuthorized, false),
            (PublishOutcome::QuotaExceeded, true),
        ] {
            let mut client = Client::connected(version);
            let inbound = inbound(client.publish(message("a", QoS::AtLeastOnce)));
            let closed = client
                .session
                .published(inbound.packet_id, outcome, &mut client.out);
            if closes {
                assert_eq!(closed, Some(CloseReason::QuotaExceeded));
                client.assert_closed();
            } else {
                assert_eq!(closed, None);
                assert_eq!(
                    client.replies_v3(),
                    [v3::Packet::PublishAck { packet_id: id(7) }]
                );
            }
        }
    }
}

// MQTT-3.1.2-29
#[test]
fn reason_strings_are_for_those_who_want_them() {
    for wanted in [true, false] {
        let connect = v5::Connect {
            request_problem_info: wanted,
            ..connect_v5()
        };
        let mut client = Client::connected_with(Connect::V5(connect));
        let outcome = PublishOutcome::NotAuthorized;
        let _ = client.publish(message("a", QoS::AtLeastOnce));
        client
            .session
            .published(Some(id(7)), outcome, &mut client.out);
        assert_eq!(puback_v5(&mut client).reason_string.is_some(), wanted);
    }
}

// MQTT-3.1.2-24, MQTT-3.4.2-2
#[test]
fn reason_string_is_left_out_where_it_does_not_fit() {
    let connect = v5::Connect {
        max_packet_size: 40.try_into().ok(),
        ..connect_v5()
    };
    let mut client = Client::connected_with(Connect::V5(connect));
    let _ = client.publish(message("a", QoS::AtLeastOnce));
    client
        .session
        .published(Some(id(7)), PublishOutcome::NotAuthorized, &mut client.out);
    assert!(client.out.len() <= 40);
    let ack = puback_v5(&mut client);
    assert_eq!(
        (ack.reason_code, ack.reason_string),
        (PublishAckReason::NotAuthorized, None)
    );
}

// MQTT-3.3.1-5, where it does not bind: CONNACK has said Retain Available 0.
#[test]
fn retain_where_it_is_not_available_ends_the_session() {
    let retained = Publish {
        retain: true,
        ..message("a", QoS::AtLeastOnce)
    };
    for version in ALL {
        let mut client = Client::connected(version);
        let action = client.publish(retained.clone());
        let is_told = matches!(action, Action::Close(CloseReason::NotSupported(_)));
        assert!(is_told, "{action:?}");
        client.assert_thrown_out(&action, Code::RetainNotSupported);
    }
}

// MQTT-1.5.4-2, MQTT-1.5.7-1, MQTT-3.3.1-2, MQTT-3.3.2-2, MQTT-3.3.2-13, MQTT-3.3.2-14, MQTT-3.3.2-19,
// MQTT-3.3.4-6, MQTT-4.7.0-1, MQTT-4.7.3-2
#[test]
fn invalid_publishes_end_the_session() {
    let plain = message("a", QoS::AtMostOnce);
    let with = |properties| Publish {
        properties: Some(properties),
        ..plain.clone()
    };
    let rows = [
        (
            "plus in the name",
            message("a/+", QoS::AtLeastOnce),
            Code::TopicNameInvalid,
        ),
        (
            "hash in the name",
            message("#", QoS::AtMostOnce),
            Code::TopicNameInvalid,
        ),
        (
            "NUL in the name",
            message("a\0b", QoS::AtMostOnce),
            Code::TopicNameInvalid,
        ),
        (
            "DUP at QoS 0",
            Publish {
                dup: true,
                ..plain.clone()
            },
            Code::MalformedPacket,
        ),
        (
            "subscription identifier",
            with(PublishProperties {
                subscription_ids: vec![1.try_into().unwrap()],
                ..Default::default()
            }),
            Code::ProtocolError,
        ),
        (
            "response topic with wildcard",
            with(PublishProperties {
                response_topic: Some("a/#".into()),
                ..Default::default()
            }),
            Code::ProtocolError,
        ),
        (
            "NUL in the response topic",
            with(PublishProperties {
                response_topic: Some("a\0".into()),
                ..Default::default()
            }),
            Code::ProtocolError,
        ),
        (
            "NUL in the content type",
            with(PublishProperties {
                content_type: Some("a\0".into()),
                ..Default::default()
            }),
            Code::MalformedPacket,
        ),
        (
            "NUL in a user property",
            with(vec![("a".into(), "\0".into())].into()),
            Code::MalformedPacket,
        ),
    ];
    for version in ALL {
        for (name, publish, code) in rows.clone() {
            if publish.properties.is_some() && version != Version::V5 {
                continue;
            }
            let mut client = Client::connected(version);
            let action = client.publish(publish);
            assert!(matches!(action, Action::Close(_)), "{name}: {action:?}");
            client.assert_thrown_out(&action, code);
        }
    }
}

#[test]
fn a_retained_message_reaches_the_caller_where_available() {
    for version in ALL {
        for retain in [true, false] {
            let mut client = Client::connected(version);
            client.limits.retain_available = true;
            let publish = Publish {
                retain,
                ..message("a", QoS::AtLeastOnce)
            };
            let inbound = client.publish_inbound(publish);
            assert_eq!(inbound.message.retain(), retain);
        }
    }
}

#[test]
fn a_payload_that_is_not_the_text_it_is_said_to_be_is_refused() {
    let with = |qos| Publish {
        payload: vec![b'a', 0xFF].into(),
        properties: Some(PublishProperties {
            is_utf8_payload: true,
            ..Default::default()
        }),
        ..message("a", qos)
    };
    for (qos, first_byte) in [(QoS::AtLeastOnce, PUBACK), (QoS::ExactlyOnce, PUBREC)] {
        let mut client = Client::connected(Version::V5);
        let action = client.publish(with(qos));
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert_eq!(client.acks(), [(first_byte, 7, 0x99)]);
    }
    let mut client = Client::connected(Version::V5);
    let action = client.publish(with(QoS::AtMostOnce));
    client.assert_thrown_out(&action, Code::PayloadFormatInvalid);
}

// MQTT-4.3.2-5
#[test]
fn a_qos_1_message_after_its_puback_is_another_message() {
    for version in ALL {
        for dup in [false, true] {
            let mut client = Client::connected(version);
            for _ in 0..2 {
                let publish = Publish {
                    dup,
                    ..message("a", QoS::AtLeastOnce)
                };
                let inbound = client.publish_inbound(publish);
                let Client { session, out, .. } = &mut client;
                session.published(inbound.packet_id, PublishOutcome::Routed, out);
                assert_eq!(client.acks(), [(PUBACK, 7, 0)]);
            }
        }
    }
}

// MQTT-1.5.4-3
#[test]
fn a_byte_order_mark_is_a_character_like_others() {
    for version in ALL {
        let mut client = Client::connected(version);
        let inbound = client.publish_inbound(message("\u{FEFF}a", QoS::AtMostOnce));
        assert_eq!(inbound.message.topic(), "\u{FEFF}a");
    }
}

// MQTT-3.3.2-1, MQTT-4.7.3-1
#[test]
fn an_empty_topic_name_is_refused() {
    let mut client = Client::connected(Version::V5);
    let action = client.publish(message("", QoS::AtMostOnce));
    client.assert_thrown_out(&action, Code::ProtocolError);
    for version in V3 {
        let mut client = Client::connected(version);
        let action = client.publish(message("", QoS::AtMostOnce));
        client.assert_thrown_out(&action, Code::TopicNameInvalid);
    }
}

#[test]
fn names_of_the_server_are_not_published_to() {
    for version in ALL {
        let mut client = Client::connected(version);
        let action = client.publish(message("$SYS/x", QoS::AtMostOnce));
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert!(client.out.is_empty());
        let action = client.publish(message("$SYS/x", QoS::AtLeastOnce));
        assert!(matches!(action, Action::Continue), "{action:?}");
        if version == Version::V5 {
            assert_eq!(
                puback_v5(&mut client).reason_code,
                PublishAckReason::NotAuthorized
            );
        } else {
            assert_eq!(
                client.replies_v3(),
                [v3::Packet::PublishAck { packet_id: id(7) }]
            );
        }
        assert!(client.session.is_connected());
    }
}
