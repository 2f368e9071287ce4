//! Connections whose session's state outlives them (§4.1): what they ask the keeper, and what the
//! keeper says.
//!
//! ```text
//! CONNECT → session opened (lifecycle) → Attach → Attached → CONNACK, the first messages
//!           SUBSCRIBE → Subscribe → Subscribed → SUBACK
//!           PUBACK …  → Acknowledged            PUBREC → Received → Release → PUBREL
//!           PUBREL    → Release → Released → PUBCOMP
//! the end → Detach
//! ```
//!
//! What is kept of such a connection stands beside it, by its key, so that others do not pay for it.
//! An answer that finds another connection at its place is for nobody.

mod pushes;

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use compact_str::CompactString;
use messages::{
    Answer, Arrival, Attach, Attached, Attachment, Carrier, Detach, Permit, Refused, Request,
};
use mqtt::{Accepted, ConnectRequest, DisconnectReason, Message, Refusal};
use presence::{Address, EndReason, Org, SessionRef};
use topics::TopicFilter;

use super::connection::Online;
use super::routing::Origin;
use super::worker::Worker;
use crate::accounts::Admission;

pub(super) use pushes::qos_of;

/// What is kept of a connection that asks for a stored session, or has one.
pub(super) struct Stored {
    /// What it asks for, until it does.
    wish: Option<Box<Wish>>,
    /// Once it has it.
    pub(super) attachment: Option<Attachment>,
    /// Whether it was there before: then its client may have had other rights.
    is_resumed: bool,
    expiry_secs: u32,
    pub(super) subscribing: VecDeque<mqtt::SubscribeRequest>,
    pub(super) unsubscribing: VecDeque<mqtt::UnsubscribeRequest>,
}

impl Stored {
    /// SUBSCRIBE and UNSUBSCRIBE that wait for the disk.
    pub(super) fn unanswered(&self) -> usize {
        self.subscribing.len() + self.unsubscribing.len()
    }
}

/// What a CONNECT says about the session.
struct Wish {
    org: CompactString,
    client_id: CompactString,
    username: CompactString,
    clean_start: bool,
    will: Option<Box<messages::Will>>,
    /// Until the keeper is asked.
    _arrival: Option<Arrival>,
}

impl Worker {
    // === the beginning ===

    /// Announces a CONNECT that wants a session that outlives the connection. To be called before
    /// its session is asked for: whichever of a client's connections opens later knows of it.
    pub(super) fn announce(
        &self,
        request: &ConnectRequest,
        admission: &Admission,
        client_id: &str,
    ) -> Option<Arrival> {
        let shared = &self.house.shared;
        let limits = &shared.limits;
        let expiry_secs = limits.session_expiry_secs(request.session_expiry_secs);
        let kept = self.kept_of(&shared.orgs[admission.org.get()]);
        (expiry_secs != 0).then(|| kept.announce(client_id))
    }

    /// Notes that a CONNECT concerns the keeper, if it does: it wants a session that outlives the
    /// connection, or its client has one or wants one by a connection before it. To be called after
    /// its session is asked for.
    pub(super) fn note_wish(
        &mut self,
        key: usize,
        request: &ConnectRequest,
        admission: &Admission,
        client_id: &str,
        arrival: Option<Arrival>,
    ) {
        let shared = &self.house.shared;
        let expiry_secs = shared
            .limits
            .session_expiry_secs(request.session_expiry_secs);
        let org = &shared.orgs[admission.org.get()];
        if expiry_secs == 0 && !self.kept_of(org).knows(client_id) {
            self.stored.remove(&(key as u32));
            return;
        }
        let wish = Wish {
            org: org.id().into(),
            client_id: client_id.into(),
            username: admission.username.clone(),
            clean_start: request.clean_start,
            will: request
                .will
                .as_deref()
                .and_then(|will| stored_will(will, self.now_ms)),
            _arrival: arrival,
        };
        let stored = Stored {
            wish: Some(Box::new(wish)),
            attachment: None,
            is_resumed: false,
            expiry_secs,
            subscribing: VecDeque::new(),
            unsubscribing: VecDeque::new(),
        };
        self.stored.insert(key as u32, Box::new(stored));
    }

    /// Asks for the stored session of a connection whose session is open. Answers whether CONNACK
    /// has to wait for that.
    pub(super) fn ask_to_attach(&mut self, key: usize, session: SessionRef) -> bool {
        let carrier = self.carrier(key, session);
        let Some(stored) = self.stored.get_mut(&(key as u32)) else {
            return false;
        };
        let Some(wish) = stored.wish.take() else {
            return false;
        };
        let pass = self.passes.of(key);
        let rights = pass.map(|pass| &pass.rights);
        let rights = rights.filter(|rights| !rights.are_all());
        let permit = rights.map(|rights| Arc::new(rights.clone()) as Arc<dyn Permit>);
        let asked = self
            .house
            .shared
            .keeper
            .ask(Request::Attach(Box::new(Attach {
                org: wish.org,
                client_id: wish.client_id,
                username: wish.username,
                clean_start: wish.clean_start,
                expiry_secs: stored.expiry_secs,
                carrier,
                will: wish.will,
                permit,
            })));
        if asked.is_err() {
            let why = "too many clients are connecting";
            self.turn_away(key, "keeper_busy", Refusal::ServerBusy, why);
        }
        true
    }

    /// A connection in the keeper's words.
    pub(super) fn carrier(&self, key: usize, session: SessionRef) -> Carrier {
        let ticket = self.connections.get(key).map_or(0, |found| found.ticket);
        Carrier {
            address: Address {
                worker: self.index,
                connection: key as u32,
            },
            ticket,
            session,
        }
    }

    fn turn_away(&mut self, key: usize, metric: &'static str, refusal: Refusal, why: &str) {
        self.house.shared.metrics.refuse(metric);
        self.end(key, EndReason::ProtocolError);
        self.refuse(key, refusal, why);
    }

    fn take_up(&mut self, carrier: Carrier, attached: &Attached) {
        let key = carrier.address.connection as usize;
        let waiting = self.awaiting(key, carrier.ticket);
        let online = waiting.and_then(|found| found.online.as_ref());
        // Another connection may have taken it over, which this loop hears of only later.
        let is_it = |online: &&Online| {
            online.session == carrier.session && online.org.session(carrier.session).is_some()
        };
        let Some(online) = online.filter(is_it) else {
            self.undo_attaching(attached);
            return;
        };
        let org = Arc::clone(&online.org);
        let mut expiry_secs = 0;
        if let Some(attachment) = attached.attachment {
            self.forget_will(key);
            if let Some(stored) = self.stored.get_mut(&(key as u32)) {
                stored.attachment = Some(attachment);
                stored.is_resumed = attached.session_present;
                expiry_secs = stored.expiry_secs;
            }
            Self::enter_subscriptions(&org, carrier.session, attached);
        } else {
            self.stored.remove(&(key as u32));
        }
        let received = attached.received.iter().copied();
        let received: Vec<_> = received.filter_map(NonZeroU16::new).collect();
        let reason = (attached.withdrawn > 0).then(|| {
            let count = attached.withdrawn;
            format!("subscriptions that are not allowed any more, and have ended: {count}")
        });
        self.accept_client(
            key,
            Accepted {
                session_present: attached.session_present,
                session_expiry_secs: expiry_secs,
                is_stored: attached.attachment.is_some(),
                received: &received,
                reason: reason.as_deref(),
                ..Accepted::default()
            },
        );
        self.push(key, &attached.window);
        self.go_on(key);
    }

    /// The connection ended meanwhile: it never was accepted, so its will is not sent, and a session
    /// that began with it ends.
    fn undo_attaching(&self, attached: &Attached) {
        if let Some(attachment) = attached.attachment {
            let expiry_secs = (!attached.session_present).then_some(0);
            self.leave(attachment, expiry_secs, false);
        }
    }

    /// The subscriptions come back with the client: whoever asks is told of them.
    fn enter_subscriptions(org: &Org, session: SessionRef, attached: &Attached) {
        org.mark_stored(session);
        for (filter, subscription) in &attached.subscriptions {
            let id = subscription.id.and_then(NonZeroU32::new);
            // All that bring messages are listed, also if only fewer may be made now.
            let entered = TopicFilter::parse(filter)
                .map(|filter| org.subscribe(session, filter, subscription.options, id, u16::MAX));
            if !matches!(entered, Ok(Ok(_))) {
                tracing::warn!(%filter, "a stored subscription is not listed");
            }
        }
    }

    fn refuse_attaching(&mut self, carrier: Carrier, why: Refused) {
        let key = carrier.address.connection as usize;
        if self.awaiting(key, carrier.ticket).is_none() {
            return;
        }
        let (metric, refusal, why) = match why {
            Refused::Unavailable => (
                "keeper",
                Refusal::ServerUnavailable,
                "the session cannot be written down",
            ),
            Refused::TooMany => (
                "too_many_stored",
                Refusal::QuotaExceeded,
                "too many sessions are stored",
            ),
            Refused::TakenOver => (
                "taken_over",
                Refusal::ServerBusy,
                "the client has connected again",
            ),
        };
        self.turn_away(key, metric, refusal, why);
    }

    // === the end ===

    /// The connection ends. `expiry_secs` is what its DISCONNECT changed.
    pub(super) fn detach(&mut self, key: usize, expiry_secs: Option<u32>, with_will: bool) {
        let Some(stored) = self.stored.remove(&(key as u32)) else {
            return;
        };
        self.retaining.forget(key);
        match stored.attachment {
            Some(attachment) => self.leave(attachment, expiry_secs, with_will),
            // It was not accepted yet. Should the keeper still attach it, that is undone then.
            None => self.forget_will(key),
        }
    }

    fn leave(&self, attachment: Attachment, expiry_secs: Option<u32>, with_will: bool) {
        self.tell_keeper(Request::Detach(Detach {
            attachment,
            expiry_secs,
            with_will,
        }));
    }

    pub(super) fn attachment(&self, key: usize) -> Option<Attachment> {
        self.stored.get(&(key as u32))?.attachment
    }

    /// Says what the keeper always has room for.
    fn tell_keeper(&self, request: Request) {
        if self.house.shared.keeper.ask(request).is_err() {
            tracing::error!("the keeper refused what ends something");
        }
    }

    // === what the keeper says ===

    pub(super) fn hear_keeper(&mut self, carrier: Option<Carrier>, answer: Answer) {
        let Some(carrier) = carrier else {
            if let Answer::Will { id, org, will } = answer {
                self.publish_stored_will(id, &org, &will);
            }
            return;
        };
        match answer {
            Answer::Attached(attached) => return self.take_up(carrier, &attached),
            Answer::Refused(why) => return self.refuse_attaching(carrier, why),
            Answer::Settled { number, is_new } => {
                return self.hear_settled(carrier, number, is_new);
            }
            _ => {}
        }
        let key = carrier.address.connection as usize;
        let found = self.connections.get(key);
        if !found.is_some_and(|found| found.ticket == carrier.ticket && found.online.is_some()) {
            return;
        }
        match answer {
            Answer::Published {
                packet_id,
                is_routed,
                outcome,
                ..
            } => self.hear_outcome(key, packet_id, is_routed, outcome),
            Answer::Push(messages) => self.push(key, &messages),
            Answer::Release(packet_id) => {
                self.with_packet_id(key, packet_id, |session, id, out| {
                    session.release(id, out);
                })
            }
            Answer::Released(packet_id) => {
                self.with_packet_id(key, packet_id, |session, id, out| {
                    session.released(id, out);
                })
            }
            Answer::Reached(number) => self.reached(key, number),
            Answer::Subscribed(packet_id, results) => self.subscribed(key, packet_id, &results),
            Answer::Unsubscribed(packet_id, results) => {
                self.unsubscribed(key, packet_id, &results);
            }
            Answer::Close(attachment) if self.attachment(key) == Some(attachment) => {
                self.disconnect(
                    key,
                    DisconnectReason::UnspecifiedError,
                    EndReason::ProtocolError,
                );
            }
            Answer::Close(_)
            | Answer::Will { .. }
            | Answer::Attached(_)
            | Answer::Refused(_)
            | Answer::Settled { .. } => {}
        }
    }

    /// A will that is due: it goes the way of a message, and the keeper is told that it did.
    fn publish_stored_will(&mut self, id: Attachment, org: &str, will: &messages::Will) {
        let orgs = &self.house.shared.orgs;
        let Some(org) = orgs.iter().find(|found| found.id() == org).cloned() else {
            return;
        };
        let Ok(message) = Message::decode_stored(will.message.body.clone()) else {
            tracing::error!("a stored will cannot be read");
            return;
        };
        let will = mqtt::Will {
            message,
            delay_secs: 0,
        };
        self.house.shared.metrics.wills_published.inc();
        let origin = Origin {
            will: Some(id),
            ..Origin::default()
        };
        let message = will.into_message(self.now_ms);
        self.route(&org, origin, message);
    }
}

/// A will in the keeper's words; `None` if it cannot be stored.
fn stored_will(will: &mqtt::Will, now_ms: u64) -> Option<Box<messages::Will>> {
    Some(Box::new(messages::Will {
        delay_secs: will.delay_secs,
        retain: will.message.retain(),
        message: messages::Message {
            topic: will.message.topic().into(),
            body: will.message.encode_stored()?,
            qos: will.message.qos().value(),
            at_ms: now_ms,
            expires_at_ms: None,
        },
    }))
}
