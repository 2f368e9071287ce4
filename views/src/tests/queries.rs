//! Questions while things change.

use std::sync::atomic::{AtomicBool, Ordering};

use journal::Position;
use presence::EndReason;

use super::facts::{MIDNIGHT_MS, comings_and_goings, ended, opened};
use super::{Folder, fold_all, open};
use crate::Cursor;

#[test]
fn what_was_folded_is_seen_before_it_is_flushed() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let reader = views.reader().unwrap();
    assert_eq!(reader.user("acme", "alice").unwrap(), None);
    fold_all(&mut views, &[opened("acme", "alice", 1, MIDNIGHT_MS)]);
    assert_eq!(
        reader
            .user("acme", "alice")
            .unwrap()
            .unwrap()
            .online_sessions,
        1
    );
    let page = reader
        .history("acme", "alice", None, None, 10, None)
        .unwrap();
    assert_eq!((page.events.len(), page.next), (1, None));
}

#[test]
fn the_next_page_is_the_same_whatever_came_meanwhile() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let reader = views.reader().unwrap();
    let facts = comings_and_goings("alice", 40, MIDNIGHT_MS);
    fold_all(&mut views, &facts[..10]);
    views.flush().unwrap();
    fold_all(&mut views, &facts[10..20]);
    let first = reader
        .history("acme", "alice", None, None, 15, None)
        .unwrap();
    fold_all(&mut views, &facts[20..]);
    views.flush().unwrap();
    let second = reader
        .history("acme", "alice", None, None, 15, first.next)
        .unwrap();
    let seqs: Vec<_> = first
        .events
        .iter()
        .chain(&second.events)
        .map(|event| event.seq)
        .collect();
    assert_eq!(seqs, (1..=20).rev().collect::<Vec<_>>());
    assert_eq!(second.next, None);
}

#[test]
fn a_history_is_cut_to_the_time_asked_for() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    fold_all(&mut views, &comings_and_goings("alice", 20, MIDNIGHT_MS));
    let reader = views.reader().unwrap();
    let (from, to) = (MIDNIGHT_MS + 5_000, MIDNIGHT_MS + 8_000);
    let page = reader
        .history("acme", "alice", Some(from), Some(to), 10, None)
        .unwrap();
    let seqs: Vec<_> = page.events.iter().map(|event| event.seq).collect();
    assert_eq!((seqs, page.next), (vec![8, 7, 6], None));
}

#[test]
fn another_users_cursor_shows_nothing() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let facts = [
        opened("acme", "alice", 1, MIDNIGHT_MS),
        opened("globex", "alice", 2, MIDNIGHT_MS),
        opened("acme", "bob", 3, MIDNIGHT_MS),
    ];
    fold_all(&mut views, &facts);
    let reader = views.reader().unwrap();
    for flushed in [false, true] {
        for foreign in [1, 2, 99, u64::MAX] {
            let cursor = Some(Cursor(Position(foreign)));
            let page = reader
                .history("acme", "alice", None, None, 10, cursor)
                .unwrap();
            assert_eq!(
                (page.events.len(), page.next),
                (0, None),
                "{foreign} {flushed}"
            );
        }
        views.flush().unwrap();
    }
}

#[test]
fn a_dispatcher_passes_over_other_organisations_in_bounded_steps() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    fold_all(
        &mut views,
        &comings_and_goings("alice", 12_000, MIDNIGHT_MS),
    );
    fold_all(&mut views, &[opened("globex", "carol", 1, MIDNIGHT_MS)]);
    let reader = views.reader().unwrap();
    for _ in ["in memory", "on the disk"] {
        let page = reader.events_from("globex", Position(0), 5).unwrap();
        assert_eq!((page.events.len(), page.next), (0, Position(10_000)));
        let page = reader.events_from("globex", page.next, 5).unwrap();
        assert_eq!((page.events.len(), page.next), (1, views.position()));
        views.flush().unwrap();
    }
    assert_eq!(
        reader.events_from("acme", Position(7), 5).unwrap().next,
        Position(12)
    );
}

#[test]
fn no_event_is_missing_for_a_reader_while_the_writer_flushes() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let mut checkpointer = views.checkpointer().unwrap();
    fold_all(&mut views, &[opened("acme", "alice", 0, MIDNIGHT_MS)]);
    let (reader, done) = (views.reader().unwrap(), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || {
            let (mut asked, mut seen) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let user = reader.user("acme", "alice").unwrap().unwrap();
                assert!(user.seq >= seen, "a user's number never falls");
                let page = reader
                    .history("acme", "alice", None, None, 50, None)
                    .unwrap();
                let seqs: Vec<_> = page.events.iter().map(|event| event.seq).collect();
                assert!(seqs[0] >= user.seq);
                assert!(
                    seqs.windows(2).all(|pair| pair[0] == pair[1] + 1),
                    "{seqs:?}"
                );
                assert_eq!(seqs.len(), usize::try_from(seqs[0].min(50)).unwrap());
                (asked, seen) = (asked + 1, user.seq);
            }
            asked
        });
        for round in 1..400 {
            let lost = EndReason::ConnectionLost;
            fold_all(
                &mut views,
                &[
                    opened("acme", "alice", round, MIDNIGHT_MS),
                    ended("acme", "alice", round, MIDNIGHT_MS, lost),
                ],
            );
            if round % 3 == 0 {
                views.flush().unwrap();
            }
            if round % 10 == 0 {
                checkpointer.checkpoint().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(asked.join().unwrap() > 0);
    });
}

#[test]
fn a_crowd_under_one_name_is_counted_through_a_restart() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let facts: Vec<_> = (0..40)
        .map(|i| opened("acme", "house", i, MIDNIGHT_MS))
        .collect();
    fold_all(&mut views, &facts);
    views.settle().unwrap();
    drop(views);
    let mut views = open(&folder.file());
    for i in 0..40 {
        let fact = ended(
            "acme",
            "house",
            i,
            MIDNIGHT_MS + 1,
            EndReason::ServerCrashed,
        );
        let event = views.fold(views.position(), fact).unwrap();
        assert_eq!(u64::from(event.online_sessions), 39 - i);
    }
    assert_eq!(views.contradictions(), 0);
}
