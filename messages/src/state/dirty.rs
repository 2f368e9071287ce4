//! What SQLite does not have yet: the keys of what has changed since the last flush.
//!
//! A flush looks each key up and writes what it finds, so what came and went between two flushes is
//! not written at all.

use std::collections::HashSet;

use compact_str::CompactString;

use crate::id::{Attachment, StoredRef};

/// The keys.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) sessions: HashSet<StoredRef>,
    pub(crate) ended: Vec<StoredRef>,
    pub(crate) subscriptions: HashSet<(StoredRef, CompactString)>,
    pub(crate) entries: Vec<(StoredRef, u64)>,
    pub(crate) entries_gone: Vec<(StoredRef, u64)>,
    pub(crate) received: HashSet<(StoredRef, u16)>,
    pub(crate) messages: Vec<u64>,
    pub(crate) messages_gone: Vec<u64>,
    pub(crate) retained: HashSet<(CompactString, CompactString)>,
    pub(crate) wills: HashSet<Attachment>,
}

impl Dirty {
    pub(super) fn session(&mut self, session: StoredRef) {
        self.sessions.insert(session);
    }

    /// Adds what a failed flush has left.
    pub(crate) fn add(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.ended.extend(other.ended);
        self.subscriptions.extend(other.subscriptions);
        self.entries.extend(other.entries);
        self.entries_gone.extend(other.entries_gone);
        self.received.extend(other.received);
        self.messages.extend(other.messages);
        self.messages_gone.extend(other.messages_gone);
        self.retained.extend(other.retained);
        self.wills.extend(other.wills);
    }

    pub(crate) fn ended(&mut self, session: StoredRef, is_on_disk: bool) {
        self.sessions.remove(&session);
        if is_on_disk {
            self.ended.push(session);
        }
    }

    pub(super) fn subscription(&mut self, session: StoredRef, filter: &CompactString) {
        self.subscriptions.insert((session, filter.clone()));
    }

    pub(super) fn entry(&mut self, session: StoredRef, message: u64) {
        self.entries.push((session, message));
        // Its row says how many of its messages may have been sent, and the last identifier.
        self.sessions.insert(session);
    }

    pub(crate) fn entry_gone(&mut self, session: StoredRef, message: u64) {
        self.entries_gone.push((session, message));
    }

    pub(super) fn received(&mut self, session: StoredRef, packet_id: u16) {
        self.received.insert((session, packet_id));
    }

    pub(super) fn message(&mut self, number: u64) {
        self.messages.push(number);
    }

    pub(crate) fn message_gone(&mut self, number: u64) {
        self.messages_gone.push(number);
    }

    pub(super) fn retained(&mut self, org: &CompactString, topic: &CompactString) {
        self.retained.insert((org.clone(), topic.clone()));
    }

    pub(super) fn will(&mut self, id: Attachment) {
        self.wills.insert(id);
    }
}
