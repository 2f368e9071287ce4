//! What no honest client sends: the first packet, then what is no packet; `malformed` has more.

use bytes::BytesMut;
use mqtt::{Action, CloseReason, FrameError, Version};
use rmqtt_codec::v5::{self, ConnectAckReason, DisconnectReasonCode as Code};

use crate::script::*;

// MQTT-3.1.0-1, MQTT-2.1.3-1
#[test]
fn a_first_packet_other_than_connect_closes_in_silence() {
    let rows: [&[u8]; 6] = [
        b"\xC0\x00",
        b"\xE0\x00",
        b"\x30\x03\x00\x01a",
        b"\x82\x06\x00\x09\x00\x01a\x00",
        b"\xF0\x00",
        b"\x11\x00",
    ];
    for bytes in rows {
        let mut client = Client::new(Version::V5);
        let reason = close_reason(client.send_raw(bytes));
        assert!(
            matches!(reason, CloseReason::ProtocolError(_)),
            "{reason:?}"
        );
        client.assert_closed();
        assert_eq!(client.session.version(), None);
    }
}

// MQTT-3.1.2-1, MQTT-3.1.2-2
#[test]
fn protocol_name_and_level_must_belong_together() {
    // name, level, reply
    let rows: [(&[u8], u8, &[u8]); 12] = [
        (b"\0\x04HTTP", 4, b""),
        (b"\0\x04mqtt", 4, b""),
        (b"\0\x05MQTTT", 4, b""),
        (b"\0\x06MQTT", 4, b""),
        (b"\0\x04MQTT", 3, b""),
        (b"\0\x06MQIsdp", 4, b""),
        (b"\0\x06MQIsdp", 5, b""),
        (b"\0\x04MQTT", 0, b"\x20\x02\x00\x01"),
        (
            b"\0\x04MQTT",
            6,
            b"\x20\x22\x00\x84\x1F\x1F\x00\x1Cunsupported protocol version",
        ),
        (b"\0\x04MQTT", 0x84, b"\x20\x02\x00\x01"),
        (b"\0\x06MQIsdp", 2, b"\x20\x02\x00\x01"),
        (b"\0\x06MQIsdp", 0x83, b"\x20\x02\x00\x01"),
    ];
    for (name, level, reply) in rows {
        let mut bytes = vec![0x10, 0];
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&[level, 2, 0, 60, 0, 1, b'x']);
        bytes[1] = bytes.len() as u8 - 2;
        let mut client = Client::new(Version::V311);
        let action = client.send_raw(&bytes);
        assert!(
            matches!(action, Action::Close(_)),
            "{name:?} {level}: {action:?}"
        );
        assert_eq!(client.out, reply, "{name:?} {level}");
        client.out.clear();
        client.assert_closed();
    }
}

/// A CONNECT of `version` whose bytes after the header are altered.
fn altered(version: Version, alter: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let whole = match connect_of(version) {
        Connect::V3(connect) => encode_v3(rmqtt_codec::v3::Packet::Connect(Box::new(connect))),
        Connect::V5(connect) => encode_v5(connect.into()),
    };
    let mut body = whole[2..].to_vec();
    alter(&mut body);
    let mut bytes = vec![0x10, body.len() as u8];
    bytes.extend_from_slice(&body);
    bytes
}

// MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-3.1.2-3, MQTT-3.1.2-11, MQTT-3.1.2-12, MQTT-3.1.2-13,
// MQTT-3.1.3-3, MQTT-3.1.3-4, MQTT-3.1.4-1
#[test]
fn a_malformed_connect_is_answered_to_mqtt_5_only() {
    let flags_at = |version| if version == Version::V31 { 9 } else { 7 };
    type Alteration = fn(&mut Vec<u8>, usize);
    let rows: [(&str, Alteration); 12] = [
        ("reserved flag", |body, flags| body[flags] |= 1),
        ("will QoS without will", |body, flags| {
            body[flags] |= 0b0000_1000
        }),
        ("will retain without will", |body, flags| {
            body[flags] |= 0b0010_0000
        }),
        ("will QoS 3", |body, flags| body[flags] |= 0b0001_1100),
        ("user name missing", |body, flags| {
            body[flags] |= 0b1000_0000
        }),
        ("password missing", |body, flags| body[flags] |= 0b1100_0000),
        ("bytes after the end", |body, _| body.push(0)),
        ("cut short", |body, _| body.truncate(body.len() - 1)),
        ("no client id", |body, _| body.truncate(body.len() - 7)),
        ("NUL in the client id", |body, _| {
            *body.last_mut().unwrap() = 0
        }),
        ("client id is not UTF-8", |body, _| {
            *body.last_mut().unwrap() = 0xFF
        }),
        ("surrogate in the client id", |body, _| {
            let at = body.len() - 3;
            body[at..].copy_from_slice(b"\xED\xA0\x80");
        }),
    ];
    for version in ALL {
        for (name, alter) in rows {
            let bytes = altered(version, |body| alter(body, flags_at(version)));
            let mut client = Client::new(version);
            let action = client.send_raw(&bytes);
            assert!(
                matches!(action, Action::Close(_)),
                "{name} {version:?}: {action:?}"
            );
            if version == Version::V5 {
                let replies = client.replies_v5();
                let [v5::Packet::ConnectAck(connack)] = &replies[..] else {
                    panic!("{name}: {replies:?}")
                };
                assert_eq!(
                    connack.reason_code,
                    ConnectAckReason::MalformedPacket,
                    "{name}"
                );
            }
            client.assert_closed();
        }
    }
}

// §3.1.2.9; 3.1.1: MQTT-3.1.2-22
#[test]
fn a_password_without_user_name_is_for_mqtt_5_only() {
    for version in ALL {
        let flags_at = if version == Version::V31 { 9 } else { 7 };
        let bytes = altered(version, |body| {
            body[flags_at] |= 0b0100_0000;
            body.extend_from_slice(b"\0\x01p");
        });
        let mut client = Client::new(version);
        let action = client.send_raw(&bytes);
        assert_eq!(
            matches!(action, Action::Open(_)),
            version == Version::V5,
            "{action:?}"
        );
    }
}

// MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.1.2-18, MQTT-3.1.2-19,
// MQTT-3.1.3-12
#[test]
fn user_name_and_password_are_there_if_and_only_if_their_flags_are_set() {
    let (none, user, password, both) = (0x00, 0x80, 0x40, 0xC0);
    let rows: [(u8, &[u8], bool); 13] = [
        (none, b"", true),
        (none, b"\0\x01u", false),
        (none, b"\0\x01u\0\x01p", false),
        (user, b"\0\x01u", true),
        (user, b"", false),
        (user, b"\0\x01u\0\x01p", false),
        (user, b"\0\x01\xFF", false),
        (user, b"\0\x01\0", false),
        (user, b"\0\x03\xED\xA0\x80", false),
        (both, b"\0\x01u\0\x01\xFF", true),
        (both, b"\0\x01u", false),
        (both, b"", false),
        (password, b"\0\x01u\0\x01p", false),
    ];
    for version in ALL {
        let flags_at = if version == Version::V31 { 9 } else { 7 };
        for (flags, fields, accepted) in rows {
            let bytes = altered(version, |body| {
                body[flags_at] |= flags;
                body.extend_from_slice(fields);
            });
            let action = Client::new(version).send_raw(&bytes);
            let is_opened = matches!(action, Action::Open(_));
            assert_eq!(is_opened, accepted, "{version:?} {flags:x} {fields:?}");
        }
    }
}

// §3.1.3.6: binary data, whatever it looks like. Its length and its first bytes would be a Message
// Expiry Interval of 0 where a will has its properties.
#[test]
fn a_password_is_left_as_it_is() {
    let mut password = vec![b'p'; 0x0502];
    password[..4].fill(0);
    let connect = v5::Connect {
        password: Some(password.clone().into()),
        ..connect_v5()
    };
    let action = Client::new(Version::V5).connect(Connect::V5(connect));
    let Action::Open(request) = action else {
        panic!("{action:?}")
    };
    assert_eq!(request.password.as_deref(), Some(&password[..]));
}

// MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-1.5.5-1, MQTT-1.5.7-1
#[test]
fn properties_of_a_connect_are_as_strict_as_others() {
    let rows: [(&[u8], bool); 7] = [
        (b"\0", true),
        (b"\x80\0", false),
        (b"\x07\x26\0\x01a\0\x01b", true),
        (b"\x07\x26\0\x01\0\0\x01b", false),
        (b"\x07\x26\0\x01a\0\x01\0", false),
        (b"\x07\x26\0\x01\xFF\0\x01b", false),
        (b"\x07\x26\0\x01a\0\x01\xFF", false),
    ];
    for (properties, accepted) in rows {
        let bytes = altered(Version::V5, |body| {
            body.splice(10..11, properties.iter().copied());
        });
        let mut client = Client::new(Version::V5);
        let action = client.send_raw(&bytes);
        assert_eq!(
            matches!(action, Action::Open(_)),
            accepted,
            "{properties:?}"
        );
        if !accepted {
            assert_eq!(client.out[3], 0x81, "{properties:?}");
        }
    }
}

// MQTT-4.13.1-1
#[test]
fn a_packet_over_the_limit_ends_the_session() {
    for version in ALL {
        let mut client = Client::connected(version);
        let error = FrameError::TooLarge {
            bytes: 2000,
            max: 1024,
        };
        let reason = client.session.handle_frame_error(error, &mut client.out);
        assert_eq!(reason, CloseReason::PacketTooLarge);
        client.assert_thrown_out(&Action::Close(reason), Code::PacketTooLarge);
    }
}

#[test]
fn bytes_that_are_no_packet_end_the_session() {
    for version in ALL {
        for error in [FrameError::MalformedLength, FrameError::BadType] {
            let mut client = Client::connected(version);
            let reason = client.session.handle_frame_error(error, &mut client.out);
            client.assert_thrown_out(&Action::Close(reason), Code::MalformedPacket);
        }
    }
    let mut client = Client::new(Version::V5);
    let reason = client
        .session
        .handle_frame_error(FrameError::BadType, &mut client.out);
    assert!(
        matches!(reason, CloseReason::ProtocolError(_)),
        "{reason:?}"
    );
    client.assert_closed();
}

// MQTT-1.5.5-1 is new in 5; 3.1.1 §2.2.3 forbids no length that is longer than needed.
#[test]
fn mqtt_3_may_write_a_length_longer_than_needed() {
    for version in V3 {
        let mut client = Client::connected(version);
        let action = client.send_raw(b"\xC0\x80\x00");
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert_eq!(client.out.split()[..], [0xD0, 0]);
        let action = client.send_raw(b"\x30\x84\x00\x00\x01ax");
        assert!(matches!(action, Action::Publish(_)), "{action:?}");
        let action = client.send_raw(b"\xE0\x80\x80\x00");
        let is_goodbye = matches!(action, Action::Close(CloseReason::ClientDisconnect { .. }));
        assert!(is_goodbye, "{action:?}");
    }
}

// MQTT-3.8.3-2, MQTT-3.10.3-2
#[test]
fn mqtt_5_requests_without_filters_are_protocol_errors() {
    for bytes in [&b"\x82\x03\x00\x09\x00"[..], b"\xA2\x03\x00\x09\x00"] {
        let mut client = Client::connected(Version::V5);
        let action = client.send_raw(bytes);
        client.assert_thrown_out(&action, Code::ProtocolError);
    }
}

// MQTT-3.3.2-8
#[test]
fn zeros_that_mqtt_5_forbids_have_their_own_codes() {
    let rows: [(&str, &[u8], Code); 3] = [
        (
            "topic alias",
            b"\x30\x07\x00\x01a\x03\x23\x00\x00",
            Code::TopicAliasInvalid,
        ),
        (
            "topic alias behind others",
            b"\x32\x0B\x00\x01a\x00\x01\x05\x01\x01\x23\x00\x00",
            Code::TopicAliasInvalid,
        ),
        (
            "subscription identifier",
            b"\x82\x09\x00\x09\x02\x0B\x00\x00\x01a\x00",
            Code::ProtocolError,
        ),
    ];
    for (name, bytes, code) in rows {
        let mut client = Client::connected(Version::V5);
        let action = client.send_raw(bytes);
        assert!(matches!(action, Action::Close(_)), "{name}: {action:?}");
        client.assert_thrown_out(&action, code);
    }
    for (name, property) in [
        ("Receive Maximum", &b"\x03\x21\x00\x00"[..]),
        ("Maximum Packet Size", b"\x05\x27\x00\x00\x00\x00"),
    ] {
        let bytes = altered(Version::V5, |body| {
            body.splice(10..11, property.iter().copied());
        });
        let mut client = Client::new(Version::V5);
        let _ = client.send_raw(&bytes);
        let replies = client.replies_v5();
        let [v5::Packet::ConnectAck(connack)] = &replies[..] else {
            panic!("{name}: {replies:?}")
        };
        let code = connack.reason_code;
        assert_eq!(code, ConnectAckReason::ProtocolError, "{name}");
        client.assert_closed();
    }
}

#[test]
fn a_frame_that_is_not_exactly_one_packet_is_malformed() {
    for bytes in [&b"\xC0\x00\xC0\x00"[..], b"\x40\x02\x00", b"\xC0", b""] {
        for version in ALL {
            for connected in [true, false] {
                let mut client = if connected {
                    Client::connected(version)
                } else {
                    Client::new(version)
                };
                let Client {
                    session,
                    limits,
                    out,
                    ..
                } = &mut client;
                let action = session.handle_frame(BytesMut::from(bytes), 0, limits, out);
                assert!(matches!(action, Action::Close(_)), "{action:?}");
            }
        }
    }
}
