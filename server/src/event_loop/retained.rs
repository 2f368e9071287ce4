//! Retained messages for new subscriptions (§3.3.1.3), sent as the client takes them.
//!
//! A filter may match more than fits into a connection's buffer, or take long to look up. So the
//! answer is looked up in pieces and goes on when the socket and the client's acknowledgements have
//! made room; nothing of it is dropped for want of room. Stored sessions get those above QoS 0 from
//! the keeper.
//!
//! A message that is to be retained shows only when the keeper has come to it. Whoever subscribes
//! meanwhile was not there when it was routed, and must not miss it: so if any are under way, the
//! answer waits until the keeper has come to what was asked before.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use messages::{Request, RetainedQuery, RetainedRow};
use mqtt::{Outgoing, QoS};
use topics::TopicFilter;

use super::stored::qos_of;
use super::turns::SLICE;
use super::worker::Worker;

/// Messages looked up at once.
const ROWS_PER_PIECE: usize = 64;

/// What is still to be sent, by connection.
#[derive(Default)]
pub(super) struct Retaining {
    jobs: HashMap<u32, Jobs>,
    /// Connections that had their turn and have room for more, in order.
    again: VecDeque<u32>,
    /// How often the keeper was asked to say what it has come to.
    asked: u64,
}

/// What is still to be sent to one connection.
#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// Whether it stands in [`Retaining::again`].
    is_due: bool,
    /// The last question of [`Retaining::asked`] that the keeper has come to.
    reached: u64,
}

/// One subscription to be answered.
struct Job {
    query: RetainedQuery,
    rows: VecDeque<RetainedRow>,
    is_looked_up: bool,
    qos: QoS,
    /// A stored session's: only what it gets at QoS 0.
    is_stored: bool,
    identifier: Option<NonZeroU32>,
    /// The question of [`Retaining::asked`] that the keeper must come to first.
    after: u64,
}

impl Job {
    /// The QoS at which a row is sent, if it is.
    fn qos_for(&self, row: &RetainedRow) -> Option<QoS> {
        let qos = self.qos.less_value(qos_of(row.qos));
        (!self.is_stored || qos == QoS::AtMostOnce).then_some(qos)
    }
}

impl Retaining {
    /// Answers whether there was room: `most` of one connection wait.
    fn add(&mut self, key: usize, job: Job, most: usize) -> bool {
        let jobs = &mut self.jobs.entry(key as u32).or_default().waiting;
        let has_room = jobs.len() < most;
        if has_room {
            jobs.push_back(job);
        }
        has_room
    }

    pub(super) fn forget(&mut self, key: usize) {
        self.jobs.remove(&(key as u32));
    }

    /// Whether anything could be sent at once.
    pub(super) fn is_due(&self) -> bool {
        !self.again.is_empty()
    }
}

impl Worker {
    /// Has new subscriptions of a connection, each with its QoS, answered with what is retained.
    pub(super) fn ask_for_retained(
        &mut self,
        key: usize,
        wanted: &[(TopicFilter<'_>, QoS)],
        is_stored: bool,
        identifier: Option<NonZeroU32>,
    ) {
        if wanted.is_empty() {
            return;
        }
        let after = self.reach_changes(key).unwrap_or_default();
        let house = Arc::clone(&self.house);
        for &(filter, qos) in wanted {
            let job = Job {
                query: RetainedQuery::new(filter),
                rows: VecDeque::new(),
                is_looked_up: false,
                qos,
                is_stored,
                identifier,
                after,
            };
            let most = house.shared.settings.subscriptions_waiting_max;
            if !self.retaining.add(key, job, most) {
                house.shared.metrics.retained_cut.inc();
            }
        }
    }

    /// If retained messages are being changed, has the keeper say when it has come to that. Answers
    /// the number of the question.
    fn reach_changes(&mut self, key: usize) -> Option<u64> {
        let (org, session) = self.online(key)?;
        if !self.kept_of(&org).is_changing() {
            return None;
        }
        let number = self.retaining.asked + 1;
        let reach = Request::Reach(self.carrier(key, session), number);
        // A keeper with too much to do is not waited for: what is under way may be refused, too.
        self.house.shared.keeper.ask(reach).ok()?;
        self.retaining.asked = number;
        Some(number)
    }

    /// The keeper has come to a question of this connection.
    pub(super) fn reached(&mut self, key: usize, number: u64) {
        if let Some(jobs) = self.retaining.jobs.get_mut(&(key as u32)) {
            jobs.reached = number;
            self.send_more_retained(key);
        }
    }

    /// Goes on with those who had their turn, for a slice.
    pub(super) fn send_retained_again(&mut self) {
        self.begin_slice(SLICE);
        for _ in 0..self.retaining.again.len() {
            let Some(key) = self.retaining.again.pop_front() else {
                break;
            };
            if let Some(jobs) = self.retaining.jobs.get_mut(&key) {
                jobs.is_due = false;
            }
            self.send_retained_of(key as usize, false);
            if self.is_slice_over() {
                break;
            }
        }
    }

    /// Sends retained messages that wait, as far as there is room and time.
    pub(super) fn send_more_retained(&mut self, key: usize) {
        if !self.retaining.jobs.is_empty() {
            self.send_retained_of(key, self.is_slice_over());
        }
    }

    fn send_retained_of(&mut self, key: usize, mut is_over: bool) {
        let Some(mut jobs) = self.retaining.jobs.remove(&(key as u32)) else {
            return;
        };
        is_over |= jobs.is_due;
        while let Some(job) = jobs.waiting.front_mut() {
            if job.after > jobs.reached || !self.has_room_for_retained(key) {
                break;
            }
            if let Some(row) = job.rows.pop_front() {
                if let Some(qos) = job.qos_for(&row) {
                    self.send_retained_one(key, row.body, qos, job.identifier.as_slice());
                }
            } else if job.is_looked_up {
                jobs.waiting.pop_front();
            } else if is_over {
                self.wait_for_retained(key, &mut jobs);
                break;
            } else {
                self.look_up(key, job);
                is_over = self.is_slice_over();
            }
        }
        if !jobs.waiting.is_empty() && self.online(key).is_some() {
            self.retaining.jobs.insert(key as u32, jobs);
        }
    }

    fn wait_for_retained(&mut self, key: usize, jobs: &mut Jobs) {
        if !std::mem::replace(&mut jobs.is_due, true) {
            self.retaining.again.push_back(key as u32);
        }
    }

    fn look_up(&self, key: usize, job: &mut Job) {
        let Some((org, _)) = self.online(key) else {
            job.is_looked_up = true;
            return;
        };
        let (kept, mut rows) = (self.kept_of(&org), Vec::new());
        let has_more = job
            .query
            .next_piece(kept, self.now_ms, ROWS_PER_PIECE, &mut rows);
        job.is_looked_up = !has_more;
        job.rows.extend(rows);
    }

    /// Whether the connection takes more: its buffer is not full, and nothing waits for its
    /// acknowledgements.
    fn has_room_for_retained(&self, key: usize) -> bool {
        let max = self.house.shared.settings.outbound_bytes_max;
        self.connections
            .get(key)
            .is_some_and(|found| found.unsent() < max && found.session.outbound_bytes() == 0)
    }

    fn send_retained_one(&mut self, key: usize, body: Bytes, qos: QoS, ids: &[NonZeroU32]) {
        let Some(message) = self.read_stored(&body) else {
            return;
        };
        let house = Arc::clone(&self.house);
        let now_ms = self.now_ms;
        let options = Outgoing {
            qos,
            retain: true, // §3.3.1.3
            subscription_ids: ids,
        };
        let outcome = self.with_output(key, |session, out| {
            session.deliver(&message, options, true, now_ms, &house.shared.limits, out)
        });
        match outcome {
            Some(mqtt::Delivery::Dropped(why)) => {
                house.shared.metrics.drop_messages(why.as_str(), 1);
            }
            Some(mqtt::Delivery::QueueFull) => {
                house.shared.metrics.drop_messages("queue_full", 1);
            }
            Some(_) => {
                self.tally.delivered += 1;
            }
            None => {}
        }
    }
}
