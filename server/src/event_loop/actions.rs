//! What a session asks for, done: open, publish, subscribe, unsubscribe, close.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use mqtt::{
    Accepted, Action, CloseReason, ConnectRequest, DisconnectReason, FrameError, Inbound,
    PublishOutcome, QoS, Refusal, SubscribeFailure, SubscribeRequest, SubscriptionOptions,
    UnsubscribeRequest, UnsubscribeResult,
};
use presence::{Address, EndReason, Ended, Opening, Org, Recipient, SessionRef};
use topics::{TopicFilter, TopicName};

use super::connection::Online;
use super::inbound::Flow;
use super::mailbox::{Delivery, Letter};
use super::worker::Worker;

impl Worker {
    pub(super) fn handle_packet(&mut self, key: usize, packet: BytesMut) -> Flow {
        let house = Arc::clone(&self.house);
        let now = self.now;
        let Some((connection, mut pending)) = self.pending_of(key) else {
            return Flow::Ended;
        };
        let action =
            connection
                .session
                .handle_frame(packet, &house.shared.limits, &mut pending.output);
        if connection.online.is_some() {
            connection.active_at = now;
        }
        self.give_output(key, pending);
        self.perform(key, action)
    }

    pub(super) fn handle_frame_error(&mut self, key: usize, error: FrameError) {
        let reason = self.with_output(key, |session, out| session.handle_frame_error(error, out));
        if let Some(reason) = reason {
            self.finish(key, &reason);
        }
    }

    fn perform(&mut self, key: usize, action: Action) -> Flow {
        match action {
            Action::Continue => Flow::Open,
            Action::Open(request) => self.open(key, &request),
            Action::Publish(inbound) => self.publish(key, inbound),
            Action::Subscribe(request) => self.subscribe(key, request),
            Action::Unsubscribe(request) => self.unsubscribe(key, &request),
            Action::Close(reason) => self.finish(key, &reason),
        }
    }

    /// Calls the session with its output buffer, and sees to it that what it says is sent.
    pub(super) fn with_output<R>(
        &mut self,
        key: usize,
        call: impl FnOnce(&mut mqtt::Session, &mut BytesMut) -> R,
    ) -> Option<R> {
        let (connection, mut pending) = self.pending_of(key)?;
        let result = call(&mut connection.session, &mut pending.output);
        self.give_output(key, pending);
        Some(result)
    }

    fn give_output(&mut self, key: usize, pending: Box<super::connection::Pending>) {
        let has_output = pending.unsent() > 0;
        self.put_back(key, pending);
        if has_output {
            self.mark_dirty(key);
        }
    }

    // === open ===

    fn open(&mut self, key: usize, request: &ConnectRequest) -> Flow {
        let house = Arc::clone(&self.house);
        let assigned = request.client_id.is_empty().then(assigned_client_id);
        let client_id = assigned.as_deref().unwrap_or(&request.client_id);
        let login = house.shared.accounts.log_in(
            request.username.as_deref(),
            request.password.as_deref(),
            client_id,
        );
        let login = match login {
            Ok(login) => login,
            Err(refused) => {
                house.shared.metrics.refuse("login");
                self.with_output(key, |session, out| {
                    session.refuse(Refusal::BadUserNameOrPassword, &refused.to_string(), out);
                });
                self.linger(key);
                return Flow::Ended;
            }
        };
        let org = &house.shared.orgs[login.org.get()];
        let taken_over = self.go_online(key, org, request, login.username, client_id);
        if let Some(ended) = taken_over {
            self.close_elsewhere(&ended, DisconnectReason::SessionTakenOver);
        }
        let accepted = Accepted {
            assigned_client_id: assigned.as_deref(),
            session_present: false,
        };
        self.with_output(key, |session, out| {
            session.accept(&accepted, &house.shared.limits, out);
        });
        Flow::Open
    }

    fn go_online(
        &mut self,
        key: usize,
        org: &Arc<Org>,
        request: &ConnectRequest,
        username: &str,
        client_id: &str,
    ) -> Option<Ended> {
        let address = Address {
            worker: self.index,
            connection: key as u32,
        };
        let now = self.now;
        let connection = self.connections.get_mut(key)?;
        let opening = Opening {
            username,
            client_id,
            protocol: protocol_of(request.version),
            peer: connection.socket.peer_addr().ok(),
            connected_at_ms: unix_ms(),
            address,
        };
        let opened = self.house.shared.lifecycle.open(org, &opening);
        connection.online = Some(Online {
            org: Arc::clone(org),
            session: opened.session,
        });
        connection.active_at = now;
        opened.taken_over
    }

    /// Closes the connection of a session that has ended already, wherever it is.
    fn close_elsewhere(&mut self, ended: &Ended, why: DisconnectReason) {
        let Address { worker, connection } = ended.address;
        if worker == self.index {
            self.close_ended(connection, ended.session, why);
            return;
        }
        self.house.mailboxes[usize::from(worker)].post(Letter::Close {
            connection,
            session: ended.session,
            why,
        });
    }

    // === publish ===

    fn publish(&mut self, key: usize, inbound: Inbound) -> Flow {
        let Some((org, session)) = self.online(key) else {
            return Flow::Ended;
        };
        let Inbound { packet_id, message } = inbound;
        self.house.shared.metrics.messages_received.inc();
        let outcome = self.route(&org, session, message);
        let close = self.with_output(key, |session, out| {
            session.published(packet_id, outcome, out)
        });
        match close.flatten() {
            None => Flow::Open,
            Some(reason) => self.finish(key, &reason),
        }
    }

    /// Sends a message to every session of the organisation that is subscribed to its topic: once
    /// each, at the highest QoS of its matching subscriptions (MQTT 5 §3.3.4).
    fn route(
        &mut self,
        org: &Org,
        publisher: SessionRef,
        message: mqtt::Message,
    ) -> PublishOutcome {
        let mut recipients = std::mem::take(&mut self.recipients);
        recipients.clear();
        if let Ok(topic) = TopicName::parse(message.topic()) {
            org.recipients(topic, &mut recipients);
        }
        let message = Arc::new(message);
        let mut outcome = PublishOutcome::NoMatchingSubscribers;
        for group in recipients.chunk_by(|a, b| a.address.worker == b.address.worker) {
            let mut deliveries = std::mem::take(&mut self.deliveries);
            deliveries.clear();
            deliveries.extend(
                group
                    .chunk_by(|a, b| a.session == b.session)
                    .filter_map(|matched| delivery(matched, publisher, message.qos())),
            );
            if !deliveries.is_empty() && outcome != PublishOutcome::QuotaExceeded {
                outcome = self.deliver_all(group[0].address.worker, &message, &deliveries);
            }
            self.deliveries = deliveries;
        }
        self.recipients = recipients;
        outcome
    }

    fn deliver_all(
        &mut self,
        worker: u16,
        message: &Arc<mqtt::Message>,
        deliveries: &[Delivery],
    ) -> PublishOutcome {
        if worker == self.index {
            for delivery in deliveries {
                self.deliver(*delivery, message);
            }
            return PublishOutcome::Routed;
        }
        let house = &self.house;
        if house.mailboxes[usize::from(worker)].post_deliveries(message, deliveries) {
            return PublishOutcome::Routed;
        }
        house
            .shared
            .metrics
            .drop_messages("mailbox_full", deliveries.len());
        PublishOutcome::QuotaExceeded
    }

    // === subscribe and unsubscribe ===

    fn subscribe(&mut self, key: usize, mut request: SubscribeRequest) -> Flow {
        let Some((org, session)) = self.online(key) else {
            return Flow::Ended;
        };
        let most = self.house.shared.settings.subscriptions_per_session_max;
        for entry in &mut request.entries {
            let Ok(options) = entry.verdict else {
                continue;
            };
            let added = TopicFilter::parse(&entry.filter)
                .map_err(|_| SubscribeFailure::TopicFilterInvalid)
                .and_then(|filter| {
                    org.subscribe(session, filter, options.to_bits(), most)
                        .map_err(|_| SubscribeFailure::QuotaExceeded)
                });
            entry.verdict = added.map(|_| options);
        }
        self.with_output(key, |session, out| session.subscribed(&request, out));
        Flow::Open
    }

    fn unsubscribe(&mut self, key: usize, request: &UnsubscribeRequest) -> Flow {
        let Some((org, session)) = self.online(key) else {
            return Flow::Ended;
        };
        let results: Vec<_> = request
            .filters
            .iter()
            .map(|filter| match TopicFilter::parse(filter) {
                Err(_) => UnsubscribeResult::TopicFilterInvalid,
                Ok(filter) if org.unsubscribe(session, filter) => UnsubscribeResult::Success,
                Ok(_) => UnsubscribeResult::NoSubscriptionExisted,
            })
            .collect();
        self.with_output(key, |session, out| {
            session.unsubscribed(request.packet_id, &results, out);
        });
        Flow::Open
    }

    /// The session a connection carries. None if it was ended from elsewhere while packets of it
    /// were still being read.
    fn online(&self, key: usize) -> Option<(Arc<Org>, SessionRef)> {
        let online = self.connections.get(key)?.online.as_ref()?;
        Some((Arc::clone(&online.org), online.session))
    }

    /// The session has said that it is over.
    fn finish(&mut self, key: usize, reason: &CloseReason) -> Flow {
        let reason = match reason {
            CloseReason::ClientDisconnect { .. } => EndReason::ClientDisconnect,
            other => {
                tracing::debug!(reason = %other, "closing a connection");
                EndReason::ProtocolError
            }
        };
        if self
            .connections
            .get(key)
            .is_some_and(|found| found.online.is_none())
        {
            self.house.shared.metrics.refuse("connect");
        }
        self.end(key, reason);
        self.linger(key);
        Flow::Ended
    }
}

/// What one session gets of a message, if anything: `matched` are its matching subscriptions.
fn delivery(matched: &[Recipient], publisher: SessionRef, published: QoS) -> Option<Delivery> {
    let granted = matched
        .iter()
        .map(|recipient| SubscriptionOptions::from_bits(recipient.options))
        .filter(|options| !(options.no_local && matched[0].session == publisher))
        .map(|options| options.qos)
        .max_by_key(|qos| qos.value())?;
    Some(Delivery {
        connection: matched[0].address.connection,
        session: matched[0].session,
        qos: granted.less_value(published),
    })
}

fn protocol_of(version: mqtt::Version) -> presence::Protocol {
    match version {
        mqtt::Version::V31 => presence::Protocol::V31,
        mqtt::Version::V311 => presence::Protocol::V311,
        mqtt::Version::V5 => presence::Protocol::V5,
    }
}

/// A client identifier for a client that sent none (MQTT 5 §3.1.3.1): random, so that it is unique
/// without asking anybody.
fn assigned_client_id() -> String {
    let random = getrandom::u64().unwrap_or_else(|error| {
        panic!("the operating system gives no random numbers: {error}");
    });
    format!("auto-{random:016x}")
}

fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
