//! Where a message goes: which sessions get it, at which QoS, on which event loops.
//!
//! A session gets a message once for all its ordinary subscriptions that match (MQTT 5 §3.3.4), at
//! the highest QoS among them, and besides once for each share group in which it is its turn
//! (§4.8.2). What is for another loop is collected while a batch of events is handled and posted in
//! one letter, see [`Parcel`].
//!
//! A member of a share group may be gone when the message gets there. Then another one is asked, on
//! whichever loop it is, see [`super::sharing`].

use std::num::NonZeroU32;
use std::sync::Arc;

use messages::{Attachment, Carrier, ReplyTo};
use mqtt::{Message, PublishOutcome, QoS, SubscriptionOptions};
use presence::{Org, Recipient, SessionRef, ShareRef};
use topics::TopicName;

use super::House;
use super::sharing::TRIES_MAX;
use super::worker::Worker;

/// Deliveries to another loop that are collected before they are posted all the same.
const PARCEL_DELIVERIES_MAX: usize = 1_024;

/// Where a message comes from.
#[derive(Clone, Copy, Default)]
pub(super) struct Origin {
    /// The session that published it.
    pub(super) session: Option<SessionRef>,
    /// If that is a stored one.
    pub(super) stored: Option<Attachment>,
    /// The connection that it came by.
    pub(super) carrier: Option<Carrier>,
    /// Where its answer goes.
    pub(super) reply_to: Option<ReplyTo>,
    /// The stored session whose will it was.
    pub(super) will: Option<Attachment>,
}

/// One session that gets a message.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(super) connection: u32,
    pub(super) session: SessionRef,
    /// The QoS granted, or that of the message if it is lower.
    pub(super) qos: QoS,
    /// The RETAIN flag: as published, if a subscription asks for that (MQTT-3.3.1-13).
    pub(super) retain: bool,
    /// The identifiers of all its subscriptions that have one (MQTT-3.3.4-4).
    pub(super) identifiers: Option<Arc<[NonZeroU32]>>,
    /// The group that it was chosen from.
    share: Option<ShareRef>,
    pub(super) tries_left: u16,
}

/// Finds who gets a message. Kept for its memory.
#[derive(Default)]
pub(crate) struct Routes {
    recipients: Vec<Recipient>,
    by_worker: Vec<Vec<Delivery>>,
    /// Members of share groups whose turn it is and whose sessions are stored.
    pub(super) stored_members: Vec<Recipient>,
    /// The share groups of which a member gets it.
    pub(super) served: Vec<ShareRef>,
}

impl Routes {
    /// Finds the sessions that get `message`. `publisher` is the session that it came from, if any:
    /// subscriptions with No Local are not sent their own messages (MQTT-3.8.3-3).
    pub(crate) fn find(&mut self, org: &Org, publisher: Option<SessionRef>, message: &Message) {
        self.by_worker.iter_mut().for_each(Vec::clear);
        self.recipients.clear();
        self.stored_members.clear();
        self.served.clear();
        if let Ok(topic) = TopicName::parse(message.topic()) {
            org.recipients(topic, &mut self.recipients);
        }
        let is_same = |a: &Recipient, b: &Recipient| a.session == b.session && b.share.is_none();
        let recipients = std::mem::take(&mut self.recipients);
        for matched in recipients.chunk_by(is_same) {
            if matched[0].is_stored {
                self.stored_members.push(matched[0]);
            } else if let Some(delivery) = delivery(matched, publisher, message) {
                self.served.extend(delivery.share);
                self.add(matched[0].address.worker, delivery);
            }
        }
        self.recipients = recipients;
    }

    /// Adds a member of a share group whose turn it is, since others have gone.
    pub(super) fn add_member(&mut self, member: &Recipient, message: &Message, tries_left: u16) {
        if let Some(mut found) = delivery(&[*member], None, message) {
            self.served.extend(found.share);
            found.tries_left = tries_left;
            self.add(member.address.worker, found);
        }
    }

    /// Adds the connection that carries a stored session, for a message at QoS 0.
    pub(super) fn add_carrier(&mut self, carrier: Carrier, retain: bool, ids: &[NonZeroU32]) {
        self.add(
            carrier.address.worker,
            Delivery {
                connection: carrier.address.connection,
                session: carrier.session,
                qos: QoS::AtMostOnce,
                retain,
                identifiers: (!ids.is_empty()).then(|| ids.into()),
                share: None,
                tries_left: 0,
            },
        );
    }

    fn add(&mut self, worker: u16, delivery: Delivery) {
        let worker = usize::from(worker);
        if self.by_worker.len() <= worker {
            self.by_worker.resize_with(worker + 1, Vec::new);
        }
        self.by_worker[worker].push(delivery);
    }

    /// The deliveries found, by event loop; those of the loop `own` come last: the others can begin
    /// while it is busy with them.
    pub(crate) fn groups(&self, own: u16) -> impl Iterator<Item = (u16, &[Delivery])> {
        let numbered = (0..)
            .zip(&self.by_worker)
            .map(|(worker, found)| (worker, &found[..]));
        let others = numbered.clone().filter(move |(worker, _)| *worker != own);
        let last = numbered.filter(move |(worker, _)| *worker == own);
        others.chain(last).filter(|(_, found)| !found.is_empty())
    }
}

/// What one session gets of a message, if anything: `matched` are its matching subscriptions.
pub(super) fn delivery(
    matched: &[Recipient],
    publisher: Option<SessionRef>,
    message: &Message,
) -> Option<Delivery> {
    let first = &matched[0];
    let is_own = publisher == Some(first.session);
    let mut granted = None;
    let mut retain = false;
    let mut has_identifiers = false;
    for recipient in matched {
        let options = SubscriptionOptions::from_bits(recipient.options);
        if options.no_local && is_own {
            continue;
        }
        granted = granted.max(Some(options.qos));
        retain |= options.retain_as_published && message.retain();
        has_identifiers |= recipient.identifier.is_some();
    }
    Some(Delivery {
        connection: first.address.connection,
        session: first.session,
        qos: granted?.less_value(message.qos()),
        retain,
        identifiers: has_identifiers.then(|| identifiers(matched, is_own)),
        share: first.share,
        tries_left: TRIES_MAX,
    })
}

fn identifiers(matched: &[Recipient], is_own: bool) -> Arc<[NonZeroU32]> {
    let options = |found: &Recipient| SubscriptionOptions::from_bits(found.options);
    let counted = matched
        .iter()
        .filter(|found| !(is_own && options(found).no_local));
    counted.filter_map(|found| found.identifier).collect()
}

/// Messages for the connections of one event loop.
#[derive(Default)]
pub(crate) struct Parcel {
    messages: Vec<Sent>,
    deliveries: Vec<Delivery>,
}

/// A message in a parcel.
struct Sent {
    message: Arc<Message>,
    /// Given if one of the deliveries may have to be passed on.
    org: Option<Arc<Org>>,
    /// How many of the parcel's deliveries are of this message, in their order.
    delivery_count: usize,
}

impl Parcel {
    pub(super) fn add(&mut self, message: &Arc<Message>, org: &Arc<Org>, deliveries: &[Delivery]) {
        let is_shared = deliveries.iter().any(|delivery| delivery.share.is_some());
        self.messages.push(Sent {
            message: Arc::clone(message),
            org: is_shared.then(|| Arc::clone(org)),
            delivery_count: deliveries.len(),
        });
        self.deliveries.extend_from_slice(deliveries);
    }

    /// How many deliveries it holds.
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }
}

impl Worker {
    /// Sends a message to every session of the organisation that is subscribed to its topic, and to
    /// the keeper if it must outlive something. `None`: the keeper answers its publisher.
    pub(super) fn route(
        &mut self,
        org: &Arc<Org>,
        origin: Origin,
        message: Message,
    ) -> Option<PublishOutcome> {
        let kept = message.retain().then(|| Arc::clone(self.kept_of(org)));
        // Who subscribes after this finds out that it is to be retained.
        let _change = kept.as_ref().map(|kept| kept.begin_change());
        let mut routes = std::mem::take(&mut self.routes);
        routes.find(org, origin.session, &message);
        let to_keep = self.to_keep(org, &origin, &message, &mut routes);
        let message = Arc::new(message);
        if self.must_hold_back(&origin, &message) {
            let outcome = self.hold_back(org, &origin, &message, &routes, to_keep);
            self.routes = routes;
            return outcome;
        }
        let mut outcome = PublishOutcome::NoMatchingSubscribers;
        for (worker, deliveries) in routes.groups(self.index) {
            let has_room = self.send(worker, &message, org, deliveries);
            outcome = self.house.sum_up(outcome, has_room, deliveries.len());
        }
        self.routes = routes;
        match to_keep {
            None => Some(outcome),
            Some(to_keep) => self.keep(to_keep, &origin, outcome),
        }
    }

    /// Delivers to connections of this loop, and collects what is for another. Answers whether there
    /// was room for it.
    fn send(
        &mut self,
        worker: u16,
        message: &Arc<Message>,
        org: &Arc<Org>,
        deliveries: &[Delivery],
    ) -> bool {
        if worker == self.index {
            self.hand_out(message, Some(org), deliveries);
            return true;
        }
        let number = usize::from(worker);
        if !self.house.mailboxes[number].reserve(deliveries.len()) {
            return false;
        }
        self.pack(number, message, org, deliveries);
        true
    }

    /// As [`send`](Self::send), where room in the mailbox was reserved before, also in that of this
    /// loop.
    pub(super) fn send_reserved(
        &mut self,
        worker: u16,
        message: &Arc<Message>,
        org: &Arc<Org>,
        deliveries: &[Delivery],
    ) {
        if worker == self.index {
            self.house.mailboxes[usize::from(worker)].release(deliveries.len());
            self.hand_out(message, Some(org), deliveries);
        } else {
            self.pack(usize::from(worker), message, org, deliveries);
        }
    }

    fn pack(
        &mut self,
        number: usize,
        message: &Arc<Message>,
        org: &Arc<Org>,
        deliveries: &[Delivery],
    ) {
        self.outboxes[number].add(message, org, deliveries);
        if self.outboxes[number].len() >= PARCEL_DELIVERIES_MAX {
            self.post(number);
        }
    }

    /// As [`send`](Self::send), where nobody waits to hear whether there was room.
    pub(super) fn send_or_drop(
        &mut self,
        worker: u16,
        message: &Arc<Message>,
        org: &Arc<Org>,
        deliveries: &[Delivery],
    ) {
        if !self.send(worker, message, org, deliveries) {
            let metrics = &self.house.shared.metrics;
            metrics.drop_messages("mailbox_full", deliveries.len());
        }
    }

    /// Posts what has been collected for other loops.
    pub(super) fn post_outboxes(&mut self) {
        for number in 0..self.outboxes.len() {
            if self.outboxes[number].len() > 0 {
                self.post(number);
            }
        }
    }

    fn post(&mut self, number: usize) {
        let parcel = std::mem::take(&mut self.outboxes[number]);
        self.house.mailboxes[number].post_parcel(parcel);
    }

    /// Delivers what a letter holds, behind which there may be more letters.
    pub(super) fn unpack(&mut self, parcel: &Parcel, has_more_letters: bool) {
        let mut deliveries = &parcel.deliveries[..];
        for sent in &parcel.messages {
            let (own, others) = deliveries.split_at(sent.delivery_count);
            deliveries = others;
            self.has_more_behind = has_more_letters || !others.is_empty();
            self.hand_out_in_turn(&sent.message, sent.org.as_ref(), own);
        }
    }

    /// Gives a message to a connection; if that no longer carries the session, which was chosen from
    /// a share group, to another member.
    pub(super) fn deliver_or_pass_on(
        &mut self,
        delivery: &Delivery,
        message: &Arc<Message>,
        org: Option<&Arc<Org>>,
    ) {
        if self.deliver(delivery, message) {
            return;
        }
        if let (Some(share), Some(org)) = (delivery.share, org) {
            let gone = (delivery.session, delivery.tries_left);
            self.pass_on(gone, share, message, org);
        }
    }
}

impl House {
    /// The outcome for the publisher after one more loop has had room for its deliveries, or none:
    /// then they are dropped and counted.
    pub(super) fn sum_up(
        &self,
        so_far: PublishOutcome,
        has_room: bool,
        count: usize,
    ) -> PublishOutcome {
        if !has_room {
            self.shared.metrics.drop_messages("mailbox_full", count);
        }
        match so_far {
            PublishOutcome::NoMatchingSubscribers if has_room => PublishOutcome::Routed,
            so_far if has_room => so_far,
            _ => PublishOutcome::QuotaExceeded,
        }
    }
}

#[cfg(test)]
mod tests;
