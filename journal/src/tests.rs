//! The log as a whole, on a disk that does what real ones do when they fail.

mod checkpoints;
mod commits;
mod cuts;
mod disk;
mod files;
mod formats;
mod model;
mod others;
mod retention;

use std::collections::BTreeSet;
use std::sync::Arc;

use presence::{EndReason, Protocol};

use self::disk::Disk;
use crate::{Ended, Fact, Fault, Log, Opened, Position, Recovered, SessionId, Settings};

/// Fact number `n` of a story in which two of three facts are openings, and every ending belongs
/// to an opening before it.
fn fact(n: u64) -> Fact {
    let session = |n: u64| SessionId((u128::from(n) << 64 | 7).to_be_bytes());
    let username = format!("user{n}").into();
    if n % 3 == 2 {
        return Fact::Ended(Ended {
            org: "acme".into(),
            session: session(n - n % 2 - 1),
            username,
            client_id: "c".into(),
            protocol: Protocol::V311,
            peer: None,
            connected_at_ms: 1000,
            at_ms: 1000 + n,
            reason: EndReason::TakenOver,
        });
    }
    Fact::Opened(Opened {
        org: "acme".into(),
        session: session(n),
        username,
        client_id: "a client with a longer name".into(),
        protocol: Protocol::V5,
        peer: Some(([192, 0, 2, 1], n as u16).into()),
        os: None,
        at_ms: 1000 + n,
        node: 1,
    })
}

fn facts(range: std::ops::Range<u64>) -> Vec<Fact> {
    range.map(fact).collect()
}

/// The sessions that are open after these facts, by a second, plainer reading.
fn open_after(facts: &[Fact]) -> Vec<Opened> {
    let ended: BTreeSet<SessionId> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Ended(ended) => Some(ended.session),
            Fact::Opened(_) => None,
        })
        .collect();
    let open = facts.iter().filter_map(|fact| match fact {
        Fact::Opened(opened) if !ended.contains(&opened.session) => Some(opened.clone()),
        _ => None,
    });
    open.collect()
}

/// Opens a log with segments of a few hundred bytes.
fn open(disk: &Disk) -> Result<(Log, Recovered), Fault> {
    Log::open_on(Arc::new(disk.clone()), Settings { segment_bytes: 800 })
}

fn reopen(disk: &Disk) -> (Log, Recovered) {
    open(disk).expect("opens")
}

/// Appends and commits the next facts of the story.
fn commit(log: &mut Log, count: u64) {
    append(log, count);
    log.commit().expect("commits");
}

fn append(log: &mut Log, count: u64) {
    for _ in 0..count {
        let next = log.committed().0 + log.appended();
        assert_eq!(log.append(&fact(next)), Position(next));
    }
}

/// Everything that a reader finds, read in small pieces.
fn read_all(log: &Log) -> Vec<Fact> {
    try_read_all(log).expect("reads")
}

fn try_read_all(log: &Log) -> Result<Vec<Fact>, (Vec<Fact>, crate::ReadError)> {
    let mut reader = log.reader();
    let (mut next, mut found) = (log.oldest(), Vec::new());
    loop {
        let before = found.len();
        let read = reader.read_from(next, 3, &mut found);
        for (position, _) in &found[before..] {
            assert_eq!(*position, next, "positions have no gaps");
            next = Position(next.0 + 1);
        }
        let only = |found: Vec<(Position, Fact)>| found.into_iter().map(|(_, fact)| fact).collect();
        match read {
            Err(error) => return Err((only(found), error)),
            Ok(end) => assert_eq!(end, next),
        }
        if found.len() == before {
            return Ok(only(found));
        }
    }
}
