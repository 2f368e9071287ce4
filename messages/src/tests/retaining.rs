//! Retained messages: set, replaced, cleared, found by filter, and sent to new subscriptions.

use topics::TopicFilter;

use super::{House, LIMITS, QUOTA, pushes, short};
use crate::{
    Answer, Desk, Letter, Quota, Request, Retain, RetainHandling, RetainedQuery, RetainedRow,
};

fn found(house: &House, filter: &str) -> Vec<String> {
    let mut query = RetainedQuery::new(TopicFilter::parse(filter).unwrap());
    let mut rows: Vec<RetainedRow> = Vec::new();
    while query.next_piece(&house.kept(), house.now_ms, 3, &mut rows) {}
    let mut found: Vec<String> = rows
        .iter()
        .map(|row| format!("{}={}", row.topic, str::from_utf8(&row.body).unwrap()))
        .collect();
    found.sort();
    found
}

// MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-7
#[test]
fn the_last_message_of_a_topic_is_kept_until_an_empty_one() {
    let mut house = House::new();
    house.retain("a", "1");
    house.retain("a", "2");
    house.crash();
    assert_eq!(found(&house, "a"), ["a=2"]);
    house.retain("a", "");
    assert_eq!(found(&house, "a"), [""; 0]);
    house.crash();
    assert_eq!(found(&house, "a"), [""; 0]);
    house.stop_and_start();
    assert_eq!(house.kept().counts().retained_bytes, 0);
}

#[test]
fn retained_messages_are_found_by_every_kind_of_filter() {
    let mut house = House::new();
    for topic in ["a", "a/b", "a/c", "b/b", "$x/b", "a/b/c"] {
        house.retain(topic, "1");
    }
    for _ in 0..2 {
        assert_eq!(found(&house, "a/#"), ["a/b/c=1", "a/b=1", "a/c=1", "a=1"]);
        assert_eq!(found(&house, "+/b"), ["a/b=1", "b/b=1"]);
        assert_eq!(found(&house, "#").len(), 5);
        assert_eq!(found(&house, "$x/#"), ["$x/b=1"]);
        assert_eq!(found(&house, "a/b"), ["a/b=1"]);
        assert_eq!(found(&house, "nothing"), [""; 0]);
        house.stop_and_start();
    }
}

#[test]
fn many_are_found_in_pieces() {
    let quota = Quota {
        retained_max: 2_000,
        retained_bytes_max: 1 << 20,
        ..QUOTA
    };
    let mut house = House::with(LIMITS, quota);
    for n in 0..1_500 {
        house.retain(&format!("t/{n}"), "1");
    }
    let mut query = RetainedQuery::new(TopicFilter::parse("t/+").unwrap());
    let (mut rows, mut pieces) = (Vec::new(), 1);
    while query.next_piece(&house.kept(), house.now_ms, 100, &mut rows) {
        pieces += 1;
    }
    assert_eq!(rows.len(), 1_500);
    assert!(pieces >= 15, "{pieces}");
}

#[test]
fn at_the_limit_a_new_one_is_not_kept_and_an_old_one_can_be_replaced() {
    let quota = Quota {
        retained_max: 2,
        retained_bytes_max: 20,
        ..QUOTA
    };
    let mut house = House::with(LIMITS, quota);
    assert!(!house.retain("a", "1").not_retained);
    assert!(!house.retain("b", "1").not_retained);
    assert!(house.retain("c", "1").not_retained);
    assert!(!house.retain("a", "2").not_retained);
    assert!(house.retain("a", "a text of twenty byte").not_retained);
    assert_eq!(found(&house, "#"), ["a=2", "b=1"]);
    assert_eq!(house.desk.take_tally().not_retained, 2);
    house.retain("b", "");
    assert!(!house.retain("c", "1").not_retained);
}

#[test]
fn the_limit_in_bytes_is_reached_to_the_byte() {
    let quota = Quota {
        retained_bytes_max: 20,
        ..QUOTA
    };
    let mut house = House::with(LIMITS, quota);
    // Topic, bytes of the body, whether it is kept, and the bytes that are kept then.
    for (topic, body_bytes, is_kept, bytes) in [
        ("a", 9, true, 10),
        ("b", 10, false, 10),
        ("b", 9, true, 20),
        ("c", 1, false, 20),
        ("a", 10, false, 20),
        ("a", 8, true, 19),
        ("b", 11, false, 19),
        ("b", 10, true, 20),
    ] {
        let outcome = house.retain(topic, &"x".repeat(body_bytes));
        assert_eq!(!outcome.not_retained, is_kept, "{topic} {body_bytes}");
        assert_eq!(house.kept().counts().retained_bytes, bytes);
    }
}

// MQTT-3.3.2-5
#[test]
fn a_retained_message_expires() {
    let mut house = House::new();
    let mut request = house.publish_request("a", "1", 1);
    request.retain = crate::Retain::Set;
    request.message.expires_at_ms = Some(house.now_ms + 1_000);
    house.publish_as(request);
    assert_eq!(found(&house, "a"), ["a=1"]);
    house.now_ms += 1_000;
    assert_eq!(found(&house, "a"), [""; 0], "even before it is removed");
    house.desk.care(house.now_ms);
    house.pass(60);
    assert_eq!(house.kept().counts().retained, 0);
    house.stop_and_start();
    assert_eq!(house.kept().counts().retained, 0);
}

fn subscribe(house: &mut House, filter: &str, qos: u8, handling: RetainHandling) -> Vec<Letter> {
    let attachment = house.attach("c").attachment.unwrap();
    let mut letters = house.subscribe(attachment, filter, qos, handling);
    letters.extend(house.pass(0));
    letters
}

// MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11
#[test]
fn a_new_subscription_gets_them_as_it_asked() {
    let mut house = House::new();
    house.retain("a", "1");
    let sent = |letters| pushes(letters).len();
    let letters = subscribe(&mut house, "#", 1, RetainHandling::Never);
    assert_eq!(sent(letters), 0);
    let letters = subscribe(&mut house, "#", 1, RetainHandling::IfNew);
    assert_eq!(sent(letters), 0, "it is not new");
    let letters = subscribe(&mut house, "a", 1, RetainHandling::IfNew);
    assert_eq!(short(&pushes(letters)), ["1 1"]);
    let letters = subscribe(&mut house, "a", 1, RetainHandling::Always);
    assert_eq!(sent(letters), 1);
    let letters = subscribe(&mut house, "$share/g/a", 1, RetainHandling::Always);
    assert_eq!(sent(letters), 0, "a shared one gets none");
}

#[test]
fn at_qos_0_they_are_left_to_the_event_loop() {
    let mut house = House::new();
    house.retain("a", "1");
    let mut request = house.publish_request("b", "2", 0);
    request.retain = crate::Retain::Set;
    house.publish_as(request);
    let letters = subscribe(&mut house, "#", 0, RetainHandling::Always);
    assert_eq!(pushes(letters).len(), 0);
    let letters = subscribe(&mut house, "+", 2, RetainHandling::Always);
    assert_eq!(short(&pushes(letters)), ["1 1"], "b was sent at QoS 0");
}

#[test]
fn more_than_a_queue_holds_come_one_window_after_the_other() {
    let mut house = House::new();
    for n in 0..30 {
        house.retain(&format!("t/{n}"), &format!("{n}"));
    }
    let attachment = house.attach("c").attachment.unwrap();
    let mut waiting = pushes(house.subscribe(attachment, "#", 1, RetainHandling::Always));
    let mut count = 0;
    while !waiting.is_empty() {
        assert!(waiting.len() <= house.limits.window);
        count += waiting.len();
        let mut next = Vec::new();
        for push in waiting {
            next.extend(house.acknowledge(attachment, push.packet_id));
        }
        next.extend(pushes(house.pass(0)));
        waiting = next;
    }
    assert_eq!(count, 30);
}

/// A message that is retained only, and waits for the keeper's turn.
fn under_way(house: &mut House, topic: &str) -> Request {
    let mut publish = house.publish_request(topic, "1", 0);
    (publish.retain, publish.reply_to) = (Retain::Set, None);
    let request = Request::Publish(Box::new(publish));
    Desk::arrives(&house.desk.directory(), &request);
    request
}

#[test]
fn a_change_is_under_way_until_it_shows() {
    let mut house = House::new();
    let kept = house.kept();
    assert!(!kept.is_changing());
    let change = kept.begin_change();
    let request = under_way(&mut house, "a");
    drop(change);
    assert!(kept.is_changing());
    assert_eq!(found(&house, "a"), [""; 0]);
    house.desk.handle(request, house.now_ms);
    assert_eq!(found(&house, "a"), ["a=1"]);
    assert!(!kept.is_changing());
    let refused = under_way(&mut house, "b");
    Desk::leaves(&house.desk.directory(), &refused);
    assert!(!kept.is_changing());
}

#[test]
fn what_was_asked_before_is_reached_without_waiting_for_the_disk() {
    let mut house = House::new();
    let carrier = house.carrier();
    let request = under_way(&mut house, "a");
    house.desk.handle(request, house.now_ms);
    house.desk.handle(Request::Reach(carrier, 7), house.now_ms);
    house.desk.break_log(true);
    let letters = house.pass(0);
    assert_eq!(letters, [(Some(carrier), Answer::Reached(7))]);
    assert_eq!(found(&house, "a"), ["a=1"]);
}

#[test]
fn who_subscribes_while_a_message_is_under_way_gets_it() {
    let mut house = House::new();
    let attachment = house.attach("c").attachment.unwrap();
    // Routed before there was the subscription, and asked for after.
    let request = under_way(&mut house, "a");
    let mut publish = house.publish_request("b", "2", 1);
    publish.retain = Retain::Set;
    let letters = house.subscribe(attachment, "+", 1, RetainHandling::Always);
    assert_eq!(short(&pushes(letters)), [""; 0]);
    assert_eq!(house.desk.wait_ms(house.now_ms), 0);
    house.desk.handle(request, house.now_ms);
    let letters = house.ask(Request::Publish(Box::new(publish)));
    assert_eq!(short(&pushes(letters)), ["1 2"]);
}

#[test]
fn a_client_that_subscribes_again_and_again_waits_for_no_more_than_a_bound() {
    let mut house = House::new();
    for n in 0..10 {
        house.retain(&format!("t/{n}"), "1");
    }
    let attachment = house.attach("c").attachment.unwrap();
    house.desk.take_tally();
    for _ in 0..100 {
        house.subscribe(attachment, "#", 1, RetainHandling::Always);
    }
    // The first one waits for the client's acknowledgements, too.
    assert_eq!(house.desk.take_tally().retained_cut, 100 - 16);
}
