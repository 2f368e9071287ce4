//! Files of other formats, other versions and other places, and what is said about each.

use super::disk::Disk;
use super::{commit, fact, open, reopen};
use crate::block::{Batch, checksum};
use crate::maintenance::Retention;
use crate::{Fact, Fault, Position};

fn refusal(disk: &Disk) -> String {
    open(disk).map(|_| ()).expect_err("is refused").to_string()
}

#[test]
fn another_format_is_refused_with_what_to_do() {
    for (name, found) in [
        ("0000000000.log", 0u32),
        ("0000000000.log", 2),
        ("0000000001.open", 2),
    ] {
        let disk = Disk::default();
        let (mut log, _) = reopen(&disk);
        for _ in 0..6 {
            commit(&mut log, 5);
        }
        log.maintenance()
            .run(0, Position(0), Retention::default())
            .unwrap();
        let name = if disk.names().contains(&name.to_owned()) {
            name
        } else {
            "0000000002.open"
        };
        let mut content = disk.content(name);
        content[8..12].copy_from_slice(&found.to_le_bytes());
        let preamble = checksum(0, &content[..12]);
        content[12..16].copy_from_slice(&preamble.to_le_bytes());
        disk.put(name, &content);
        assert_eq!(
            refusal(&disk),
            format!(
                "{name} has format {found} and this program reads format 1: start the version of \
                 whosthere that wrote it, or move the data directory away to start with an empty \
                 journal"
            )
        );
    }
}

/// A log with one fact whose record is `change`d, under a right checksum.
fn rewritten(change: impl Fn(&mut [u8])) -> Disk {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    let name = "0000000000.log";
    let mut content = disk.content(name);
    let (header, block) = content.split_at_mut(48);
    change(&mut block[28..]);
    let salt = u32::from_le_bytes(header[40..44].try_into().unwrap());
    let sum = checksum(salt, &block[8..]);
    block[4..8].copy_from_slice(&sum.to_le_bytes());
    disk.put(name, &content);
    disk
}

#[test]
fn an_unknown_kind_of_fact_is_said_to_be_of_a_newer_version() {
    assert_eq!(
        refusal(&rewritten(|record| record[0] = 9)),
        "0000000000.log was written by a newer version of whosthere (the kind of fact 9 at byte \
         48 is unknown here): start that version"
    );
}

#[test]
fn a_record_that_makes_no_sense_is_damage() {
    let disk = rewritten(|record| record[17] = 200);
    assert!(matches!(
        open(&disk).map(|_| ()),
        Err(Fault::Damaged { offset: 48, .. })
    ));
}

#[test]
fn a_missing_segment_is_named() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    for _ in 0..6 {
        commit(&mut log, 12);
    }
    let copy = Disk::default();
    for name in disk.names().iter().filter(|name| *name != "0000000002.log") {
        copy.put(name, &disk.content(name));
    }
    assert!(refusal(&copy).starts_with("0000000002.log is missing; restore"));
}

#[test]
fn a_segment_under_another_name_is_noticed() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    let copy = Disk::default();
    copy.put("0000000001.log", &disk.content("0000000000.log"));
    assert!(refusal(&copy).contains("it is another file"));
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let disk = Disk::default();
    for name in [
        "lock",
        "0.log",
        "0000000000.log.bak",
        "x.unfinished",
        "00000000001.open",
    ] {
        disk.put(name, b"?");
    }
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    reopen(&disk);
    assert_eq!(disk.names().len(), 6);
}

#[test]
fn the_format_on_disk_stays_as_it_is() {
    let mut batch = Batch::new(Position(5));
    let Fact::Ended(ended) = fact(2) else {
        unreachable!()
    };
    batch.push(&Fact::Ended(ended));
    let expected = [
        &b"WHJB"[..],
        &[15, 32, 254, 75],
        &[37, 0, 0, 0],
        &[5, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0],
        &[1, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7],
        b"\x04acme\x05user2\x01c",
        &[4, 0],
        &[0xe8, 0x07, 0xea, 0x07],
        &[4],
    ]
    .concat();
    let sealed = batch.seal(0);
    assert_eq!(sealed[8..], expected[8..]);
    assert_eq!(sealed[..8], expected[..8]);
}
