//! The deciding part: requests in, records and answers out. No disk, no clock, no thread.
//!
//! A request is decided against the state as it is; the records that it comes to are applied at
//! once, so that the next request sees them. Whoever drives the book writes the records to the log
//! and lets the answers out when they are durable. If that fails, nothing that was decided is taken
//! back: it waits, and so do its answers (but connections that want a session are sent away), and
//! until it works again nothing new is begun.

mod attach;
mod publish;
mod push;
mod subscribe;

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use compact_str::CompactString;

use crate::answer::{Answer, Letter, Outcome, Refused};
use crate::id::{Attachment, Carrier, StoredRef};
use crate::kept::{Directory, RetainedQuery};
use crate::record::Record;
use crate::request::{Detach, Request};
use crate::state::State;

/// Retained messages that expire are removed so many at a time.
const EXPIRED_MAX: usize = 256;

/// Limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Stored sessions per organisation.
    pub sessions_max: usize,
    /// Messages sent to one client and not yet acknowledged; at least 1.
    pub window: usize,
    /// Bytes of messages in memory that SQLite does not have yet: at the limit, publishers are
    /// told to try again.
    pub memory_bytes_max: usize,
    /// Subscriptions of one session whose retained messages wait; those of further ones are not sent.
    /// Only a client that subscribes again and again and acknowledges nothing has so many.
    pub subscriptions_waiting_max: usize,
}

/// What one organisation may have. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Messages that wait in one session's queue, at most 60,000.
    pub queue_messages_max: usize,
    /// Their bytes.
    pub queue_bytes_max: u64,
    /// Retained messages.
    pub retained_max: usize,
    /// Bytes of their topics and bodies.
    pub retained_bytes_max: usize,
}

/// Where bodies are read that are not in memory.
pub trait BodySource {
    /// The body of a message.
    ///
    /// # Errors
    /// A sentence.
    fn read(&mut self, message: u64) -> Result<Bytes, String>;
}

/// What happened that somebody counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that entered a queue, once for each.
    pub queued: u64,
    /// Messages that a full queue did not take.
    pub queue_full: u64,
    /// Messages that expired in a queue.
    pub expired: u64,
    /// Messages that could not be retained.
    pub not_retained: u64,
    /// Sessions that ended because their time was over.
    pub sessions_expired: u64,
    /// New subscriptions that did not get all retained messages, because the connection ended
    /// before, or too many others of the session waited for theirs.
    pub retained_cut: u64,
    /// Subscriptions that a client may not have any more.
    pub withdrawn: u64,
}

/// The book.
#[derive(Debug)]
pub struct Book {
    pub(crate) state: State,
    limits: Limits,
    /// What each organisation may have, by its id.
    quotas: HashMap<CompactString, Quota>,
    /// The position of the next record.
    next_position: u64,
    /// Decided, applied, and not in the log yet.
    records: Vec<Record>,
    /// Answers that follow from them, or from those before.
    letters: Vec<Letter>,
    /// Answers that wait for no record: that the log cannot be written, or that something is reached.
    prompt: Vec<Letter>,
    /// Whether somebody waits for the records.
    is_urgent: bool,
    /// Whether the log cannot be written.
    is_failing: bool,
    /// Retained messages under way to new subscriptions, in the order of subscription; no session
    /// is there with none.
    readings: BTreeMap<StoredRef, VecDeque<Reading>>,
    /// How often [`read_on`](Self::read_on) was called.
    turns: u64,
    tally: Tally,
}

/// Retained messages under way to a new subscription of a stored session.
#[derive(Debug)]
struct Reading {
    attachment: Attachment,
    query: RetainedQuery,
    qos: u8,
    subscription_id: Option<u32>,
    /// The turn in which it begins.
    first_turn: u64,
}

impl Book {
    /// A book of this state; `next_position` is where the log ends.
    pub(crate) fn new(
        state: State,
        limits: Limits,
        orgs: &[(&str, Quota)],
        next_position: u64,
    ) -> Self {
        let quotas = orgs.iter().map(|(id, quota)| ((*id).into(), *quota));
        Self {
            state,
            limits,
            quotas: quotas.collect(),
            next_position,
            records: Vec::new(),
            letters: Vec::new(),
            prompt: Vec::new(),
            is_urgent: false,
            is_failing: false,
            readings: BTreeMap::new(),
            turns: 0,
            tally: Tally::default(),
        }
    }

    /// What any thread may look at.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.state.directory.clone()
    }

    /// After a start: sessions that the last process left attached are away from now on, and
    /// their wills are pending; wills whose moment had come are sent again.
    pub fn start(&mut self, now_ms: u64) {
        let attached: Vec<StoredRef> = self
            .state
            .sessions
            .iter()
            .filter(|(_, session)| session.is_attached && !session.kept.is_left_alone())
            .map(|(number, _)| *number)
            .collect();
        for session in attached {
            let found = &mut self.state.sessions.get_mut(&session);
            let Some(found) = found else { continue };
            found.queue.all_may_be_sent();
            let expiry_secs = found.expiry_secs;
            self.leave(session, now_ms, expiry_secs, true);
        }
        self.send_due_wills();
        self.tick(now_ms);
    }

    /// Decides a request.
    pub fn handle(&mut self, request: Request, now_ms: u64, bodies: &mut dyn BodySource) {
        match request {
            Request::Attach(attach) => self.attach(*attach, now_ms, bodies),
            Request::Detach(detach) => self.detach(detach, now_ms),
            Request::Subscribe(subscribe) => self.subscribe(subscribe),
            Request::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe),
            Request::Publish(publish) => self.publish(*publish, now_ms, bodies),
            Request::Acknowledged(attachment, packet_id) => {
                self.acknowledged(attachment, packet_id, now_ms, bodies);
            }
            Request::Received(attachment, packet_id) => self.received(attachment, packet_id),
            Request::Release(attachment, packet_id) => self.release(attachment, packet_id),
            Request::Reach(carrier, number) => {
                let answer = Answer::Reached(number);
                self.prompt.push((Some(carrier), answer));
            }
        }
    }

    /// Does what is due by now: wills and ends of sessions.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some(&(at_ms, session)) = self.state.deadlines.first() {
            if at_ms > now_ms {
                break;
            }
            self.deadline(session, now_ms);
        }
        self.send_due_wills();
    }

    /// Removes retained messages that have expired; nobody is sent them any more. To be called
    /// every few seconds.
    pub fn purge(&mut self, now_ms: u64) {
        for kept in self.state.directory.all() {
            for topic in kept.expired(now_ms, EXPIRED_MAX) {
                let org = kept.org().into();
                self.write(Record::Cleared { org, topic });
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do next, Unix milliseconds.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.state.deadlines.first().map(|(at_ms, _)| *at_ms)
    }

    fn deadline(&mut self, session: StoredRef, now_ms: u64) {
        let found = &self.state.sessions[&session];
        if found.expires_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            self.tally.sessions_expired += 1;
            self.write(Record::Ended { session });
        } else {
            self.write(Record::WillDue { session });
        }
    }

    /// Wills are sent one after the other as their moments come; the record of their publication
    /// removes them.
    fn send_due_wills(&mut self) {
        for (id, due) in &mut self.state.wills {
            let kept = self.state.directory.org(&due.org);
            if !due.is_out && !kept.is_left_alone() {
                due.is_out = true;
                let (id, org, will) = (*id, due.org.clone(), due.will.clone());
                self.letters.push((None, Answer::Will { id, org, will }));
            }
        }
    }

    // === what the driver does ===

    /// The records that were decided since the last call, in the order of their positions.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Whether somebody waits for what was decided. If not, it may wait for the next commit.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// The answers there are, if nobody waits for a record: none of them follows from one that could
    /// be lost with harm.
    pub fn take_letters(&mut self) -> Vec<Letter> {
        match self.is_urgent {
            true => Vec::new(),
            false => std::mem::take(&mut self.letters),
        }
    }

    /// All that was decided is durable: these are the answers.
    pub fn committed(&mut self) -> Vec<Letter> {
        (self.is_urgent, self.is_failing) = (false, false);
        std::mem::take(&mut self.letters)
    }

    /// The log cannot be written. Connections that wait for their session are told so, and what
    /// was decided about them is followed by their end; all else waits.
    pub fn failed(&mut self, now_ms: u64) -> Vec<Letter> {
        self.is_failing = true;
        let (attached, rest) = std::mem::take(&mut self.letters)
            .into_iter()
            .partition(|(_, answer)| matches!(answer, Answer::Attached(_)));
        self.letters = rest;
        let attached: Vec<Letter> = attached;
        for (_, answer) in &attached {
            if let Answer::Attached(attached) = answer
                && let Some(attachment) = attached.attachment
                && let Some(expiry_secs) = self.expiry_of(attachment)
            {
                self.leave(attachment.session, now_ms, expiry_secs, false);
            }
        }
        let refused = |(to, _)| (to, Answer::Refused(Refused::Unavailable));
        attached.into_iter().map(refused).collect()
    }

    /// Answers that can go out at once, whatever becomes of the records.
    pub fn take_prompt(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.prompt)
    }

    /// Whether the log cannot be written.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// What happened since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Messages that wait in queues, each once, and the bytes of those in memory.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.state.bodies.len(), self.state.bodies.bytes_in_memory())
    }

    /// As in [`Limits`].
    #[must_use]
    pub fn memory_bytes_max(&self) -> usize {
        self.limits.memory_bytes_max
    }

    // === what all requests need ===

    fn write(&mut self, record: Record) {
        self.state.apply(self.next_position, &record);
        self.next_position += 1;
        self.records.push(record);
    }

    /// As [`write`](Self::write), and somebody waits for it.
    fn write_urgent(&mut self, record: Record) {
        self.write(record);
        self.is_urgent = true;
    }

    /// Whether it is still that connection which carries the session.
    fn is_current(&self, attachment: Attachment) -> bool {
        self.expiry_of(attachment).is_some()
    }

    fn expiry_of(&self, attachment: Attachment) -> Option<u32> {
        let session = self.state.sessions.get(&attachment.session)?;
        let is_current = session.is_attached && session.attachments == attachment.number;
        is_current.then_some(session.expiry_secs)
    }

    fn carrier_of(&self, attachment: Attachment) -> Option<Carrier> {
        self.is_current(attachment)
            .then(|| self.state.sessions[&attachment.session].carrier)
            .flatten()
    }

    fn detach(&mut self, detach: Detach, now_ms: u64) {
        let Some(expiry_secs) = self.expiry_of(detach.attachment) else {
            return;
        };
        // An interval of 0 cannot be changed by DISCONNECT (§3.14.2.2.2); `mqtt` sees to that.
        let expiry_secs = detach.expiry_secs.unwrap_or(expiry_secs);
        let session = detach.attachment.session;
        self.leave(session, now_ms, expiry_secs, detach.with_will);
        self.tick(now_ms);
    }

    /// The connection of a session is gone.
    fn leave(&mut self, session: StoredRef, at_ms: u64, expiry_secs: u32, with_will: bool) {
        let sent = self.state.sessions[&session].queue.sent();
        self.write(Record::Detached {
            session,
            at_ms,
            expiry_secs,
            with_will,
            sent: u32::try_from(sent).unwrap_or(u32::MAX),
        });
        let cut = self.readings.remove(&session);
        self.tally.retained_cut += cut.map_or(0, |readings| readings.len() as u64);
    }

    /// An organisation that is not there may have nothing.
    fn quota_of(&self, org: &str) -> Quota {
        self.quotas.get(org).copied().unwrap_or_default()
    }

    fn unavailable() -> Outcome {
        Outcome {
            is_unavailable: true,
            ..Outcome::default()
        }
    }
}
