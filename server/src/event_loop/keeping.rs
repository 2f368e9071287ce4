//! Messages for the keeper: those for stored sessions over QoS 0, those to be retained, and those
//! that a stored session sent at QoS 2.
//!
//! A stored session gets a message once, as others do, at the highest QoS of its subscriptions that
//! match; at QoS 0 it goes to its connection directly, or nowhere. Share groups may have members of
//! both kinds, see [`super::sharing`].

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use messages::{Attachment, Outcome, Publish, ReplyTo, Request, Retain, StoredRecipient, To};
use mqtt::{Message, PublishOutcome, QoS, SubscriptionOptions};
use presence::Org;
use topics::TopicName;

use super::inbound::Flow;
use super::routing::{Origin, Routes};
use super::sharing::share_out;
use super::worker::Worker;

impl Worker {
    /// What the keeper is to be told of a message, if anything. Connections that get it directly
    /// are added to `routes`.
    pub(super) fn to_keep(
        &self,
        org: &Arc<Org>,
        origin: &Origin,
        message: &Message,
        routes: &mut Routes,
    ) -> Option<Box<Publish>> {
        let kept = self.kept_of(org);
        let mut targets = Vec::new();
        if (kept.has_subscriptions() || !routes.stored_members.is_empty())
            && let Ok(topic) = TopicName::parse(message.topic())
        {
            let mut recipients = Vec::new();
            kept.recipients(topic, &mut recipients);
            let is_shared = |found: &StoredRecipient| found.share.is_some();
            if recipients.iter().any(is_shared) || !routes.stored_members.is_empty() {
                share_out(org, kept, message, routes, &mut recipients);
            }
            for matched in recipients.chunk_by(|a, b| a.session == b.session) {
                targets.extend(target(matched, origin, message, routes));
            }
        }
        let retain = match message.retain() {
            false => Retain::No,
            true if message.payload().is_empty() => Retain::Clear, // MQTT-3.3.1-6
            true => Retain::Set,
        };
        let is_for_keeper = !targets.is_empty()
            || retain != Retain::No
            || origin.received(message).is_some()
            || origin.will.is_some();
        is_for_keeper.then(|| self.publish_of(org, origin, message, retain, targets))
    }

    /// A message in the keeper's words.
    pub(super) fn publish_of(
        &self,
        org: &Org,
        origin: &Origin,
        message: &Message,
        retain: Retain,
        targets: Vec<To>,
    ) -> Box<Publish> {
        Box::new(Publish {
            org: org.id().into(),
            message: messages::Message {
                topic: message.topic().into(),
                body: message.encode_stored().unwrap_or_default(),
                qos: message.qos().value(),
                at_ms: self.now_ms,
                expires_at_ms: message.expires_at_ms(),
            },
            received: origin.received(message),
            will: origin.will,
            retain,
            targets,
            reply_to: None,
            held_back: None,
        })
    }

    /// Hands a message to the keeper. `outcome` is what became of it so far. `None`: the keeper
    /// answers.
    pub(super) fn keep(
        &mut self,
        mut publish: Box<Publish>,
        origin: &Origin,
        outcome: PublishOutcome,
    ) -> Option<PublishOutcome> {
        publish.reply_to = origin.reply_to_with(outcome);
        let asked = self.house.shared.keeper.ask(Request::Publish(publish));
        match origin.reply_to {
            _ if asked.is_err() => Some(PublishOutcome::QuotaExceeded),
            Some(_) => None,
            None => Some(outcome),
        }
    }

    /// What the keeper has made of a message: its publisher is told.
    pub(super) fn hear_outcome(
        &mut self,
        key: usize,
        packet_id: u16,
        is_routed: bool,
        outcome: Outcome,
    ) {
        let told = match outcome {
            Outcome {
                is_unavailable: true,
                ..
            } => PublishOutcome::Failed,
            Outcome {
                not_retained: true, ..
            } => PublishOutcome::QuotaExceeded,
            _ if is_routed || outcome.queued > 0 => PublishOutcome::Routed,
            _ if outcome.full > 0 => PublishOutcome::QuotaExceeded,
            _ => PublishOutcome::NoMatchingSubscribers,
        };
        let was_ahead = self.is_ahead(key);
        let flow = self.answer_publish(key, NonZeroU16::new(packet_id), told);
        if was_ahead && flow == Flow::Open {
            self.resume(key);
        }
    }
}

impl Origin {
    /// Where the keeper's answer goes, and what became of the message so far.
    pub(super) fn reply_to_with(&self, outcome: PublishOutcome) -> Option<ReplyTo> {
        self.reply_to.map(|reply_to| ReplyTo {
            is_routed: outcome == PublishOutcome::Routed,
            ..reply_to
        })
    }

    /// Under which packet identifier a stored session has sent a message at QoS 2.
    fn received(&self, message: &Message) -> Option<(Attachment, u16)> {
        let is_exactly_once = message.qos() == QoS::ExactlyOnce;
        let reply_to = self.reply_to.filter(|_| is_exactly_once)?;
        Some((self.stored?, reply_to.packet_id))
    }
}

/// What one stored session gets: `matched` are its matching subscriptions.
pub(super) fn target(
    matched: &[StoredRecipient],
    origin: &Origin,
    message: &Message,
    routes: &mut Routes,
) -> Option<To> {
    let session = matched[0].session;
    // Its will is its own message, too, though it comes when the connection has gone.
    let publisher = origin.stored.or(origin.will);
    let is_own = publisher.is_some_and(|from| from.session == session);
    let mut granted = None;
    let mut retain = false;
    let mut ids = Vec::new();
    for found in matched {
        let options = SubscriptionOptions::from_bits(found.subscription.options);
        if options.no_local && is_own {
            continue;
        }
        granted = granted.max(Some(options.qos));
        retain |= options.retain_as_published && message.retain();
        ids.extend(found.subscription.id);
    }
    let qos = granted?.less_value(message.qos());
    if qos != QoS::AtMostOnce {
        return Some(To {
            session,
            qos: qos.value(),
            retain,
            subscription_ids: ids.into(),
        });
    }
    if let Some(carrier) = matched[0].carrier {
        let ids: Vec<_> = ids.into_iter().filter_map(NonZeroU32::new).collect();
        routes.add_carrier(carrier, retain, &ids);
    }
    None
}

#[cfg(test)]
mod tests;
