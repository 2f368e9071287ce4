//! What SQLite is told in one transaction: rows of their own, so that another thread can write them
//! while the state goes on changing.
//!
//! What came with a batch and went before it was written is removed by the next one.

use bytes::Bytes;
use compact_str::CompactString;

use crate::id::{Attachment, StoredRef};
use crate::kept::RetainedRow;
use crate::message::Will;
use crate::record::Subscription;
use crate::session::{Entry, Session};
use crate::state::{Dirty, DueWill, State};

/// All that has changed up to a position of the log. `None` is a row that goes.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) position: u64,
    pub(super) next_session: u64,
    /// The keys it was made from: they say what goes, and are needed again if it fails.
    pub(super) keys: Dirty,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) subscriptions: Vec<(StoredRef, CompactString, Option<Subscription>)>,
    pub(super) messages: Vec<MessageRow>,
    pub(super) queue: Vec<(StoredRef, Entry)>,
    pub(super) received: Vec<(StoredRef, u16, bool)>,
    pub(super) retained: Vec<(CompactString, CompactString, Option<RetainedRow>)>,
    pub(super) wills: Vec<(Attachment, Option<DueWill>)>,
}

#[derive(Debug)]
pub(super) struct SessionRow {
    pub(super) number: StoredRef,
    pub(super) org: CompactString,
    pub(super) client_id: CompactString,
    pub(super) username: CompactString,
    pub(super) expiry_secs: u32,
    pub(super) attachments: u32,
    pub(super) is_attached: bool,
    pub(super) since_ms: u64,
    pub(super) will: Option<Box<Will>>,
    pub(super) sent: usize,
    pub(super) last_packet_id: u16,
}

#[derive(Debug)]
pub(super) struct MessageRow {
    pub(super) number: u64,
    pub(super) at_ms: u64,
    pub(super) expires_at_ms: Option<u64>,
    pub(super) body: Bytes,
}

impl Batch {
    /// Takes what has changed since the last batch. The state must be that of `position`.
    pub(crate) fn gather(state: &mut State, position: u64) -> Self {
        let keys = std::mem::take(&mut state.dirty);
        let sessions = keys.sessions.iter();
        let messages = keys.messages.iter();
        let queue = keys.entries.iter();
        let retained = keys.retained.iter();
        Self {
            position,
            next_session: state.next_session,
            sessions: sessions
                .filter_map(|number| Some(SessionRow::of(*number, state.sessions.get(number)?)))
                .collect(),
            subscriptions: keys
                .subscriptions
                .iter()
                .map(|(number, filter)| {
                    let session = state.sessions.get(number);
                    let found = session.and_then(|session| session.subscriptions.get(filter));
                    (*number, filter.clone(), found.copied())
                })
                .collect(),
            messages: messages
                .filter_map(|number| MessageRow::of(*number, state))
                .collect(),
            queue: queue
                .filter_map(|(number, message)| {
                    let entry = state.sessions.get(number)?.queue.of_message(*message)?;
                    Some((*number, entry.clone()))
                })
                .collect(),
            received: keys
                .received
                .iter()
                .map(|(number, packet_id)| {
                    let session = state.sessions.get(number);
                    let is_in_use = session.is_some_and(|it| it.received.contains(packet_id));
                    (*number, *packet_id, is_in_use)
                })
                .collect(),
            retained: retained
                .map(|(org, topic)| {
                    let row = state.directory.org(org).retained(topic);
                    (org.clone(), topic.clone(), row)
                })
                .collect(),
            wills: keys
                .wills
                .iter()
                .map(|id| (*id, state.wills.get(id).cloned()))
                .collect(),
            keys,
        }
    }

    /// How far SQLite follows the log with it.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// All of it is on the disk now.
    pub(crate) fn settle(self, state: &mut State) {
        for row in &self.sessions {
            match state.sessions.get_mut(&row.number) {
                Some(session) => session.is_on_disk = true,
                None => state.dirty.ended(row.number, true),
            }
        }
        for (number, entry) in &self.queue {
            if let Some(session) = state.sessions.get_mut(number)
                && !session.queue.flushed(entry.message)
            {
                state.dirty.entry_gone(*number, entry.message);
            }
        }
        for row in &self.messages {
            if !state.bodies.flushed(row.number) {
                state.dirty.message_gone(row.number);
            }
        }
    }

    /// None of it is on the disk: it is for the next batch.
    pub(crate) fn give_back(self, state: &mut State) {
        state.dirty.add(self.keys);
    }
}

impl SessionRow {
    fn of(number: StoredRef, session: &Session) -> Self {
        Self {
            number,
            org: session.kept.org().into(),
            client_id: session.client_id.clone(),
            username: session.username.clone(),
            expiry_secs: session.expiry_secs,
            attachments: session.attachments,
            is_attached: session.is_attached,
            since_ms: session.since_ms,
            will: session.will.clone(),
            sent: session.queue.sent(),
            last_packet_id: session.queue.last_packet_id(),
        }
    }
}

impl MessageRow {
    fn of(number: u64, state: &State) -> Option<Self> {
        let body = state.bodies.get(number)?;
        Some(Self {
            number,
            at_ms: body.at_ms,
            expires_at_ms: body.expires_at_ms,
            body: body.bytes.clone()?,
        })
    }
}
