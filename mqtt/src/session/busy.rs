//! What a session needs besides while it is busy, behind one box.
//!
//! It exists only while one of its parts holds something; a session that uses topic
//! aliases keeps it.

use super::Session;
use super::alias::Aliases;
use super::deliver::Outbound;
use super::publish::Receiving;

#[derive(Debug, Default)]
pub(super) struct Busy {
    pub(super) receiving: Receiving,
    pub(super) outbound: Outbound,
    pub(super) aliases: Aliases,
}

impl Session {
    pub(super) fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    /// Frees the box if nothing is in it.
    pub(super) fn rest(&mut self) {
        let is_idle = |busy: &Busy| {
            busy.receiving.is_empty() && busy.outbound.is_empty() && busy.aliases.is_empty()
        };
        if self.busy.as_deref().is_some_and(is_idle) {
            self.busy = None;
        }
    }
}
