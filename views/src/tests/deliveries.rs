//! What receivers have been told and have refused, kept through restarts.

use journal::Position;

use super::Folder;
use super::facts::{MIDNIGHT_MS, opened};
use crate::checkpoint::log_len;
use crate::{DeadLetter, Deliveries, Disabled, Event, Parked, Revival};

const HOOK: &str = "acme/hook";

fn event(number: u64) -> Event {
    let fact = opened("acme", "alice", number, MIDNIGHT_MS + number);
    Event {
        seq: number,
        ..Event::from_fact(Position(number), fact)
    }
}

fn letter(number: u64) -> DeadLetter {
    DeadLetter {
        event: event(number),
        attempts: 4,
        buried_at_ms: MIDNIGHT_MS + 1_000 + number,
        last_error: "404 Not Found".to_owned(),
    }
}

fn with_letters(folder: &Folder, count: u64) -> Deliveries {
    let mut deliveries = Deliveries::open(&folder.file()).unwrap();
    for number in 0..count {
        deliveries.bury(HOOK, &letter(number)).unwrap();
    }
    deliveries
}

fn dead(deliveries: &Deliveries) -> Vec<u64> {
    let list = deliveries.dead_letters(HOOK, 100, None).unwrap();
    list.letters.iter().map(|letter| letter.event.seq).collect()
}

#[test]
fn everything_survives_a_restart() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 2);
    let gone = Disabled {
        why: "410 Gone".to_owned(),
        at_ms: 5,
    };
    deliveries
        .set_floors(&[(HOOK, Position(7)), ("globex/x", Position(3))])
        .unwrap();
    deliveries.park(HOOK, &event(9), 2, 77).unwrap();
    deliveries.disable(HOOK, &gone).unwrap();
    drop(deliveries);
    let mut deliveries = Deliveries::open(&folder.file()).unwrap();
    assert_eq!(deliveries.floor(HOOK).unwrap(), Some(Position(7)));
    assert_eq!(deliveries.lowest_floor().unwrap(), Some(Position(3)));
    let parked = Parked {
        event: event(9),
        attempts: 2,
        next_at_ms: 77,
    };
    assert_eq!(deliveries.parked(HOOK).unwrap(), [parked]);
    assert_eq!(deliveries.disabled(HOOK).unwrap(), Some(gone));
    assert_eq!(
        deliveries.dead_letters(HOOK, 9, None).unwrap().letters,
        [letter(0), letter(1)]
    );
    assert!(deliveries.enable(HOOK).unwrap());
    assert!(!deliveries.enable(HOOK).unwrap());
}

#[test]
fn an_endpoint_that_was_never_seen_has_nothing() {
    let folder = Folder::new();
    let deliveries = with_letters(&folder, 1);
    assert_eq!(deliveries.floor("acme/other").unwrap(), None);
    assert_eq!(deliveries.lowest_floor().unwrap(), None);
    assert_eq!(deliveries.parked("acme/other").unwrap(), []);
    assert_eq!(deliveries.disabled("acme/other").unwrap(), None);
    assert_eq!(deliveries.dead_letter_count("acme/other").unwrap(), 0);
}

#[test]
fn a_parked_event_has_its_latest_attempt_until_it_is_delivered_or_given_up() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 0);
    for number in [3, 1, 2] {
        deliveries.park(HOOK, &event(number), 1, 10).unwrap();
    }
    deliveries.park(HOOK, &event(1), 2, 20).unwrap();
    assert!(deliveries.unpark(HOOK, event(2).id()).unwrap());
    assert!(!deliveries.unpark(HOOK, event(2).id()).unwrap());
    deliveries.bury(HOOK, &letter(3)).unwrap();
    let parked = Parked {
        event: event(1),
        attempts: 2,
        next_at_ms: 20,
    };
    assert_eq!(deliveries.parked(HOOK).unwrap(), [parked]);
    assert_eq!(dead(&deliveries), [3]);
}

#[test]
fn a_list_goes_on_where_it_was_though_letters_come_and_go() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 5);
    let first = deliveries.dead_letters(HOOK, 2, None).unwrap();
    let ids = [event(1).id(), event(3).id()];
    deliveries.revive(HOOK, &Revival::Ids(&ids), 0).unwrap();
    deliveries.bury(HOOK, &letter(3)).unwrap();
    let second = deliveries.dead_letters(HOOK, 3, first.next).unwrap();
    let seqs = |letters: &[DeadLetter]| letters.iter().map(|l| l.event.seq).collect::<Vec<_>>();
    assert_eq!(
        (seqs(&first.letters), seqs(&second.letters)),
        (vec![0, 1], vec![2, 4, 3])
    );
    assert_eq!(second.next, None);
}

#[test]
fn letters_are_revived_by_id_or_by_time() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 10);
    let mut check = |which: &Revival<'_>, expected: &[u64]| {
        let revived = deliveries.revive(HOOK, which, 99).unwrap();
        let seqs: Vec<_> = revived.iter().map(|parked| parked.event.seq).collect();
        assert_eq!(seqs, expected, "{which:?}");
        assert!(
            revived
                .iter()
                .all(|parked| (parked.attempts, parked.next_at_ms) == (0, 99))
        );
    };
    check(&Revival::Ids(&[event(4).id(), event(77).id()]), &[4]);
    check(
        &Revival::HappenedIn(MIDNIGHT_MS + 3..MIDNIGHT_MS + 6),
        &[3, 5],
    );
    check(&Revival::BuriedIn(MIDNIGHT_MS + 1_008..u64::MAX), &[8, 9]);
    check(&Revival::BuriedIn(0..MIDNIGHT_MS), &[]);
    assert_eq!(dead(&deliveries), [0, 1, 2, 6, 7]);
    assert_eq!(deliveries.parked(HOOK).unwrap().len(), 5);
}

#[test]
fn old_letters_are_pruned() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 4);
    assert_eq!(deliveries.prune(MIDNIGHT_MS + 1_002).unwrap(), 2);
    assert_eq!(dead(&deliveries), [2, 3]);
}

#[test]
fn a_forgotten_endpoint_leaves_the_others_alone() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 3);
    deliveries.set_floors(&[(HOOK, Position(1))]).unwrap();
    deliveries.park("acme/other", &event(1), 1, 1).unwrap();
    deliveries.bury("acme/other", &letter(1)).unwrap();
    deliveries.forget(HOOK).unwrap();
    assert_eq!(deliveries.floor(HOOK).unwrap(), None);
    assert_eq!(deliveries.dead_letter_count(HOOK).unwrap(), 0);
    assert_eq!(deliveries.dead_letter_count("acme/other").unwrap(), 1);
}

#[test]
fn the_log_of_a_file_that_is_written_all_the_time_stays_short() {
    let folder = Folder::new();
    let mut deliveries = with_letters(&folder, 0);
    for position in 0..3_000 {
        deliveries
            .set_floors(&[(HOOK, Position(position))])
            .unwrap();
        assert!(log_len(&folder.file()) < 5 << 20);
    }
}
