//! Opening and ending sessions: the only two places where somebody comes or goes.

use super::{NONE, Org, Session, State, User};
use crate::change::{Ended, Opened, Opening, SessionFacts};
use crate::id::SessionRef;

impl Org {
    /// Opens a session. One that has the same client identifier ends first (MQTT 5 §3.1.4-3), in
    /// the same step: nobody ever sees both, or neither.
    pub fn open(&self, opening: &Opening<'_>) -> Opened {
        let mut state = self.lock();
        let taken_over = state
            .find_client(opening.client_id)
            .map(|slot| state.end(slot));
        let user = state.user(opening.username);
        let serial = state.next_serial;
        state.next_serial += 1;
        let slot = state.sessions.insert(Session::new(opening, serial, user));
        state.enter_client(slot);
        let online_sessions = state.append_to_user(user, slot);
        Opened {
            session: SessionRef { slot, serial },
            taken_over,
            online_sessions,
        }
    }

    /// Ends a session with all its subscriptions. `None` if it had ended before, so that of several
    /// reasons to end a session the first one counts.
    pub fn end(&self, session: SessionRef) -> Option<Ended> {
        let mut state = self.lock();
        let slot = state.slot_of(session)?;
        Some(state.end(slot))
    }

    /// Notes that a session's state outlives its connection, before it has any subscription: its
    /// messages are routed elsewhere, and no message goes to it from here.
    pub fn mark_stored(&self, session: SessionRef) {
        let mut state = self.lock();
        if let Some(slot) = state.slot_of(session) {
            debug_assert_eq!(state.sessions[slot].subscription_count, 0);
            state.sessions[slot].mark_stored();
        }
    }

    /// What is known of a session; `None` once it has ended.
    #[must_use]
    pub fn session(&self, session: SessionRef) -> Option<SessionFacts> {
        let state = self.lock();
        let slot = state.slot_of(session)?;
        Some(state.facts(slot))
    }

    /// The session that a client identifier has now.
    #[must_use]
    pub fn session_of_client(&self, client_id: &str) -> Option<SessionFacts> {
        let state = self.lock();
        let slot = state.find_client(client_id)?;
        Some(state.facts(slot))
    }

    /// The first `most` sessions of a user, in order of opening.
    #[must_use]
    pub fn sessions_of_user(&self, username: &str, most: usize) -> Vec<SessionFacts> {
        let state = self.lock();
        let first = state
            .find_user(username)
            .map(|slot| state.users[slot].first_session);
        let next = |slot: &u32| match state.sessions[*slot].next_of_user {
            NONE => None,
            next => Some(next),
        };
        std::iter::successors(first, next)
            .take(most)
            .map(|slot| state.facts(slot))
            .collect()
    }
}

impl State {
    fn user(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.find_user(name) {
            return slot;
        }
        let hash = self.hash(name);
        let slot = self.users.insert(User {
            name: name.into(),
            first_session: NONE,
            last_session: NONE,
            session_count: 0,
        });
        let (users, seed) = (&self.users, &self.seed);
        self.names
            .insert(hash, slot, |slot| hash_of(seed, &users[slot].name));
        slot
    }

    fn enter_client(&mut self, slot: u32) {
        let (sessions, seed) = (&self.sessions, &self.seed);
        let hash_of = |slot: u32| hash_of(seed, &sessions[slot].client_id);
        self.clients.insert(hash_of(slot), slot, hash_of);
    }

    fn append_to_user(&mut self, user_slot: u32, slot: u32) -> u32 {
        let user = &mut self.users[user_slot];
        let last = std::mem::replace(&mut user.last_session, slot);
        user.session_count += 1;
        let count = user.session_count;
        if last == NONE {
            user.first_session = slot;
        } else {
            self.sessions[last].next_of_user = slot;
            self.sessions[slot].previous_of_user = last;
        }
        count
    }

    fn end(&mut self, slot: u32) -> Ended {
        self.remove_subscriptions_of(slot);
        let hash = self.hash(&self.sessions[slot].client_id);
        self.clients.remove(hash, |other| other == slot);
        let facts = self.facts(slot);
        let session = self.sessions.remove(slot);
        let online_sessions = self.take_from_user(&session);
        Ended {
            facts,
            online_sessions,
        }
    }

    /// Takes a session out of its user's list; the user goes with the last one.
    fn take_from_user(&mut self, session: &Session) -> u32 {
        let (next, previous) = (session.next_of_user, session.previous_of_user);
        let user = &mut self.users[session.user];
        user.session_count -= 1;
        match previous {
            NONE => user.first_session = next,
            previous => self.sessions[previous].next_of_user = next,
        }
        match next {
            NONE => user.last_session = previous,
            next => self.sessions[next].previous_of_user = previous,
        }
        if user.session_count > 0 {
            return user.session_count;
        }
        let hash = self.hash(&self.users[session.user].name);
        self.names.remove(hash, |other| other == session.user);
        self.users.remove(session.user);
        0
    }
}

fn hash_of(seed: &std::hash::RandomState, text: &str) -> u64 {
    std::hash::BuildHasher::hash_one(seed, text)
}
