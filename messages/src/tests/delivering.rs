//! What a client is sent, under which packet identifier, and how often.

use super::{HOUR, House, LIMITS, QUOTA, short};
use crate::{Answer, Attachment, Quota, Request, Retain, RetainHandling};

fn online(house: &mut House, client_id: &str) -> Attachment {
    let attachment = house.attach(client_id).attachment.unwrap();
    house.subscribe(attachment, "a/#", 2, RetainHandling::Never);
    attachment
}

fn publish_many(house: &mut House, count: u32) {
    for n in 1..=count {
        house.publish("a/b", &format!("m{n}"), 1);
    }
}

// MQTT-4.4.0-1, MQTT-4.6.0-1
#[test]
fn messages_come_again_in_their_order_under_their_identifiers_after_every_kind_of_end() {
    let ends: [fn(&mut House, Attachment); 4] = [
        |house, attachment| drop(house.detach(attachment, true)),
        |house, _| drop(house.crash()),
        |house, _| drop(house.stop_and_start()),
        |house, attachment| {
            house.pass(10_000);
            house.detach(attachment, true);
            house.crash();
        },
    ];
    for end in ends {
        let mut house = House::new();
        let attachment = online(&mut house, "c");
        publish_many(&mut house, 3);
        house.acknowledge(attachment, 1);
        house.pass(60);
        end(&mut house, attachment);
        let window = house.attach("c").window;
        assert_eq!(short(&window), ["2 m2 dup", "3 m3 dup"]);
    }
}

// MQTT-3.3.1-1
#[test]
fn what_was_never_sent_is_no_duplicate() {
    let mut house = House::new();
    house.absent("c", "a/#");
    publish_many(&mut house, 2);
    house.crash();
    let attachment = house.attach("c").attachment.unwrap();
    house.detach(attachment, true);
    publish_many(&mut house, 1);
    house.crash();
    let window = house.attach("c").window;
    assert_eq!(short(&window), ["1 m1 dup", "2 m2 dup", "3 m1"]);
}

#[test]
fn no_more_than_a_window_is_under_way() {
    let mut house = House::new();
    let attachment = online(&mut house, "c");
    publish_many(&mut house, 6);
    assert_eq!(house.publish("a/b", "m7", 1).1, []);
    assert_eq!(short(&house.acknowledge(attachment, 2)), ["5 m5"]);
    assert_eq!(short(&house.acknowledge(attachment, 1)), ["6 m6"]);
    assert_eq!(house.acknowledge(attachment, 1), [], "a second time");
    assert_eq!(short(&house.acknowledge(attachment, 5)), ["7 m7"]);
}

#[test]
fn bodies_that_only_the_disk_has_are_read_back() {
    let mut house = House::new();
    house.absent("c", "a/#");
    publish_many(&mut house, 6);
    house.pass(1_000);
    assert_eq!(house.desk.waiting(), (6, 0), "nothing is in memory");
    let attached = house.attach("c");
    assert_eq!(short(&attached.window), ["1 m1", "2 m2", "3 m3", "4 m4"]);
    let more = house.acknowledge(attached.attachment.unwrap(), 1);
    assert_eq!(short(&more), ["5 m5"]);
}

// MQTT-4.3.3-4, MQTT-4.3.3-7
#[test]
fn after_pubrec_only_pubrel_is_sent_whatever_happens() {
    let mut house = House::new();
    let attachment = online(&mut house, "c");
    house.publish("a/b", "m1", 2);
    house.publish("a/b", "m2", 2);
    let letters = house.ask(Request::Received(attachment, 1));
    assert_eq!(letters[0].1, Answer::Release(1));
    house.crash();
    let attached = house.attach("c");
    assert_eq!(short(&attached.window), ["1 release", "2 m2 dup"]);
    let attachment = attached.attachment.unwrap();
    house.acknowledge(attachment, 1);
    house.acknowledge(attachment, 2);
    house.pass(60);
    house.crash();
    assert_eq!(house.attach("c").window, []);
    assert_eq!(house.desk.waiting().0, 0);
}

// MQTT-4.3.3-13
#[test]
fn a_pubrec_for_nothing_known_is_answered_so_that_the_client_can_finish() {
    let mut house = House::new();
    let attachment = online(&mut house, "c");
    let letters = house.ask(Request::Received(attachment, 77));
    assert_eq!(letters[0].1, Answer::Release(77));
}

// MQTT-3.3.2-5
#[test]
fn a_message_that_expires_before_it_is_sent_is_not_sent() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let mut request = house.publish_request("a/b", "old", 1);
    request.message.expires_at_ms = Some(house.now_ms + 5_000);
    house.publish_as(request);
    house.publish("a/b", "new", 1);
    house.pass(5_000);
    assert_eq!(short(&house.attach("c").window), ["2 new"]);
    assert_eq!(house.desk.take_tally().expired, 1);
    house.pass(60);
    house.crash();
    assert_eq!(short(&house.attach("c").window), ["2 new dup"]);
}

#[test]
fn each_organisation_has_its_own_limits() {
    let small = Quota {
        queue_messages_max: 1,
        retained_max: 1,
        ..QUOTA
    };
    let mut house = House::with(LIMITS, small);
    house.absent("c", "#");
    let mut wish = house.wish("c", HOUR);
    wish.org = "other".into();
    let other = house.attach_as(wish).attachment.unwrap();
    house.subscribe(other, "#", 2, RetainHandling::Never);
    house.detach(other, true);
    for n in 0..3 {
        let (topic, is_over) = (format!("t/{n}"), n >= 1);
        let mut to_acme = house.publish_request(&topic, "m", 1);
        to_acme.retain = Retain::Set;
        let (outcome, _) = house.publish_as(to_acme.clone());
        assert_eq!(
            (outcome.full == 1, outcome.not_retained),
            (is_over, is_over)
        );
        to_acme.targets[0].session = other.session;
        to_acme.org = "other".into();
        let (outcome, _) = house.publish_as(to_acme);
        assert_eq!((outcome.queued, outcome.not_retained), (1, false));
    }
    // A quota that is smaller after a start takes nothing away.
    house.crash_with(&["other", "acme"]);
    assert_eq!(house.desk.directory().org("other").counts().retained, 3);
}

#[test]
fn a_full_queue_keeps_what_it_has() {
    let mut house = House::new();
    house.absent("c", "a/#");
    publish_many(&mut house, 20);
    let outcome = house.publish("a/b", "too much", 1).0;
    assert_eq!((outcome.queued, outcome.full), (0, 1));
    let big = "x".repeat(9_990);
    house.absent("d", "b");
    assert_eq!(house.publish("b", &big, 1).0.queued, 1);
    assert_eq!(house.publish("b", "0123456789+", 1).0.full, 1);
    assert_eq!(house.publish("b", "0123456789", 1).0.queued, 1);
    assert_eq!(house.desk.take_tally().queue_full, 2);
}

#[test]
fn a_session_gets_a_message_once_and_sees_the_options_it_asked_for() {
    let mut house = House::new();
    let attachment = online(&mut house, "c");
    let mut request = house.publish_request("a/b", "m", 2);
    request.targets[0].retain = true;
    request.targets[0].subscription_ids = [7, 8].into();
    request.targets.push(request.targets[0].clone());
    let (outcome, pushed) = house.publish_as(request);
    assert_eq!((outcome.queued, pushed.len()), (1, 1));
    house.pass(1_000);
    house.detach(attachment, false);
    house.crash();
    for window in [pushed, house.attach("c").window] {
        match &window[0].what {
            crate::Pushed::Publish {
                qos,
                retain,
                subscription_ids,
                ..
            } => assert_eq!(
                (*qos, *retain, &subscription_ids[..]),
                (2, true, &[7, 8][..])
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_acknowledged_before_a_flush_never_touches_sqlite() {
    let mut house = House::new();
    let attachment = online(&mut house, "c");
    house.pass(1_000);
    publish_many(&mut house, 4);
    for packet_id in 1..=4 {
        house.acknowledge(attachment, packet_id);
    }
    house.pass(1_000);
    let rows: i64 = house
        .desk
        .writer()
        .connection()
        .query_row("SELECT count(*) FROM messages", (), |row| row.get(0))
        .unwrap();
    assert_eq!((rows, house.desk.waiting().0), (0, 0));
}
