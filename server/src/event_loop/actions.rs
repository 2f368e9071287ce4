//! What a session asks for, done: open, publish, close. ([`super::subscribing`] has the rest.)

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::BytesMut;
use bytestring::ByteString;
use messages::ReplyTo;
use mqtt::{
    Accepted, Action, CloseReason, ConnectRequest, DisconnectReason, FrameError, Inbound,
    PublishOutcome, QoS, Refusal,
};
use presence::{Address, EndReason, Org, Os, SessionRef};

use super::connection::{Connection, Online, Phase, Transport};
use super::inbound::Flow;
use super::routing::Origin;
use super::worker::Worker;
use crate::clock::unix_ms;
use crate::lifecycle::Client;
use crate::tls::{NotNamed, user_of};

impl Worker {
    pub(super) fn handle_packet(&mut self, key: usize, packet: BytesMut) -> Flow {
        let house = Arc::clone(&self.house);
        let (now, now_ms) = (self.now, self.now_ms);
        let Some((connection, mut pending)) = self.pending_of(key) else {
            return Flow::Ended;
        };
        let limits = &house.shared.limits;
        let session = &mut connection.session;
        let action = session.handle_frame(packet, now_ms, limits, &mut pending.output);
        let discarded = session.take_discarded();
        if connection.online.is_some() {
            connection.active_at = now;
        }
        self.give_output(key, pending);
        self.discard(key, discarded);
        let flow = self.perform(key, action);
        if flow == Flow::Open {
            self.send_more_retained(key);
        }
        flow
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
            Action::Open(request) => self.open(key, request),
            Action::Publish(inbound) => self.publish(key, inbound),
            Action::Subscribe(request) => self.subscribe(key, request),
            Action::Unsubscribe(request) => self.unsubscribe(key, request),
            Action::Acknowledged(packet_id) => {
                self.acknowledged(key, packet_id);
                Flow::Open
            }
            Action::Received(packet_id) => {
                self.received(key, packet_id);
                Flow::Open
            }
            Action::Release(packet_id) if self.release(key, packet_id) => Flow::Open,
            Action::Release(_) => {
                let why = DisconnectReason::ServerBusy;
                self.disconnect(key, why, EndReason::ProtocolError);
                Flow::Ended
            }
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

    /// The login text that the client's certificate stands for, if it showed one.
    pub(super) fn certified_user(&self, key: usize) -> Option<Result<String, NotNamed>> {
        let tls = self.house.shared.tls.as_ref()?;
        let certificate = self.secures.get(&(key as u32))?.client_certificate()?;
        let now_secs = i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX);
        Some(user_of(certificate, tls.settings().client_name, now_secs))
    }

    pub(super) fn client(&self, key: usize, request: &ConnectRequest) -> Option<Client> {
        let connection = self.connections.get(key)?;
        Some(Client {
            protocol: protocol_of(request.version),
            peer: self.peer_of(key),
            os: os_of(&request.user_properties, connection.transport),
            address: Address {
                worker: self.index,
                connection: key as u32,
            },
        })
    }

    /// The session is open: CONNACK, and on with what the client has sent meanwhile.
    pub(super) fn go_online(&mut self, connection: u32, ticket: u32, online: Online) {
        let key = connection as usize;
        let waiting = self.awaiting(key, ticket);
        let Some(found) = waiting else {
            // The connection broke while the journal was being written.
            self.house
                .shared
                .lifecycle
                .end(&online.org, online.session, EndReason::ConnectionLost);
            return;
        };
        let session = online.session;
        found.online = Some(online);
        if !self.ask_to_attach(key, session) {
            self.accept_client(key, Accepted::default());
            self.go_on(key);
        }
    }

    /// Writes CONNACK.
    pub(super) fn accept_client(&mut self, key: usize, accepted: Accepted<'_>) {
        let (house, now) = (Arc::clone(&self.house), self.now);
        let own = self.own_limits(key);
        let limits = own
            .as_ref()
            .map_or(&house.shared.limits, |own| &own.protocol);
        let Some((found, mut pending)) = self.pending_of(key) else {
            return;
        };
        found.phase = Phase::Open;
        found.active_at = now;
        let assigned = pending.assigned.take();
        pending.forwarded = None;
        let accepted = Accepted {
            assigned_client_id: assigned.as_deref(),
            ..accepted
        };
        found.session.accept(&accepted, limits, &mut pending.output);
        self.give_output(key, pending);
    }

    /// Goes on with what an accepted client has sent meanwhile.
    pub(super) fn go_on(&mut self, key: usize) {
        if self.is_over(key) {
            self.disconnect(
                key,
                DisconnectReason::MaximumConnectTime,
                EndReason::CredentialsExpired,
            );
            return;
        }
        self.resume(key);
    }

    /// The session cannot be opened now.
    pub(super) fn refuse_opening(&mut self, connection: u32, ticket: u32) {
        let key = connection as usize;
        if self.awaiting(key, ticket).is_some() {
            self.house.shared.metrics.refuse("journal");
            self.refuse(
                key,
                Refusal::ServerUnavailable,
                "the journal cannot be written",
            );
        }
    }

    /// The connection that waits for this answer, if it is still there.
    pub(super) fn awaiting(&mut self, key: usize, ticket: u32) -> Option<&mut Connection> {
        self.connections
            .get_mut(key)
            .filter(|found| found.ticket == ticket && found.phase == Phase::Opening)
    }

    pub(super) fn refuse(&mut self, key: usize, refusal: Refusal, why: &str) {
        self.with_output(key, |session, out| session.refuse(refusal, why, out));
        self.linger(key);
    }

    // === publish ===

    fn publish(&mut self, key: usize, inbound: Inbound) -> Flow {
        let Some((org, session)) = self.online(key) else {
            return Flow::Ended;
        };
        let Inbound { packet_id, message } = inbound;
        self.tally.received += 1;
        let metrics = &self.house.shared.metrics;
        let outcome = if !self.may_publish(key, message.topic()) {
            metrics.drop_messages("not_authorized", 1);
            Some(PublishOutcome::NotAuthorized)
        } else if !self.is_within_rate(key) {
            metrics.drop_messages("org_rate", 1);
            Some(PublishOutcome::QuotaExceeded)
        } else {
            let origin = self.origin(key, session, packet_id, message.qos());
            self.route(&org, origin, message)
        };
        match outcome {
            Some(outcome) => self.answer_publish(key, packet_id, outcome),
            None if self.is_ahead(key) => Flow::Held,
            None => Flow::Open,
        }
    }

    fn origin(
        &self,
        key: usize,
        session: SessionRef,
        packet_id: Option<NonZeroU16>,
        qos: QoS,
    ) -> Origin {
        let carrier = self.carrier(key, session);
        let reply_to = packet_id.map(|packet_id| ReplyTo {
            carrier,
            packet_id: packet_id.get(),
            qos: qos.value(),
            is_routed: false,
        });
        Origin {
            session: Some(session),
            stored: self.attachment(key),
            carrier: Some(carrier),
            reply_to,
            will: None,
        }
    }

    pub(super) fn answer_publish(
        &mut self,
        key: usize,
        packet_id: Option<NonZeroU16>,
        outcome: PublishOutcome,
    ) -> Flow {
        let close = self.with_output(key, |session, out| {
            session.published(packet_id, outcome, out)
        });
        match close.flatten() {
            None => Flow::Open,
            Some(reason) => self.finish(key, &reason),
        }
    }

    /// The session a connection carries. None if it was ended from elsewhere while packets of it
    /// were still being read.
    pub(super) fn online(&self, key: usize) -> Option<(Arc<Org>, SessionRef)> {
        let online = self.connections.get(key)?.online.as_ref()?;
        Some((Arc::clone(&online.org), online.session))
    }

    /// The session has said that it is over.
    fn finish(&mut self, key: usize, reason: &CloseReason) -> Flow {
        if let CloseReason::ClientDisconnect {
            with_will,
            session_expiry_secs,
            ..
        } = reason
        {
            if !with_will {
                self.forget_will(key); // MQTT-3.14.4-3
            }
            self.detach(key, *session_expiry_secs, *with_will);
        }
        let reason = match reason {
            CloseReason::ClientDisconnect { logout: true, .. } => EndReason::LoggedOut,
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

fn protocol_of(version: mqtt::Version) -> presence::Protocol {
    match version {
        mqtt::Version::V31 => presence::Protocol::V31,
        mqtt::Version::V311 => presence::Protocol::V311,
        mqtt::Version::V5 => presence::Protocol::V5,
    }
}

/// A client identifier for a client that sent none (MQTT 5 §3.1.3.1): random, so that it is unique
/// without asking anybody.
pub(super) fn assigned_client_id() -> String {
    let random = getrandom::u64().unwrap_or_else(|error| {
        panic!("the operating system gives no random numbers: {error}");
    });
    format!("auto-{random:016x}")
}

/// What a client runs on, by its own word or by the way it came.
fn os_of(user_properties: &[(ByteString, ByteString)], transport: Transport) -> Option<Os> {
    const NAMES: [(&str, Os); 3] = [
        ("iOS", Os::Ios),
        ("Android", Os::Android),
        ("Websocket", Os::Websocket),
    ];
    let told = user_properties
        .iter()
        .find(|(key, _)| &key[..] == "os")
        .and_then(|(_, value)| {
            NAMES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(value))
        });
    match (told, transport) {
        (Some((_, os)), _) => Some(*os),
        (None, Transport::WebSocket(_) | Transport::Upgrade) => Some(Os::Websocket),
        (None, Transport::Tcp) => None,
    }
}
