//! Tables of a day, and what may be dropped.

use journal::Position;

use super::facts::{MIDNIGHT_MS, comings_and_goings, opened};
use super::{Folder, fold_all, follow, open};
use crate::Views;

const DAY_MS: u64 = 86_400_000;

/// Alice comes or goes ten times on each of three days.
fn three_days(folder: &Folder) -> Views {
    let mut views = open(&folder.file());
    for day in 0..3 {
        let facts = comings_and_goings("alice", 10, MIDNIGHT_MS + day * DAY_MS);
        fold_all(&mut views, &facts);
    }
    views.flush().unwrap();
    views
}

fn history_len(views: &Views) -> usize {
    let reader = views.reader().unwrap();
    let page = reader
        .history("acme", "alice", None, None, 100, None)
        .unwrap();
    assert_eq!(page.next, None);
    page.events.len()
}

fn prune_all(views: &mut Views, before_ms: u64, keep_from: u64) -> u32 {
    let mut count = 0;
    while views.prune(before_ms, Position(keep_from)).unwrap() {
        count += 1;
    }
    count
}

#[test]
fn a_history_goes_on_across_tables() {
    let folder = Folder::new();
    assert_eq!(history_len(&three_days(&folder)), 30);
}

#[test]
fn pruning_drops_whole_days_and_keeps_numbers() {
    let folder = Folder::new();
    let mut views = three_days(&folder);
    assert_eq!(prune_all(&mut views, MIDNIGHT_MS + DAY_MS, 30), 1);
    assert_eq!(history_len(&views), 20);
    assert_eq!(
        prune_all(&mut views, u64::MAX, 30),
        1,
        "the newest table stays"
    );
    assert_eq!(history_len(&views), 10);
    drop(views);
    let mut views = open(&folder.file());
    let fact = opened("acme", "alice", 99, MIDNIGHT_MS + 9 * DAY_MS);
    assert_eq!(views.fold(Position(30), fact).unwrap().seq, 31);
}

#[test]
fn what_is_still_to_be_delivered_is_not_dropped() {
    let folder = Folder::new();
    let mut views = three_days(&folder);
    assert_eq!(prune_all(&mut views, u64::MAX, 9), 0);
    assert_eq!(prune_all(&mut views, u64::MAX, 10), 1);
    assert_eq!(prune_all(&mut views, u64::MAX, 19), 0);
    let events = views
        .reader()
        .unwrap()
        .events_from("acme", Position(10), 100)
        .unwrap();
    assert_eq!(events.events.len(), 20);
}

#[test]
fn a_dispatcher_that_waited_for_pruned_events_goes_on_with_the_oldest_there_are() {
    let folder = Folder::new();
    let mut views = three_days(&folder);
    prune_all(&mut views, u64::MAX, 20);
    let page = views
        .reader()
        .unwrap()
        .events_from("acme", Position(3), 100)
        .unwrap();
    assert_eq!(page.events[0].position, Position(20));
    assert_eq!((page.events.len(), page.next), (10, Position(30)));
}

#[test]
fn history_that_rows_of_users_lack_is_not_dropped() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let mut journal: Vec<_> = (0..2_000)
        .map(|i| opened("acme", &format!("user {i}"), i, MIDNIGHT_MS))
        .collect();
    follow(&mut views, &journal);
    views.flush().unwrap();
    journal.push(opened("acme", "alice", 5_000, MIDNIGHT_MS + 2 * DAY_MS));
    follow(&mut views, &journal);
    views.flush().unwrap();
    assert_eq!(
        prune_all(&mut views, u64::MAX, u64::MAX),
        0,
        "most rows are behind"
    );
    drop(views);
    let mut views = open(&folder.file());
    let reader = views.reader().unwrap();
    for i in 0..2_000 {
        let user = reader.user("acme", &format!("user {i}")).unwrap().unwrap();
        assert_eq!((user.seq, user.online_sessions), (1, 1));
    }
    views.settle().unwrap();
    assert_eq!(prune_all(&mut views, u64::MAX, u64::MAX), 1);
}

#[test]
fn a_clock_that_jumps_does_not_lose_history() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    for at_ms in [
        5 * DAY_MS,
        5 * DAY_MS - 1,
        90 * DAY_MS,
        5 * DAY_MS,
        5 * DAY_MS + 1,
    ] {
        fold_all(
            &mut views,
            &[opened("acme", "alice", at_ms, MIDNIGHT_MS + at_ms)],
        );
    }
    views.flush().unwrap();
    assert_eq!(history_len(&views), 5);
}
