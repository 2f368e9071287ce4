//! What is kept of one organisation and asked by any thread: who is subscribed although they may be
//! away, and the retained messages.
//!
//! The keeper alone changes it, record by record; event loops ask. Locks are held for one question
//! or one piece of one. An organisation in which nothing is kept costs an atomic load.

mod changing;
mod retained;
mod subscribers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use compact_str::CompactString;
use parking_lot::RwLock;
use presence::SessionRef;
use topics::{TopicFilter, TopicName};

use crate::id::{Carrier, StoredRef};
use crate::record::Subscription;
use changing::Changing;
use retained::Retained;
use subscribers::Subscribers;

pub use changing::Change;
pub use retained::{RetainedQuery, RetainedRow};
pub use subscribers::StoredRecipient;

/// All organisations of which something is kept. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    orgs: Arc<RwLock<HashMap<CompactString, Arc<Kept>>>>,
}

impl Directory {
    /// What is kept of the organisation of this id. To be asked once per connection or
    /// organisation, not per message.
    #[must_use]
    pub fn org(&self, id: &str) -> Arc<Kept> {
        if let Some(kept) = self.orgs.read().get(id) {
            return Arc::clone(kept);
        }
        let mut orgs = self.orgs.write();
        let kept = orgs.entry(id.into());
        Arc::clone(kept.or_insert_with(|| Arc::new(Kept::new(id))))
    }

    /// Sums over all organisations, for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let orgs = self.orgs.read();
        orgs.values()
            .map(|kept| kept.counts())
            .fold(Counts::default(), |sum, counts| Counts {
                sessions: sum.sessions + counts.sessions,
                away: sum.away + counts.away,
                subscriptions: sum.subscriptions + counts.subscriptions,
                retained: sum.retained + counts.retained,
                retained_bytes: sum.retained_bytes + counts.retained_bytes,
            })
    }

    pub(crate) fn all(&self) -> Vec<Arc<Kept>> {
        self.orgs.read().values().cloned().collect()
    }
}

/// A client that is about to ask for a stored session: it is known as long as this lives.
#[derive(Debug)]
pub struct Arrival {
    kept: Arc<Kept>,
    client_id: CompactString,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.kept.arrived(&self.client_id);
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored sessions.
    pub sessions: usize,
    /// Those whose client is away.
    pub away: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Their topics and bodies, bytes.
    pub retained_bytes: usize,
}

/// What is kept of one organisation.
#[derive(Debug)]
pub struct Kept {
    org: CompactString,
    /// Whether the organisation is not there any more: nothing is done about what is kept of it.
    is_left_alone: AtomicBool,
    /// Stored sessions, and clients that have asked for one.
    sessions: AtomicUsize,
    subscriptions: AtomicUsize,
    subscribers: RwLock<Subscribers>,
    retained: RwLock<Retained>,
    changing: Changing,
}

impl Kept {
    fn new(org: &str) -> Self {
        Self {
            org: org.into(),
            is_left_alone: AtomicBool::new(false),
            sessions: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            subscribers: RwLock::default(),
            retained: RwLock::default(),
            changing: Changing::default(),
        }
    }

    /// The organisation's id.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.org
    }

    /// Whether there is a stored session of this client, or one is being made: then a CONNECT has
    /// to ask the keeper, whatever it wants (MQTT-3.1.2-4, MQTT-3.1.2-5).
    #[must_use]
    pub fn knows(&self, client_id: &str) -> bool {
        self.sessions.load(Ordering::Acquire) > 0 && self.subscribers.read().knows(client_id)
    }

    /// To be called before a client's session opens that is to be stored, so that a connection of
    /// the same client that opens after it knows of it, though the keeper does not yet.
    #[must_use]
    pub fn announce(self: &Arc<Self>, client_id: &str) -> Arrival {
        self.arrive(client_id);
        Arrival {
            kept: Arc::clone(self),
            client_id: client_id.into(),
        }
    }

    /// Appends one [`StoredRecipient`] for each subscription of a stored session that matches,
    /// ordered by session. A session whose subscriptions overlap stands there once for each
    /// (§3.3.4), as in `presence`.
    pub fn recipients(&self, topic: TopicName<'_>, into: &mut Vec<StoredRecipient>) {
        if self.subscriptions.load(Ordering::Acquire) > 0 {
            let start = into.len();
            self.subscribers.read().recipients(topic, into);
            // After the lock. What comes from one filter is in order already.
            into[start..].sort_by_key(|found| found.session);
        }
    }

    /// The stored session that a session of `presence` carries, and its connection; `None` if it
    /// carries none, or no longer.
    #[must_use]
    pub fn carried_by(&self, session: SessionRef) -> Option<(StoredRef, Carrier)> {
        self.subscribers.read().carried_by(session)
    }

    /// Whether any stored session is subscribed to anything.
    #[must_use]
    pub fn has_subscriptions(&self) -> bool {
        self.subscriptions.load(Ordering::Acquire) > 0
    }

    /// To be called before a message that changes what is retained is routed, and held until the keeper
    /// has been asked: see [`is_changing`](Self::is_changing).
    pub fn begin_change(&self) -> Change<'_> {
        self.changing.begin()
    }

    /// Whether retained messages are being changed by messages that may have been routed before, and
    /// that [`RetainedQuery`] does not show yet. To be asked after subscribing: then
    /// [`Request::Reach`](crate::Request::Reach) tells when it shows them. Waits until the keeper has
    /// been asked for those.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.changing.is_any()
    }

    /// How much is kept.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (sessions, away) = self.subscribers.read().counts();
        let retained = self.retained.read();
        Counts {
            sessions,
            away,
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            retained: retained.len(),
            retained_bytes: retained.bytes(),
        }
    }

    // === what the keeper and its handle do ===

    pub(crate) fn is_left_alone(&self) -> bool {
        self.is_left_alone.load(Ordering::Relaxed)
    }

    pub(crate) fn leave_alone(&self) {
        self.is_left_alone.store(true, Ordering::Relaxed);
    }

    /// A client has asked for a stored session: it is known from now on.
    pub(crate) fn arrive(&self, client_id: &str) {
        self.subscribers.write().arrive(client_id);
        self.sessions.fetch_add(1, Ordering::AcqRel);
    }

    /// Its question has been decided.
    pub(crate) fn arrived(&self, client_id: &str) {
        self.subscribers.write().arrived(client_id);
        self.sessions.fetch_sub(1, Ordering::AcqRel);
    }

    /// The keeper is asked for a change of what is retained.
    pub(crate) fn change(&self) {
        self.changing.add();
    }

    /// It has been decided.
    pub(crate) fn changed(&self) {
        self.changing.remove();
    }

    pub(crate) fn session_of(&self, client_id: &str) -> Option<StoredRef> {
        self.subscribers.read().session_of(client_id)
    }

    pub(crate) fn session_count(&self) -> usize {
        self.subscribers.read().counts().0
    }

    pub(crate) fn begin(&self, session: StoredRef, client_id: &CompactString) {
        self.subscribers.write().begin(session, client_id);
        self.sessions.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end(&self, session: StoredRef, client_id: &str) {
        self.subscribers.write().end(session, client_id);
        self.sessions.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn carry(&self, session: StoredRef, carrier: Option<Carrier>) {
        self.subscribers.write().carry(session, carrier);
    }

    pub(crate) fn subscribe(&self, session: StoredRef, filter: &str, subscription: Subscription) {
        let mut subscribers = self.subscribers.write();
        if let Ok(filter) = TopicFilter::parse(filter)
            && subscribers.subscribe(session, filter, subscription)
        {
            self.subscriptions.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn unsubscribe(&self, session: StoredRef, filter: &str) {
        let mut subscribers = self.subscribers.write();
        if let Ok(filter) = TopicFilter::parse(filter)
            && subscribers.unsubscribe(session, filter)
        {
            self.subscriptions.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether a retained message may be set, given the limits: always, if it takes no more room
    /// than the one whose place it takes.
    pub(crate) fn may_retain(&self, topic: &str, body: &Bytes, count: usize, bytes: usize) -> bool {
        self.retained.read().has_room(topic, body, count, bytes)
    }

    pub(crate) fn retain(&self, row: RetainedRow) {
        self.retained.write().set(row);
    }

    /// Answers whether there was one.
    pub(crate) fn clear(&self, topic: &str) -> bool {
        self.retained.write().clear(topic)
    }

    pub(crate) fn retained(&self, topic: &str) -> Option<RetainedRow> {
        self.retained.read().get(topic).cloned()
    }

    /// The topics of up to `most` retained messages that have expired.
    pub(crate) fn expired(&self, now_ms: u64, most: usize) -> Vec<CompactString> {
        match self.is_left_alone() {
            true => Vec::new(),
            false => self.retained.read().expired(now_ms, most),
        }
    }
}
