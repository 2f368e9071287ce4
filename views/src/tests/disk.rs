//! Files that cannot be read, disks that are full, facts that do not fit, logs that would grow.

use std::fs;

use journal::{Fact, Position};
use presence::EndReason;

use super::facts::{MIDNIGHT_MS, comings_and_goings, ended, opened};
use super::{Folder, ZERO, fold_all, open};
use crate::checkpoint::log_len;
use crate::{Deliveries, FoldError, OpenError, Views};

#[test]
fn a_file_of_another_format_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let views = open(&folder.file());
    views
        .connection()
        .pragma_update(None, "user_version", 7)
        .unwrap();
    drop(views);
    let error = Views::open(&folder.file()).unwrap_err();
    assert!(matches!(
        error,
        OpenError::Version {
            found: 7,
            expected: 1,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("format 7") && text.contains("delete the file"),
        "{text}"
    );
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = Folder::new();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = fs::read(folder.file()).unwrap();
    assert!(matches!(
        Views::open(&folder.file()),
        Err(OpenError::Version { found: 0, .. })
    ));
    assert_eq!(fs::read(folder.file()).unwrap(), before);
}

#[test]
fn the_two_files_are_not_mistaken_for_each_other() {
    let folder = Folder::new();
    drop(open(&folder.file()));
    assert!(matches!(
        Deliveries::open(&folder.file()),
        Err(OpenError::Version { found: 0, .. })
    ));
}

#[test]
fn a_damaged_file_is_refused_and_can_be_folded_again_when_deleted() {
    let folder = Folder::new();
    let facts = comings_and_goings("alice", 10, MIDNIGHT_MS);
    let mut views = open(&folder.file());
    fold_all(&mut views, &facts);
    views.settle().unwrap();
    drop(views);
    fs::write(
        folder.file(),
        b"no database at all, but long enough to have a header",
    )
    .unwrap();
    let text = Views::open(&folder.file()).unwrap_err().to_string();
    assert!(
        text.contains("damaged") && text.contains("made again from the journal"),
        "{text}"
    );

    fs::remove_file(folder.file()).unwrap();
    let mut views = open(&folder.file());
    fold_all(&mut views, &facts);
    assert_eq!(
        views
            .reader()
            .unwrap()
            .user("acme", "alice")
            .unwrap()
            .unwrap()
            .seq,
        10
    );
}

#[test]
fn a_full_disk_keeps_everything_in_memory_until_there_is_room() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    fold_all(&mut views, &comings_and_goings("alice", 10, MIDNIGHT_MS));
    views.flush().unwrap();
    let limit = |pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        views.connection().query_row(&sql, (), |_| Ok(())).unwrap();
    };
    limit(1);
    let mut views = views;
    for i in 0..3 {
        fold_all(&mut views, &comings_and_goings("bob", 500, MIDNIGHT_MS));
        assert!(views.flush().is_err());
        assert_eq!((views.position().0, views.flushed().0), (510 + i * 500, 10));
    }
    let reader = views.reader().unwrap();
    let facts = |name| reader.user("acme", name).unwrap().unwrap();
    assert_eq!(facts("bob").seq, 1_500, "readers see what waits");

    let sql = "PRAGMA max_page_count = 1000000";
    views.connection().query_row(sql, (), |_| Ok(())).unwrap();
    views.flush().unwrap();
    drop(views);
    let views = open(&folder.file());
    assert_eq!(views.position(), Position(1_510));
    let page = views
        .reader()
        .unwrap()
        .history("acme", "bob", None, None, 2_000, None)
        .unwrap();
    assert_eq!(page.events.len(), 1_500);
}

#[test]
fn no_more_than_memory_may_hold_is_folded_without_a_flush() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    fold_all(
        &mut views,
        &comings_and_goings("alice", 65_536, MIDNIGHT_MS),
    );
    assert!(views.is_full());
    let fact = opened("acme", "alice", 99_999, MIDNIGHT_MS);
    let refused = views.fold(views.position(), fact.clone());
    assert!(matches!(refused, Err(FoldError::Full)));
    views.flush().unwrap();
    assert_eq!(views.fold(views.position(), fact).unwrap().seq, 65_537);
}

#[test]
fn a_fact_out_of_order_is_refused() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    let fact = opened("acme", "alice", 1, MIDNIGHT_MS);
    assert!(views.fold(Position(1), fact.clone()).is_err());
    views.fold(ZERO, fact.clone()).unwrap();
    let twice = views.fold(ZERO, fact).unwrap_err();
    assert_eq!(twice.to_string(), "fact 0 came where fact 1 was due");
}

#[test]
fn a_journal_that_was_pruned_is_taken_up_where_it_begins() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    views.skip_to(Position(1_000)).unwrap();
    let lost = ended("acme", "alice", 1, MIDNIGHT_MS, EndReason::ServerCrashed);
    let event = views.fold(Position(1_000), lost).unwrap();
    assert_eq!(
        (event.seq, event.online_sessions, views.contradictions()),
        (1, 0, 1)
    );
    views.flush().unwrap();
    views.skip_to(Position(7)).unwrap();
    drop(views);
    assert_eq!(open(&folder.file()).position(), Position(1_001));
}

#[test]
fn the_log_stays_bounded_without_and_with_a_checkpointer() {
    const MIB: u64 = 1 << 20;
    for (beside, bound) in [(false, 4 * MIB), (true, 2 * MIB)] {
        let folder = Folder::new();
        let mut views = open(&folder.file());
        views.set_log_bytes_max(3 * MIB);
        let mut checkpointer = views.checkpointer().unwrap();
        let mut log_max = 0;
        for round in 0..40 {
            fold_all(&mut views, &scattered(round * 256..(round + 1) * 256));
            views.flush().unwrap();
            log_max = log_max.max(log_len(&folder.file()));
            if beside {
                checkpointer.checkpoint().unwrap();
            }
        }
        assert!(log_max < bound, "{log_max} with a checkpointer: {beside}");
        views.settle().unwrap();
        assert_eq!(log_len(&folder.file()), 0);
    }
}

#[test]
fn a_flush_with_nothing_to_write_writes_nothing() {
    let folder = Folder::new();
    let mut views = open(&folder.file());
    fold_all(&mut views, &comings_and_goings("alice", 10, MIDNIGHT_MS));
    views.flush().unwrap();
    views.flush().unwrap();
    let len = log_len(&folder.file());
    views.flush().unwrap();
    assert_eq!(log_len(&folder.file()), len);
}

/// Users all over the table, so that each costs a page.
fn scattered(numbers: std::ops::Range<u64>) -> Vec<Fact> {
    let name = |number: u64| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let facts = numbers.map(|number| opened("acme", &name(number), number, MIDNIGHT_MS));
    facts.collect()
}
