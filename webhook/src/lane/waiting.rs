//! The events that are held, and which of them is next.
//!
//! A user's events form a chain in order of arrival; only its head is in `ready` (may be tried
//! now) or in `delayed` (was refused and waits for its time) or in flight. Settling a head makes
//! the next in the chain ready. `ready` is ordered by position, so what is put back after a
//! failure is again the oldest.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{DeadLetter, DeadReason, Event};

#[derive(Debug)]
pub(super) struct Waiting<T> {
    held: BTreeMap<u64, Held<T>>,
    ready: BTreeSet<u64>,
    /// (when, position)
    delayed: BTreeSet<(u64, u64)>,
    /// The last event of each user that has any.
    last_of_user: HashMap<u64, u64>,
    /// The highest position pushed or skipped.
    highest: u64,
    /// Expiry never runs backwards along the positions, so the oldest expires first even when
    /// the wall clock was set back between two events.
    latest_expiry_ms: u64,
}

#[derive(Debug)]
struct Held<T> {
    user: u64,
    /// `None` while in flight.
    payload: Option<T>,
    expires_at_ms: u64,
    next_of_user: Option<u64>,
    tries: u32,
    refusals: u32,
    /// When the first try began that was refused.
    first_refused_try_ms: Option<u64>,
    /// When it is due, if it is in `delayed`.
    delayed_until_ms: Option<u64>,
}

/// What [`Waiting::start_next`] hands out.
pub(super) struct WaitingEvent<T> {
    pub(super) position: u64,
    pub(super) tries: u32,
    pub(super) payload: T,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            last_of_user: HashMap::new(),
            highest: 0,
            latest_expiry_ms: 0,
        }
    }
}

impl<T> Waiting<T> {
    pub(super) fn push(&mut self, event: Event<T>, expires_at_ms: u64) {
        let position = event.position;
        if self.held.contains_key(&position) {
            return;
        }
        self.skip(position);
        self.latest_expiry_ms = self.latest_expiry_ms.max(expires_at_ms);
        let before = self.last_of_user.insert(event.user, position);
        match before.and_then(|last| self.held.get_mut(&last)) {
            Some(last) => last.next_of_user = Some(position),
            None => {
                self.ready.insert(position);
            }
        }
        let held = Held {
            user: event.user,
            payload: Some(event.payload),
            expires_at_ms: self.latest_expiry_ms,
            next_of_user: None,
            tries: 0,
            refusals: 0,
            first_refused_try_ms: None,
            delayed_until_ms: None,
        };
        self.held.insert(position, held);
    }

    pub(super) fn skip(&mut self, position: u64) {
        self.highest = self.highest.max(position);
    }

    pub(super) fn start_next(&mut self, now_ms: u64) -> Option<WaitingEvent<T>> {
        self.end_delays(now_ms);
        let position = self.ready.pop_first()?;
        let held = self.held.get_mut(&position)?;
        held.tries = held.tries.saturating_add(1);
        Some(WaitingEvent {
            position,
            tries: held.tries,
            payload: held.payload.take()?,
        })
    }

    fn end_delays(&mut self, now_ms: u64) {
        while let Some(&(due_ms, position)) = self.delayed.first() {
            if due_ms > now_ms {
                return;
            }
            self.delayed.pop_first();
            self.ready.insert(position);
            if let Some(held) = self.held.get_mut(&position) {
                held.delayed_until_ms = None;
            }
        }
    }

    /// Puts an event back that was in flight; it may be tried again at once.
    pub(super) fn put_back(&mut self, position: u64, payload: T) {
        if let Some(held) = self.held.get_mut(&position) {
            held.payload = Some(payload);
            self.ready.insert(position);
        }
    }

    /// Puts an event back that was in flight; it may be tried again from `due_ms` on.
    pub(super) fn put_back_until(&mut self, position: u64, payload: T, due_ms: u64) {
        if let Some(held) = self.held.get_mut(&position) {
            held.payload = Some(payload);
            held.delayed_until_ms = Some(due_ms);
            self.delayed.insert((due_ms, position));
        }
    }

    /// Counts a refusal; gives when the first refused try began and how many there are now.
    pub(super) fn note_refusal(&mut self, position: u64, started_ms: u64) -> (u64, u32) {
        let Some(held) = self.held.get_mut(&position) else {
            return (started_ms, 1);
        };
        held.refusals = held.refusals.saturating_add(1);
        let first_ms = *held.first_refused_try_ms.get_or_insert(started_ms);
        (first_ms, held.refusals)
    }

    /// Forgets an event and lets its user's next go.
    pub(super) fn settle(&mut self, position: u64) {
        let Some(held) = self.held.remove(&position) else {
            return;
        };
        match held.next_of_user {
            Some(next) => {
                self.ready.insert(next);
            }
            None => {
                self.last_of_user.remove(&held.user);
            }
        }
    }

    pub(super) fn take_expired(&mut self, now_ms: u64) -> Option<DeadLetter<T>> {
        let (position, held) = self.oldest_waiting()?;
        if held.expires_at_ms > now_ms || !self.is_head(position, held) {
            return None;
        }
        let (tries, delayed_until_ms) = (held.tries, held.delayed_until_ms);
        let payload = self.held.get_mut(&position)?.payload.take()?;
        self.ready.remove(&position);
        if let Some(due_ms) = delayed_until_ms {
            self.delayed.remove(&(due_ms, position));
        }
        self.settle(position);
        Some(DeadLetter {
            position,
            payload,
            tries,
            reason: DeadReason::Expired,
        })
    }

    /// An event behind its user's event in flight must not be given up before that one has
    /// ended: the chain is only ever cut at its head.
    fn is_head(&self, position: u64, held: &Held<T>) -> bool {
        held.delayed_until_ms.is_some() || self.ready.contains(&position)
    }

    /// The oldest event that is not in flight; there are few in flight to pass over.
    fn oldest_waiting(&self) -> Option<(u64, &Held<T>)> {
        let mut waiting = self.held.iter().filter(|(_, held)| held.payload.is_some());
        waiting.next().map(|(position, held)| (*position, held))
    }

    /// When an event may be tried: 0 if at once.
    pub(super) fn next_try_ms(&self) -> Option<u64> {
        if !self.ready.is_empty() {
            return Some(0);
        }
        self.delayed.first().map(|(due_ms, _)| *due_ms)
    }

    /// Whether an event waits for its next try after a refusal.
    pub(super) fn has_refused(&self) -> bool {
        !self.delayed.is_empty()
    }

    /// How many events may be tried now.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        let (position, held) = self.oldest_waiting()?;
        self.is_head(position, held).then_some(held.expires_at_ms)
    }

    pub(super) fn floor(&self) -> u64 {
        let oldest = self.held.first_key_value();
        oldest.map_or(self.highest, |(position, _)| position.saturating_sub(1))
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.held.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
