//! The log or SQLite cannot be written, or do not fit each other.

use super::publishing::{at_qos_2, held_back, publisher, told};
use super::{Dir, HOUR, House, LIMITS, ORGS, QUOTA, WIDE, short};
use crate::{
    Answer, Desk, Limits, NotSubscribed, OpenError, Refused, Request, RetainHandling, Settings,
};

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Answer::Published { outcome, .. } if outcome.is_unavailable)
}

#[test]
fn while_the_log_fails_nothing_new_begins_and_nothing_decided_is_lost() {
    let mut house = House::new();
    house.absent("c", "a/#");
    let online = house.attach("on").attachment.unwrap();
    house.desk.break_log(true);
    let request = house.publish_request("a/b", "m1", 1);
    let held = house.ask(Request::Publish(Box::new(request)));
    assert_eq!(held, [], "the one that found out waits");
    assert!(house.desk.is_failing());
    let request = house.publish_request("a/b", "m2", 1);
    let answers = house.ask(Request::Publish(Box::new(request)));
    assert!(is_unavailable(&answers[0].1));
    let wish = house.wish("d", HOUR);
    let answers = house.ask(Request::Attach(Box::new(wish)));
    assert_eq!(answers[0].1, Answer::Refused(Refused::Unavailable));
    let answers = house.subscribe(online, "x", 1, RetainHandling::Never);
    let refused = vec![Err(NotSubscribed::Unavailable)];
    assert_eq!(answers[0].1, Answer::Subscribed(1, refused));

    house.desk.break_log(false);
    assert_eq!(house.pass(999), [], "it is left alone for a second");
    let answers = house.pass(1);
    assert!(matches!(answers[0].1, Answer::Published { outcome, .. } if outcome.queued == 1));
    assert!(!house.desk.is_failing());
    house.crash();
    assert_eq!(short(&house.attach("c").window), ["1 m1"]);
}

#[test]
fn while_the_log_fails_others_get_nothing_new_of_a_stored_publisher_but_what_waits_in_order() {
    let mut house = House::new();
    let from = publisher(&mut house);
    house.desk.break_log(true);
    let first = at_qos_2(&mut house, from, 5, "decided");
    let first = held_back(&mut house, first, 1);
    assert_eq!(house.ask(first), []);
    let behind = house.publish_request("a/b", "nothing for the log", 1);
    let behind = held_back(&mut house, behind, 2);
    assert_eq!(house.ask(behind), []);
    let refused = at_qos_2(&mut house, from, 6, "refused");
    let refused = held_back(&mut house, refused, 3);
    assert_eq!(told(&house.ask(refused)), [(3, Some(false)), (9, None)]);

    house.desk.break_log(false);
    let letters = house.pass(1_000);
    let expected = [(1, Some(true)), (9, None), (2, Some(true)), (9, None)];
    assert_eq!(told(&letters), expected);
}

#[test]
fn a_connection_that_waits_for_its_session_when_the_log_fails_is_sent_away() {
    let mut house = House::new();
    house.desk.break_log(true);
    let wish = house.wish("c", HOUR);
    let answers = house.ask(Request::Attach(Box::new(wish)));
    assert_eq!(answers[0].1, Answer::Refused(Refused::Unavailable));
    house.desk.break_log(false);
    house.pass(1_000);
    assert_eq!(house.kept().counts().away, 1, "nobody carries it");
    assert!(house.attach("c").session_present);
}

#[test]
fn a_kill_while_the_log_fails_takes_only_what_was_not_answered() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.publish("a/b", "m1", 1);
    house.desk.break_log(true);
    let request = house.publish_request("a/b", "m2", 1);
    house.ask(Request::Publish(Box::new(request)));
    house.crash();
    assert_eq!(short(&house.attach("c").window), ["1 m1"]);
}

#[test]
fn when_sqlite_is_full_the_log_goes_on_until_memory_is_full() {
    let limits = Limits {
        memory_bytes_max: 50_000,
        ..LIMITS
    };
    let mut house = House::with(limits, WIDE);
    house.absent("c", "a/#");
    house.pass(1_000);
    house.desk.writer().fill(true);
    let body = "x".repeat(1_000);
    let mut queued = 0;
    while !house.publish("a/b", &body, 1).0.is_unavailable {
        house.pass(300);
        queued += 1;
        assert!(queued < 100, "it goes on for ever");
    }
    // A few had room in pages that were there already.
    assert!(queued >= 50, "{queued}");
    assert_eq!(house.desk.waiting(), (queued, 50_000));
    house.desk.writer().fill(false);
    house.pass(2_000);
    assert_eq!(house.desk.waiting(), (queued, 0), "all have a place now");
    assert_eq!(house.publish("a/b", &body, 1).0.queued, 1);
    house.crash();
    assert_eq!(house.desk.waiting().0, queued + 1);
}

fn open(dir: &Dir) -> Result<Desk, OpenError> {
    let settings = Settings {
        limits: LIMITS,
        segment_bytes: 2_000,
    };
    Desk::open(dir.path(), settings, &ORGS.map(|id| (id, QUOTA)), 1_000_000)
}

#[test]
fn segments_that_sqlite_covers_go_and_a_start_needs_only_the_rest() {
    let mut house = House::with(LIMITS, WIDE);
    house.absent("c", "a/#");
    let logs = |dir: &Dir| {
        let names = std::fs::read_dir(dir.path()).unwrap();
        names
            .filter(|name| name.as_ref().unwrap().path().extension() == Some("log".as_ref()))
            .count()
    };
    for n in 0..200 {
        house.publish("a/b", &format!("message number {n}"), 1);
    }
    assert!(logs(&house.dir) > 5);
    house.pass(1_000);
    house.desk.care(house.now_ms);
    assert_eq!(logs(&house.dir), 1);
    house.publish("a/b", "after", 1);
    house.crash();
    assert_eq!(house.desk.waiting().0, 201);
}

#[test]
fn a_log_without_its_tables_is_refused_with_what_to_do() {
    let mut house = House::with(LIMITS, WIDE);
    house.absent("c", "a/#");
    for n in 0..100 {
        house.publish("a/b", &format!("message number {n}, and some more text"), 1);
    }
    house.pass(1_000);
    house.desk.care(house.now_ms);
    let dir = house.dir.copy(|_| true);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some("log".as_ref()) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let error = open(&dir).err().expect("is refused");
    assert!(matches!(error, OpenError::Mismatch(_)), "{error}");
    assert!(error.to_string().contains("restore the data directory"));
}

#[test]
fn tables_without_their_log_are_refused_with_what_to_do() {
    let mut house = House::new();
    house.absent("c", "a/#");
    house.stop_and_start();
    let dir = house.dir.copy(|_| true);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("log".as_ref()) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let error = open(&dir).err().expect("is refused");
    assert!(matches!(error, OpenError::Mismatch(_)), "{error}");
}
