//! Messages that others get only once the keeper has settled that they are new.
//!
//! A client with a stored session may send a QoS 2 message again on its next connection, and the
//! keeper alone knows whether it has come before (MQTT-4.3.3-10, MQTT-4.3.3-12). So those whose
//! sessions are not stored get it after the keeper's word, which comes even if the publisher's
//! connection has gone. What the same connection publishes meanwhile goes the same way behind it:
//! so whoever gets both gets them in the order of the publisher, whatever their QoS (§4.6).
//!
//! Who gets it is decided when it comes. Room in the mailboxes is reserved then, so the publisher's
//! answer is true and the mailboxes' limit is that of what is held back, too.

use std::collections::HashMap;
use std::sync::Arc;

use messages::{Carrier, Publish, Request, Retain};
use mqtt::{Message, PublishOutcome, QoS};
use presence::Org;

use super::routing::{Delivery, Origin, Routes};
use super::worker::Worker;

/// Messages of this loop's publishers, by a number that is never used again.
#[derive(Default)]
pub(super) struct HeldBack {
    waiting: HashMap<u64, Waiting>,
    last_number: u64,
    /// By the ticket of the connection that they came from; none for one that has none.
    counts: HashMap<u32, Count>,
}

struct Waiting {
    org: Arc<Org>,
    message: Arc<Message>,
    carrier: Carrier,
    /// By event loop.
    deliveries: Vec<(u16, Vec<Delivery>)>,
}

#[derive(Default)]
struct Count {
    all: usize,
    /// Those at QoS 0: the session counts the others as unanswered.
    unacknowledged: usize,
}

impl HeldBack {
    fn insert(&mut self, waiting: Waiting) -> u64 {
        let count = self.counts.entry(waiting.carrier.ticket).or_default();
        count.all += 1;
        count.unacknowledged += waiting.unacknowledged();
        self.last_number += 1;
        self.waiting.insert(self.last_number, waiting);
        self.last_number
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        let ticket = waiting.carrier.ticket;
        if let Some(count) = self.counts.get_mut(&ticket) {
            count.all -= 1;
            count.unacknowledged -= waiting.unacknowledged();
            if count.all == 0 {
                self.counts.remove(&ticket);
            }
        }
        Some(waiting)
    }

    /// Messages at QoS 0 of a connection that wait.
    pub(super) fn unacknowledged(&self, ticket: u32) -> usize {
        let count = self.counts.get(&ticket);
        count.map_or(0, |count| count.unacknowledged)
    }
}

impl Waiting {
    fn unacknowledged(&self) -> usize {
        usize::from(self.message.qos() == QoS::AtMostOnce)
    }
}

impl Worker {
    /// Whether others must wait for the keeper to get a message.
    pub(super) fn must_hold_back(&self, origin: &Origin, message: &Message) -> bool {
        let Some(carrier) = origin.carrier.filter(|_| origin.stored.is_some()) else {
            return false;
        };
        message.qos() == QoS::ExactlyOnce || self.held_back.counts.contains_key(&carrier.ticket)
    }

    /// Holds a message back until the keeper has settled it, if anybody is to get it so. `None`: the
    /// keeper answers its publisher.
    pub(super) fn hold_back(
        &mut self,
        org: &Arc<Org>,
        origin: &Origin,
        message: &Arc<Message>,
        routes: &Routes,
        to_keep: Option<Box<Publish>>,
    ) -> Option<PublishOutcome> {
        let mut outcome = PublishOutcome::NoMatchingSubscribers;
        let mut deliveries = Vec::new();
        for (worker, found) in routes.groups(self.index) {
            let has_room = self.house.mailboxes[usize::from(worker)].reserve(found.len());
            outcome = self.house.sum_up(outcome, has_room, found.len());
            if has_room {
                deliveries.push((worker, found.to_vec()));
            }
        }
        let carrier = origin.carrier.filter(|_| !deliveries.is_empty());
        let Some(carrier) = carrier else {
            return match to_keep {
                None => Some(outcome),
                Some(to_keep) => self.keep(to_keep, origin, outcome),
            };
        };
        let number = self.held_back.insert(Waiting {
            org: Arc::clone(org),
            message: Arc::clone(message),
            carrier,
            deliveries,
        });
        let mut publish = to_keep
            .unwrap_or_else(|| self.publish_of(org, origin, message, Retain::No, Vec::new()));
        publish.held_back = Some((carrier, number));
        publish.reply_to = origin.reply_to_with(outcome);
        let asked = self.house.shared.keeper.ask(Request::Publish(publish));
        if asked.is_err() {
            self.let_go(number, false);
            return Some(PublishOutcome::QuotaExceeded);
        }
        None
    }

    /// The keeper's word about a message: those who wait for it get it, or nobody does.
    pub(super) fn hear_settled(&mut self, carrier: Carrier, number: u64, is_new: bool) {
        let key = carrier.address.connection as usize;
        let found = self.connections.get(key);
        let is_there =
            found.is_some_and(|found| found.ticket == carrier.ticket && found.online.is_some());
        let was_ahead = is_there && self.is_ahead(key);
        self.let_go(number, is_new);
        if was_ahead && !self.is_ahead(key) {
            self.resume(key);
        }
    }

    fn let_go(&mut self, number: u64, is_new: bool) {
        let Some(waiting) = self.held_back.remove(number) else {
            return;
        };
        for (worker, deliveries) in &waiting.deliveries {
            if is_new {
                self.send_reserved(*worker, &waiting.message, &waiting.org, deliveries);
            } else {
                self.house.mailboxes[usize::from(*worker)].release(deliveries.len());
            }
        }
    }
}
