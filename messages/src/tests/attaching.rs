//! Who gets which stored session, and when it ends.

use std::sync::Arc;

use topics::TopicFilter;

use super::{HOUR, House, LIMITS, QUOTA};
use crate::{
    Answer, Attach, Attachment, Detach, Limits, NEVER, Permit, Refused, Request, RetainHandling,
};

// MQTT-3.1.2-4
#[test]
fn a_clean_start_finds_nothing_of_the_session_before() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.publish("a/b", "m", 1);
    let mut wish = house.wish("c", HOUR);
    wish.clean_start = true;
    let attached = house.attach_as(wish);
    assert!(!attached.session_present);
    assert_eq!(
        (attached.subscriptions.len(), attached.window.len()),
        (0, 0)
    );
    assert_eq!(house.publish("a/b", "m", 1).0.queued, 0);
}

// MQTT-3.1.2-5, MQTT-3.1.3-2, MQTT-3.2.2-3
#[test]
fn a_session_is_found_with_subscriptions_and_messages_after_a_crash() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.publish("a/b", "m", 1);
    house.crash();
    assert!(!house.attach("d").session_present, "another client id");
    let attached = house.attach("c");
    assert!(attached.session_present);
    assert_eq!(attached.subscriptions[0].0, "a/#");
    assert_eq!(attached.window.len(), 1);
}

#[test]
fn another_user_gets_a_new_session_under_the_same_client_id() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.publish("a/b", "secret", 1);
    let mut wish = house.wish("c", HOUR);
    wish.username = "mallory".into();
    let attached = house.attach_as(wish);
    assert!(!attached.session_present);
    assert_eq!(
        (attached.subscriptions.len(), attached.window.len()),
        (0, 0)
    );
}

/// Allows what begins like this.
#[derive(Debug)]
struct Under(&'static str);

impl Permit for Under {
    fn allows(&self, filter: TopicFilter<'_>) -> bool {
        filter.as_str().starts_with(self.0)
    }
}

#[test]
fn what_a_client_may_not_have_any_more_ends_when_it_comes_back() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.absent("c", "b/#");
    house.absent("c", "b/c");
    let back = |house: &mut House, permit| Attach {
        permit,
        ..house.wish("c", HOUR)
    };
    let wish = back(&mut house, Some(Arc::new(Under("a/")) as Arc<dyn Permit>));
    let attached = house.attach_as(wish);
    assert!(attached.session_present);
    assert_eq!(attached.withdrawn, 2);
    assert_eq!(attached.subscriptions.len(), 1);
    assert_eq!(attached.subscriptions[0].0, "a/#");
    assert_eq!(house.publish("b/c", "m", 1).0.queued, 0);
    assert_eq!(house.publish("a/b", "m", 1).0.queued, 1);
    // They stay away, whatever happens.
    house.crash();
    let wish = back(&mut house, None);
    let attached = house.attach_as(wish);
    assert_eq!((attached.withdrawn, attached.subscriptions.len()), (0, 1));
}

#[test]
fn a_client_id_of_another_organisation_is_another_client() {
    let mut house = House::new();
    house.absent("c", "a/#");
    assert!(house.kept().knows("c"));
    assert!(!house.desk.directory().org("other").knows("c"));
    let mut wish = house.wish("c", HOUR);
    wish.org = "other".into();
    assert!(!house.attach_as(wish).session_present);
}

#[test]
fn without_expiry_nothing_is_stored() {
    let mut house = House::new();
    let wish = house.wish("c", 0);
    assert_eq!(house.attach_as(wish).attachment, None);
    assert!(!house.kept().knows("c"));
}

// MQTT-3.1.2-5
#[test]
fn a_session_resumed_without_expiry_ends_with_its_connection() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let wish = house.wish("c", 0);
    let attached = house.attach_as(wish);
    assert!(attached.session_present);
    house.detach(attached.attachment.unwrap(), false);
    assert!(!house.kept().knows("c"));
}

// §3.1.2.11.2
#[test]
fn a_session_resumed_without_expiry_ends_when_it_is_taken_over() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let wish = house.wish("c", 0);
    assert!(house.attach_as(wish).session_present);
    assert!(!house.attach("c").session_present);
}

// MQTT-3.1.2-23
#[test]
fn a_session_is_kept_for_its_expiry_and_not_longer() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.pass(u64::from(HOUR) * 1_000 - 1);
    assert!(house.kept().knows("c"));
    house.pass(1);
    assert!(!house.kept().knows("c"));
    house.crash();
    assert!(!house.attach("c").session_present);
}

// MQTT-4.1.0-1
#[test]
fn a_session_does_not_expire_while_its_connection_is_open() {
    let mut house = House::new();
    let attachment = house.attach("c").attachment.unwrap();
    house.subscribe(attachment, "a/#", 1, RetainHandling::Never);
    house.pass(u64::from(HOUR) * 5_000);
    assert!(house.kept().knows("c"));
    assert_eq!(house.publish("a/b", "m", 1).0.queued, 1);
    house.detach(attachment, true);
    house.pass(u64::from(HOUR) * 1_000 - 1);
    assert!(house.kept().knows("c"), "its time begins with its absence");
}

// MQTT-4.1.0-2
#[test]
fn the_time_that_the_server_is_down_counts() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.pass(60);
    house.now_ms += u64::from(HOUR) * 1_000;
    house.crash();
    assert!(!house.kept().knows("c"));
}

#[test]
fn an_organisation_that_is_gone_finds_everything_when_it_is_back() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.publish("a/b", "m", 1);
    let mut wish = house.wish("w", HOUR);
    wish.will = super::will("will", 5);
    house.attach_as(wish);
    house.crash_with(&["other"]);
    let letters = house.pass(u64::from(HOUR) * 9_000);
    assert_eq!(super::wills(&letters), []);
    house.now_ms -= u64::from(HOUR) * 9_000;
    house.stop_and_start();
    assert_eq!(house.attach("c").window.len(), 1);
    assert_eq!(super::wills(&house.pass(5_000)).len(), 1);
}

#[test]
fn a_session_for_ever_never_ends() {
    let mut house = House::new();
    let wish = house.wish("c", NEVER);
    let attachment = house.attach_as(wish).attachment.unwrap();
    house.detach(attachment, false);
    house.pass(1 << 40);
    assert!(house.kept().knows("c"));
}

// MQTT-3.14.2-2 and §3.14.2.2.2
#[test]
fn a_disconnect_can_change_the_expiry() {
    let mut house = House::new();
    let attachment = house.attach("c").attachment.unwrap();
    house.ask(Request::Detach(Detach {
        attachment,
        expiry_secs: Some(10),
        with_will: false,
    }));
    house.pass(10_000);
    assert!(!house.kept().knows("c"));
}

#[test]
fn what_the_connection_before_says_is_ignored() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.publish("a/b", "m", 1);
    let old = house.attach("c").attachment.unwrap();
    let new = house.attach("c").attachment.unwrap();
    assert_eq!(new.number, old.number + 1);
    house.detach(old, true);
    house.acknowledge(old, 1);
    assert_eq!(house.subscribe(old, "b", 1, RetainHandling::Never), []);
    assert_eq!(house.kept().counts().away, 0);
    assert_eq!(house.attach("c").window.len(), 1);
}

#[test]
fn a_connection_that_presence_has_seen_before_the_carrier_is_too_late() {
    let mut house = House::new();
    let early = house.wish("c", HOUR);
    let late = house.wish("c", HOUR);
    let attached = house.attach_as(late);
    let letters = house.ask(Request::Attach(Box::new(early)));
    assert!(matches!(letters[0].1, Answer::Refused(Refused::TakenOver)));
    assert_eq!(house.attach("c").attachment, next(attached.attachment));
}

fn next(attachment: Option<Attachment>) -> Option<Attachment> {
    attachment.map(|attachment| Attachment {
        number: attachment.number + 1,
        ..attachment
    })
}

#[test]
fn a_client_is_known_from_the_moment_that_it_asks() {
    let mut house = House::new();
    let request = Request::Attach(Box::new(house.wish("c", HOUR)));
    crate::Desk::arrives(&house.desk.directory(), &request);
    assert!(house.kept().knows("c"));
    house.desk.handle(request, house.now_ms);
    assert!(house.kept().knows("c"));
}

#[test]
fn an_organisation_has_as_many_sessions_as_it_may() {
    let limits = Limits {
        sessions_max: 2,
        ..LIMITS
    };
    let mut house = House::with(limits, QUOTA);
    house.absent("a", "x");
    house.absent("b", "x");
    let wish = house.wish("c", HOUR);
    let letters = house.ask(Request::Attach(Box::new(wish)));
    assert!(matches!(letters[0].1, Answer::Refused(Refused::TooMany)));
    assert!(house.attach("a").session_present);
}

#[test]
fn an_announced_client_is_known_until_the_last_of_its_connections_is_decided() {
    let mut house = House::new();
    let kept = house.kept();
    let announced = [kept.announce("c"), kept.announce("c")];
    assert!(kept.knows("c") && !kept.knows("d"));
    let wish = house.wish("c", 0);
    assert_eq!(house.attach_as(wish).attachment, None);
    assert!(kept.knows("c"), "they have not asked yet");
    let [first, second] = announced;
    drop(first);
    assert!(kept.knows("c"));
    drop(second);
    assert!(!kept.knows("c"));
}

#[test]
fn a_connection_carries_its_session_until_it_goes_or_is_taken_over() {
    let mut house = House::new();
    let kept = house.kept();
    let wish = house.wish("c", HOUR);
    let first = wish.carrier;
    let attachment = house.attach_as(wish).attachment.unwrap();
    let carried = Some((attachment.session, first));
    assert_eq!(kept.carried_by(first.session), carried);
    let wish = house.wish("c", HOUR);
    let second = wish.carrier;
    let attachment = house.attach_as(wish).attachment.unwrap();
    assert_eq!(kept.carried_by(first.session), None);
    let carried = Some((attachment.session, second));
    assert_eq!(kept.carried_by(second.session), carried);
    house.detach(attachment, false);
    assert_eq!(kept.carried_by(second.session), None);
}

#[test]
fn what_is_kept_is_counted_over_all_organisations() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.attach("d");
    house.retain("a", "12");
    let mut wish = house.wish("e", HOUR);
    wish.org = "other".into();
    let attachment = house.attach_as(wish).attachment.unwrap();
    house.subscribe(attachment, "b", 1, RetainHandling::Never);
    assert!(house.kept().has_subscriptions());
    let counts = house.desk.directory().counts();
    assert_eq!((counts.sessions, counts.away), (3, 1));
    assert_eq!((counts.subscriptions, counts.retained), (2, 1));
    assert_eq!(
        counts.retained_bytes,
        house.kept().counts().retained_bytes,
        "only acme has any"
    );
    assert!(counts.retained_bytes >= 3);
}
