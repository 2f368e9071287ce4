//! SUBSCRIBE and UNSUBSCRIBE: verdicts, grants and their answers.

use mqtt::{
    Action, CloseReason, QoS, SubscribeFailure, SubscribeRequest, SubscriptionOptions,
    UnsubscribeResult, Version,
};
use rmqtt_codec::v5::{DisconnectReasonCode, SubscribeAckReason as Code, UnsubscribeAckReason};
use rmqtt_codec::{v3, v5};

use crate::script::*;

fn subscribe(client: &mut Client, version: Version, filters: &[(&str, QoS)]) -> SubscribeRequest {
    let action = if version == Version::V5 {
        let options = |qos| v5::SubscriptionOptions {
            qos,
            ..Default::default()
        };
        client.send_v5(v5::Packet::Subscribe(v5::Subscribe {
            packet_id: id(9),
            id: None,
            user_properties: Vec::new(),
            topic_filters: filters
                .iter()
                .map(|(f, qos)| ((*f).into(), options(*qos)))
                .collect(),
        }))
    } else {
        let topic_filters = filters
            .iter()
            .map(|(filter, qos)| ((*filter).into(), *qos))
            .collect();
        client.send_v3(v3::Packet::Subscribe {
            packet_id: id(9),
            topic_filters,
        })
    };
    match action {
        Action::Subscribe(request) => request,
        other => panic!("not a subscription: {other:?}"),
    }
}

fn suback_v5(client: &mut Client) -> v5::SubscribeAck {
    match &client.replies_v5()[..] {
        [v5::Packet::SubscribeAck(ack)] => ack.clone(),
        other => panic!("not one SUBACK: {other:?}"),
    }
}

const FILTERS: &[(&str, QoS, Code)] = &[
    ("a/+/#", QoS::AtMostOnce, Code::GrantedQos0),
    ("b", QoS::AtLeastOnce, Code::GrantedQos1),
    ("c", QoS::ExactlyOnce, Code::GrantedQos2),
    ("a/#/b", QoS::AtLeastOnce, Code::TopicFilterInvalid),
    ("a+", QoS::AtLeastOnce, Code::TopicFilterInvalid),
];

const MORE_FILTERS: &[(&str, QoS, Code)] = &[
    ("a\0b", QoS::AtMostOnce, Code::TopicFilterInvalid),
    ("1/2/3/4/5/6/7/8", QoS::AtMostOnce, Code::GrantedQos0),
    (
        "1/2/3/4/5/6/7/8/9",
        QoS::AtMostOnce,
        Code::TopicFilterInvalid,
    ),
    (
        "$share/g/a",
        QoS::AtMostOnce,
        Code::SharedSubscriptionNotSupported,
    ),
    ("$SYS/#", QoS::AtMostOnce, Code::GrantedQos0),
    ("over/the/limit", QoS::AtMostOnce, Code::QuotaExceeded),
];

// MQTT-2.2.1-6, MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-5, MQTT-3.8.4-6, MQTT-3.8.4-7,
// MQTT-3.9.3-1, MQTT-3.9.3-2, MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-2
#[test]
fn each_filter_gets_its_own_code_in_order() {
    for rows in [FILTERS, MORE_FILTERS] {
        let filters: Vec<_> = rows
            .iter()
            .map(|(filter, qos, _)| (*filter, *qos))
            .collect();
        let codes: Vec<_> = rows.iter().map(|(_, _, code)| *code).collect();
        let mut client = Client::connected(Version::V5);
        let request = subscribe(&mut client, Version::V5, &filters);
        assert!(client.out.is_empty(), "the answer waits for the caller");
        client.session.subscribed(&request, &mut client.out);
        let ack = suback_v5(&mut client);
        assert_eq!(ack.packet_id, id(9));
        assert_eq!(ack.status, codes);
        assert!(
            ack.reason_string.is_some(),
            "the first failure is put in words"
        );
    }
}

// MQTT-3.8.4-1, MQTT-3.8.4-6, MQTT-3.9.3-1
#[test]
fn mqtt_3_gets_granted_qos_or_0x80() {
    for version in V3 {
        for rows in [FILTERS, MORE_FILTERS] {
            let filters: Vec<_> = rows
                .iter()
                .map(|(filter, qos, _)| (*filter, *qos))
                .collect();
            let mut client = Client::connected(version);
            let request = subscribe(&mut client, version, &filters);
            client.session.subscribed(&request, &mut client.out);
            let codes = rows.iter().map(|(_, _, code)| u8::from(*code).min(0x80));
            let expected: Vec<u8> = codes.collect();
            assert_eq!(client.out[..4], [0x90, 2 + expected.len() as u8, 0, 9]);
            assert_eq!(client.out[4..], expected);
        }
    }
}

// MQTT-4.7.3-1
#[test]
fn an_empty_filter_is_an_invalid_one_in_mqtt_5() {
    let mut client = Client::connected(Version::V5);
    let request = subscribe(&mut client, Version::V5, &[("", QoS::AtMostOnce)]);
    client.session.subscribed(&request, &mut client.out);
    assert_eq!(suback_v5(&mut client).status, [Code::TopicFilterInvalid]);
}

#[test]
fn the_caller_may_turn_a_filter_down() {
    for (failure, code) in [
        (SubscribeFailure::Unspecified, Code::UnspecifiedError),
        (SubscribeFailure::NotAuthorized, Code::NotAuthorized),
        (SubscribeFailure::QuotaExceeded, Code::QuotaExceeded),
        (
            SubscribeFailure::WildcardNotSupported,
            Code::WildcardSubscriptionsNotSupported,
        ),
    ] {
        let mut client = Client::connected(Version::V5);
        let filters = [("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce)];
        let mut request = subscribe(&mut client, Version::V5, &filters);
        request.entries[1].verdict = Err(failure);
        client.session.subscribed(&request, &mut client.out);
        assert_eq!(suback_v5(&mut client).status, [Code::GrantedQos1, code]);
    }
}

#[test]
fn mqtt_5_options_reach_the_caller() {
    let mut client = Client::connected(Version::V5);
    // Retain handling 2, retain as published, no local, QoS 2.
    let action = client.send_raw(b"\x82\x07\x00\x09\x00\x00\x01a\x2E");
    let Action::Subscribe(request) = action else {
        panic!("{action:?}")
    };
    let expected = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
    };
    assert_eq!(request.entries[0].verdict, Ok(expected));
    assert_eq!(SubscriptionOptions::from_bits(expected.to_bits()), expected);
}

#[test]
fn a_subscription_identifier_ends_the_session() {
    let mut client = Client::connected(Version::V5);
    let action = client.send_v5(v5::Packet::Subscribe(v5::Subscribe {
        packet_id: id(9),
        id: 1.try_into().ok(),
        user_properties: Vec::new(),
        topic_filters: vec![("a".into(), v5::SubscriptionOptions::default())],
    }));
    assert!(
        matches!(action, Action::Close(CloseReason::NotSupported(_))),
        "{action:?}"
    );
    let code = DisconnectReasonCode::SubscriptionIdentifiersNotSupported;
    client.assert_thrown_out(&action, code);
}

/// SUBSCRIBE with options (§3.8.3.1) and perhaps an identifier of one byte.
fn raw_subscribe(filter: &str, options: u8, subscription_id: Option<u8>) -> Vec<u8> {
    let mut body = vec![0, 9];
    match subscription_id {
        None => body.push(0),
        Some(id) => body.extend([2, 0x0B, id]),
    }
    body.extend([0, filter.len() as u8]);
    body.extend(filter.as_bytes());
    body.push(options);
    [&[0x82, body.len() as u8], &body[..]].concat()
}

#[test]
fn a_subscription_identifier_reaches_the_caller_where_available() {
    let mut client = Client::connected(Version::V5);
    client.limits.subscription_ids_available = true;
    for subscription_id in [None, Some(1), Some(127)] {
        let action = client.send_raw(&raw_subscribe("a", 0, subscription_id));
        let Action::Subscribe(request) = action else {
            panic!("{action:?}")
        };
        let found = request.subscription_id.map(|id| id.get());
        assert_eq!(found, subscription_id.map(u32::from));
    }
}

// MQTT-4.8.2-1, MQTT-4.8.2-2
#[test]
fn a_shared_filter_has_a_group_and_a_filter() {
    let rows = [
        ("$share/g/a/+", Code::GrantedQos1),
        ("$share/g/#", Code::GrantedQos1),
        ("$share/g//", Code::GrantedQos1),
        ("$share/g/1/2/3/4/5/6/7/8", Code::GrantedQos1),
        ("$share/g/1/2/3/4/5/6/7/8/9", Code::TopicFilterInvalid),
        ("$share/g/", Code::TopicFilterInvalid),
        ("$share/g", Code::TopicFilterInvalid),
        ("$share//a", Code::TopicFilterInvalid),
        ("$share/g+/a", Code::TopicFilterInvalid),
        ("$share/#/a", Code::TopicFilterInvalid),
        ("$share/g/a/#/b", Code::TopicFilterInvalid),
    ];
    for version in ALL {
        for (filter, code) in rows {
            let mut client = Client::connected(version);
            client.limits.shared_available = true;
            let request = subscribe(&mut client, version, &[(filter, QoS::AtLeastOnce)]);
            assert_eq!(request.entries[0].filter, filter);
            client.session.subscribed(&request, &mut client.out);
            if version == Version::V5 {
                assert_eq!(suback_v5(&mut client).status, [code], "{filter}");
            } else {
                assert_eq!(client.out[4], u8::from(code).min(0x80), "{filter}");
            }
        }
    }
}

// MQTT-3.8.3-4
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    for available in [true, false] {
        let mut client = Client::connected(Version::V5);
        client.limits.shared_available = available;
        let action = client.send_raw(&raw_subscribe("$share/g/a", 0b101, None));
        client.assert_thrown_out(&action, DisconnectReasonCode::ProtocolError);
    }
    let mut client = Client::connected(Version::V5);
    let action = client.send_raw(&raw_subscribe("share/g/a", 0b101, None));
    assert!(matches!(action, Action::Subscribe(_)), "{action:?}");
}

// MQTT-3.1.2-24
#[test]
fn a_suback_over_the_clients_packet_size_is_not_sent() {
    let connect = v5::Connect {
        max_packet_size: 64.try_into().ok(),
        ..connect_v5()
    };
    let mut client = Client::connected_with(Connect::V5(connect));
    client.limits.filters_per_packet_max = 100;
    let filters = vec![("a", QoS::AtMostOnce); 60];
    let request = subscribe(&mut client, Version::V5, &filters);
    client.session.subscribed(&request, &mut client.out);
    assert!(client.out.is_empty());
}

// MQTT-2.2.1-6, MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-3.10.4-6, MQTT-3.11.2-1, MQTT-3.11.3-1,
// MQTT-3.11.3-2
#[test]
fn unsuback_says_what_was_there() {
    let mut client = Client::connected(Version::V5);
    let action = client.send_v5(v5::Packet::Unsubscribe(v5::Unsubscribe {
        packet_id: id(3),
        user_properties: Vec::new(),
        topic_filters: vec!["a".into(), "b".into(), "a+".into(), "one too many".into()],
    }));
    let Action::Unsubscribe(request) = action else {
        panic!("{action:?}")
    };
    assert_eq!(request.filters, ["a", "b", "a+", "one too many"]);
    let results = [
        UnsubscribeResult::Success,
        UnsubscribeResult::NoSubscriptionExisted,
        UnsubscribeResult::TopicFilterInvalid,
        UnsubscribeResult::NotAccepted,
    ];
    client
        .session
        .unsubscribed(request.packet_id, &results, &mut client.out);
    let expected = v5::UnsubscribeAck {
        packet_id: id(3),
        properties: Vec::new(),
        reason_string: None,
        status: vec![
            UnsubscribeAckReason::Success,
            UnsubscribeAckReason::NoSubscriptionExisted,
            UnsubscribeAckReason::TopicFilterInvalid,
            UnsubscribeAckReason::ImplementationSpecificError,
        ],
    };
    assert_eq!(client.replies_v5(), [v5::Packet::UnsubscribeAck(expected)]);
}

// MQTT-3.10.4-4, MQTT-3.10.4-5
#[test]
fn unsuback_of_mqtt_3_has_no_codes() {
    for version in V3 {
        let mut client = Client::connected(version);
        let topic_filters = vec!["a".into()];
        let action = client.send_v3(v3::Packet::Unsubscribe {
            packet_id: id(3),
            topic_filters,
        });
        let Action::Unsubscribe(request) = action else {
            panic!("{action:?}")
        };
        let results = [UnsubscribeResult::NoSubscriptionExisted];
        client
            .session
            .unsubscribed(request.packet_id, &results, &mut client.out);
        assert_eq!(client.out[..], [0xB0, 2, 0, 3]);
    }
}

#[test]
fn mqtt_31_may_repeat_requests_with_the_dup_flag() {
    for (version, accepted) in [
        (Version::V31, true),
        (Version::V311, false),
        (Version::V5, false),
    ] {
        for bytes in [
            &b"\x8A\x06\x00\x09\x00\x01a\x00"[..],
            b"\xAA\x05\x00\x09\x00\x01a",
        ] {
            let mut client = Client::connected(version);
            let action = client.send_raw(bytes);
            assert_eq!(
                !matches!(action, Action::Close(_)),
                accepted,
                "{version:?} {action:?}"
            );
        }
    }
}

// MQTT-3.1.2-29, MQTT-3.9.2-1
#[test]
fn the_reason_of_a_suback_is_left_out_where_it_does_not_fit_or_is_not_wanted() {
    for (bytes_max, wanted, has_text) in [(200, true, true), (64, true, false), (200, false, false)]
    {
        let connect = v5::Connect {
            max_packet_size: bytes_max.try_into().ok(),
            request_problem_info: wanted,
            ..connect_v5()
        };
        let mut client = Client::connected_with(Connect::V5(connect));
        client.limits.filters_per_packet_max = 100;
        let filters = vec![("a+", QoS::AtMostOnce); 50];
        let request = subscribe(&mut client, Version::V5, &filters);
        client.session.subscribed(&request, &mut client.out);
        assert!(client.out.len() <= bytes_max as usize);
        let ack = suback_v5(&mut client);
        assert_eq!(ack.status, [Code::TopicFilterInvalid; 50]);
        assert_eq!(ack.reason_string.is_some(), has_text);
    }
}

// MQTT-2.2.2-1
#[test]
fn packets_without_properties_say_so() {
    let mut client = Client::connected(Version::V5);
    let request = subscribe(&mut client, Version::V5, &[("a", QoS::AtMostOnce)]);
    client.session.subscribed(&request, &mut client.out);
    assert_eq!(client.out.split()[..], *b"\x90\x04\x00\x09\x00\x00");
    let results = [UnsubscribeResult::Success];
    client
        .session
        .unsubscribed(id(9), &results, &mut client.out);
    assert_eq!(client.out.split()[..], *b"\xB0\x04\x00\x09\x00\x00");
    let message = own_message("a", "x", QoS::AtMostOnce);
    let _ = client.deliver(&message, QoS::AtMostOnce.into());
    assert_eq!(client.out.split()[..], *b"\x30\x05\x00\x01a\x00x");
    // What has none itself is read as having none.
    for bytes in [&b"\xC0\x00"[..], b"\x30\x05\x00\x01a\x00x"] {
        let action = client.send_raw(bytes);
        assert!(!matches!(action, Action::Close(_)), "{action:?}");
    }
}
