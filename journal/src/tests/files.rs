//! The log on the operating system's files: threads beside each other, and a disk that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{append, commit, fact, facts, open_after, read_all};
use crate::maintenance::Retention;
use crate::{Log, Position, ReadError, Settings};

/// A directory that goes with the test.
struct Scratch {
    path: PathBuf,
    mounted: bool,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("journal-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self {
            path,
            mounted: false,
        }
    }

    /// Mounts a file system of this size over it; an error says why it may not.
    fn mount(&mut self, bytes: u64) -> Result<(), String> {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&self.path)
            .output()
            .map_err(|error| error.to_string())?;
        self.mounted = output.status.success();
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if self.mounted { Ok(()) } else { Err(reason) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg(&self.path).status();
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn reopen(dir: &Path) -> (Log, crate::Recovered) {
    Log::open(
        dir,
        Settings {
            segment_bytes: 4000,
        },
    )
    .unwrap()
}

#[test]
fn the_log_lives_in_files() {
    let scratch = Scratch::new("files");
    let dir = scratch.path.join("data/journal");
    let (mut log, recovered) = reopen(&dir);
    assert_eq!((recovered.end, recovered.open.len()), (Position(0), 0));
    for _ in 0..50 {
        commit(&mut log, 7);
    }
    let retention = Retention {
        age_ms: None,
        bytes: Some(10_000),
    };
    log.maintenance().run(0, Position(350), retention).unwrap();
    assert!(log.oldest() > Position(0));
    drop(log);
    let (log, recovered) = reopen(&dir);
    assert_eq!(recovered.open, open_after(&facts(0..350)));
    assert_eq!(read_all(&log), facts(log.oldest().0..350));
}

#[test]
fn readers_and_maintenance_go_beside_the_writer() {
    const END: u64 = 3000;
    let scratch = Scratch::new("beside");
    let (mut log, _) = reopen(&scratch.path);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for chunk in [1, 100] {
            let mut reader = log.reader();
            scope.spawn(move || {
                let (mut next, mut found) = (Position(0), Vec::new());
                while next < Position(END) {
                    found.clear();
                    let end = match reader.read_from(next, chunk, &mut found) {
                        Ok(end) => end,
                        Err(ReadError::Gone { oldest, .. }) => oldest,
                        Err(error) => panic!("{error}"),
                    };
                    for (position, found) in &found {
                        assert_eq!(*position, next);
                        assert_eq!(*found, fact(next.0));
                        next = Position(next.0 + 1);
                    }
                    next = end;
                    thread::yield_now();
                }
            });
        }
        let (mut maintenance, reader, done) = (log.maintenance(), log.reader(), &done);
        scope.spawn(move || {
            let mut made = 0;
            while !done.load(Ordering::Relaxed) {
                let keep_from = Position(reader.committed().0.saturating_sub(2000));
                let retention = Retention {
                    age_ms: None,
                    bytes: Some(20_000),
                };
                made += maintenance
                    .run(0, keep_from, retention)
                    .unwrap()
                    .checkpoints_made;
            }
            assert!(made > 10, "{made}");
        });
        for count in (1..14).cycle() {
            let left = END - log.committed().0;
            commit(&mut log, left.min(count));
            if left <= count {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(log);
    let (log, recovered) = reopen(&scratch.path);
    assert_eq!(recovered.open, open_after(&facts(0..END)));
    assert_eq!(read_all(&log), facts(log.oldest().0..END));
}

#[test]
fn a_full_file_system_loses_nothing_and_is_written_to_when_there_is_room() {
    let mut scratch = Scratch::new("full");
    if let Err(reason) = scratch.mount(128 * 1024) {
        eprintln!("NOT TESTED: a real full file system, because none may be mounted: {reason}");
        return;
    }
    let ballast = scratch.path.join("ballast");
    fs::write(&ballast, vec![0; 64 * 1024]).unwrap();
    let (mut log, _) = reopen(&scratch.path);
    let full = loop {
        append(&mut log, 11);
        if let Err(error) = log.commit() {
            break error;
        }
    };
    assert!(matches!(full.0, crate::Fault::Io { .. }), "{full}");
    let committed = log.committed().0;
    for _ in 0..20 {
        log.commit().unwrap_err();
        assert_eq!(read_all(&log), facts(0..committed));
    }
    // A start works on the full disk too, and finds the same.
    let (other, recovered) = reopen(&scratch.path);
    assert_eq!(recovered.end, Position(committed));
    drop(other);
    fs::remove_file(&ballast).unwrap();
    log.commit().unwrap();
    assert_eq!(read_all(&log), facts(0..committed + 11));
    commit(&mut log, 11);
    drop(log);
    assert_eq!(read_all(&reopen(&scratch.path).0), facts(0..committed + 22));
}
