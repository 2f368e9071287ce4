//! Retention: what goes, what stays, and what is said about it.

use super::disk::{Disk, Faults};
use super::{commit, facts, open_after, read_all, reopen};
use crate::maintenance::{Report, Retention};
use crate::{Log, Position, ReadError};

const FACTS: u64 = 68;
const END: Position = Position(FACTS);

fn story(disk: &Disk) -> Log {
    let (mut log, _) = reopen(disk);
    for _ in 0..FACTS / 2 {
        commit(&mut log, 2);
    }
    log
}

fn run(log: &Log, now_ms: u64, keep_from: u64, retention: Retention) -> Report {
    log.maintenance()
        .run(now_ms, Position(keep_from), retention)
        .unwrap()
}

fn age(age_ms: u64) -> Retention {
    Retention {
        age_ms: Some(age_ms),
        bytes: None,
    }
}

fn bytes(bytes: u64) -> Retention {
    Retention {
        age_ms: None,
        bytes: Some(bytes),
    }
}

#[test]
fn without_a_limit_everything_stays() {
    let disk = Disk::default();
    let log = story(&disk);
    let report = run(&log, u64::MAX, FACTS, Retention::default());
    assert_eq!((report.segments_removed, report.segments), (0, 6));
    assert_eq!(log.oldest(), Position(0));
}

#[test]
fn segments_whose_last_fact_is_too_old_go() {
    let disk = Disk::default();
    let log = story(&disk);
    // Facts happen at 1000, 1001, and so on; ten to a segment or so.
    let report = run(&log, 1000 + FACTS, FACTS, age(35));
    assert!(report.segments_removed == 2, "{report:?}");
    assert!(log.oldest() > Position(0) && log.oldest() <= Position(25));
    assert_eq!(read_all(&log), facts(log.oldest().0..FACTS));
    assert_eq!(run(&log, 1000 + FACTS, FACTS, age(35)).segments_removed, 0);
}

#[test]
fn the_oldest_segments_go_until_the_rest_is_small_enough() {
    let disk = Disk::default();
    let log = story(&disk);
    let before = run(&log, 0, FACTS, Retention::default());
    let report = run(&log, 0, FACTS, bytes(before.bytes - 1));
    assert_eq!(report.segments_removed, 1);
    assert_eq!(report.bytes + report.bytes_removed, before.bytes);
}

#[test]
fn nothing_that_is_still_to_be_delivered_goes_and_the_report_says_so() {
    for keep_from in 0..=FACTS {
        let disk = Disk::default();
        let log = story(&disk);
        let report = run(
            &log,
            u64::MAX,
            keep_from,
            Retention {
                age_ms: Some(0),
                bytes: Some(0),
            },
        );
        assert!(log.oldest() <= Position(keep_from), "{keep_from}");
        assert_eq!(read_all(&log), facts(log.oldest().0..FACTS));
        assert_eq!(
            report.segments_removed + report.segments_held_back,
            4,
            "{report:?}"
        );
        let (log, recovered) = reopen(&disk);
        assert_eq!(read_all(&log), facts(log.oldest().0..FACTS));
        assert_eq!(recovered.open, open_after(&facts(0..FACTS)));
        let report = run(&log, u64::MAX, FACTS, bytes(0));
        assert_eq!(report.segments_held_back, 0);
        assert_eq!(report.segments, 2);
    }
}

#[test]
fn a_reader_of_what_is_gone_is_told_where_the_log_begins() {
    let disk = Disk::default();
    let log = story(&disk);
    let (mut reader, mut slow) = (log.reader(), log.reader());
    let mut found = Vec::new();
    slow.read_from(Position(0), 1, &mut found).unwrap();
    run(&log, 0, FACTS, bytes(0));
    for reader in [&mut reader, &mut slow] {
        match reader.read_from(Position(1), 10, &mut found) {
            Err(ReadError::Gone { from, oldest }) => {
                assert_eq!((from, oldest), (Position(1), log.oldest()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(found.len(), 1);
    reader.read_from(log.oldest(), 100, &mut found).unwrap();
    assert_eq!(
        found.last().map(|(position, _)| position.0 + 1),
        Some(END.0)
    );
}

#[test]
fn a_reader_that_is_ahead_of_the_log_is_told() {
    let disk = Disk::default();
    let log = story(&disk);
    let mut found = Vec::new();
    assert_eq!(log.reader().read_from(END, 1, &mut found).unwrap(), END);
    let error = log
        .reader()
        .read_from(Position(FACTS + 1), 1, &mut found)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "position 69 is not in the journal, which ends at 68"
    );
}

#[test]
fn a_file_that_could_not_be_removed_goes_with_the_next_run() {
    let disk = Disk::default();
    let log = story(&disk);
    let mut maintenance = log.maintenance();
    disk.set_faults(Faults {
        removals_fail: true,
        ..Faults::default()
    });
    maintenance.run(0, END, bytes(0)).unwrap_err();
    disk.set_faults(Faults::default());
    maintenance.run(0, END, bytes(0)).unwrap();
    let segments = disk
        .names()
        .iter()
        .filter(|name| name.ends_with(".log"))
        .count();
    assert_eq!(segments, 2);
    assert_eq!(read_all(&log), facts(log.oldest().0..FACTS));
}

#[test]
fn a_full_disk_keeps_no_checkpoint_from_being_made_for_long() {
    let disk = Disk::default();
    let log = story(&disk);
    run(&log, 0, 0, Retention::default());
    let mut log = log;
    while disk.names().len() < 10 {
        commit(&mut log, 1);
    }
    // There is no room for a checkpoint until old segments are gone.
    disk.set_faults(Faults {
        capacity: Some(0),
        ..Faults::default()
    });
    let mut maintenance = log.maintenance();
    maintenance.run(0, log.committed(), bytes(0)).unwrap_err();
    let removed = log.oldest();
    assert!(removed > Position(0));
    disk.set_faults(Faults::default());
    assert!(
        maintenance
            .run(0, log.committed(), bytes(0))
            .unwrap()
            .checkpoints_made
            > 0
    );
    assert!(log.oldest() > removed);
}
