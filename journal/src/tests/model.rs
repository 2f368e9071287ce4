//! Any history of appends, commits, faults, kills and losses of power, against a list of facts.

use std::sync::Arc;

use proptest::prelude::*;

use super::disk::{Disk, Faults};
use super::{fact, open_after, read_all, reopen};
use crate::maintenance::{Maintenance, Retention};
use crate::{Fact, Log, Position, ReadError, Reader};

#[derive(Clone, Debug)]
enum Op {
    Append(u8),
    Commit(Option<Fault>),
    Abandon,
    Kill,
    LosePower(u64),
    Maintain {
        keep: u8,
        bytes: u16,
        fault: Option<Fault>,
    },
    Follow(u8),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Sync { removals_fail: bool },
    Names,
    Calls(u8),
    Space(u16),
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        any::<bool>().prop_map(|removals_fail| Fault::Sync { removals_fail }),
        Just(Fault::Names),
        (0..7u8).prop_map(Fault::Calls),
        (0..900u16).prop_map(Fault::Space),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..9u8).prop_map(Op::Append),
        4 => Just(Op::Commit(None)),
        2 => any_fault().prop_map(|fault| Op::Commit(Some(fault))),
        1 => Just(Op::Abandon),
        1 => Just(Op::Kill),
        1 => any::<u64>().prop_map(Op::LosePower),
        2 => (0..40u8, 0..4000u16, proptest::option::of(any_fault()))
            .prop_map(|(keep, bytes, fault)| Op::Maintain { keep, bytes, fault }),
        2 => (1..20u8).prop_map(Op::Follow),
    ]
}

struct Model {
    disk: Disk,
    log: Log,
    maintenance: Maintenance,
    reader: Reader,
    /// How many facts were made: each is different, even at the same position.
    made: u64,
    committed: Vec<Fact>,
    appended: Vec<Fact>,
    /// What failed commits since the last that succeeded may have left behind.
    attempts: Vec<Vec<Fact>>,
    followed: Vec<Fact>,
    follow_from: Position,
}

impl Model {
    fn new() -> Self {
        let disk = Disk::default();
        let (log, _) = reopen(&disk);
        Self {
            maintenance: log.maintenance(),
            reader: log.reader(),
            disk,
            log,
            made: 0,
            committed: Vec::new(),
            appended: Vec::new(),
            attempts: Vec::new(),
            followed: Vec::new(),
            follow_from: Position(0),
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(count) => self.append(count),
            Op::Commit(fault) => self.commit(fault),
            Op::Abandon => {
                self.log.abandon();
                self.appended.clear();
            }
            Op::Kill => self.restart(self.disk.after_kill()),
            Op::LosePower(seed) => self.restart(self.disk.after_power_loss(coin(seed))),
            Op::Maintain { keep, bytes, fault } => self.maintain(keep, bytes, fault),
            Op::Follow(max) => self.follow(max),
        }
        let from = self.log.oldest().0 as usize;
        assert_eq!(self.log.committed().0, self.committed.len() as u64);
        assert_eq!(read_all(&self.log), self.committed[from..]);
    }

    fn append(&mut self, count: u8) {
        for _ in 0..count {
            let fact = fact(self.made);
            let position = self.log.append(&fact);
            self.made += 1;
            assert_eq!(
                position.0,
                (self.committed.len() + self.appended.len()) as u64
            );
            self.appended.push(fact);
        }
    }

    fn commit(&mut self, fault: Option<Fault>) {
        self.break_disk(fault);
        match self.log.commit() {
            Ok(committed) if committed.is_empty() => assert!(self.appended.is_empty()),
            Ok(_) => {
                self.committed.append(&mut self.appended);
                self.attempts.clear();
            }
            Err(error) => {
                assert!(fault.is_some(), "{error}");
                self.attempts.push(self.appended.clone());
            }
        }
        self.disk.set_faults(Faults::default());
    }

    fn maintain(&mut self, keep: u8, bytes: u16, fault: Option<Fault>) {
        let keep_from = self.committed.len().saturating_sub(keep.into()) as u64;
        let retention = Retention {
            age_ms: None,
            bytes: Some(bytes.into()),
        };
        let before = self.log.oldest();
        self.break_disk(fault);
        let report = self.maintenance.run(0, Position(keep_from), retention);
        self.disk.set_faults(Faults::default());
        assert!(report.is_ok() || fault.is_some(), "{report:?}");
        assert!(self.log.oldest() <= before.max(Position(keep_from)));
    }

    fn follow(&mut self, max: u8) {
        let mut found = Vec::new();
        match self
            .reader
            .read_from(self.follow_from, max.into(), &mut found)
        {
            Ok(next) => self.follow_from = next,
            Err(ReadError::Gone { from, oldest }) => {
                assert!(from < oldest && oldest == self.log.oldest());
                self.followed.extend_from_slice(
                    &self.committed[self.followed.len() + found.len()..oldest.0 as usize],
                );
                self.follow_from = oldest;
                assert!(found.is_empty());
            }
            Err(error) => panic!("{error}"),
        }
        self.followed
            .extend(found.into_iter().map(|(_, fact)| fact));
        assert_eq!(self.followed, self.committed[..self.followed.len()]);
        assert_eq!(self.follow_from.0, self.followed.len() as u64);
    }

    fn restart(&mut self, disk: Disk) {
        let (log, recovered) = reopen(&disk);
        let from = log.oldest().0 as usize;
        let found = read_all(&log);
        let known = self.committed.len() - from;
        assert_eq!(
            found[..known],
            self.committed[from..],
            "nothing acknowledged is lost"
        );
        let more = &found[known..];
        assert!(
            more.is_empty()
                || self
                    .attempts
                    .iter()
                    .any(|attempt| attempt.starts_with(more)),
            "only the beginning of a commit that failed can be there besides"
        );
        self.committed.extend_from_slice(more);
        assert_eq!(recovered.open, open_after(&self.committed));
        self.appended.clear();
        self.attempts.clear();
        (self.maintenance, self.reader) = (log.maintenance(), log.reader());
        (self.disk, self.log) = (disk, log);
    }

    fn break_disk(&self, fault: Option<Fault>) {
        let none = Faults::default();
        let used: usize = self
            .disk
            .names()
            .iter()
            .map(|name| self.disk.content(name).len())
            .sum();
        self.disk.set_faults(match fault {
            None => none,
            Some(Fault::Sync { removals_fail }) => Faults {
                syncs_fail: true,
                removals_fail,
                ..none
            },
            Some(Fault::Names) => Faults {
                name_syncs_fail: true,
                ..none
            },
            Some(Fault::Calls(count)) => Faults {
                calls_left: Some(count.into()),
                ..none
            },
            Some(Fault::Space(free)) => Faults {
                capacity: Some(used as u64 + u64::from(free)),
                ..none
            },
        });
    }
}

/// Heads or tails, the same for the same seed.
pub(super) fn coin(mut seed: u64) -> impl FnMut() -> bool {
    move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 63 == 1
    }
}

proptest! {
    #[test]
    fn any_history_leaves_what_was_acknowledged(ops in proptest::collection::vec(any_op(), 1..60)) {
        let mut model = Model::new();
        for op in ops {
            model.apply(op);
        }
    }
}

#[test]
fn a_disk_is_let_go_with_the_log() {
    let disk = Arc::new(Disk::default());
    let (log, _) = Log::open_on(disk.clone(), crate::Settings::default()).unwrap();
    drop(log);
    assert_eq!(Arc::strong_count(&disk), 1);
}
