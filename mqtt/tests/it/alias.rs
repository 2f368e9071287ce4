//! Topic aliases, both ways.

use mqtt::{Action, Delivery, DropReason, QoS, Version};
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{self, DisconnectReasonCode as Code, PublishProperties};

use crate::script::*;

fn aliased(topic: &str, alias: u16) -> Publish {
    Publish {
        properties: Some(PublishProperties {
            topic_alias: alias.try_into().ok(),
            ..Default::default()
        }),
        ..message(topic, QoS::AtMostOnce)
    }
}

// MQTT-3.3.2-12
#[test]
fn an_alias_stands_for_its_name_until_it_gets_another() {
    let mut client = Client::connected(Version::V5);
    for (topic, alias, expected) in [
        ("first", 1, "first"),
        ("", 1, "first"),
        ("second", 2, "second"),
        ("", 1, "first"),
        ("third", 1, "third"),
        ("", 1, "third"),
        ("", 2, "second"),
        ("last", 3, "last"),
        ("", 3, "last"),
    ] {
        let inbound = client.publish_inbound(aliased(topic, alias));
        assert_eq!(inbound.message.topic(), expected);
    }
}

// MQTT-3.3.2-9
#[test]
fn aliases_beyond_the_maximum_or_without_a_name_end_the_session() {
    for (topic, alias, code) in [
        ("a", 4, Code::TopicAliasInvalid),
        ("a", u16::MAX, Code::TopicAliasInvalid),
        ("", 3, Code::ProtocolError),
    ] {
        let mut client = Client::connected(Version::V5);
        let action = client.publish(aliased(topic, alias));
        client.assert_thrown_out(&action, code);
    }
    let mut client = Client::connected(Version::V5);
    client.limits.topic_alias_max = 0;
    let action = client.publish(aliased("a", 1));
    client.assert_thrown_out(&action, Code::TopicAliasInvalid);
}

// MQTT-3.3.2-7
#[test]
fn aliases_belong_to_one_connection() {
    let mut first = Client::connected(Version::V5);
    first.publish_inbound(aliased("a", 1));
    let mut second = Client::connected(Version::V5);
    let action = second.publish(aliased("", 1));
    second.assert_thrown_out(&action, Code::ProtocolError);
}

#[test]
fn an_invalid_name_is_refused_with_an_alias_too() {
    let mut client = Client::connected(Version::V5);
    let action = client.publish(aliased("a/#", 1));
    client.assert_thrown_out(&action, Code::TopicNameInvalid);
}

#[test]
fn names_of_the_server_are_known_behind_an_alias() {
    let mut client = Client::connected(Version::V5);
    let action = client.publish(aliased("$SYS/x", 1));
    assert!(matches!(action, Action::Continue), "{action:?}");
    let action = client.publish(aliased("", 1));
    assert!(matches!(action, Action::Continue), "{action:?}");
    client.publish_inbound(aliased("a", 1));
    let action = client.publish(aliased(mqtt::LOGOUT_TOPIC, 2));
    assert!(matches!(action, Action::Close(_)), "{action:?}");
}

fn subscriber(topic_alias_max: u16) -> Client {
    Client::connected_with(Connect::V5(v5::Connect {
        topic_alias_max,
        ..connect_v5()
    }))
}

/// Topic and alias of what a subscriber is sent for a message to `topic`.
fn sent(client: &mut Client, topic: &str) -> (String, Option<u16>) {
    let message = own_message(topic, "x", QoS::AtLeastOnce);
    let delivery = client.deliver(&message, QoS::AtLeastOnce.into());
    assert_eq!(delivery, Delivery::Sent);
    let publish = client.published().remove(0);
    assert_eq!(publish.payload, "x");
    client.publish_ack(publish.packet_id.unwrap().get());
    let alias = publish.properties.and_then(|found| found.topic_alias);
    (publish.topic.to_string(), alias.map(|alias| alias.get()))
}

// MQTT-3.1.2-26, MQTT-3.3.2-11
#[test]
fn the_first_topics_get_an_alias_within_both_maximums() {
    for (topic_alias_max, count) in [(1, 1), (2, 2), (9, 2)] {
        let mut client = subscriber(topic_alias_max);
        for round in 0..2 {
            for (number, topic) in (1_u16..).zip(["first", "second", "third"]) {
                let name = if round == 0 || number > count {
                    topic
                } else {
                    ""
                };
                let alias = (number <= count).then_some(number);
                assert_eq!(sent(&mut client, topic), (name.to_owned(), alias));
            }
        }
    }
}

// MQTT-3.1.2-27, MQTT-3.3.2-11
#[test]
fn the_alias_of_a_publisher_is_not_passed_on() {
    let inbound = Client::connected(Version::V5).publish_inbound(aliased("topic", 3));
    let message = std::sync::Arc::new(inbound.message);
    for (topic_alias_max, alias) in [(0, None), (9, Some(1))] {
        let mut client = subscriber(topic_alias_max);
        let delivery = client.deliver(&message, QoS::AtMostOnce.into());
        assert_eq!(delivery, Delivery::Sent);
        let properties = client.published().remove(0).properties.unwrap_or_default();
        assert_eq!(properties.topic_alias.map(|alias| alias.get()), alias);
    }
}

// MQTT-3.1.2-27
#[test]
fn no_alias_is_sent_to_those_who_take_none() {
    let mut client = subscriber(0);
    for _ in 0..2 {
        assert_eq!(sent(&mut client, "topic"), ("topic".to_owned(), None));
    }
    let mut client = subscriber(9);
    client.limits.topic_alias_sent_max = 0;
    assert_eq!(sent(&mut client, "topic"), ("topic".to_owned(), None));
}

#[test]
fn names_that_are_not_worth_it_get_no_alias() {
    let long = "t".repeat(1025);
    let mut client = subscriber(9);
    for topic in ["a/b", &long] {
        assert_eq!(sent(&mut client, topic), (topic.to_owned(), None));
    }
}

// MQTT-3.1.2-24
#[test]
fn an_alias_never_makes_a_packet_too_large() {
    let message = own_message("topic", &"x".repeat(60), QoS::AtMostOnce);
    let plain = message.frame(Version::V5, QoS::AtMostOnce).len() as u32;
    for bytes_max in plain - 1..plain + 8 {
        let mut client = Client::connected_with(Connect::V5(v5::Connect {
            topic_alias_max: 9,
            max_packet_size: bytes_max.try_into().ok(),
            ..connect_v5()
        }));
        for _ in 0..3 {
            let delivery = client.deliver(&message, QoS::AtMostOnce.into());
            if bytes_max < plain {
                assert_eq!(delivery, Delivery::Dropped(DropReason::PacketTooLarge));
                continue;
            }
            assert_eq!(delivery, Delivery::Sent);
            let bytes = client.out.len();
            assert!(bytes <= bytes_max as usize, "{bytes} > {bytes_max}");
            assert_eq!(client.published().len(), 1);
        }
    }
}

/// A message to "topic" whose properties and whole packet have just so many bytes, without the
/// fixed header.
fn sized(properties_len: usize, remaining_len: usize) -> std::sync::Arc<mqtt::Message> {
    let value = "v".repeat(properties_len - 6);
    let head = 7 + if properties_len < 0x80 { 1 } else { 2 } + properties_len;
    let publish = Publish {
        payload: vec![b'x'; remaining_len - head].into(),
        properties: Some(vec![("k".into(), value.into())].into()),
        ..message("topic", QoS::AtMostOnce)
    };
    Client::connected(Version::V5)
        .publish_inbound(publish)
        .message
        .into()
}

// MQTT-3.1.2-24
#[test]
fn an_alias_counts_with_the_lengths_that_it_makes_longer() {
    // Of the properties, of the packet, of both, of neither.
    for (properties_len, remaining_len) in [(126, 300), (20, 126), (126, 16_382), (20, 60)] {
        let message = sized(properties_len, remaining_len);
        let plain = message.frame(Version::V5, QoS::AtMostOnce).len() as u32;
        let longer = u32::from(properties_len == 126) + u32::from(remaining_len % 128 == 126);
        for bytes_max in plain..plain + 8 {
            let mut client = Client::connected_with(Connect::V5(v5::Connect {
                topic_alias_max: 9,
                max_packet_size: bytes_max.try_into().ok(),
                ..connect_v5()
            }));
            let delivery = client.deliver(&message, QoS::AtMostOnce.into());
            assert_eq!(delivery, Delivery::Sent);
            let bytes = client.out.len() as u32;
            // Two lengths may grow: there must be room for that, whether they do or not.
            let has_alias = bytes_max >= plain + 5;
            let expected = plain + if has_alias { 3 + longer } else { 0 };
            assert_eq!(bytes, expected, "{properties_len} {remaining_len}");
        }
    }
}
