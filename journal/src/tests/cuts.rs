//! Files that end too early and bits that turned over, at every byte.

use super::disk::Disk;
use super::{append, commit, fact, facts, open, open_after, read_all, reopen, try_read_all};
use crate::block::Batch;
use crate::maintenance::Retention;
use crate::{Fact, Fault, Position, ReadError};

/// Commits of several sizes; tells how many facts there are and how long the newest segment is
/// after each.
fn story(disk: &Disk, commits: &[u64]) -> Vec<(u64, usize)> {
    let (mut log, _) = reopen(disk);
    let mut after = Vec::new();
    for &count in commits {
        commit(&mut log, count);
        after.push((log.committed().0, disk.content(&newest(disk)).len()));
    }
    after
}

fn newest(disk: &Disk) -> String {
    disk.names()
        .into_iter()
        .rfind(|name| name.ends_with(".log"))
        .unwrap()
}

#[test]
fn a_log_cut_anywhere_holds_what_was_whole_and_goes_on() {
    let disk = Disk::default();
    // The first two fill a segment. The last but one has several blocks.
    let commits = story(&disk, &[6, 4, 1, 2, 4, 1]);
    let (name, all) = (newest(&disk), commits.last().unwrap().0);
    let content = disk.content(&name);
    assert_eq!(name, "0000000001.log");
    for cut in 0..=content.len() {
        let disk = disk.copy();
        disk.put(&name, &content[..cut]);
        let (mut log, recovered) = reopen(&disk);
        let found = read_all(&log);
        let end = found.len() as u64;
        let whole = commits
            .iter()
            .filter(|commit| commit.1 <= cut)
            .map(|commit| commit.0)
            .max();
        assert!(
            end >= whole.unwrap_or(10) && end <= all,
            "cut at {cut}: {end} facts"
        );
        assert_eq!(found, facts(0..end));
        assert_eq!(recovered.end, Position(end));
        assert_eq!(recovered.open, open_after(&found));
        assert!(end == all || recovered.torn_bytes <= cut as u64);
        commit(&mut log, 2);
        let (log, recovered) = reopen(&disk);
        assert_eq!(read_all(&log), facts(0..end + 2));
        assert_eq!(recovered.torn_bytes, 0);
    }
}

#[test]
fn a_segment_cut_before_its_end_is_damage_unless_it_is_the_newest() {
    let disk = Disk::default();
    story(&disk, &[6, 4, 4, 1]);
    let name = "0000000000.log";
    let content = disk.content(name);
    for cut in 0..content.len() {
        let disk = disk.copy();
        disk.put(name, &content[..cut]);
        match open(&disk).map(|_| ()) {
            Err(Fault::Damaged { path, offset, .. }) => {
                assert_eq!(path.to_str(), Some(name));
                assert!(offset <= cut as u64);
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn a_flipped_byte_is_cut_off_with_the_last_commit_or_reported() {
    let disk = Disk::default();
    let commits = story(&disk, &[6, 4, 1, 3, 8, 2]);
    let all = commits.last().unwrap().0;
    for name in disk.names() {
        let content = disk.content(&name);
        for (at, flip) in (0..content.len()).flat_map(|at| [(at, 1), (at, 0x80), (at, 0xff)]) {
            let disk = disk.copy();
            let mut content = content.clone();
            content[at] ^= flip;
            disk.put(&name, &content);
            match open(&disk) {
                Ok((log, _)) => {
                    let found = read_all(&log);
                    assert_eq!(found, facts(0..found.len() as u64));
                    // Nothing but the last commit can be taken for torn.
                    assert!(found.len() as u64 >= all - 2, "{name} at {at}");
                    assert_eq!(name, newest(&disk));
                    assert!((found.len() as u64) < all, "{name} at {at} went unnoticed");
                }
                Err(Fault::Damaged { path, .. }) => assert_eq!(path.to_str(), Some(&*name)),
                Err(fault) => panic!("{name} at {at}: {fault}"),
            }
        }
    }
}

#[test]
fn a_flipped_byte_behind_a_checkpoint_is_reported_to_readers() {
    let disk = Disk::default();
    story(&disk, &[6, 4, 6, 4, 1]);
    let (log, _) = reopen(&disk);
    log.maintenance()
        .run(0, Position(0), Retention::default())
        .unwrap();
    let name = "0000000000.log";
    let content = disk.content(name);
    for at in 0..content.len() {
        let disk = disk.copy();
        let mut content = content.clone();
        content[at] ^= 4;
        disk.put(name, &content);
        match open(&disk) {
            Ok((log, recovered)) => {
                assert_eq!(recovered.open, open_after(&facts(0..21)));
                let (found, error) = try_read_all(&log).unwrap_err();
                assert_eq!(found, facts(0..found.len() as u64));
                assert!(
                    matches!(error, ReadError::Fault(Fault::Damaged { .. })),
                    "{error}"
                );
            }
            Err(fault) => assert!(at < 48 && matches!(fault, Fault::Damaged { .. }), "{fault}"),
        }
    }
}

#[test]
fn damage_before_the_last_commit_is_named_with_file_and_place() {
    let disk = Disk::default();
    let commits = story(&disk, &[1, 1, 1]);
    let name = newest(&disk);
    let mut content = disk.content(&name);
    content[commits[0].1 + 40] ^= 1;
    disk.put(&name, &content);
    let fault = open(&disk).map(|_| ()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!(
            "0000000000.log is damaged at byte {} (the checksum of a block is wrong); restore the \
             data directory from a backup, or move it away to start with an empty journal",
            commits[0].1
        )
    );
    assert_eq!(disk.content(&name), content, "nothing was changed");
}

#[test]
fn a_block_in_the_name_of_a_client_is_never_taken_for_one() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    let Fact::Opened(mut opened) = fact(1) else {
        unreachable!()
    };
    opened.client_id = forged_block(Position(4)).into();
    log.append(&Fact::Opened(opened));
    log.commit().unwrap();
    let name = newest(&disk);
    let mut content = disk.content(&name);
    let last = content.len() - 1;
    content[last] ^= 1;
    disk.put(&name, &content);
    let (log, _) = reopen(&disk);
    assert_eq!(read_all(&log), facts(0..1));
}

/// A block as a client would make it that knows the format and guesses the position, but cannot
/// know the salt: text, so that it can be a name.
fn forged_block(position: Position) -> String {
    let Fact::Opened(mut opened) = fact(0) else {
        unreachable!()
    };
    opened.at_ms = 1;
    opened.peer = None;
    let texts = (0..).filter_map(|n| {
        opened.username = n.to_string().into();
        let mut batch = Batch::new(position);
        batch.push(&Fact::Opened(opened.clone()));
        String::from_utf8(batch.seal(0).to_vec()).ok()
    });
    texts.into_iter().next().unwrap()
}

#[test]
fn a_commit_whose_first_block_is_torn_is_cut_though_a_later_one_is_whole() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 1);
    let name = newest(&disk);
    let before = disk.content(&name).len();
    commit(&mut log, 6);
    let mut content = disk.content(&name);
    // Losing power while it is written can leave any part of it.
    content[before..before + 100].fill(0);
    disk.put(&name, &content);
    let (log, recovered) = reopen(&disk);
    assert_eq!(read_all(&log), facts(0..1));
    assert_eq!(recovered.torn_bytes as usize, content.len() - before);
}

#[test]
fn what_was_appended_and_not_committed_is_not_there() {
    let disk = Disk::default();
    let (mut log, _) = reopen(&disk);
    commit(&mut log, 2);
    append(&mut log, 2);
    assert_eq!(read_all(&log), facts(0..2));
    let (log, recovered) = reopen(&disk);
    assert_eq!(read_all(&log), facts(0..2));
    assert_eq!(recovered.torn_bytes, 0);
}
