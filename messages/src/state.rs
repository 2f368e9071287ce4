//! Everything that outlives connections, folded from the records of the log in their order.
//!
//! [`State::apply`] is the only thing that changes it, for a record that was decided a moment ago
//! as for one that a start finds in the log: so recovery is the same path. What must be written to
//! SQLite since the last flush is noted on the way.

mod bodies;
mod dirty;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use compact_str::CompactString;

use crate::id::{Attachment, Carrier, StoredRef};
use crate::kept::{Directory, RetainedRow};
use crate::message::Will;
use crate::record::{Began, Published, Record, Retain, Target};
use crate::session::{Entry, Session, Stage};

pub(crate) use bodies::{Bodies, Body};
pub(crate) use dirty::Dirty;

/// The state.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) directory: Directory,
    pub(crate) sessions: HashMap<StoredRef, Session>,
    pub(crate) bodies: Bodies,
    /// Wills whose moment has come and which nobody has published yet.
    pub(crate) wills: BTreeMap<Attachment, DueWill>,
    /// The number of the next stored session.
    pub(crate) next_session: u64,
    /// Sessions about which something is to be done by themselves, by time.
    pub(crate) deadlines: BTreeSet<(u64, StoredRef)>,
    pub(crate) dirty: Dirty,
}

/// A will whose moment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueWill {
    pub(crate) org: CompactString,
    pub(crate) will: Box<Will>,
    /// Whether an event loop has been asked to publish it.
    pub(crate) is_out: bool,
}

impl State {
    /// Takes up a record; `position` is its place in the log, which is the number of the message
    /// in it.
    pub(crate) fn apply(&mut self, position: u64, record: &Record) {
        match record {
            Record::Began(began) => self.begin(began),
            Record::Attached {
                session,
                at_ms,
                expiry_secs,
                will,
            } => self.attach(*session, *at_ms, *expiry_secs, will.as_deref()),
            Record::Detached {
                session,
                at_ms,
                expiry_secs,
                with_will,
                sent,
            } => self.detach(*session, *at_ms, *expiry_secs, *with_will, *sent as usize),
            Record::Ended { session } => self.end(*session),
            Record::WillDue { session } => {
                self.will_is_due(*session);
                self.reschedule(*session);
            }
            Record::Subscribed {
                session,
                filter,
                subscription,
            } => {
                if let Some(found) = self.sessions.get_mut(session) {
                    found.kept.subscribe(*session, filter, *subscription);
                    found.subscriptions.insert(filter.clone(), *subscription);
                    self.dirty.subscription(*session, filter);
                }
            }
            Record::Unsubscribed { session, filter } => {
                if let Some(found) = self.sessions.get_mut(session)
                    && found.subscriptions.remove(filter).is_some()
                {
                    found.kept.unsubscribe(*session, filter);
                    self.dirty.subscription(*session, filter);
                }
            }
            Record::Published(published) => self.publish(position, published),
            Record::Acknowledged { session, packet_id } => self.acknowledge(*session, *packet_id),
            Record::Received { session, packet_id } => self.received(*session, *packet_id),
            Record::Released { session, packet_id } => {
                if let Some(found) = self.sessions.get_mut(session) {
                    found.received.remove(packet_id);
                    self.dirty.received(*session, *packet_id);
                }
            }
            Record::Cleared { org, topic } => {
                self.directory.org(org).clear(topic);
                self.dirty.retained(org, topic);
            }
        }
    }

    /// Puts a session in its places; it has none of them yet.
    pub(crate) fn insert(&mut self, number: StoredRef, session: Session) {
        session.kept.begin(number, &session.client_id);
        for (filter, subscription) in &session.subscriptions {
            session.kept.subscribe(number, filter, *subscription);
        }
        self.next_session = self.next_session.max(number.0 + 1);
        self.sessions.insert(number, session);
        self.reschedule(number);
    }

    /// Organisations other than these are not there any more: no time passes for what is kept of
    /// them.
    pub(crate) fn leave_alone_but(&mut self, orgs: &[&str]) {
        for kept in self.directory.all() {
            if !orgs.contains(&kept.org()) {
                kept.leave_alone();
            }
        }
        let numbers: Vec<StoredRef> = self.sessions.keys().copied().collect();
        for number in numbers {
            self.reschedule(number);
        }
    }

    /// Says which connection carries a session: of no concern to the log.
    pub(crate) fn carry(&mut self, session: StoredRef, carrier: Option<Carrier>) {
        if let Some(found) = self.sessions.get_mut(&session) {
            found.carrier = carrier;
            found.kept.carry(session, carrier);
        }
    }

    fn begin(&mut self, began: &Began) {
        let mut session = Session::new(
            self.directory.org(&began.org),
            began.client_id.clone(),
            began.username.clone(),
            began.expiry_secs,
        );
        session.attachments = 1;
        session.is_attached = true;
        session.since_ms = began.at_ms;
        session.will.clone_from(&began.will);
        self.insert(began.session, session);
        self.dirty.session(began.session);
    }

    fn attach(&mut self, number: StoredRef, at_ms: u64, expiry_secs: u32, will: Option<&Will>) {
        // The old connection's will goes out if it was to go at once; else the client is back in
        // time (MQTT-3.1.3-9).
        let goes = self
            .sessions
            .get(&number)
            .and_then(|session| session.will.as_ref())
            .is_some_and(|will| will.delay_secs == 0);
        if goes {
            self.will_is_due(number);
        }
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        session.attachments += 1;
        session.is_attached = true;
        session.since_ms = at_ms;
        session.expiry_secs = expiry_secs;
        session.will = will.cloned().map(Box::new);
        session.queue.rewind();
        self.reschedule(number);
        self.dirty.session(number);
    }

    fn detach(
        &mut self,
        number: StoredRef,
        at_ms: u64,
        expiry_secs: u32,
        with_will: bool,
        sent: usize,
    ) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        session.is_attached = false;
        session.since_ms = at_ms;
        session.expiry_secs = expiry_secs;
        if !with_will {
            session.will = None;
        }
        session.queue.set_sent(sent);
        self.carry(number, None);
        self.reschedule(number);
        self.dirty.session(number);
    }

    fn end(&mut self, number: StoredRef) {
        // The end of the session ends the delay of its will (§3.1.3.2.2).
        self.will_is_due(number);
        let Some(session) = self.sessions.remove(&number) else {
            return;
        };
        if let Some(at_ms) = session.deadline_ms {
            self.deadlines.remove(&(at_ms, number));
        }
        for filter in session.subscriptions.keys() {
            session.kept.unsubscribe(number, filter);
        }
        session.kept.end(number, &session.client_id);
        for entry in session.queue.entries() {
            if entry.stage == Stage::Publish {
                self.bodies.release(entry.message, &mut self.dirty);
            }
        }
        self.dirty.ended(number, session.is_on_disk);
    }

    /// The will leaves its session and waits for somebody to publish it.
    fn will_is_due(&mut self, number: StoredRef) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        if let Some(will) = session.will.take() {
            let org = session.kept.org().into();
            let id = session.attachment(number);
            self.wills.insert(
                id,
                DueWill {
                    org,
                    will,
                    is_out: false,
                },
            );
            self.dirty.will(id);
            self.dirty.session(number);
        }
    }

    fn publish(&mut self, position: u64, published: &Published) {
        let message = &published.message;
        match published.retain {
            Retain::No => {}
            Retain::Set => {
                let kept = self.directory.org(&published.org);
                kept.retain(RetainedRow::from(message));
                self.dirty.retained(&published.org, &message.topic);
            }
            Retain::Clear => {
                self.directory.org(&published.org).clear(&message.topic);
                self.dirty.retained(&published.org, &message.topic);
            }
        }
        if let Some((session, packet_id)) = published.received
            && let Some(found) = self.sessions.get_mut(&session)
        {
            found.received.insert(packet_id);
            self.dirty.received(session, packet_id);
        }
        if let Some(id) = published.will {
            self.wills.remove(&id);
            self.dirty.will(id);
        }
        let mut refs = 0;
        for target in &published.targets {
            refs += u32::from(self.enqueue(position, message.body.len(), target));
        }
        if refs > 0 {
            self.bodies.insert(position, Body::new(message, refs));
            self.dirty.message(position);
        }
    }

    /// Answers whether the session is still there.
    fn enqueue(&mut self, message: u64, bytes: usize, target: &Target) -> bool {
        let Some(session) = self.sessions.get_mut(&target.session) else {
            return false;
        };
        session.queue.push(Entry {
            message,
            packet_id: target.packet_id,
            qos: target.qos,
            retain: target.retain,
            stage: Stage::Publish,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            is_on_disk: false,
            subscription_ids: target.subscription_ids.clone(),
        });
        self.dirty.entry(target.session, message);
        true
    }

    fn acknowledge(&mut self, number: StoredRef, packet_id: u16) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let Some(entry) = session.queue.remove(packet_id) else {
            return;
        };
        if entry.stage == Stage::Publish {
            self.bodies.release(entry.message, &mut self.dirty);
        }
        if entry.is_on_disk {
            self.dirty.entry_gone(number, entry.message);
        }
        self.dirty.session(number);
    }

    fn received(&mut self, number: StoredRef, packet_id: u16) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        if let Some(message) = session.queue.release(packet_id) {
            self.bodies.release(message, &mut self.dirty);
            self.dirty.entry(number, message);
        }
    }

    fn reschedule(&mut self, number: StoredRef) {
        let Some(session) = self.sessions.get_mut(&number) else {
            return;
        };
        let is_watched = !session.kept.is_left_alone();
        let next = session.next_deadline_ms().filter(|_| is_watched);
        let last = std::mem::replace(&mut session.deadline_ms, next);
        if last != next {
            if let Some(at_ms) = last {
                self.deadlines.remove(&(at_ms, number));
            }
            if let Some(at_ms) = next {
                self.deadlines.insert((at_ms, number));
            }
        }
    }
}
