//! One stored session: whose it is, what it is subscribed to, what waits for its client, and which
//! packet identifiers are in use on either side (MQTT 5 §4.1).

mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compact_str::CompactString;

use crate::id::{Attachment, Carrier, StoredRef};
use crate::kept::Kept;
use crate::message::Will;
use crate::record::{NEVER, Subscription};

pub(crate) use queue::{Entry, Queue, Stage};

/// A stored session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its organisation.
    pub(crate) kept: Arc<Kept>,
    pub(crate) client_id: CompactString,
    pub(crate) username: CompactString,
    /// Session Expiry Interval.
    pub(crate) expiry_secs: u32,
    /// How often it has been attached: the number of the last attachment.
    pub(crate) attachments: u32,
    /// Whether a connection carries it, as far as the log says.
    pub(crate) is_attached: bool,
    /// Since when it is attached or away, Unix milliseconds.
    pub(crate) since_ms: u64,
    /// The will of the last connection, if it may still be sent.
    pub(crate) will: Option<Box<Will>>,
    pub(crate) subscriptions: BTreeMap<CompactString, Subscription>,
    pub(crate) queue: Queue,
    /// Packet identifiers of QoS 2 messages that the client sent and has not released.
    pub(crate) received: BTreeSet<u16>,
    /// The connection that carries it; none after a restart.
    pub(crate) carrier: Option<Carrier>,
    /// When something is to be done about it though nobody asks.
    pub(crate) deadline_ms: Option<u64>,
    /// Whether SQLite has its row.
    pub(crate) is_on_disk: bool,
}

impl Session {
    /// A session that nobody has attached yet.
    pub(crate) fn new(
        kept: Arc<Kept>,
        client_id: CompactString,
        username: CompactString,
        expiry_secs: u32,
    ) -> Self {
        Self {
            kept,
            client_id,
            username,
            expiry_secs,
            attachments: 0,
            is_attached: false,
            since_ms: 0,
            will: None,
            subscriptions: BTreeMap::new(),
            queue: Queue::default(),
            received: BTreeSet::new(),
            carrier: None,
            deadline_ms: None,
            is_on_disk: false,
        }
    }

    /// Its last attachment.
    pub(crate) fn attachment(&self, session: StoredRef) -> Attachment {
        Attachment {
            session,
            number: self.attachments,
        }
    }

    /// When its will is due: after its delay, or with the session's end if that is earlier
    /// (§3.1.3.2.2). None while it is attached.
    pub(crate) fn will_due_ms(&self) -> Option<u64> {
        let delay = self.will.as_ref()?.delay_secs;
        (!self.is_attached).then(|| after(self.since_ms, delay))
    }

    /// When it ends (§3.1.2.11.2). None while it is attached, or for ever.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        let ends = !self.is_attached && self.expiry_secs != NEVER;
        ends.then(|| after(self.since_ms, self.expiry_secs))
    }

    /// The earlier of the two.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.will_due_ms()
            .into_iter()
            .chain(self.expires_ms())
            .min()
    }
}

fn after(since_ms: u64, secs: u32) -> u64 {
    since_ms.saturating_add(u64::from(secs) * 1_000)
}
