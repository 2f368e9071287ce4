//! Which events an endpoint hears of: every session, or only a user's first and last.
//!
//! A stage before the lane. At level `user` an event passes if it takes the user's sessions from
//! none to one or from one to none; with a grace time an ending is held back, and if the user
//! returns in time neither the ending nor the return is told. A logout is never held back: it is
//! meant. Held events are unsettled: what is stored as done must stay below
//! [`oldest_held`](LevelFilter::oldest_held).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
};

use crate::payload::Status;

/// Which events an endpoint hears of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Every session's opening and ending.
    #[default]
    Session,
    /// The first session's opening and the last one's ending.
    User {
        /// How long an ending may be taken back by a return, in milliseconds; 0: never.
        grace_ms: u64,
    },
}

/// An event on its way to the lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelEvent<K, T> {
    /// Its place among all events.
    pub position: u64,
    /// Whose it is. Unlike in the lane a hash will not do: one user would take back another's.
    pub user: K,
    /// What happened.
    pub status: Status,
    /// When it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// The user's sessions after the event.
    pub online_sessions: u32,
    /// Whatever belongs to it.
    pub payload: T,
}

/// The filter of one endpoint. Feed it with [`handle`](Self::handle) and
/// [`handle_time`](Self::handle_time), then take what passed with
/// [`poll_passed`](Self::poll_passed) until it gives nothing.
#[derive(Debug)]
pub struct LevelFilter<K, T> {
    level: Level,
    held_max: usize,
    /// The endings held back, by the time at which they pass and their position.
    held: BTreeMap<(u64, u64), LevelEvent<K, T>>,
    held_of_user: HashMap<K, (u64, u64)>,
    passed: VecDeque<LevelEvent<K, T>>,
    cancelled: VecDeque<(u64, u64)>,
}

impl<K: Clone + Eq + Hash, T> LevelFilter<K, T> {
    /// Holds back at most `held_max` endings; at the limit the oldest passes before its time, so
    /// that a return is told rather than an ending lost.
    pub fn new(level: Level, held_max: usize) -> Self {
        Self {
            level,
            held_max,
            held: BTreeMap::new(),
            held_of_user: HashMap::new(),
            passed: VecDeque::new(),
            cancelled: VecDeque::new(),
        }
    }

    /// Takes the next event, in order of position. Whether it passes, now or later, is seen at
    /// [`poll_passed`](Self::poll_passed).
    pub fn handle(&mut self, event: LevelEvent<K, T>) {
        let Level::User { grace_ms } = self.level else {
            self.passed.push_back(event);
            return;
        };
        // An ending whose time is over has passed, even if nobody has said so before.
        self.handle_time(event.at_ms);
        match (event.status, event.online_sessions) {
            (Status::Online, 1) => self.first_on(event),
            (Status::Offline, 0) if grace_ms > 0 => self.hold(event, grace_ms),
            (Status::Offline | Status::LoggedOut, 0) => self.last_off(event),
            _ => {}
        }
    }

    fn first_on(&mut self, event: LevelEvent<K, T>) {
        match self.take_held(&event.user) {
            Some(held) => self.cancelled.push_back((held.position, event.position)),
            None => self.passed.push_back(event),
        }
    }

    fn last_off(&mut self, event: LevelEvent<K, T>) {
        let held = self.take_held(&event.user);
        self.passed.extend(held);
        self.passed.push_back(event);
    }

    fn hold(&mut self, event: LevelEvent<K, T>, grace_ms: u64) {
        let held = self.take_held(&event.user);
        self.passed.extend(held);
        let key = (event.at_ms.saturating_add(grace_ms), event.position);
        self.held_of_user.insert(event.user.clone(), key);
        self.held.insert(key, event);
        if self.held.len() > self.held_max {
            self.pass_oldest();
        }
    }

    fn take_held(&mut self, user: &K) -> Option<LevelEvent<K, T>> {
        let key = self.held_of_user.remove(user)?;
        self.held.remove(&key)
    }

    fn pass_oldest(&mut self) {
        if let Some((_, event)) = self.held.pop_first() {
            self.held_of_user.remove(&event.user);
            self.passed.push_back(event);
        }
    }

    /// Lets the endings pass whose time is over.
    pub fn handle_time(&mut self, now_ms: u64) {
        while self.next_wakeup().is_some_and(|due_ms| due_ms <= now_ms) {
            self.pass_oldest();
        }
    }

    /// The next event that passed, in order of position per user.
    pub fn poll_passed(&mut self) -> Option<LevelEvent<K, T>> {
        self.passed.pop_front()
    }

    /// The next ending that was taken back by a return, as the positions of both.
    ///
    /// Neither is told; but a restart that began between the two would see the return alone, and
    /// tell it. So what is stored as done must not lie between them.
    pub fn poll_cancelled(&mut self) -> Option<(u64, u64)> {
        self.cancelled.pop_front()
    }

    /// When the next ending passes, in Unix milliseconds.
    pub fn next_wakeup(&self) -> Option<u64> {
        self.held.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// The lowest position that is held back.
    pub fn oldest_held(&self) -> Option<u64> {
        self.held.keys().map(|(_, position)| *position).min()
    }

    /// How many endings are held back.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests;
