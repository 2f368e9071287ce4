//! Properties over random input: nothing panics, closed is closed, limits hold,
//! and what is delivered is what was published.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use mqtt::{Action, Delivery, Inbound, Message, PublishOutcome, QoS, Version, whole_frame};
use proptest::collection::vec;
use proptest::prelude::*;
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{self, PublishProperties};
use rmqtt_codec::{v3, version::VersionCodec};
use tokio_util::codec::Decoder;

use crate::script::*;

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

/// Feeds a byte stream as a connection would, answering what is asked.
fn feed(client: &mut Client, mut input: BytesMut) {
    loop {
        let bytes_max = client.limits.packet_bytes_max;
        let action = match whole_frame(&input, bytes_max) {
            Ok(None) => return,
            Ok(Some(len)) => {
                let frame = BytesMut::from(&input.split_to(len)[..]);
                client
                    .session
                    .handle_frame(frame, client.now_ms, &client.limits, &mut client.out)
            }
            Err(error) => Action::Close(client.session.handle_frame_error(error, &mut client.out)),
        };
        if answer(client, action) {
            client.out.clear();
            client.assert_closed();
            return;
        }
    }
}

/// Whether the session is over.
fn answer(client: &mut Client, action: Action) -> bool {
    let Client { session, out, .. } = client;
    match action {
        Action::Continue => {}
        Action::Open(_) => client.accept(),
        Action::Publish(inbound) => {
            let closed = session.published(inbound.packet_id, PublishOutcome::Routed, out);
            assert_eq!(closed, None);
        }
        Action::Subscribe(request) => session.subscribed(&request, out),
        Action::Unsubscribe(request) => session.unsubscribed(request.packet_id, &[], out),
        Action::Acknowledged(_) | Action::Received(_) | Action::Release(_) => {
            panic!("not a stored session: {action:?}")
        }
        Action::Close(_) => return true,
    }
    false
}

/// A packet type that occurs, a true length, and any body.
fn plausible_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        Just(0x10_u8),
        Just(0x30),
        Just(0x32),
        Just(0x34),
        Just(0x40),
        Just(0x50),
        Just(0x62),
        Just(0x70),
        Just(0x82),
        Just(0xA2),
        Just(0xC0),
        Just(0xE0),
        Just(0xF0),
        any::<u8>()
    ];
    let body = vec(
        prop_oneof![3 => 0_u8..4, 1 => any::<u8>(), 1 => b'a'..=b'c'],
        0..60,
    );
    (first, body).prop_map(|(first, body)| {
        let mut frame = vec![first, u8::try_from(body.len()).unwrap()];
        frame.extend(body);
        frame
    })
}

fn sample_packets(version: Version) -> Vec<BytesMut> {
    let publish = message("a/b", QoS::AtLeastOnce);
    match version {
        Version::V5 => {
            let properties = PublishProperties {
                correlation_data: Some("c".into()),
                content_type: Some("t".into()),
                user_properties: vec![("k".into(), "v".into())],
                response_topic: Some("r".into()),
                message_expiry_interval: 9.try_into().ok(),
                ..Default::default()
            };
            let connect = v5::Connect {
                username: Some("u".into()),
                password: Some("p".into()),
                user_properties: vec![("os".into(), "iOS".into())],
                session_expiry_interval_secs: 5,
                ..connect_v5()
            };
            let subscribe = v5::Subscribe {
                packet_id: id(1),
                id: None,
                user_properties: vec![("k".into(), "v".into())],
                topic_filters: vec![("a/+".into(), v5::SubscriptionOptions::default())],
            };
            let disconnect = v5::Disconnect {
                reason_string: Some("bye".into()),
                user_properties: vec![("logout".into(), "true".into())],
                ..Default::default()
            };
            let packets = vec![
                connect.into(),
                Publish {
                    properties: Some(properties),
                    ..publish
                }
                .into(),
                subscribe.into(),
                v5::Packet::PingRequest,
                v5::PublishAck::default().into(),
                disconnect.into(),
            ];
            packets.into_iter().map(encode_v5).collect()
        }
        Version::V31 | Version::V311 => {
            let connect = v3::Connect {
                username: Some("u".into()),
                password: Some("p".into()),
                ..connect_v3(version)
            };
            let topic_filters = vec![
                ("a/+".into(), QoS::AtLeastOnce),
                ("b".into(), QoS::ExactlyOnce),
            ];
            let packets = vec![
                connect.into(),
                publish.into(),
                v3::Packet::Subscribe {
                    packet_id: id(1),
                    topic_filters,
                },
                v3::Packet::Unsubscribe {
                    packet_id: id(2),
                    topic_filters: vec!["b".into()],
                },
                v3::Packet::PingRequest,
                v3::Packet::Disconnect,
            ];
            packets.into_iter().map(encode_v3).collect()
        }
    }
}

/// The whole of a valid conversation.
fn conversation(version: Version) -> BytesMut {
    let mut bytes = BytesMut::new();
    for packet in sample_packets(version) {
        bytes.extend_from_slice(&packet);
    }
    bytes
}

fn any_qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn any_text() -> impl Strategy<Value = ByteString> {
    "[a-zé/ ]{0,12}".prop_map(ByteString::from)
}

fn any_properties() -> impl Strategy<Value = PublishProperties> {
    let texts = (
        proptest::option::of(any_text()),
        proptest::option::of("[a-z/]{1,9}"),
    );
    let data = proptest::option::of(vec(any::<u8>(), 0..200).prop_map(Bytes::from));
    let pairs = vec((any_text(), any_text()), 0..4);
    (
        texts,
        data,
        pairs,
        any::<Option<std::num::NonZeroU32>>(),
        any::<bool>(),
    )
        .prop_map(
            |((content_type, response_topic), correlation_data, user_properties, expiry, utf8)| {
                PublishProperties {
                    content_type,
                    response_topic: response_topic.map(ByteString::from),
                    correlation_data,
                    user_properties,
                    message_expiry_interval: expiry,
                    is_utf8_payload: utf8,
                    ..Default::default()
                }
            },
        )
}

/// The input is cheap and the rare paths are many; PROPTEST_CASES asks for more.
fn at_least_1000_cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(1000),
        ..default
    }
}

proptest! {
    #![proptest_config(at_least_1000_cases())]

    #[test]
    fn the_codec_does_not_panic_on_garbage(frame in plausible_frame()) {
        let _ = v3::Codec::new(0).decode(&mut BytesMut::from(&frame[..]));
        let _ = v5::Codec::new(0, 0).decode(&mut BytesMut::from(&frame[..]));
        let _ = VersionCodec.decode(&mut BytesMut::from(&frame[..]));
    }

    #[test]
    fn random_bytes_never_panic(
        version in any_version(),
        connected in any::<bool>(),
        bytes in vec(any::<u8>(), 0..300),
    ) {
        let mut client = if connected { Client::connected(version) } else { Client::new(version) };
        feed(&mut client, BytesMut::from(&bytes[..]));
    }

    #[test]
    fn random_bodies_never_panic(
        version in any_version(),
        connected in any::<bool>(),
        frames in vec(plausible_frame(), 1..5),
    ) {
        let mut client = if connected { Client::connected(version) } else { Client::new(version) };
        feed(&mut client, BytesMut::from(&frames.concat()[..]));
    }

    #[test]
    fn mutated_conversations_never_panic(
        version in any_version(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = conversation(version);
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        feed(&mut Client::new(version), bytes);
    }

    #[test]
    fn what_is_delivered_is_what_was_published(
        topic in "[a-z/é]{1,40}",
        payload in vec(any::<u8>(), 0..300),
        properties in any_properties(),
        qos in any_qos(),
        version in any_version(),
    ) {
        let is_text = properties.is_utf8_payload && std::str::from_utf8(&payload).is_ok();
        let properties = PublishProperties { is_utf8_payload: is_text, ..properties };
        let publish = Publish {
            payload: payload.into(),
            properties: Some(properties.clone()),
            ..message(&topic, qos)
        };
        let action = Client::connected(Version::V5).publish(publish.clone());
        let Action::Publish(inbound) = action else { panic!("{action:?}") };
        let mut receiver = Client::connected(version);
        let Client { session, limits, out, .. } = &mut receiver;
        let delivery = session.deliver(&Arc::new(inbound.message), qos.into(), true, 0, limits, out);
        prop_assert_eq!(delivery, Delivery::Sent);
        let received = receiver.published().remove(0);
        prop_assert_eq!(received.topic, publish.topic);
        prop_assert_eq!(received.payload, publish.payload);
        prop_assert_eq!(received.qos, qos);
        if version == Version::V5 {
            prop_assert_eq!(received.properties, Some(properties));
        }
    }

    #[test]
    fn a_stored_message_is_the_message(
        topic in "[a-z/é]{1,40}",
        payload in vec(any::<u8>(), 0..300),
        properties in any_properties(),
        qos in any_qos(),
        retain in any::<bool>(),
    ) {
        let is_text = properties.is_utf8_payload && std::str::from_utf8(&payload).is_ok();
        let properties = PublishProperties { is_utf8_payload: is_text, ..properties };
        let publish = Publish {
            payload: payload.into(),
            properties: Some(properties),
            retain,
            ..message(&topic, qos)
        };
        let mut client = Client::connected(Version::V5);
        client.limits.retain_available = true;
        let action = client.publish(publish);
        let Action::Publish(Inbound { message, .. }) = action else { panic!("{action:?}") };
        let stored = message.encode_stored().unwrap();
        let again = Message::decode_stored(stored.clone()).unwrap();
        prop_assert_eq!((again.qos(), again.retain()), (qos, retain));
        prop_assert_eq!(again.topic(), message.topic());
        prop_assert_eq!(again.payload(), message.payload());
        prop_assert_eq!(again.expires_at_ms(), message.expires_at_ms());
        prop_assert_eq!(again.frame(Version::V5, qos), message.frame(Version::V5, qos));
        prop_assert_eq!(again.encode_stored().unwrap(), stored);
    }

    #[test]
    fn damaged_stored_messages_never_panic(
        bytes in vec(any::<u8>(), 0..60),
        plausible in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if plausible && bytes.len() > 10 {
            (bytes[0], bytes[9], bytes[10]) = (1, 0x30, bytes.len() as u8 - 11);
        }
        let _ = Message::decode_stored(bytes.into());
    }

    #[test]
    fn window_and_queue_stay_within_their_limits(
        version in any_version(),
        steps in vec(prop_oneof![Just(None), (0..4_usize).prop_map(Some)], 1..80),
    ) {
        let mut client = Client::connected(version);
        let mut inflight = Vec::new();
        let (mut next, mut last_received) = (0_u32, None);
        let mut waiting = 0_u32;
        for step in steps {
            match step {
                None => {
                    let payload = next.to_be_bytes().to_vec();
                    let message = Arc::new(Message::new("a".into(), payload.into(), QoS::AtLeastOnce));
                    let Client { session, limits, out, .. } = &mut client;
                    match session.deliver(&message, QoS::AtLeastOnce.into(), true, 0, limits, out) {
                        Delivery::Sent => prop_assert_eq!(waiting, 0),
                        Delivery::Queued => waiting += 1,
                        Delivery::QueueFull => prop_assert_eq!(waiting, 4),
                        other => panic!("{other:?}"),
                    }
                    next += 1;
                }
                Some(index) if !inflight.is_empty() => {
                    let packet_id: u16 = inflight.remove(index % inflight.len());
                    client.publish_ack(packet_id);
                    waiting = waiting.saturating_sub(1);
                }
                Some(_) => {}
            }
            for publish in client.published() {
                inflight.push(publish.packet_id.unwrap().get());
                let payload = publish.payload.to_vec();
                prop_assert!(last_received.as_ref().is_none_or(|last| *last < payload), "in order");
                last_received = Some(payload);
            }
            prop_assert!(inflight.len() <= 3);
            prop_assert_eq!(inflight.iter().collect::<HashSet<_>>().len(), inflight.len());
            prop_assert!(client.session.outbound_bytes() <= 400);
            prop_assert_eq!(client.session.outbound_bytes() == 0, waiting == 0);
        }
    }
}
