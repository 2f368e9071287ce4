//! Checkpoints: made whenever, interrupted anywhere, damaged; a start finds the same sessions open.

use super::disk::{Disk, Faults};
use super::model::coin;
use super::{commit, facts, open, open_after, read_all, reopen};
use crate::maintenance::Retention;
use crate::{Fault, Log, Position};

const FACTS: u64 = 68;
const END: Position = Position(FACTS);
const KEEP_ALL: Retention = Retention {
    age_ms: None,
    bytes: None,
};

/// Six segments, and no checkpoint yet.
fn story(disk: &Disk) -> Log {
    let (mut log, _) = reopen(disk);
    for _ in 0..FACTS / 2 {
        commit(&mut log, 2);
    }
    assert_eq!(disk.names().len(), 6);
    log
}

fn make(log: &Log) -> u64 {
    log.maintenance()
        .run(0, Position(0), KEEP_ALL)
        .unwrap()
        .checkpoints_made
}

fn checkpoints(disk: &Disk) -> Vec<String> {
    disk.names()
        .into_iter()
        .filter(|name| name.ends_with(".open"))
        .collect()
}

#[test]
fn a_start_finds_the_same_sessions_with_and_without_checkpoints() {
    let disk = Disk::default();
    let mut log = story(&disk);
    let expected = open_after(&facts(0..FACTS));
    assert_eq!(reopen(&disk).1.open, expected);
    assert_eq!(make(&log), 5);
    assert_eq!(make(&log), 0);
    assert_eq!(checkpoints(&disk), ["0000000004.open", "0000000005.open"]);
    assert_eq!(reopen(&disk).1.open, expected);
    commit(&mut log, 9);
    assert_eq!(reopen(&disk).1.open, open_after(&facts(0..FACTS + 9)));
}

#[test]
fn a_start_reads_only_the_segments_after_the_checkpoint() {
    let disk = Disk::default();
    make(&story(&disk));
    for number in 0..5 {
        // The headers tell how the segments join up; the rest is not looked at.
        let name = format!("000000000{number}.log");
        let header = disk.content(&name)[..48].to_vec();
        disk.put(&name, &header);
    }
    let (_, recovered) = reopen(&disk);
    assert_eq!(recovered.open, open_after(&facts(0..FACTS)));
}

#[test]
fn interrupted_maintenance_leaves_a_log_that_opens_and_goes_on() {
    let mut interrupted = 0;
    for calls in 0.. {
        let disk = Disk::default();
        let log = story(&disk);
        disk.set_faults(Faults {
            calls_left: Some(calls),
            ..Faults::default()
        });
        let retention = Retention {
            bytes: Some(0),
            ..KEEP_ALL
        };
        if log.maintenance().run(0, END, retention).is_ok() {
            break;
        }
        interrupted += 1;
        let power_losses = (0..20).map(|seed| disk.after_power_loss(coin(seed * 7 + calls)));
        for disk in [disk.after_kill()].into_iter().chain(power_losses) {
            let (log, recovered) = reopen(&disk);
            assert_eq!(recovered.open, open_after(&facts(0..FACTS)));
            assert_eq!(read_all(&log), facts(log.oldest().0..FACTS));
            log.maintenance().run(0, END, retention).unwrap();
            assert_eq!(reopen(&disk).1.open, open_after(&facts(0..FACTS)));
            assert_eq!(checkpoints(&disk), ["0000000004.open", "0000000005.open"]);
        }
    }
    assert!(interrupted > 40, "{interrupted}");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_made_again() {
    let disk = Disk::default();
    make(&story(&disk));
    let name = "0000000005.open";
    let content = disk.content(name);
    let cut = (0..content.len()).map(|length| content[..length].to_vec());
    let flipped = (0..content.len()).map(|at| {
        let mut content = content.clone();
        content[at] ^= 1;
        content
    });
    for content in cut.chain(flipped) {
        let disk = disk.copy();
        disk.put(name, &content);
        let (log, recovered) = reopen(&disk);
        assert_eq!(recovered.open, open_after(&facts(0..FACTS)));
        assert_eq!(make(&log), 1);
        assert_eq!(reopen(&disk).1.open, open_after(&facts(0..FACTS)));
    }
}

#[test]
fn without_any_good_checkpoint_a_log_whose_beginning_is_gone_is_refused() {
    let disk = Disk::default();
    let log = story(&disk);
    let retention = Retention {
        bytes: Some(0),
        ..KEEP_ALL
    };
    log.maintenance().run(0, END, retention).unwrap();
    assert!(log.oldest() > Position(0));
    for name in checkpoints(&disk) {
        let mut content = disk.content(&name);
        content[60] ^= 1;
        disk.put(&name, &content);
    }
    let fault = open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(fault, Fault::Damaged { .. }), "{fault}");
    assert_eq!(checkpoints(&disk).len(), 2, "nothing is removed");
}
