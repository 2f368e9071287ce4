//! Who gets a message, how often and at which QoS.

use bytes::Bytes;
use mqtt::{Message, QoS};
use presence::{Address, Opening, Org, Protocol, SessionId, SessionRef};
use topics::TopicFilter;

use super::Routes;

const NO_LOCAL: u8 = 1 << 2;

/// The connection's number says who got what.
fn open(org: &Org, worker: u16, connection: u32) -> SessionRef {
    org.open(&Opening {
        id: SessionId([7; 16]),
        username: "alice",
        client_id: &format!("client-{connection}"),
        protocol: Protocol::V5,
        peer: None,
        os: None,
        connected_at_ms: 1,
        address: Address { worker, connection },
    })
    .session
}

fn subscribe(org: &Org, session: SessionRef, filter: &str, options: u8) {
    let filter = TopicFilter::parse(filter).unwrap();
    org.subscribe(session, filter, options, None, 100).unwrap();
}

/// Event loop, connection and QoS of each delivery.
fn route(org: &Org, publisher: Option<SessionRef>, qos: QoS) -> Vec<(u16, u32, u8)> {
    let mut routes = Routes::default();
    routes.find(
        org,
        publisher,
        &Message::new("a/b".into(), Bytes::new(), qos),
    );
    let groups = routes.groups(0);
    let all = groups.flat_map(|(worker, deliveries)| {
        let told = move |one: &super::Delivery| (worker, one.connection, one.qos.value());
        deliveries.iter().map(told)
    });
    all.collect()
}

// MQTT-3.3.4-2
#[test]
fn a_session_with_overlapping_subscriptions_gets_one_copy_at_the_highest_qos() {
    let org = Org::new("org");
    let session = open(&org, 0, 1);
    for (filter, qos) in [("a/#", 0), ("a/b", 1), ("a/+", 0), ("+/b", 1)] {
        subscribe(&org, session, filter, qos);
    }
    assert_eq!(route(&org, None, QoS::AtLeastOnce), [(0, 1, 1)]);
    assert_eq!(route(&org, None, QoS::AtMostOnce), [(0, 1, 0)]);
}

#[test]
fn deliveries_stand_by_event_loop_the_own_last_whatever_the_order_of_subscription() {
    let org = Org::new("org");
    for connection in 0..6 {
        let session = open(&org, (connection % 3) as u16, connection);
        subscribe(&org, session, "a/b", 0);
        subscribe(&org, session, "a/#", 0);
    }
    let found = route(&org, None, QoS::AtMostOnce);
    let places: Vec<_> = found.iter().map(|found| (found.0, found.1)).collect();
    // `route` asks for loop 0.
    assert_eq!(places, [(1, 1), (1, 4), (2, 2), (2, 5), (0, 0), (0, 3)]);
}

/// Identifiers and RETAIN of the only delivery of a retained message.
fn details(org: &Org, publisher: Option<SessionRef>) -> (Vec<u32>, bool) {
    let message = Message::new("a/b".into(), Bytes::new(), QoS::AtMostOnce).with_retain(true);
    let mut routes = Routes::default();
    routes.find(org, publisher, &message);
    let mut all = routes.groups(0).flat_map(|(_, deliveries)| deliveries);
    let delivery = all.next().unwrap();
    assert!(all.next().is_none());
    let ids = delivery.identifiers.iter().flat_map(|ids| ids.iter());
    (ids.map(|id| id.get()).collect(), delivery.retain)
}

// MQTT-3.3.4-3, MQTT-3.3.4-4
#[test]
fn the_copy_has_the_identifiers_of_all_its_subscriptions() {
    let org = Org::new("org");
    let session = open(&org, 0, 1);
    for (filter, options, identifier) in [
        ("a/#", 0, Some(7)),
        ("a/b", 0, None),
        ("a/+", NO_LOCAL, Some(9)),
        ("other", 0, Some(8)),
    ] {
        let filter = TopicFilter::parse(filter).unwrap();
        let identifier = identifier.and_then(std::num::NonZeroU32::new);
        org.subscribe(session, filter, options, identifier, 100)
            .unwrap();
    }
    assert_eq!(details(&org, None).0, [7, 9]);
    assert_eq!(details(&org, Some(session)).0, [7], "without No Local");
}

// MQTT-3.3.4-5
#[test]
fn the_copy_of_a_share_has_the_identifier_of_that_share() {
    let org = Org::new("org");
    let session = open(&org, 0, 1);
    for (filter, identifier) in [("a/b", 7), ("$share/g/a/b", 8), ("$share/h/a/+", 9)] {
        let filter = TopicFilter::parse(filter).unwrap();
        let identifier = std::num::NonZeroU32::new(identifier);
        org.subscribe(session, filter, 0, identifier, 100).unwrap();
    }
    let message = Message::new("a/b".into(), Bytes::new(), QoS::AtMostOnce);
    let mut routes = Routes::default();
    routes.find(&org, None, &message);
    let all = routes.groups(0).flat_map(|(_, deliveries)| deliveries);
    let mut found: Vec<Vec<u32>> = all
        .map(|delivery| {
            let ids = delivery.identifiers.iter().flat_map(|ids| ids.iter());
            ids.map(|id| id.get()).collect()
        })
        .collect();
    found.sort();
    assert_eq!(found, [[7], [8], [9]]);
}

// MQTT-3.3.1-12, MQTT-3.3.1-13
#[test]
fn retain_is_kept_for_those_who_ask_for_it() {
    const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
    for (options, expected) in [(0, false), (RETAIN_AS_PUBLISHED, true)] {
        let org = Org::new("org");
        let session = open(&org, 0, 1);
        subscribe(&org, session, "a/b", options);
        subscribe(&org, session, "a/#", 0);
        assert_eq!(details(&org, None), (Vec::new(), expected));
    }
}

// MQTT-3.8.3-3
#[test]
fn no_local_keeps_a_message_from_its_publisher_unless_another_subscription_wants_it() {
    let org = Org::new("org");
    let (publisher, other) = (open(&org, 0, 1), open(&org, 0, 2));
    for session in [publisher, other] {
        subscribe(&org, session, "a/+", 1 | NO_LOCAL);
    }
    let route = || route(&org, Some(publisher), QoS::AtLeastOnce);
    assert_eq!(route(), [(0, 2, 1)]);
    subscribe(&org, publisher, "a/b", 0);
    assert!(route().contains(&(0, 1, 0)));
}

// MQTT-4.8.2-3
#[test]
fn each_group_gets_one_copy_beside_those_of_ordinary_subscriptions() {
    let org = Org::new("org");
    let sessions = [open(&org, 0, 1), open(&org, 1, 2)];
    for session in sessions {
        subscribe(&org, session, "$share/g/a/+", 1);
        subscribe(&org, session, "$share/h/a/+", 0);
    }
    subscribe(&org, sessions[0], "a/b", 1);
    let mut found = Vec::new();
    for _ in 0..2 {
        let once = route(&org, None, QoS::AtLeastOnce);
        assert_eq!(once.len(), 3);
        found.extend(once);
    }
    found.sort_unstable();
    // In two messages everybody has had a turn in each group.
    let turns = [
        (0, 1, 0),
        (0, 1, 1),
        (0, 1, 1),
        (0, 1, 1),
        (1, 2, 0),
        (1, 2, 1),
    ];
    assert_eq!(found, turns);
}
