//! How sessions end, from either side, and PING while they last.

use mqtt::{
    Action, CloseReason, Delivery, DisconnectReason, DropReason, Message, QoS, Session, Version,
};
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, Disconnect, DisconnectReasonCode as Code};

use crate::script::*;

// MQTT-3.12.4-1
#[test]
fn ping_is_answered() {
    for version in ALL {
        let mut client = Client::connected(version);
        let action = client.send_raw(&[0xC0, 0]);
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert_eq!(client.out[..], [0xD0, 0]);
    }
}

// MQTT-3.1.2-24, MQTT-3.12.4-1
#[test]
fn what_is_not_sent_yet_does_not_count_towards_the_packet_size() {
    let connect = v5::Connect {
        max_packet_size: 40.try_into().ok(),
        ..connect_v5()
    };
    let mut client = Client::connected_with(Connect::V5(connect));
    for _ in 0..50 {
        let action = client.send_raw(&[0xC0, 0]);
        assert!(matches!(action, Action::Continue), "{action:?}");
    }
    assert_eq!(client.out, [0xD0, 0].repeat(50));
}

// MQTT-3.14.4-3
#[test]
fn disconnect_ends_the_session_without_an_answer() {
    for version in ALL {
        let mut client = Client::connected(version);
        let reason = close_reason(client.send_raw(&[0xE0, 0]));
        assert_eq!(
            reason,
            CloseReason::ClientDisconnect {
                with_will: false,
                logout: false,
                session_expiry_secs: None
            }
        );
        client.assert_closed();
        assert_eq!(
            client.session.version(),
            Some(version),
            "still known for the record"
        );
    }
}

#[test]
fn mqtt_5_disconnect_may_ask_for_the_will_or_log_out() {
    let logout = |value: &str| vec![("x".into(), "y".into()), ("logout".into(), value.into())];
    let rows = [
        (
            Disconnect::new(Code::DisconnectWithWillMessage),
            true,
            false,
        ),
        (Disconnect::new(Code::UnspecifiedError), true, false),
        (
            Disconnect {
                user_properties: logout("true"),
                ..Default::default()
            },
            false,
            true,
        ),
        (
            Disconnect {
                user_properties: logout("no"),
                ..Default::default()
            },
            false,
            false,
        ),
    ];
    for (disconnect, with_will, logout) in rows {
        let mut client = Client::connected(Version::V5);
        let reason = close_reason(client.send_v5(disconnect.into()));
        let expected = CloseReason::ClientDisconnect {
            with_will,
            logout,
            session_expiry_secs: None,
        };
        assert_eq!(reason, expected);
        client.assert_closed();
    }
}

#[test]
fn a_message_to_the_logout_topic_logs_out() {
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let mut client = Client::connected(version);
            let reason = close_reason(client.publish(message(mqtt::LOGOUT_TOPIC, qos)));
            let expected = CloseReason::ClientDisconnect {
                with_will: false,
                logout: true,
                session_expiry_secs: None,
            };
            assert_eq!(reason, expected);
            let is_answered = qos == QoS::AtLeastOnce;
            if version == Version::V5 {
                let replies = client.replies_v5();
                let [acks @ .., v5::Packet::Disconnect(last)] = &replies[..] else {
                    panic!("no DISCONNECT at the end: {replies:?}")
                };
                assert_eq!(last.reason_code, Code::NormalDisconnection);
                let codes = acks.iter().map(|ack| match ack {
                    v5::Packet::PublishAck(ack) => (ack.packet_id, u8::from(ack.reason_code)),
                    other => panic!("not a PUBACK: {other:?}"),
                });
                assert!(codes.eq(is_answered.then_some((id(7), 0x00))));
            } else {
                let ack = v3::Packet::PublishAck { packet_id: id(7) };
                let expected: Vec<_> = is_answered.then_some(ack).into_iter().collect();
                assert_eq!(client.replies_v3(), expected);
            }
            client.assert_closed();
        }
    }
}

#[test]
fn no_other_name_logs_out() {
    for topic in ["$whosthere", "$whosthere/logout/", "$whosthere/Logout"] {
        for version in ALL {
            let mut client = Client::connected(version);
            let action = client.publish(message(topic, QoS::AtMostOnce));
            assert!(matches!(action, Action::Continue), "{topic}: {action:?}");
            assert!(client.session.is_connected(), "{topic}");
        }
    }
    let mut client = Client::connected(Version::V311);
    let action = client.publish(message("whosthere/logout", QoS::AtMostOnce));
    assert!(matches!(action, Action::Publish(_)), "{action:?}");
}

#[test]
fn a_message_that_breaks_a_rule_does_not_log_out() {
    let retained = rmqtt_codec::types::Publish {
        retain: true,
        ..message(mqtt::LOGOUT_TOPIC, QoS::AtMostOnce)
    };
    for version in ALL {
        let mut client = Client::connected(version);
        let action = client.publish(retained.clone());
        client.assert_thrown_out(&action, Code::RetainNotSupported);
    }
}

#[test]
fn session_expiry_cannot_begin_with_disconnect() {
    let disconnect = Disconnect {
        session_expiry_interval_secs: Some(60),
        ..Default::default()
    };
    let mut client = Client::connected(Version::V5);
    let action = client.send_v5(disconnect.into());
    client.assert_thrown_out(&action, Code::ProtocolError);

    for (before_secs, after_secs) in [(10, 60), (10, 0), (0, 0)] {
        let connect = v5::Connect {
            session_expiry_interval_secs: before_secs,
            ..connect_v5()
        };
        let disconnect = Disconnect {
            session_expiry_interval_secs: Some(after_secs),
            ..Default::default()
        };
        let mut client = Client::connected_with(Connect::V5(connect));
        let reason = close_reason(client.send_v5(disconnect.into()));
        let expected = CloseReason::ClientDisconnect {
            with_will: false,
            logout: false,
            session_expiry_secs: Some(after_secs),
        };
        assert_eq!(reason, expected);
    }
}

// MQTT-3.14.2-1, MQTT-3.14.2-2, MQTT-3.14.4-1
#[test]
fn the_server_says_why_to_mqtt_5_only() {
    let rows = [
        (DisconnectReason::Normal, 0x00),
        (DisconnectReason::UnspecifiedError, 0x80),
        (DisconnectReason::NotAuthorized, 0x87),
        (DisconnectReason::ServerBusy, 0x89),
        (DisconnectReason::ServerShuttingDown, 0x8B),
        (DisconnectReason::KeepAliveTimeout, 0x8D),
        (DisconnectReason::SessionTakenOver, 0x8E),
        (DisconnectReason::ReceiveMaximumExceeded, 0x93),
        (DisconnectReason::PacketTooLarge, 0x95),
        (DisconnectReason::MessageRateTooHigh, 0x96),
        (DisconnectReason::QuotaExceeded, 0x97),
        (DisconnectReason::AdministrativeAction, 0x98),
        (DisconnectReason::MaximumConnectTime, 0xA0),
    ];
    for (why, code) in rows {
        let mut client = Client::connected(Version::V5);
        client.session.disconnect(why, &mut client.out);
        let replies = client.replies_v5();
        let [v5::Packet::Disconnect(disconnect)] = &replies[..] else {
            panic!("not one DISCONNECT: {replies:?}")
        };
        assert_eq!(u8::from(disconnect.reason_code), code, "{why:?}");
        assert_eq!(disconnect.session_expiry_interval_secs, None);
        client.session.disconnect(why, &mut client.out);
        client.assert_closed();
        for version in V3 {
            let mut client = Client::connected(version);
            client.session.disconnect(why, &mut client.out);
            client.assert_closed();
        }
    }
}

// MQTT-3.14.2-3
#[test]
fn the_reason_of_a_disconnect_is_left_out_where_it_does_not_fit() {
    for (bytes_max, has_text) in [(200, true), (33, false)] {
        let mut client = Client::connected_with(Connect::V5(v5::Connect {
            max_packet_size: bytes_max.try_into().ok(),
            ..connect_v5()
        }));
        // "subscription identifier from a client" has 37 bytes.
        let _ = client.send_raw(b"\x30\x06\x00\x01a\x02\x0B\x01");
        let replies = client.replies_v5();
        let [v5::Packet::Disconnect(disconnect)] = &replies[..] else {
            panic!("not one DISCONNECT: {replies:?}")
        };
        assert_eq!(disconnect.reason_code, Code::ProtocolError);
        assert_eq!(disconnect.reason_string.is_some(), has_text);
    }
}

// MQTT-3.14.0-1
#[test]
fn no_disconnect_is_sent_before_connack() {
    let mut client = Client::new(Version::V5);
    let _ = client.connect(connect_of(Version::V5));
    client
        .session
        .disconnect(DisconnectReason::ServerShuttingDown, &mut client.out);
    client.assert_closed();
    let mut client = Client::new(Version::V5);
    client
        .session
        .disconnect(DisconnectReason::ServerShuttingDown, &mut client.out);
    client.assert_closed();
}

#[test]
fn a_closed_session_takes_nothing_more() {
    for version in ALL {
        let mut client = Client::connected(version);
        client
            .session
            .disconnect(DisconnectReason::Normal, &mut client.out);
        client.out.clear();
        client.accept();
        client.session.unsubscribed(id(1), &[], &mut client.out);
        client
            .session
            .published(Some(id(1)), mqtt::PublishOutcome::Routed, &mut client.out);
        let message = Message::new("a".into(), "x".into(), QoS::AtLeastOnce).into();
        let Client {
            session,
            limits,
            out,
            ..
        } = &mut client;
        let delivery = session.deliver(&message, QoS::AtLeastOnce.into(), true, 0, limits, out);
        assert_eq!(delivery, Delivery::Dropped(DropReason::NotConnected));
        client.assert_closed();
    }
}

#[test]
fn a_session_is_new_or_opening_or_connected_or_closed() {
    let states = |session: &Session| (session.is_opening(), session.is_connected());
    assert_eq!(Session::new().version(), None);
    assert_eq!(states(&Session::new()), (false, false));
    for version in ALL {
        let mut client = Client::new(version);
        let _ = client.connect(connect_of(version));
        assert_eq!(states(&client.session), (true, false));
        client.accept();
        assert_eq!(states(&client.session), (false, true));
        let Client { session, out, .. } = &mut client;
        session.disconnect(DisconnectReason::Normal, out);
        assert_eq!(states(session), (false, false));
    }
}

// MQTT-4.12.0-7
#[test]
fn packets_in_the_wrong_direction_are_protocol_errors() {
    let server_packets: [&[u8]; 4] = [
        b"\x20\x02\x00\x00",
        b"\x90\x03\x00\x01\x00",
        b"\xB0\x02\x00\x01",
        b"\xD0\x00",
    ];
    let auth: &[u8] = b"\xF0\x00";
    for version in ALL {
        for bytes in server_packets.iter().chain([&auth]) {
            let mut client = Client::connected(version);
            let action = client.send_raw(bytes);
            client.assert_thrown_out(&action, Code::ProtocolError);
        }
    }
}

// MQTT-3.15.1-1, MQTT-4.12.1-2
#[test]
fn no_auth_is_taken_whatever_it_says() {
    let auths: [(&[u8], Code); 4] = [
        (b"\xF1\x00", Code::MalformedPacket),
        (b"\xF8\x02\x18\x00", Code::MalformedPacket),
        (b"\xF0\x02\x18\x00", Code::ProtocolError),
        (b"\xF0\x02\x19\x00", Code::ProtocolError),
    ];
    for version in ALL {
        for (bytes, code) in auths {
            let mut client = Client::connected(version);
            let action = client.send_raw(bytes);
            client.assert_thrown_out(&action, code);
        }
    }
}
