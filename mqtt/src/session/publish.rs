//! PUBLISH from the client and its PUBACK (§3.3, §3.4).
//!
//! A QoS 1 message is answered by the caller as soon as it is routed, before
//! the next packet is handled; so the client cannot exceed our Receive Maximum
//! and nothing is kept per message. A name that begins with `$` is the
//! server's own (§4.7.2): such a message is not routed; MQTT 5 is told at QoS 1
//! (PUBACK 0x87), MQTT 3 is acknowledged, having no other answer. One such name
//! is a request: [`LOGOUT_TOPIC`] logs the user out, in any version.

use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAckReason, PublishProperties};
use topics::TopicName;

use super::{Action, Session, State, Version};
use crate::message::Message;
use crate::packet::{check_text, check_user_properties};
use crate::reason::{CloseReason, DisconnectReason, Violation};

/// A message to this name, whatever is in it, ends the session as a logout.
pub const LOGOUT_TOPIC: &str = "$whosthere/logout";

/// A message from the client; answer it with [`Session::published`].
#[derive(Debug)]
pub struct Inbound {
    /// Of a QoS 1 message.
    pub packet_id: Option<NonZeroU16>,
    /// What to route.
    pub message: Message,
}

/// What became of a client's message (§3.4.2.1).
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
}

impl Session {
    pub(super) fn handle_publish(
        &mut self,
        publish: Publish,
        version: Version,
        out: &mut BytesMut,
    ) -> Action {
        if let Err(violation) = check_publish(&publish) {
            return self.fail(violation, out);
        }
        let packet_id = publish.packet_id;
        match TopicName::parse(&publish.topic).map(|name| name.is_dollar()) {
            Err(_) => {
                let code = DisconnectReasonCode::TopicNameInvalid;
                self.fail(Violation::new(code, "topic name is not valid"), out)
            }
            Ok(true) if &publish.topic[..] == LOGOUT_TOPIC => self.log_out(packet_id, version, out),
            Ok(true) => {
                self.acknowledge(packet_id, version, PublishAckReason::NotAuthorized, out);
                Action::Continue
            }
            Ok(false) => Action::Publish(Inbound {
                packet_id,
                message: Message::from_publish(publish),
            }),
        }
    }

    /// Acknowledges the wish and closes; an MQTT 5 client is told that all is well (0x00).
    fn log_out(
        &mut self,
        packet_id: Option<NonZeroU16>,
        version: Version,
        out: &mut BytesMut,
    ) -> Action {
        self.acknowledge(packet_id, version, PublishAckReason::Success, out);
        self.disconnect(DisconnectReason::Normal, out);
        Action::Close(CloseReason::ClientDisconnect {
            with_will: false,
            logout: true,
        })
    }

    /// Answers a PUBLISH: PUBACK at QoS 1 (`packet_id` given), nothing at QoS 0.
    /// `Some` if the session is closed by it.
    pub fn published(
        &mut self,
        packet_id: Option<NonZeroU16>,
        outcome: PublishOutcome,
        out: &mut BytesMut,
    ) -> Option<CloseReason> {
        let State::Connected(version) = self.state else {
            return None;
        };
        let over_quota = outcome == PublishOutcome::QuotaExceeded;
        if over_quota && version != Version::V5 && packet_id.is_some() {
            self.close();
            return Some(CloseReason::QuotaExceeded);
        }
        self.acknowledge(packet_id, version, ack_code(outcome), out);
        None
    }

    fn acknowledge(
        &mut self,
        packet_id: Option<NonZeroU16>,
        version: Version,
        reason_code: PublishAckReason,
        out: &mut BytesMut,
    ) {
        let Some(packet_id) = packet_id else {
            return;
        };
        match version {
            Version::V5 => self.reply_v5(ack_text(reason_code), out, |reason_string| {
                let properties = Vec::new();
                let ack = v5::PublishAck {
                    packet_id,
                    reason_code,
                    properties,
                    reason_string,
                };
                v5::Packet::PublishAck(ack)
            }),
            Version::V31 | Version::V311 => {
                Self::reply_v3(v3::Packet::PublishAck { packet_id }, out);
            }
        }
    }
}

/// The rules of PUBLISH other than those about its topic name.
fn check_publish(publish: &Publish) -> Result<(), Violation> {
    match publish.qos {
        QoS::ExactlyOnce => {
            let code = DisconnectReasonCode::QosNotSupported;
            return Err(Violation::new(code, "QoS 2"));
        }
        QoS::AtMostOnce if publish.dup => {
            return Err(Violation::malformed("DUP at QoS 0")); // MQTT-3.3.1-2
        }
        _ => {}
    }
    if publish.retain {
        let code = DisconnectReasonCode::RetainNotSupported;
        return Err(Violation::new(code, "retained messages"));
    }
    publish
        .properties
        .as_ref()
        .map_or(Ok(()), |properties| check_properties(publish, properties))
}

fn check_properties(publish: &Publish, properties: &PublishProperties) -> Result<(), Violation> {
    if properties.topic_alias.is_some() {
        // §3.3.2.3.4: we have announced that there are none.
        return Err(Violation::new(
            DisconnectReasonCode::TopicAliasInvalid,
            "topic aliases",
        ));
    }
    if publish.topic.is_empty() {
        return Err(Violation::protocol("no topic name and no alias")); // §3.3.2.1
    }
    if !properties.subscription_ids.is_empty() {
        return Err(Violation::protocol("subscription identifier from a client")); // MQTT-3.3.4-6
    }
    if properties
        .response_topic
        .as_ref()
        .is_some_and(|topic| TopicName::parse(topic).is_err())
    {
        return Err(Violation::protocol("response topic is not valid")); // MQTT-3.3.2-14
    }
    properties
        .content_type
        .as_ref()
        .map_or(Ok(()), |text| check_text(text))?;
    check_user_properties(&properties.user_properties)
}

fn ack_code(outcome: PublishOutcome) -> PublishAckReason {
    match outcome {
        PublishOutcome::Routed => PublishAckReason::Success,
        PublishOutcome::NoMatchingSubscribers => PublishAckReason::NoMatchingSubscribers,
        PublishOutcome::NotAuthorized => PublishAckReason::NotAuthorized,
        PublishOutcome::QuotaExceeded => PublishAckReason::QuotaExceeded,
    }
}

fn ack_text(code: PublishAckReason) -> Option<&'static str> {
    match code {
        PublishAckReason::NotAuthorized => Some("not authorized to publish to this topic"),
        PublishAckReason::QuotaExceeded => Some("too many messages"),
        _ => None,
    }
}
