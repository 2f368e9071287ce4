//! What a stored session gets for its subscriptions that match.

use bytes::Bytes;
use messages::{Attachment, Carrier, ReplyTo, StoredRecipient, StoredRef, Subscription, To};
use mqtt::{Message, PublishOutcome, QoS};
use presence::{Address, Opening, Org, Protocol, SessionId};

use super::super::routing::{Origin, Routes};
use super::target;

const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;

const SESSION: StoredRef = StoredRef(7);

/// A matching subscription of the session, whose client is away.
fn matched(options: u8, id: Option<u32>) -> StoredRecipient {
    StoredRecipient {
        session: SESSION,
        subscription: Subscription { options, id },
        share: None,
        carrier: None,
    }
}

fn message(qos: QoS) -> Message {
    Message::new("a/b".into(), Bytes::new(), qos).with_retain(true)
}

/// What the session gets of a message by others.
fn to(matched: &[StoredRecipient], qos: QoS) -> Option<To> {
    target(
        matched,
        &Origin::default(),
        &message(qos),
        &mut Routes::default(),
    )
}

// MQTT-3.3.4-2, MQTT-3.8.4-8
#[test]
fn overlapping_subscriptions_make_one_copy_at_the_highest_qos() {
    let subscriptions = [0, 2, 1].map(|options| matched(options, None));
    let copy = |subscriptions, qos| to(subscriptions, qos).map(|to| (to.session, to.qos));
    let (one, two) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
    assert_eq!(copy(&subscriptions, two), Some((SESSION, 2)));
    assert_eq!(copy(&subscriptions, one), Some((SESSION, 1)));
    assert_eq!(copy(&subscriptions[2..], two), Some((SESSION, 1)));
    assert_eq!(copy(&subscriptions, QoS::AtMostOnce), None, "nobody there");
}

// MQTT-3.3.4-3, MQTT-3.3.4-4
#[test]
fn the_copy_has_the_identifiers_of_all_its_subscriptions() {
    let subscriptions = [(0, Some(7)), (1, None), (1, Some(9))];
    let subscriptions = subscriptions.map(|(options, id)| matched(options, id));
    let to = to(&subscriptions, QoS::AtLeastOnce).unwrap();
    assert_eq!(to.subscription_ids[..], [7, 9]);
}

// MQTT-3.3.1-12, MQTT-3.3.1-13
#[test]
fn retain_is_kept_for_those_who_ask_for_it() {
    for (options, expected) in [(1, false), (1 | RETAIN_AS_PUBLISHED, true)] {
        let subscriptions = [matched(options, None), matched(1, None)];
        let retained = to(&subscriptions, QoS::AtLeastOnce).unwrap();
        assert_eq!(retained.retain, expected);
        let live = message(QoS::AtLeastOnce).with_retain(false);
        let origin = Origin::default();
        let live = target(&subscriptions, &origin, &live, &mut Routes::default());
        assert!(!live.unwrap().retain);
    }
}

fn published_by(session: StoredRef) -> Origin {
    Origin {
        stored: Some(Attachment { session, number: 1 }),
        ..Origin::default()
    }
}

fn will_of(session: StoredRef) -> Origin {
    Origin {
        will: Some(Attachment { session, number: 1 }),
        ..Origin::default()
    }
}

// MQTT-3.8.3-3
#[test]
fn no_local_keeps_a_message_and_a_will_from_their_publisher() {
    let subscriptions = [matched(2 | NO_LOCAL, Some(7)), matched(1, Some(9))];
    for origin_of in [published_by, will_of] {
        let copy = |count, session| {
            let (origin, message) = (origin_of(session), message(QoS::ExactlyOnce));
            target(
                &subscriptions[..count],
                &origin,
                &message,
                &mut Routes::default(),
            )
            .map(|to| (to.qos, to.subscription_ids.to_vec()))
        };
        assert_eq!(copy(1, SESSION), None);
        assert_eq!(copy(2, SESSION), Some((1, vec![9])), "another wants it");
        assert_eq!(copy(2, StoredRef(8)), Some((2, vec![7, 9])));
    }
}

/// Connection 5 of loop 1.
fn carrier() -> Carrier {
    let address = Address {
        worker: 1,
        connection: 5,
    };
    let opened = Org::new("org").open(&Opening {
        id: SessionId([7; 16]),
        username: "alice",
        client_id: "client",
        protocol: Protocol::V5,
        peer: None,
        os: None,
        connected_at_ms: 1,
        address,
    });
    Carrier {
        address,
        ticket: 1,
        session: opened.session,
    }
}

// MQTT-3.8.4-8
#[test]
fn at_qos_0_the_connection_gets_it_at_once() {
    let mut routes = Routes::default();
    let subscription = StoredRecipient {
        carrier: Some(carrier()),
        ..matched(RETAIN_AS_PUBLISHED, Some(7))
    };
    let (origin, message) = (Origin::default(), message(QoS::ExactlyOnce));
    assert!(target(&[subscription], &origin, &message, &mut routes).is_none());
    let mut groups = routes.groups(0);
    let (worker, [delivery]) = groups.next().unwrap() else {
        panic!("one delivery");
    };
    assert_eq!((worker, delivery.connection), (1, 5));
    assert_eq!((delivery.qos, delivery.retain), (QoS::AtMostOnce, true));
    assert_eq!(delivery.identifiers.as_ref().unwrap()[0].get(), 7);
}

// §3.4.2.1: 0x10 is for a message that nobody gets.
#[test]
fn the_keeper_is_told_whether_connections_get_it_too() {
    let origin = Origin {
        reply_to: Some(ReplyTo {
            carrier: carrier(),
            packet_id: 9,
            qos: 1,
            is_routed: false,
        }),
        ..Origin::default()
    };
    for (outcome, expected) in [
        (PublishOutcome::Routed, true),
        (PublishOutcome::NoMatchingSubscribers, false),
    ] {
        let reply_to = origin.reply_to_with(outcome).unwrap();
        assert_eq!((reply_to.packet_id, reply_to.is_routed), (9, expected));
    }
    let nobody_asked = Origin::default().reply_to_with(PublishOutcome::Routed);
    assert_eq!(nobody_asked, None);
}
