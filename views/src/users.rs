//! The users in memory: those whose rows are behind, and those seen lately.
//!
//! A user's row lies at a random place of a large table, so writing it for every event would write
//! a page for every event. Rows are therefore written in sweeps: all users that changed before the
//! sweep began, in the order of the table, a slice with every flush, so that one page takes many
//! changes. Until its slice comes, a user's row is behind; the history, which is written with every
//! flush, has what is missing, and [`Users::merged`] says from where on.
//!
//! In memory are at most 64 flushes' worth of changed users (65,536 at 1,024 events a flush), and
//! [`SETTLED_MAX`] more whose rows are up to date; each takes about 150 bytes.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use compact_str::CompactString;
use hashbrown::HashTable;
use journal::Position;
use slab::Slab;

use crate::user::User;

/// A sweep is done in about this many flushes: more make a page take more changes, and an opening
/// after a crash read more history.
const SWEEP_FLUSHES: usize = 64;

/// A flush writes at least so many rows: with little to do, no row is behind.
/// (In tests one row, so that most rows are behind.)
const SLICE_MIN: usize = if cfg!(test) { 1 } else { 256 };

/// How many users are remembered beyond those whose rows are behind.
/// (In tests two, so that users are forgotten and looked up again.)
const SETTLED_MAX: usize = if cfg!(test) { 2 } else { 65_536 };

/// Names a user; ordered as the table is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The number of the organisation.
    pub(crate) org: u32,
    /// The user's name.
    pub(crate) name: CompactString,
}

/// The same, borrowed.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct KeyRef<'a> {
    /// The number of the organisation.
    pub(crate) org: u32,
    /// The user's name.
    pub(crate) name: &'a str,
}

/// A user in memory.
#[derive(Debug)]
struct Entry {
    key: Key,
    hash: u64,
    user: User,
    /// In `sweep` or `changed`: the row is behind.
    behind: bool,
    /// In `settled`.
    listed: bool,
}

/// Where an entry is; stays so until it is forgotten.
pub(crate) type Index = u32;

/// The users in memory.
#[derive(Debug, Default)]
pub(crate) struct Users {
    entries: Slab<Entry>,
    by_key: HashTable<Index>,
    hasher: RandomState,
    /// What is left of the sweep, last first.
    sweep: Vec<Index>,
    /// When the sweep began: all that changed before is in it, or written.
    sweep_from: Position,
    /// Whose rows are behind, but not in the sweep.
    changed: Vec<Index>,
    /// The rows have everything before.
    merged: Position,
    /// Whose rows may be up to date, longest ago first: these can be forgotten.
    settled: VecDeque<Index>,
}

impl Users {
    /// No user is in memory; the rows have everything before `merged`.
    pub(crate) fn new(merged: Position) -> Self {
        Self {
            merged,
            sweep_from: merged,
            ..Self::default()
        }
    }

    /// A user, if in memory; if not, the row is up to date.
    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<&User> {
        let index = self.find(key)?;
        Some(&self.entries[index as usize].user)
    }

    /// Where a user is, if in memory.
    pub(crate) fn find(&self, key: KeyRef<'_>) -> Option<Index> {
        let is_it = |index: &Index| {
            let found = &self.entries[*index as usize].key;
            found.org == key.org && found.name == key.name
        };
        self.by_key.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// Takes in a user as the row has it; it must not be in memory.
    pub(crate) fn insert(&mut self, key: KeyRef<'_>, user: User) -> Index {
        let hash = self.hasher.hash_one(key);
        let entry = Entry {
            key: Key {
                org: key.org,
                name: key.name.into(),
            },
            hash,
            user,
            behind: false,
            listed: false,
        };
        let index = self.entries.insert(entry) as Index;
        let entries = &self.entries;
        let hash_of = |index: &Index| entries[*index as usize].hash;
        self.by_key.insert_unique(hash, index, hash_of);
        index
    }

    /// A user that is about to change.
    pub(crate) fn change(&mut self, index: Index) -> &mut User {
        let entry = &mut self.entries[index as usize];
        if !entry.behind {
            entry.behind = true;
            self.changed.push(index);
        }
        &mut entry.user
    }

    /// Begins a sweep if none is under way, and tells how many rows to write now. `position` is
    /// where the fold is.
    pub(crate) fn plan(&mut self, position: Position) -> usize {
        if self.sweep.is_empty() {
            self.sweep = std::mem::take(&mut self.changed);
            let key = |index: &Index| &self.entries[*index as usize].key;
            self.sweep.sort_unstable_by(|a, b| key(b).cmp(key(a)));
            self.sweep_from = position;
        }
        let behind = self.sweep.len() + self.changed.len();
        let slice = behind.div_ceil(SWEEP_FLUSHES).max(SLICE_MIN);
        slice.min(self.sweep.len())
    }

    /// How many rows are left of the sweep.
    pub(crate) fn sweep_len(&self) -> usize {
        self.sweep.len()
    }

    /// The next `count` users of the sweep, in the order of the table.
    pub(crate) fn slice(&self, count: usize) -> impl Iterator<Item = (&Key, &User)> {
        let indices = self.sweep.iter().rev().take(count);
        indices.map(|index| {
            let entry = &self.entries[*index as usize];
            (&entry.key, &entry.user)
        })
    }

    /// From where on rows lack events, once `count` users are written.
    pub(crate) fn merged_after(&self, count: usize) -> Position {
        if count == self.sweep.len() {
            self.sweep_from
        } else {
            self.merged
        }
    }

    /// The rows of the next `count` users are written.
    pub(crate) fn written(&mut self, count: usize) {
        self.merged = self.merged_after(count);
        let kept = self.sweep.len().saturating_sub(count);
        for index in self.sweep.drain(kept..) {
            let entry = &mut self.entries[index as usize];
            entry.behind = false;
            if !std::mem::replace(&mut entry.listed, true) {
                self.settled.push_back(index);
            }
        }
        self.forget();
    }

    /// The rows have everything before.
    pub(crate) fn merged(&self) -> Position {
        self.merged
    }

    /// Whether every row is up to date.
    pub(crate) fn are_merged(&self) -> bool {
        self.sweep.is_empty() && self.changed.is_empty()
    }

    /// Forgets users beyond the bound. One that has changed again stays: it is listed anew when
    /// its row is written.
    fn forget(&mut self) {
        while self.settled.len() > SETTLED_MAX {
            let Some(index) = self.settled.pop_front() else {
                return;
            };
            let entry = &mut self.entries[index as usize];
            if entry.behind {
                entry.listed = false;
                continue;
            }
            let hash = entry.hash;
            if let Ok(found) = self.by_key.find_entry(hash, |other| *other == index) {
                found.remove();
            }
            self.entries.remove(index as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> KeyRef<'_> {
        KeyRef { org: 0, name }
    }

    /// What a fold of an event of `name` and the flush after it do.
    fn touch(users: &mut Users, name: &str) {
        let known = users.find(key(name));
        let index = known.unwrap_or_else(|| users.insert(key(name), User::default()));
        users.change(index).seq += 1;
        let count = users.plan(Position(0));
        users.written(count);
    }

    #[test]
    fn no_more_users_are_remembered_than_the_bound() {
        let mut users = Users::default();
        for round in 0..100 {
            touch(&mut users, "always");
            touch(&mut users, &format!("user {}", round % 7));
            touch(&mut users, "always");
            assert!(
                users.entries.len() <= SETTLED_MAX + 1,
                "{}",
                users.entries.len()
            );
            assert_eq!(users.entries.len(), users.by_key.len());
        }
    }

    #[test]
    fn a_user_that_changed_while_its_time_came_is_forgotten_later() {
        let mut users = Users::default();
        for name in ["a", "b", "c", "d"] {
            let index = users.insert(key(name), User::default());
            users.change(index);
        }
        users.plan(Position(4));
        users.written(1);
        let a = users.find(key("a")).unwrap();
        users.change(a).seq += 1;
        users.written(3);
        assert!(
            users.get(key("a")).is_some_and(|user| user.seq == 1),
            "its row is behind"
        );
        users.plan(Position(5));
        users.written(1);
        for name in ["e", "f"] {
            touch(&mut users, name);
        }
        assert!(users.get(key("a")).is_none());
        assert_eq!(users.entries.len(), SETTLED_MAX);
    }

    #[test]
    fn a_sweep_takes_users_in_the_order_of_the_table() {
        let mut users = Users::default();
        for name in ["dora", "alice", "carol", "bob"] {
            let index = users.insert(key(name), User::default());
            users.change(index);
        }
        users.plan(Position(4));
        let names: Vec<_> = users.slice(3).map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names, ["alice", "bob", "carol"]);
        users.written(3);
        assert_eq!(users.merged(), Position(0), "one is behind");
        users.written(1);
        assert_eq!(users.merged(), Position(4));
    }
}
