//! What publishers can rely on: an answer means that it is durable, QoS 2 that it is there once.

use super::{HOUR, House, short};
use crate::{Answer, Attachment, Letter, Outcome, Publish, Request};

pub(super) fn publisher(house: &mut House) -> Attachment {
    let wish = house.wish("p", HOUR);
    house.attach_as(wish).attachment.unwrap()
}

pub(super) fn at_qos_2(house: &mut House, from: Attachment, packet_id: u16, body: &str) -> Publish {
    Publish {
        received: Some((from, packet_id)),
        ..house.publish_request("a/b", body, 2)
    }
}

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let mut house = House::new();
    house.absent("c", "a/#");
    for n in 0..10 {
        assert_eq!(house.publish("a/b", &format!("m{n}"), 1).0.queued, 1);
        house.crash();
    }
    assert_eq!(house.desk.waiting().0, 10);
    assert_eq!(
        short(&house.attach("c").window),
        ["1 m0", "2 m1", "3 m2", "4 m3"]
    );
}

// MQTT-4.3.3-10, MQTT-4.3.3-12
#[test]
fn a_qos_2_message_that_is_sent_again_after_a_crash_is_not_queued_again() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let from = publisher(&mut house);
    let request = at_qos_2(&mut house, from, 5, "m");
    assert_eq!(house.publish_as(request).0.queued, 1);
    house.crash();
    let wish = house.wish("p", HOUR);
    let attached = house.attach_as(wish);
    assert_eq!(attached.received, [5]);
    let from = attached.attachment.unwrap();
    let request = at_qos_2(&mut house, from, 5, "m");
    assert!(house.publish_as(request).0.is_repeated);
    assert_eq!(house.attach("c").window.len(), 1);
}

// MQTT-4.3.3-11, MQTT-4.3.3-12
#[test]
fn a_released_identifier_is_free_for_the_next_message_even_after_a_crash() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let from = publisher(&mut house);
    let request = at_qos_2(&mut house, from, 5, "one");
    house.publish_as(request);
    let letters = house.ask(Request::Release(from, 5));
    assert_eq!(letters[0].1, Answer::Released(5));
    house.crash();
    let wish = house.wish("p", HOUR);
    let attached = house.attach_as(wish);
    assert_eq!(attached.received, [0_u16; 0]);
    let from = attached.attachment.unwrap();
    let request = at_qos_2(&mut house, from, 5, "two");
    assert_eq!(house.publish_as(request).0.queued, 1);
}

// MQTT-4.3.3-13
#[test]
fn the_handshake_of_a_message_that_has_expired_goes_on() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let from = publisher(&mut house);
    let mut request = at_qos_2(&mut house, from, 5, "m");
    request.message.expires_at_ms = Some(house.now_ms + 1_000);
    assert_eq!(house.publish_as(request.clone()).0.queued, 1);
    house.pass(5_000);
    assert_eq!(house.attach("c").window, [], "it has expired");
    assert!(house.publish_as(request).0.is_repeated);
    let letters = house.ask(Request::Release(from, 5));
    assert_eq!(letters[0].1, Answer::Released(5));
}

#[test]
fn a_qos_2_message_of_a_connection_that_was_taken_over_is_left_to_the_next() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let old = publisher(&mut house);
    let request = at_qos_2(&mut house, old, 5, "m");
    publisher(&mut house);
    assert_eq!(house.ask(Request::Publish(Box::new(request))), []);
    assert_eq!(house.attach("c").window, []);
}

/// Others wait for this message, under this number.
pub(super) fn held_back(house: &mut House, publish: Publish, number: u64) -> Request {
    let held_back = Some((house.carrier(), number));
    Request::Publish(Box::new(Publish {
        held_back,
        ..publish
    }))
}

/// In their order: what was settled and whether it was new, and the identifiers of what was answered.
pub(super) fn told(letters: &[Letter]) -> Vec<(u64, Option<bool>)> {
    let told = letters.iter().filter_map(|(_, answer)| match answer {
        Answer::Settled { number, is_new } => Some((*number, Some(*is_new))),
        Answer::Published { packet_id, .. } => Some((u64::from(*packet_id), None)),
        _ => None,
    });
    told.collect()
}

// MQTT-4.3.3-10, MQTT-4.3.3-12
#[test]
fn others_get_a_qos_2_message_once_however_often_it_is_sent() {
    let mut house = House::new();
    let from = publisher(&mut house);
    let request = at_qos_2(&mut house, from, 5, "m");
    for (number, is_new) in [(1, true), (2, false), (3, false)] {
        let request = held_back(&mut house, request.clone(), number);
        let letters = house.ask(request);
        assert_eq!(told(&letters), [(number, Some(is_new)), (9, None)]);
    }
    house.ask(Request::Release(from, 5));
    let request = held_back(&mut house, request, 4);
    assert_eq!(told(&house.ask(request)), [(4, Some(true)), (9, None)]);
}

#[test]
fn others_get_nothing_from_a_connection_that_was_taken_over_but_from_the_next() {
    let mut house = House::new();
    let old = publisher(&mut house);
    let request = at_qos_2(&mut house, old, 5, "m");
    let new = publisher(&mut house);
    let request = held_back(&mut house, request, 1);
    assert_eq!(told(&house.ask(request)), [(1, Some(false))]);
    let request = at_qos_2(&mut house, new, 5, "m");
    let request = held_back(&mut house, request, 2);
    assert_eq!(told(&house.ask(request)), [(2, Some(true)), (9, None)]);
}

#[test]
fn a_session_that_has_ended_meanwhile_gets_nothing() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let request = house.publish_request("a/b", "m", 1);
    house.pass(u64::from(HOUR) * 1_000);
    assert_eq!(house.publish_as(request).0, Outcome::default());
}

#[test]
fn an_unsubscribed_filter_matches_no_more_even_after_a_crash() {
    let mut house = House::new();
    let attachment = house.attach("c").attachment.unwrap();
    house.subscribe(attachment, "a/#", 1, crate::RetainHandling::Never);
    let letters = house.ask(Request::Unsubscribe(crate::Unsubscribe {
        attachment,
        packet_id: 3,
        filters: vec!["a/#".into(), "b".into()],
    }));
    assert_eq!(letters[0].1, Answer::Unsubscribed(3, vec![true, false]));
    house.crash();
    assert_eq!(house.publish("a/b", "m", 1).0.queued, 0);
    assert!(!house.kept().has_subscriptions());
}

#[test]
fn a_member_of_a_group_is_chosen_and_connections_are_named() {
    let mut house = House::new();
    house.absent("away", "$share/g/a/#");
    let attachment = house.attach("here").attachment.unwrap();
    house.subscribe(attachment, "a/+", 1, crate::RetainHandling::Never);
    let mut found = Vec::new();
    let topic = topics::TopicName::parse("a/b").unwrap();
    house.kept().recipients(topic, &mut found);
    let shares: Vec<_> = found.iter().map(|found| found.share.as_deref()).collect();
    assert_eq!(shares, [Some("$share/g/a/#"), None]);
    assert_eq!(found[0].carrier, None);
    assert_eq!(found[1].session, attachment.session);
    assert!(found[1].carrier.is_some());
}

#[test]
fn a_message_goes_to_one_member_of_a_group_in_turn_and_to_those_that_are_here_first() {
    let mut house = House::new();
    house.absent("away1", "$share/g/a/#");
    house.absent("away2", "$share/g/a/#");
    house.absent("other", "$share/h/a/#");
    let chosen = |house: &House| {
        let mut found = Vec::new();
        let topic = topics::TopicName::parse("a/b").unwrap();
        house.kept().recipients(topic, &mut found);
        let of_g = found
            .iter()
            .filter(|found| found.share.as_deref() == Some("$share/g/a/#"));
        let sessions: Vec<_> = of_g.map(|found| found.session).collect();
        assert_eq!(found.len(), 2, "one of each group");
        sessions[0]
    };
    let sessions: std::collections::BTreeSet<_> = (0..8).map(|_| chosen(&house)).collect();
    assert_eq!(sessions.len(), 2, "both take their turn");
    let attachment = house.attach("here").attachment.unwrap();
    house.subscribe(attachment, "$share/g/a/#", 1, crate::RetainHandling::Never);
    for _ in 0..4 {
        assert_eq!(chosen(&house), attachment.session);
    }
}

// MQTT-4.8.2-4, MQTT-4.8.2-5
#[test]
fn what_a_member_of_a_group_was_given_stays_its_own() {
    for ends in [false, true] {
        let mut house = House::new();
        let attachment = house.attach("c").attachment.unwrap();
        house.subscribe(attachment, "$share/g/a/#", 2, crate::RetainHandling::Never);
        house.publish("a/b", "m", 2);
        house.absent("other", "$share/g/a/#");
        house.detach(attachment, true);
        if ends {
            house.pass(u64::from(HOUR) * 500);
            house.attach("other");
            house.pass(u64::from(HOUR) * 500);
            assert!(!house.kept().knows("c"));
        } else {
            assert_eq!(short(&house.attach("c").window), ["1 m dup"]);
        }
        assert_eq!(house.attach("other").window, []);
    }
}
