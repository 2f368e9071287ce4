//! A log of records that are no facts, followed by somebody who remembers the position.

use std::sync::Arc;

use super::disk::{Disk, Faults};
use crate::wire::{DecodeError, put_text, take_text, take_u8, unknown};
use crate::{Fault, Position, Record, RecordLog, Settings};

/// A record of its own kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note(String);

const KIND_NOTE: u8 = 200;

impl Record for Note {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(KIND_NOTE);
        put_text(&self.0, out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match take_u8(input)? {
            KIND_NOTE => Ok(Self(take_text(input)?.into())),
            number => Err(unknown("the kind of note", number)),
        }
    }

    fn at_ms(&self) -> u64 {
        0
    }
}

fn open(disk: &Disk) -> Result<RecordLog<Note>, Fault> {
    let settings = Settings { segment_bytes: 800 };
    RecordLog::open_all_on(Arc::new(disk.clone()), settings).map(|(log, _)| log)
}

fn note(n: u64) -> Note {
    Note(format!("note number {n}, which is somewhat long"))
}

fn write(log: &mut RecordLog<Note>, range: std::ops::Range<u64>) {
    for n in range {
        assert_eq!(log.append(&note(n)), Position(n));
        log.commit().unwrap();
    }
}

fn read(log: &RecordLog<Note>, from: u64) -> Vec<Note> {
    let mut found = Vec::new();
    let end = log.reader().read_from(Position(from), 1000, &mut found);
    assert_eq!(end.unwrap(), log.committed());
    found.into_iter().map(|(_, note)| note).collect()
}

#[test]
fn records_of_any_kind_are_read_back_from_a_position() {
    let disk = Disk::default();
    write(&mut open(&disk).unwrap(), 0..60);
    let log = open(&disk.after_power_loss(|| false)).unwrap();
    assert_eq!(read(&log, 17), (17..60).map(note).collect::<Vec<_>>());
}

#[test]
fn what_a_follower_has_is_forgotten_and_the_rest_opens() {
    for keep_from in 0..=60 {
        let disk = Disk::default();
        let mut log = open(&disk).unwrap();
        write(&mut log, 0..60);
        log.forget_before(Position(keep_from)).unwrap();
        assert!(log.oldest() <= Position(keep_from));
        assert!(
            keep_from < 50 || log.oldest() > Position(30),
            "some has gone"
        );
        let mut log = open(&disk.after_power_loss(|| false)).unwrap();
        let expected: Vec<Note> = (keep_from..60).map(note).collect();
        assert_eq!(read(&log, keep_from), expected);
        write(&mut log, 60..70);
        assert_eq!(read(&log, 60).len(), 10);
    }
}

#[test]
fn forgetting_that_is_interrupted_leaves_no_hole() {
    for calls in 0..40 {
        let disk = Disk::default();
        let mut log = open(&disk).unwrap();
        write(&mut log, 0..60);
        disk.set_faults(Faults {
            calls_left: Some(calls),
            ..Faults::default()
        });
        let done = log.forget_before(Position(60)).is_ok();
        for disk in [disk.after_kill(), disk.after_power_loss(|| true)] {
            let log = open(&disk).unwrap();
            let oldest = log.oldest().0;
            assert_eq!(
                read(&log, oldest),
                (oldest..60).map(note).collect::<Vec<_>>()
            );
        }
        disk.set_faults(Faults::default());
        log.forget_before(Position(60)).unwrap();
        assert_eq!(disk.names().len(), 1);
        if done {
            return;
        }
    }
    panic!("it is never done");
}

#[test]
fn a_file_of_another_log_is_refused() {
    let disk = Disk::default();
    super::commit(&mut super::reopen(&disk).0, 3);
    let fault = open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(fault, Fault::Newer { .. }), "{fault}");
}
