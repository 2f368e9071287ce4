//! When a will is sent, and that it is neither lost nor sent to a queue twice.

use super::{HOUR, House, will, wills};
use crate::{Attach, Attachment, Publish};

fn wish(house: &mut House, delay_secs: u32) -> Attach {
    Attach {
        will: will("will", delay_secs),
        ..house.wish("w", HOUR)
    }
}

fn attach(house: &mut House, delay_secs: u32) -> Attachment {
    let wish = wish(house, delay_secs);
    house.attach_as(wish).attachment.unwrap()
}

fn publish(house: &mut House, id: Attachment) -> usize {
    let request = Publish {
        will: Some(id),
        ..house.publish_request("will", "gone", 1)
    };
    house.publish_as(request).0.queued
}

// MQTT-3.1.2-8
#[test]
fn a_will_without_delay_is_sent_when_the_connection_ends() {
    let mut house = House::new();
    let id = attach(&mut house, 0);
    let letters = house.detach(id, true);
    assert_eq!(wills(&letters), [(id, "will".to_owned())]);
}

// MQTT-3.1.2-10
#[test]
fn after_a_clean_disconnect_no_will_is_sent() {
    let mut house = House::new();
    let id = attach(&mut house, 0);
    assert_eq!(wills(&house.detach(id, false)), []);
    assert_eq!(wills(&house.pass(u64::from(HOUR) * 2_000)), []);
}

// §3.1.3.2.2
#[test]
fn a_will_waits_for_its_delay() {
    let mut house = House::new();
    let id = attach(&mut house, 10);
    assert_eq!(wills(&house.detach(id, true)), []);
    assert_eq!(wills(&house.pass(9_999)), []);
    assert_eq!(wills(&house.pass(1)).len(), 1);
    assert_eq!(wills(&house.pass(100_000)), [], "once");
}

// MQTT-3.1.3-9
#[test]
fn a_client_that_is_back_in_time_keeps_its_will_to_itself() {
    let mut house = House::new();
    let id = attach(&mut house, 10);
    house.detach(id, true);
    let id = attach(&mut house, 10);
    assert_eq!(wills(&house.pass(20_000)), []);
    house.detach(id, false);
    assert_eq!(wills(&house.pass(20_000)), []);
}

#[test]
fn a_takeover_sends_a_will_without_delay_and_no_other() {
    for (delay_secs, count) in [(0, 1), (10, 0)] {
        let mut house = House::new();
        attach(&mut house, delay_secs);
        let wish = house.wish("w", HOUR);
        let letters = house.ask(crate::Request::Attach(Box::new(wish)));
        assert_eq!(wills(&letters).len(), count);
        assert_eq!(wills(&house.pass(20_000)), []);
    }
}

// MQTT-3.1.2-8, §3.1.3.2.2: a clean start ends the session before.
#[test]
fn a_clean_start_ends_the_delay() {
    for is_away in [true, false] {
        let mut house = House::new();
        let id = attach(&mut house, 10);
        if is_away {
            assert_eq!(wills(&house.detach(id, true)), []);
        }
        let wish = Attach {
            clean_start: true,
            ..house.wish("w", HOUR)
        };
        let letters = house.ask(crate::Request::Attach(Box::new(wish)));
        assert_eq!(wills(&letters), [(id, "will".to_owned())], "{is_away}");
        assert_eq!(wills(&house.pass(20_000)), []);
    }
}

// MQTT-3.1.2-8, §3.1.3.2.2
#[test]
fn the_end_of_the_session_ends_the_delay() {
    let mut house = House::new();
    let wish = Attach {
        expiry_secs: 5,
        ..wish(&mut house, 10)
    };
    let id = house.attach_as(wish).attachment.unwrap();
    house.detach(id, true);
    assert_eq!(wills(&house.pass(5_000)), [(id, "will".to_owned())]);
    let id = attach(&mut house, 10);
    house.detach(id, true);
    let clean = Attach {
        clean_start: true,
        ..house.wish("w", HOUR)
    };
    let letters = house.ask(crate::Request::Attach(Box::new(clean)));
    assert_eq!(wills(&letters), [(id, "will".to_owned())]);
}

#[test]
fn after_a_crash_a_will_is_sent_after_its_delay_unless_the_client_is_back() {
    let mut house = House::new();
    let id = attach(&mut house, 10);
    assert_eq!(wills(&house.crash()), []);
    assert_eq!(wills(&house.pass(10_000)), [(id, "will".to_owned())]);

    let mut house = House::new();
    attach(&mut house, 10);
    house.crash();
    attach(&mut house, 10);
    assert_eq!(wills(&house.pass(10_000)), []);

    let mut house = House::new();
    let id = attach(&mut house, 0);
    assert_eq!(wills(&house.crash()), [(id, "will".to_owned())]);
}

#[test]
fn a_due_will_is_sent_until_somebody_has_published_it_and_queued_once() {
    let mut house = House::new();
    house.absent("c", "will");
    let id = attach(&mut house, 0);
    house.detach(id, true);
    assert_eq!(wills(&house.crash()).len(), 1);
    house.pass(1_000);
    assert_eq!(wills(&house.stop_and_start()).len(), 1);
    assert_eq!(publish(&mut house, id), 1);
    assert_eq!(wills(&house.crash()), []);
    assert_eq!(wills(&house.stop_and_start()), []);
    assert_eq!(house.attach("c").window.len(), 1);
}

#[test]
fn a_will_that_nobody_is_subscribed_to_is_done_with_all_the_same() {
    let mut house = House::new();
    let id = attach(&mut house, 0);
    house.detach(id, true);
    assert_eq!(publish(&mut house, id), 0);
    assert_eq!(wills(&house.crash()), []);
}
