//! Wills in CONNECT: what is taken, and what is refused.

use std::sync::Arc;

use mqtt::{Action, CloseReason, Delivery, QoS, Version, Will};
use rmqtt_codec::v5::ConnectAckReason as Code;
use rmqtt_codec::{v3, v5};

use crate::connect::{connack_v5, open, return_code};
use crate::script::*;

fn will_v5(topic: &str) -> v5::LastWill {
    v5::LastWill {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic.into(),
        message: "bye".into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    }
}

fn connect_with(will: v5::LastWill) -> Connect {
    Connect::V5(v5::Connect {
        last_will: Some(will),
        username: Some("alice".into()),
        ..connect_v5()
    })
}

fn will_of(action: Action) -> Will {
    *open(action).will.expect("a will")
}

// MQTT-3.1.2-7, MQTT-3.1.2-9, MQTT-3.1.3-1, MQTT-3.1.3-10
#[test]
fn a_will_reaches_the_caller_whole() {
    let properties = vec![("b".into(), "1".into()), ("a".into(), "2".into())];
    let will = v5::LastWill {
        qos: QoS::ExactlyOnce,
        retain: true,
        will_delay_interval_sec: Some(5),
        correlation_data: Some("c".into()),
        message_expiry_interval: 60.try_into().ok(),
        content_type: Some("text/plain".into()),
        user_properties: properties.clone(),
        is_utf8_payload: Some(true),
        response_topic: Some("reply".into()),
        ..will_v5("gone/alice")
    };
    let mut client = Client::new(Version::V5);
    client.limits.retain_available = true;
    let will = will_of(client.connect(connect_with(will)));
    assert_eq!(will.delay_secs, 5);
    assert_eq!(will.message.topic(), "gone/alice");
    assert_eq!(will.message.payload(), "bye");
    assert_eq!(
        (will.message.qos(), will.message.retain()),
        (QoS::ExactlyOnce, true)
    );

    // Its interval begins when it is published, an hour later.
    let mut receiver = Client::connected(Version::V5);
    receiver.now_ms += 3_600_000;
    let message = Arc::new(will.into_message(receiver.now_ms));
    assert_eq!(
        receiver.deliver(&message, QoS::ExactlyOnce.into()),
        Delivery::Sent
    );
    let sent = receiver.published().remove(0).properties.unwrap();
    assert_eq!(sent.user_properties, properties);
    assert_eq!(sent.message_expiry_interval, 60.try_into().ok());
    assert_eq!(sent.content_type.as_deref(), Some("text/plain"));
    assert_eq!(sent.response_topic.as_deref(), Some("reply"));
    assert_eq!(sent.correlation_data.as_deref(), Some(&b"c"[..]));
    assert!(sent.is_utf8_payload);
}

// §3.1.2.5
#[test]
fn without_the_flag_there_is_no_will() {
    for version in ALL {
        let request = open(Client::new(version).connect(connect_of(version)));
        assert!(request.will.is_none());
    }
}

// MQTT-3.1.2-12
#[test]
fn mqtt_3_has_wills_too() {
    for version in V3 {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let connect = v3::Connect {
                last_will: Some(v3::LastWill {
                    qos,
                    retain: false,
                    topic: "gone".into(),
                    message: "bye".into(),
                }),
                ..connect_v3(version)
            };
            let will = will_of(Client::new(version).connect(Connect::V3(connect)));
            assert_eq!((will.message.qos(), will.delay_secs), (qos, 0));
            assert_eq!(will.message.topic(), "gone");
        }
    }
}

// MQTT-3.1.3-11, MQTT-3.2.2-13
#[test]
fn a_will_that_could_not_be_published_is_refused() {
    let plain = || will_v5("gone");
    let rows = [
        (
            "retain",
            v5::LastWill {
                retain: true,
                ..plain()
            },
            Code::RetainNotSupported,
        ),
        ("wildcard", will_v5("gone/#"), Code::TopicNameInvalid),
        ("no name", will_v5(""), Code::TopicNameInvalid),
        ("NUL", will_v5("a\0"), Code::TopicNameInvalid),
        ("the server's name", will_v5("$SYS/x"), Code::NotAuthorized),
        (
            "response topic",
            v5::LastWill {
                response_topic: Some("a/+".into()),
                ..plain()
            },
            Code::ProtocolError,
        ),
        (
            "payload format",
            v5::LastWill {
                message: vec![0xFF].into(),
                is_utf8_payload: Some(true),
                ..plain()
            },
            Code::PayloadFormatInvalid,
        ),
        (
            "content type",
            v5::LastWill {
                content_type: Some("\0".into()),
                ..plain()
            },
            Code::MalformedPacket,
        ),
    ];
    for (name, will, code) in rows {
        let mut client = Client::new(Version::V5);
        let action = client.connect(connect_with(will));
        assert!(matches!(action, Action::Close(_)), "{name}: {action:?}");
        assert_eq!(connack_v5(&mut client).reason_code, code, "{name}");
        client.assert_closed();
    }
}

#[test]
fn mqtt_3_is_refused_with_what_code_it_has() {
    use v3::ConnectAckReason as Code;
    for version in V3 {
        for (topic, retain, code) in [
            ("gone", true, Some(Code::ServiceUnavailable)),
            ("$SYS/x", false, Some(Code::NotAuthorized)),
            ("gone/#", false, None),
        ] {
            let mut client = Client::new(version);
            let connect = v3::Connect {
                last_will: Some(v3::LastWill {
                    qos: QoS::AtMostOnce,
                    retain,
                    topic: topic.into(),
                    message: "bye".into(),
                }),
                ..connect_v3(version)
            };
            let action = client.connect(Connect::V3(connect));
            assert!(matches!(action, Action::Close(_)), "{action:?}");
            if let Some(code) = code {
                assert_eq!(return_code(&mut client), code);
            }
            client.assert_closed();
        }
    }
}

// MQTT-3.1.3-1, MQTT-3.1.4-1
#[test]
fn bytes_behind_a_will_are_malformed() {
    for (more, accepted) in [(0, true), (1, false)] {
        let Connect::V5(connect) = connect_with(will_v5("gone")) else {
            unreachable!("it is made so")
        };
        let mut bytes = encode_v5(connect.into()).to_vec();
        bytes.extend(vec![0; more]);
        bytes[1] += more as u8;
        let action = Client::new(Version::V5).send_raw(&bytes);
        assert_eq!(matches!(action, Action::Open(_)), accepted, "{action:?}");
    }
}

// MQTT-3.1.2-9
#[test]
fn a_will_that_is_cut_short_is_malformed() {
    let Connect::V5(connect) = connect_with(will_v5("gone")) else {
        unreachable!("it is made so")
    };
    let whole = encode_v5(connect.into()).to_vec();
    // The payload ends with a user name of 5 bytes and the length before it, "bye", "gone" and
    // the will's empty properties.
    for missing in [7, 10, 12, 16, 18, 19] {
        let mut bytes = whole[..whole.len() - missing].to_vec();
        bytes[1] -= missing as u8;
        let flags = 9;
        bytes[flags] &= !0x80;
        let action = Client::new(Version::V5).send_raw(&bytes);
        assert_eq!(
            matches!(action, Action::Open(_)),
            missing == 7,
            "{action:?}"
        );
    }
}

// MQTT-1.5.4-1, MQTT-1.5.5-1, MQTT-3.1.3-11
#[test]
fn a_will_topic_is_utf_8_and_the_length_of_its_properties_not_padded() {
    // Between the client id and the payload: properties, topic.
    let rows: [(&[u8], bool); 5] = [
        (b"\0\0\x03abc", true),
        (b"\0\0\x03a\xFFc", false),
        (b"\0\0\x03\xED\xA0\x80", false),
        (b"\0\0\x03ab\0", false),
        (b"\x80\0\0\x03abc", false),
    ];
    for version in ALL {
        let head = match version {
            Version::V5 => &b"\0\x04MQTT\x05\x06\0\x3C\0\0\x01c"[..],
            Version::V311 => b"\0\x04MQTT\x04\x06\0\x3C\0\x01c",
            Version::V31 => b"\0\x06MQIsdp\x03\x06\0\x3C\0\x01c",
        };
        for (will, accepted) in rows {
            let will = match version {
                Version::V5 => will,
                // They have no properties.
                _ if will[0] == 0 => &will[1..],
                _ => continue,
            };
            let body = [head, will, b"\0\x03bye"].concat();
            let bytes = [&[0x10, body.len() as u8], &body[..]].concat();
            let action = Client::new(version).send_raw(&bytes);
            let is_opened = matches!(action, Action::Open(_));
            assert_eq!(is_opened, accepted, "{version:?} {will:?}");
        }
    }
}

#[test]
fn a_will_may_expire_at_once() {
    let will = v5::LastWill {
        message_expiry_interval: 7.try_into().ok(),
        ..will_v5("gone")
    };
    let Connect::V5(connect) = connect_with(will) else {
        unreachable!("it is made so")
    };
    let mut bytes = encode_v5(connect.into()).to_vec();
    let at = bytes.windows(5).position(|part| part == b"\x02\0\0\0\x07");
    bytes[at.unwrap() + 4] = 0;
    let mut client = Client::new(Version::V5);
    let will = will_of(client.send_raw(&bytes));
    assert_eq!(will.into_message(500).expires_at_ms(), Some(500));
}

// MQTT-3.14.4-3
#[test]
fn only_a_normal_disconnect_takes_the_will_back() {
    for (code, with_will) in [(0x00, false), (0x04, true), (0x80, true)] {
        let mut client = Client::connected(Version::V5);
        let reason = close_reason(client.send_raw(&[0xE0, 1, code]));
        let expected = CloseReason::ClientDisconnect {
            with_will,
            logout: false,
            session_expiry_secs: None,
        };
        assert_eq!(reason, expected);
    }
}
