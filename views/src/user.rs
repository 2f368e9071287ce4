//! What the journal says about one user, changed by one fact after another.
//!
//! Open sessions are known by name up to [`NAMED_MAX`]; a user with more (all devices of a house
//! under one name) has the others counted only, so that a row stays small. So an ending that is
//! told twice, or of a session that never opened, is seen and changes no count unless a crowd
//! hides it. No I/O.

use journal::{Position, SessionId};
use smallvec::SmallVec;

use crate::{Event, Kind};

/// How many open sessions of a user are known by name; 16 bytes each.
pub(crate) const NAMED_MAX: usize = 16;

/// Sessions by name; most users have one, which takes no allocation.
pub(crate) type Named = SmallVec<[SessionId; 1]>;

/// The state of a user after an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// The number of the last event; 0 before the first.
    pub(crate) seq: u64,
    /// Where the last event is; `None` before the first.
    pub(crate) last: Option<Position>,
    /// When it happened, in Unix milliseconds.
    pub(crate) last_seen_ms: u64,
    /// Logged out, and not connected since.
    pub(crate) push_suspended: bool,
    /// The open sessions that are known by name.
    pub(crate) named: Named,
    /// How many more are open.
    pub(crate) unnamed: u32,
}

/// What an event changes about its user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Where the event is.
    pub(crate) position: Position,
    /// What happened.
    pub(crate) kind: Kind,
    /// The session it happened to.
    pub(crate) session: SessionId,
    /// When, in Unix milliseconds.
    pub(crate) at_ms: u64,
}

impl Step {
    /// What an event changes.
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            position: event.position,
            kind: event.kind,
            session: event.session,
            at_ms: event.at_ms,
        }
    }
}

impl User {
    /// Takes a step. False if it contradicts what came before: the session was open already, or
    /// was not; such a step is numbered like any other but opens and ends nothing.
    pub(crate) fn take(&mut self, step: &Step) -> bool {
        self.seq += 1;
        self.last = Some(step.position);
        self.last_seen_ms = step.at_ms;
        match step.kind {
            Kind::Online => {
                self.push_suspended = false;
                self.open(step.session)
            }
            Kind::Offline => self.end(step.session),
            Kind::LoggedOut => {
                self.push_suspended = true;
                self.end(step.session)
            }
        }
    }

    /// How many sessions are open.
    pub(crate) fn online_sessions(&self) -> u32 {
        let named = u32::try_from(self.named.len()).unwrap_or(u32::MAX);
        named.saturating_add(self.unnamed)
    }

    fn open(&mut self, session: SessionId) -> bool {
        if self.named.contains(&session) {
            return false;
        }
        if self.named.len() < NAMED_MAX {
            self.named.push(session);
        } else {
            self.unnamed = self.unnamed.saturating_add(1);
        }
        true
    }

    fn end(&mut self, session: SessionId) -> bool {
        if let Some(index) = self.named.iter().position(|open| *open == session) {
            self.named.swap_remove(index);
            return true;
        }
        let hidden = self.unnamed > 0;
        self.unnamed = self.unnamed.saturating_sub(1);
        hidden
    }

    /// The sessions known by name, as one row keeps them.
    pub(crate) fn named_bytes(&self) -> Vec<u8> {
        self.named.iter().flat_map(|session| session.0).collect()
    }

    /// Reads what [`Self::named_bytes`] wrote.
    pub(crate) fn named_from(bytes: &[u8]) -> Named {
        let (sessions, _) = bytes.as_chunks();
        sessions.iter().copied().map(SessionId).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(user: &mut User, kind: Kind, session: u8) -> bool {
        user.take(&Step {
            position: Position(user.seq),
            kind,
            session: SessionId([session; 16]),
            at_ms: 1,
        })
    }

    #[test]
    fn an_ending_told_twice_or_never_opened_changes_no_count() {
        let mut user = User::default();
        assert!(!take(&mut user, Kind::Offline, 9));
        assert!(take(&mut user, Kind::Online, 1));
        assert!(take(&mut user, Kind::Online, 2));
        assert!(!take(&mut user, Kind::Online, 2));
        assert!(take(&mut user, Kind::Offline, 1));
        assert!(!take(&mut user, Kind::Offline, 1));
        assert_eq!((user.online_sessions(), user.seq), (1, 6));
    }

    #[test]
    fn a_crowd_is_counted_down_to_nothing_in_any_order() {
        let mut user = User::default();
        for session in 0..40 {
            assert!(take(&mut user, Kind::Online, session));
        }
        assert_eq!((user.online_sessions(), user.named.len()), (40, NAMED_MAX));
        for session in (0..40).rev() {
            assert!(take(&mut user, Kind::Offline, session));
        }
        assert_eq!(user.online_sessions(), 0);
        assert!(!take(&mut user, Kind::Offline, 0));
    }

    #[test]
    fn a_logout_suspends_push_until_the_next_connect() {
        let mut user = User::default();
        take(&mut user, Kind::Online, 1);
        take(&mut user, Kind::Online, 2);
        take(&mut user, Kind::LoggedOut, 1);
        take(&mut user, Kind::Offline, 2);
        assert!(user.push_suspended);
        take(&mut user, Kind::Online, 3);
        assert!(!user.push_suspended);
    }

    #[test]
    fn names_survive_their_bytes() {
        let named: Named = [SessionId([1; 16]), SessionId([2; 16])]
            .into_iter()
            .collect();
        let user = User {
            named: named.clone(),
            ..User::default()
        };
        assert_eq!(User::named_from(&user.named_bytes()), named);
    }
}
