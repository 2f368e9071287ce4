//! What is either so or not in a session, a bit each: there are a million sessions.

use super::Session;
use super::publish::Unanswered;

/// A set of [`Fact`]s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts(u8);

/// Something that is so or not.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Fact {
    /// The client asked for a session that outlives the connection (§3.1.2.11.2).
    ExpiryRequested = 1,
    /// Request Problem Information (§3.1.2.11.7).
    WantsReasons = 2,
    /// Its state outlives the connection.
    Stored = 4,
    /// The only message that waits for its answer is of QoS 2.
    UnansweredOnce = 8,
}

impl Facts {
    pub(super) fn none() -> Self {
        Self(0)
    }

    pub(super) fn has(self, fact: Fact) -> bool {
        self.0 & fact as u8 != 0
    }

    pub(super) fn set(&mut self, fact: Fact, is_so: bool) {
        if is_so {
            self.0 |= fact as u8;
        } else {
            self.0 &= !(fact as u8);
        }
    }
}

impl Session {
    pub(super) fn is_stored(&self) -> bool {
        self.facts.has(Fact::Stored)
    }

    /// The only message that waits for its answer, if there is just one.
    pub(super) fn alone_unanswered(&self) -> Option<Unanswered> {
        let is_once = self.facts.has(Fact::UnansweredOnce);
        self.unanswered_id.map(|id| Unanswered::new(id, is_once))
    }

    pub(super) fn set_alone_unanswered(&mut self, unanswered: Option<Unanswered>) {
        self.unanswered_id = unanswered.map(Unanswered::packet_id);
        let is_once = unanswered.is_some_and(Unanswered::is_exactly_once);
        self.facts.set(Fact::UnansweredOnce, is_once);
    }
}
