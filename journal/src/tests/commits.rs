//! Commits that fail, and what becomes of their batch.

use super::disk::{Disk, Faults};
use super::{append, commit, fact, facts, read_all, reopen};
use crate::{Fault, Position};

/// Every way in which a commit can fail and the process go on.
fn faults() -> Vec<(&'static str, Faults)> {
    let none = Faults::default();
    let mut all = vec![
        (
            "the sync fails",
            Faults {
                syncs_fail: true,
                ..none
            },
        ),
        (
            "the sync fails and the write stays",
            Faults {
                syncs_fail: true,
                removals_fail: true,
                ..none
            },
        ),
        (
            "no call succeeds",
            Faults {
                calls_left: Some(0),
                ..none
            },
        ),
    ];
    all.extend((1..5).map(|n| {
        (
            "a later call fails",
            Faults {
                calls_left: Some(n),
                ..none
            },
        )
    }));
    all
}

#[test]
fn a_failed_batch_is_invisible_and_committed_once_when_writing_works_again() {
    for (name, faults) in faults() {
        for committed_before in [0, 1, 10] {
            let disk = Disk::default();
            let (mut log, _) = reopen(&disk);
            if committed_before > 0 {
                commit(&mut log, committed_before);
            }
            append(&mut log, 5);
            disk.set_faults(faults);
            let Err(_) = log.commit() else { continue };
            for _ in 0..3 {
                let _ = log.commit();
            }
            assert_eq!(log.committed(), Position(committed_before), "{name}");
            assert_eq!(read_all(&log), facts(0..committed_before), "{name}");
            disk.set_faults(Faults::default());
            append(&mut log, 1);
            let end = committed_before + 6;
            assert_eq!(
                log.commit().unwrap(),
                Position(committed_before)..Position(end),
                "{name}"
            );
            assert_eq!(read_all(&log), facts(0..end), "{name}");
            let (log, recovered) = reopen(&disk);
            assert_eq!(read_all(&log), facts(0..end), "{name}");
            assert_eq!(recovered.end, Position(end));
        }
    }
}

#[test]
fn an_abandoned_batch_gives_its_positions_back() {
    for (name, faults) in faults() {
        let disk = Disk::default();
        let (mut log, _) = reopen(&disk);
        commit(&mut log, 4);
        append(&mut log, 5);
        disk.set_faults(faults);
        let Err(_) = log.commit() else { continue };
        log.abandon();
        assert_eq!(log.appended(), 0);
        disk.set_faults(Faults::default());
        assert_eq!(log.append(&fact(70)), Position(4));
        log.commit().unwrap();
        let mut expected = facts(0..4);
        expected.push(fact(70));
        assert_eq!(read_all(&log), expected, "{name}");
        assert_eq!(read_all(&reopen(&disk).0), expected, "{name}");
    }
}

#[test]
fn a_segment_that_failed_is_never_written_again() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    let before = disk.content("0000000000.log");
    append(&mut log, 1);
    disk.set_faults(Faults {
        syncs_fail: true,
        ..Faults::default()
    });
    log.commit().unwrap_err();
    disk.set_faults(Faults::default());
    log.commit().unwrap();
    assert_eq!(disk.content("0000000000.log"), before);
    assert_eq!(disk.names(), ["0000000000.log", "0000000001.log"]);
}

#[test]
fn trying_again_and_again_on_a_full_disk_leaves_no_files() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 2);
    append(&mut log, 9);
    let used = disk.content("0000000000.log").len() as u64;
    for free in 0..300 {
        disk.set_faults(Faults {
            capacity: Some(used + free),
            ..Faults::default()
        });
        let error = log.commit().unwrap_err();
        assert!(matches!(error.0, Fault::Io { .. }), "{error}");
        assert_eq!(
            disk.names().len(),
            1 + usize::from(free < 48 && disk.names().len() > 1)
        );
    }
    disk.set_faults(Faults::default());
    log.commit().unwrap();
    assert_eq!(read_all(&log), facts(0..11));
    assert_eq!(disk.names().len(), 2);
}

#[test]
fn a_sync_that_failed_before_a_restart_is_not_believed_after_it() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 2);
    append(&mut log, 1);
    disk.set_faults(Faults {
        syncs_fail: true,
        removals_fail: true,
        ..Faults::default()
    });
    log.commit().unwrap_err();
    // The next process finds the batch in the system's cache, and readers act upon it.
    let disk = disk.after_kill();
    let (log, recovered) = reopen(&disk);
    assert_eq!(recovered.end, Position(3));
    drop(log);
    let disk = disk.after_power_loss(|| false);
    assert_eq!(read_all(&reopen(&disk).0), facts(0..3));
}

#[test]
fn a_new_segment_whose_sync_failed_before_a_restart_is_not_believed_after_it() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    append(&mut log, 1);
    disk.set_faults(Faults {
        syncs_fail: true,
        ..Faults::default()
    });
    log.commit().unwrap_err();
    let disk = disk.after_kill();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    let disk = disk.after_power_loss(|| false);
    assert_eq!(read_all(&reopen(&disk).0), facts(0..1));
}

#[test]
fn a_batch_that_a_start_did_not_find_does_not_come_back() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    append(&mut log, 5);
    disk.set_faults(Faults {
        capacity: Some(400),
        ..Faults::default()
    });
    log.commit().unwrap_err();
    let disk = disk.after_kill();
    assert_eq!(reopen(&disk).1.end, Position(0));
    let disk = disk.after_power_loss(|| false);
    assert_eq!(reopen(&disk).1.end, Position(0));
}

#[test]
fn a_batch_that_a_start_found_void_stays_void() {
    let (fails, none) = (
        Faults {
            syncs_fail: true,
            ..Faults::default()
        },
        Faults::default(),
    );
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    append(&mut log, 1);
    disk.set_faults(Faults {
        removals_fail: true,
        ..fails
    });
    log.commit().unwrap_err();
    // A second segment begins, which says that the batch in the first is void.
    disk.set_faults(fails);
    log.commit().unwrap_err();
    let disk = disk.after_kill();
    let (mut log, recovered) = reopen(&disk);
    assert_eq!(recovered.end, Position(1));
    // It stays empty and goes.
    append(&mut log, 1);
    disk.set_faults(fails);
    log.commit().unwrap_err();
    disk.set_faults(none);
    assert_eq!(disk.names(), ["0000000000.log"]);
    assert_eq!(reopen(&disk).1.end, Position(1));
}

#[test]
fn an_empty_commit_does_nothing() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    disk.set_faults(Faults {
        calls_left: Some(0),
        ..Faults::default()
    });
    assert_eq!(log.commit().unwrap(), Position(0)..Position(0));
    assert!(disk.names().is_empty());
}
