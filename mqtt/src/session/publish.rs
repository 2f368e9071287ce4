//! PUBLISH from the client and its answers (§3.3 to §3.7, §4.3).
//!
//! A message is answered by the caller, at once or when it is durable; answers go
//! out in the order of receipt whatever the order in which they come
//! (MQTT-4.6.0-2, -3), and an answer that comes before the next packet costs no
//! memory. A QoS 2 identifier is remembered from PUBREC to PUBREL, so that a
//! repeated PUBLISH is answered and not routed again (MQTT-4.3.3-10). A name that
//! begins with `$` is the server's own (§4.7.2): such a message is not routed;
//! MQTT 5 is told over QoS 0 (0x87), MQTT 3 is acknowledged, having no other
//! answer. One such name is a request: [`LOGOUT_TOPIC`] logs the user out, in any
//! version.

mod check;
mod receiving;

use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishAckReason;
use topics::TopicName;

use super::{Action, Session, State, Turn, Version};
use crate::limits::Limits;
use crate::message::Message;
use crate::reason::{CloseReason, DisconnectReason, Violation};
use check::{check_payload, check_publish};
pub(super) use receiving::{Receiving, Unanswered};

/// A message to this name, whatever is in it, ends the session as a logout.
pub const LOGOUT_TOPIC: &str = "$whosthere/logout";

/// A message from the client; answer it with [`Session::published`].
#[derive(Debug)]
pub struct Inbound {
    /// Of a QoS 1 or 2 message.
    pub packet_id: Option<NonZeroU16>,
    /// What to route.
    pub message: Message,
}

/// What became of a client's message (§3.4.2.1, §3.5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// 0x00: there were subscribers.
    Routed,
    /// 0x10.
    NoMatchingSubscribers,
    /// 0x87. MQTT 3 is acknowledged (3.1.1 §3.3.5).
    NotAuthorized,
    /// 0x97. MQTT 3 has no code: the connection closes.
    QuotaExceeded,
    /// 0x83: it could not be made durable. MQTT 3 has no code: the connection closes.
    Failed,
}

impl Session {
    pub(super) fn handle_publish(
        &mut self,
        mut publish: Publish,
        expires_at_once: bool,
        turn: &mut Turn<'_>,
    ) -> Action {
        let Turn {
            version,
            now_ms,
            limits,
            out,
        } = turn;
        let checked = self
            .resolve_alias(&mut publish, limits)
            .and_then(|()| check_publish(&publish, limits));
        if let Err(violation) = checked {
            return self.fail(violation, out);
        }
        let packet_id = publish.packet_id;
        if let Some(packet_id) = packet_id {
            let is_exactly_once = publish.qos == QoS::ExactlyOnce;
            if is_exactly_once && self.repeat_received(packet_id, *version, out) {
                return Action::Continue;
            }
            if let Err(violation) = self.expect_answer(packet_id, publish.qos, *version, limits) {
                return self.fail(violation, out);
            }
        }
        if let Err(violation) = check_payload(&publish) {
            if packet_id.is_none() {
                return self.fail(violation, out);
            }
            self.answer(packet_id, PublishAckReason::PayloadFormatInvalid, out);
            return Action::Continue;
        }
        let is_dollar = TopicName::parse(&publish.topic).is_ok_and(|name| name.is_dollar());
        if !is_dollar {
            let message = Message::from_publish(publish, expires_at_once, *now_ms);
            return Action::Publish(Inbound { packet_id, message });
        }
        if &publish.topic[..] == LOGOUT_TOPIC {
            return self.log_out(packet_id, out);
        }
        self.answer(packet_id, PublishAckReason::NotAuthorized, out);
        Action::Continue
    }

    fn resolve_alias(&mut self, publish: &mut Publish, limits: &Limits) -> Result<(), Violation> {
        let properties = publish.properties.as_ref();
        match properties.and_then(|properties| properties.topic_alias) {
            Some(alias) => self.busy().aliases.resolve(publish, alias, limits),
            None => Ok(()),
        }
    }

    /// Acknowledges the wish and closes; an MQTT 5 client is told that all is well (0x00).
    fn log_out(&mut self, packet_id: Option<NonZeroU16>, out: &mut BytesMut) -> Action {
        self.answer(packet_id, PublishAckReason::Success, out);
        self.disconnect(DisconnectReason::Normal, out);
        Action::Close(CloseReason::ClientDisconnect {
            with_will: false,
            logout: true,
            session_expiry_secs: None,
        })
    }

    /// Answers a PUBLISH: PUBACK at QoS 1, PUBREC at QoS 2 (`packet_id` given), nothing
    /// at QoS 0. It may come late: what has come from the client meanwhile is answered
    /// behind it. `Some` if the session is closed by it.
    pub fn published(
        &mut self,
        packet_id: Option<NonZeroU16>,
        outcome: PublishOutcome,
        out: &mut BytesMut,
    ) -> Option<CloseReason> {
        let State::Connected(version) = self.state else {
            return None;
        };
        let reason = match outcome {
            PublishOutcome::QuotaExceeded => Some(CloseReason::QuotaExceeded),
            PublishOutcome::Failed => Some(CloseReason::PublishFailed),
            _ => None,
        };
        if reason.is_some() && version != Version::V5 && packet_id.is_some() {
            self.close();
            return reason;
        }
        self.answer(packet_id, ack_code(outcome), out);
        None
    }
}

fn ack_code(outcome: PublishOutcome) -> PublishAckReason {
    match outcome {
        PublishOutcome::Routed => PublishAckReason::Success,
        PublishOutcome::NoMatchingSubscribers => PublishAckReason::NoMatchingSubscribers,
        PublishOutcome::NotAuthorized => PublishAckReason::NotAuthorized,
        PublishOutcome::QuotaExceeded => PublishAckReason::QuotaExceeded,
        PublishOutcome::Failed => PublishAckReason::ImplementationSpecificError,
    }
}
